"""Whether a driver steers by the lane, or by what happens to go with the turn: docs/cues.md."""
