"""The service that drives a trained driver in an online race."""
