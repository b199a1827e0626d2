"""Lock-step: whose answer the scene waits for before it moves on."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class _Turn:
    """One car.

    Attributes:
        asked: When its last telemetry was sent (s).
        answered: Whether a command has come since.
        given_up: Whether it is no longer waited for.
    """

    asked: float
    answered: bool = False
    given_up: bool = False


class Lockstep:
    """Lets the scene move when every car that takes part has sent a command since its telemetry.

    A car whose client does not answer in time is not waited for until it answers again. If no
    car answers, nothing moves.
    """

    def __init__(self, patience_s: float) -> None:
        """Starts without cars.

        Args:
            patience_s: How long a client may take for its answer (s of wall time).
        """
        self._patience = patience_s
        self._turns: dict[int, _Turn] = {}

    def ask(self, car: int, now: float) -> None:
        """A car's telemetry goes out: from now on its answer is waited for."""
        turn = self._turns.setdefault(car, _Turn(now))
        turn.asked, turn.answered = now, False

    def answer(self, car: int) -> None:
        """A car's client has sent a command."""
        turn = self._turns.get(car)
        if turn is not None:
            turn.answered, turn.given_up = True, False

    def leave(self, car: int) -> None:
        """A car takes part no longer."""
        self._turns.pop(car, None)

    def clear(self) -> None:
        """No car takes part."""
        self._turns.clear()

    def is_ready(self, now: float) -> bool:
        """Whether the scene may move on now."""
        wait = self.wait(now)
        return wait is not None and wait <= 0.0

    def wait(self, now: float) -> float | None:
        """Returns how long the scene has to wait if no further answer comes (s).

        Returns:
            0 if it may move on, None if only an answer can make it move.
        """
        turns = self._turns.values()
        if not any(turn.answered for turn in turns):
            return None
        longest = 0.0
        for turn in turns:
            if turn.answered or turn.given_up:
                continue
            left = turn.asked + self._patience - now
            turn.given_up = left <= 0.0
            longest = max(longest, left)
        return longest
