"""Arrays by name: read from a file, and those of several owners in one mapping."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

_MOST_BYTES = 64 << 30
"""Of all arrays of a file, unpacked: a replay buffer of images may have tens of GiB."""

_DAMAGED = (
    *(AttributeError, BadZipFile, EOFError, MemoryError, NotImplementedError, RuntimeError),
    *(TypeError, lzma.LZMAError, zlib.error),
)

Arrays = Mapping[str, npt.NDArray[Any]]


def read(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Returns all arrays of a ``.npz`` file.

    Raises:
        OSError: When it cannot be read.
        ValueError: When it is damaged, or is another kind of file.
    """
    try:
        # Opened here: NumPy leaves a file open that it finds damaged.
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            size = sum(entry.file_size for entry in file.zip.infolist())
            if size > _MOST_BYTES:
                raise ValueError(f"its arrays would have {size} bytes")
            return dict(file)
    except _DAMAGED as error:
        raise ValueError(f"not a whole .npz file: {error}") from error


def under(owner: str, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Returns arrays with the name of their owner before their own.

    >>> under("actor", {"step": np.array(3)})
    {'actor.step': array(3)}
    """
    return {f"{owner}.{name}": array for name, array in arrays.items()}


def of(owner: str, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Returns the arrays that an owner gave to `under`, by their own names.

    >>> of("actor", {"actor.step": np.array(3), "critics.step": np.array(6)})
    {'step': array(3)}
    """
    prefix = f"{owner}."
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
