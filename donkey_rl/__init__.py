"""Reinforcement learning for the DonkeyCar simulator: train a driver, measure it, race it."""

__version__ = "0.1.0"
