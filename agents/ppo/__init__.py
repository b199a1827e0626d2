"""Proximal policy optimisation in Keras, on Stable-Baselines3's loop."""
