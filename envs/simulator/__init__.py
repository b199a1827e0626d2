"""The embedded simulator: physics, cameras, tracks and time over arrays of cars."""
