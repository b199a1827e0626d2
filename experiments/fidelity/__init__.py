"""How close the embedded simulator comes to a recording of the real one."""
