"""Environments: a simulator and a task, as Gymnasium and Stable-Baselines3 see them."""
