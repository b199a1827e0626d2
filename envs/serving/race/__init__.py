"""The rules of a race evening, in simulation time; they know neither sockets nor physics."""
