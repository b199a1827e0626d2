"""A whole race evening on this machine, over a link with all its faults."""
