"""Encoders: camera image to the features a policy drives by."""
