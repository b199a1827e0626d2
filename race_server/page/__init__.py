"""The live page of a race: a web server in a process of its own, fed by the racer."""
