"""Sweeps: many trainings of one study, by many workers on one machine or on several."""
