"""The embedded simulator behind the simulator's own TCP protocol."""
