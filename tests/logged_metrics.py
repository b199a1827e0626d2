"""What an agent has logged."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger


class Logged(KVWriter):
    """Keeps the last value of each metric, and the step that it was logged at."""

    def __init__(self, agent: Any) -> None:
        self.last: dict[str, Any] = {}
        self.steps: dict[str, int] = {}
        agent.set_logger(Logger(None, [self]))

    def write(self, key_values: Any, key_excluded: Any, step: int = 0) -> None:
        self.last |= key_values
        self.steps |= dict.fromkeys(key_values, step)

    def close(self) -> None:
        """Nothing is open."""
