"""The record of a race evening: everything that a car saw and sent, written as it happened."""
