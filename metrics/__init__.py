"""The record of a race, and what is measured on it."""
