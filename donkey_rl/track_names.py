"""What a track is called that is written with its variant, or by its file."""

from __future__ import annotations

import pathlib


def plain(track: str) -> str:
    r"""Returns a track's name without its variant, or that of its file.

    Paths are read as Windows writes them, which reads those of other systems as well.

    >>> plain("generated_road:7:mirror"), plain("tracks/club.json")
    ('generated_road', 'club')
    >>> plain(r"C:\tracks\club.json:mirror")
    'club'
    """
    name = track.removesuffix(":mirror")
    if name.endswith(".json"):
        return pathlib.PureWindowsPath(name).stem
    return name.partition(":")[0]
