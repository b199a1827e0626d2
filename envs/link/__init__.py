"""The simulator's TCP protocol: messages, framing, and the client's end of a connection."""
