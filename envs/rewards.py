"""A reward of the user's own: a function in a Python file, `--set task.reward=PATH.py:NAME`.

It is handed what a step brought to all cars at once, and which episodes the task ends in it, and
returns one number a car::

    def keep_pace(step, failed):
        return 1.0 - abs(step.speed - 5.0) / 5.0 - 10.0 * failed

It is to be a pure function, so that a run with it repeats as all runs do: no random numbers, and
nothing kept from one call to the next.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from donkey_rl import own_code
from donkey_rl.envs.tasks import Facts, Flags, FloatArray
from donkey_rl.errors import InputError

# Plain numbers of three cars: one that drives, one that stands, one that has hit something beside
# the road, of which two end their episodes.
_TRIED = Facts(
    gain=np.array([0.5, 0.0, -0.1]),
    setback=np.array([0.0, 0.0, 0.1]),
    off_track=np.array([False, False, True]),
    left_track=np.array([False, False, True]),
    wheels_off=np.array([0, 0, 4]),
    cte=np.array([0.5, 0.0, -6.0]),
    hit=np.array([False, False, True]),
    still_s=np.array([0.0, 2.0, 0.0]),
    steering_change=np.array([-0.2, 0.0, 1.0]),
    steering=np.array([0.1, 0.0, 1.0]),
    throttle=np.array([0.5, -1.0, 1.0]),
    speed=np.array([10.0, 0.0, 3.0]),
    heading=np.array([0.1, 0.0, -1.0]),
    left_edge=np.array([4.0, 4.5, -2.0]),
    right_edge=np.array([5.0, 4.5, 11.0]),
)
_TRIED_FAILED = np.array([False, True, True])


@dataclasses.dataclass(frozen=True)
class OwnReward:
    """A function of the user's, held to what a reward must be.

    Attributes:
        name: Its name, which the one term of the reward bears.
        path: Its file.
        function: Of the facts of a step, whose arrays are read-only, and of the flags of the
            episodes that the task ends in it, (N,); gives one number a car, (N,).
    """

    name: str
    path: pathlib.Path
    function: Callable[[Facts, Flags], npt.ArrayLike]

    def __reduce__(self) -> tuple[Callable[[str], OwnReward], tuple[str]]:
        """Has another process read the file itself: its code lies in no module there."""
        return load, (f"{self.path.absolute()}:{self.name}",)

    def __call__(self, facts: Facts, failed: Flags) -> FloatArray:
        """Returns the rewards of a step, (N,).

        Args:
            facts: What the step brought; its arrays become read-only.
            failed: Which episodes the task ends, (N,).

        Raises:
            InputError: It raises, or gives something else than one finite number a car.
        """
        flags = failed.copy()
        for array in (*facts, flags):
            array.setflags(write=False)
        try:
            given = self.function(facts, flags)
            # A result of its own: what is returned may be one of the facts.
            rewards = np.array(given, dtype=np.float64)
        except (Exception, SystemExit) as error:
            raise self._wrong(own_code.describe(error, str(self.path))) from error
        if rewards.shape != failed.shape:
            raise self._wrong(
                f"{self._line}expected one number for each of {len(failed)} car(s), shape "
                f"({len(failed)},). Received: shape {rewards.shape}"
            )
        with np.errstate(over="ignore"):
            finite = np.isfinite(rewards.astype(np.float32))
        if not finite.all():
            car = int(np.flatnonzero(~finite)[0])
            told = ", ".join(f"{name}={array[car]:g}" for name, array in facts._asdict().items())
            raise self._wrong(
                f"{self._line}expected finite numbers. Received: {rewards[car]:g} for {told}, "
                f"failed={failed[car]:g}"
            )
        return rewards

    def check(self) -> None:
        """Tries it on three made-up cars, and on the first of them alone.

        Raises:
            InputError: As in a call, or it gives something else the second time.
        """
        for cars in (3, 1):
            facts = Facts._make(array[:cars].copy() for array in _TRIED)
            first, again = (self(facts, _TRIED_FAILED[:cars]) for _ in range(2))
            if not np.array_equal(first, again):
                raise self._wrong(
                    f"{self._line}expected the same for the same step. Received: "
                    f"{first.tolist()}, then {again.tolist()}"
                )

    @property
    def _line(self) -> str:
        code = getattr(self.function, "__code__", None)
        return "" if code is None else f"line {code.co_firstlineno}: "

    def _wrong(self, what: str) -> InputError:
        return InputError(
            f"The reward '{self.name}' of {self.path}: {' '.join(what.split())}. Mend it."
        )


def load(reference: str) -> OwnReward:
    """Returns the reward that a reference means, tried on three made-up cars.

    The file is run: it is the user's own code and has the user's rights.

    Args:
        reference: ``"path.py:name"``.

    Raises:
        InputError: The file is missing or cannot be imported, has no such function, or the
            function raises, changes from one call to the next, or gives something else than one
            finite number a car; the message has the line.
    """
    taken = own_code.take(reference, "reward", "Define that function in it.")
    found = OwnReward(taken.name, taken.path, taken.value)
    found.check()
    return found
