"""What the code and the figures of this package come to, for results that are kept elsewhere."""

from __future__ import annotations

import functools
import hashlib
import pathlib

PACKAGE = pathlib.Path(__file__).parent


@functools.cache
def digest(*patterns: str) -> str:
    """Returns a SHA-256 of files of this package, by their names and all that is in them.

    Args:
        patterns: Their paths from the package on, with `*` for any name: ``envs/grip.py``.
            Files of one pattern come in the order of their names.

    Raises:
        FileNotFoundError: A pattern means none.
    """
    found = hashlib.sha256()
    for pattern in patterns:
        folder = PACKAGE.joinpath(*pattern.split("/")[:-1])
        files = sorted(folder.glob(pattern.rpartition("/")[2]))
        if not files:
            raise FileNotFoundError(f"no file '{pattern}' in {PACKAGE}")
        for file in files:
            found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()
