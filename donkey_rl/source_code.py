"""What the code and the figures of this package come to, for results that are kept elsewhere."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import pathlib


@functools.cache
def digest(*patterns: str) -> str:
    """Returns a SHA-256 of files of this package, by their names and all that is in them.

    Args:
        patterns: A part of the package and a path in it, with `*` for any name:
            ``envs/grip.py``. Files of one pattern come in the order of their names.

    Raises:
        FileNotFoundError: A pattern means none.
    """
    found = hashlib.sha256()
    for pattern in patterns:
        part, *below, name = pattern.split("/")
        files = sorted(_place(part).joinpath(*below).glob(name))
        if not files:
            raise FileNotFoundError(f"no file '{pattern}' in {_place(part)}")
        for file in files:
            found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()


def _place(part: str) -> pathlib.Path:
    """Returns where a part of the package lies, by what imports it.

    Not beside this file: a checkout on Windows has no links to the folders there.
    """
    spec = importlib.util.find_spec(f"donkey_rl.{part}")
    places = spec.submodule_search_locations if spec is not None else None
    if not places:
        raise FileNotFoundError(f"no part '{part}' of donkey_rl")
    return pathlib.Path(next(iter(places)))
