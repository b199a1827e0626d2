"""How quickly a car of this simulator can lap a track: time-optimal laps by direct collocation."""
