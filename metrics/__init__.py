"""The record of a race, and what is measured on it; importing it registers the metrics."""

from donkey_rl.metrics import limits, race_score, rivals, scores, style

__all__ = ["limits", "race_score", "rivals", "scores", "style"]
