"""Paths as people write them."""

from __future__ import annotations

import pathlib


def path_of(text: str | pathlib.Path) -> pathlib.Path:
    """Returns the path that a text means, with the user's own folder for a `~`.

    A shell leaves it alone where it does not begin a word, as in `--set encoder.data=~/tub`. That
    of a user whom this machine does not know stays as it is.
    """
    path = pathlib.Path(text)
    try:
        return path.expanduser()
    except RuntimeError:
        return path
