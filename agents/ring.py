"""The newest rows of an endless sequence, numbered from its beginning."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


class Ring:
    """A fixed number of rows, the oldest of which give way to new ones.

    A row keeps its number for ever: 0 for the first that was ever appended. So what points at a
    row can tell whether it is still there, and a file can hold the rows from one number on.

    Attributes:
        rows: The memory, (capacity, ...); row number k lies at ``k % capacity``.
        written: Rows ever appended, which is the number that the next one gets.
    """

    def __init__(self, capacity: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """Makes an empty ring.

        Args:
            capacity: Rows held, at least 1.
            shape: Of one row.
            dtype: Of its values.
        """
        self.rows: npt.NDArray[Any] = np.zeros((capacity, *shape), dtype)
        self.written = 0

    def __len__(self) -> int:
        """Rows there are."""
        return min(self.written, len(self.rows))

    @property
    def oldest(self) -> int:
        """Number of the oldest row that is still there; `written` in an empty ring."""
        return self.written - len(self)

    def append(self, values: npt.NDArray[Any]) -> Numbers:
        """Adds rows, (k, ...), and returns their numbers, (k,).

        Of more rows than fit only the newest stay.
        """
        numbers = self.written + np.arange(len(values))
        kept = slice(max(0, len(values) - len(self.rows)), None)
        self.rows[numbers[kept] % len(self.rows)] = values[kept]
        self.written += len(values)
        return numbers

    def take(self, numbers: Numbers) -> npt.NDArray[Any]:
        """Returns the rows of these numbers, (k, ...), which must still be there."""
        return np.take(self.rows, numbers % len(self.rows), axis=0)

    def since(self, number: int) -> npt.NDArray[Any]:
        """Returns the rows from a number on, oldest first; those that are gone are left out."""
        return self.take(np.arange(max(number, self.oldest), self.written))

    def clear(self) -> None:
        """Forgets all rows and numbers."""
        self.written = 0

    def restore(self, first: int, values: npt.NDArray[Any]) -> None:
        """Begins anew with rows that were read back.

        Args:
            first: Number of the first of them.
            values: The rows, (k, ...), oldest first.
        """
        self.written = first
        self.append(values)
