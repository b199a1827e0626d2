"""Drivers: encoders, policies and the algorithms that train them."""
