"""Which cars meet each other, which are absent, and where each stands on the start grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import ConfigurationError

IntArray = npt.NDArray[np.int64]

ABSENT = -1
"""Group of the cars that are not there."""


def _checked(groups: Sequence[int] | IntArray, count: int) -> IntArray:
    """Returns the group of each car.

    Raises:
        ConfigurationError: There is not one group for each car, or one is below `ABSENT`.
    """
    group = np.asarray(groups, dtype=np.int64)
    if group.shape != (count,):
        raise ConfigurationError(
            f"`groups` must name one group for each of {count} cars. "
            f"Received: {len(group)} entries."
        )
    if (group < ABSENT).any():
        raise ConfigurationError(
            f"Groups are numbered from 0, and {ABSENT} is an absent car. "
            f"Received: {int(group.min())}."
        )
    return group


class Grouping:
    """The groups of cars and their grid slots.

    Attributes:
        group: Of each car, `ABSENT` for none, shape (n,); changed in place.
        slot: Place of each car on the start grid, shape (n,).
        members: The cars that are there, sorted by group.
        start: Where each group's part of `members` starts, shape (groups + 1,).
    """

    def __init__(self, count: int, groups: Sequence[int] | None) -> None:
        """Groups cars for the first time.

        Args:
            count: Number of cars.
            groups: Of each car; by default each is alone.

        Raises:
            ConfigurationError: There is no car, or `groups` does not fit.
        """
        if count < 1:
            raise ConfigurationError(f"A world needs at least 1 car. Received: count={count}.")
        self.group = np.full(count, ABSENT, dtype=np.int64)
        self.slot = np.zeros(count, dtype=np.int64)
        self.change(np.arange(count) if groups is None else groups)

    def change(self, groups: Sequence[int] | IntArray) -> IntArray:
        """Groups the cars anew.

        A car that comes into a group takes the lowest slot that no other car of the group holds,
        and keeps it as long as it stays.

        Args:
            groups: Of each car, `ABSENT` for those that are not there.

        Returns:
            The cars that are in another group than before.

        Raises:
            ConfigurationError: `groups` does not fit; nothing has changed.
        """
        group = _checked(groups, len(self.group))
        moved = np.flatnonzero(group != self.group)
        stays = group == self.group
        for i in moved:
            held = set(self.slot[stays & (group == group[i])].tolist())
            self.slot[i] = next(k for k in range(len(held) + 1) if k not in held)
            stays[i] = True
        self.slot[group == ABSENT] = 0
        self.group[:] = group
        absent = int((group == ABSENT).sum())
        self.members = np.argsort(group, kind="stable").astype(np.int64)[absent:]
        sizes = np.unique(group[self.members], return_counts=True)[1]
        self.start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return moved
