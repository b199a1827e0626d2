"""Sweeps: studies of hyper-parameters by workers that share nothing but a storage."""
