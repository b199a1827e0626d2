"""Splits of tracks: which a driver learns on, which choose it, and which say what it is worth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Literal

from donkey_rl.configuration import Config
from donkey_rl.envs.simulator import track, track_names
from donkey_rl.errors import InputError, UnknownNameError

Part = Literal["train", "validation", "held_out"]

PARTS: tuple[Part, ...] = ("train", "validation", "held_out")
"""In the order of reports."""


MOST_LEARNED = 5
"""Tracks of one name that an evaluation takes of those that were learned from."""


class Split(Config):
    """Tracks in three parts, as lists that `track_names.split` reads.

    Attributes:
        name: Of the split.
        train: Tracks to learn on.
        validation: Tracks on which the best of a training's policies is chosen, and settings are.
        held_out: Tracks that nothing is chosen by; a driver that has seen one is no evidence.
    """

    name: str
    train: str
    validation: str
    held_out: str

    def tracks(self, part: Part) -> tuple[str, ...]:
        """Returns the names of the tracks of one part."""
        return track_names.split(getattr(self, part))

    def raced(self, part: Part) -> tuple[str, ...]:
        """Returns the tracks of a part that an evaluation of the split races on.

        Of the part that was learned from these are no mirror images, and of each name no more
        than `MOST_LEARNED`: they say least, and there may be many. The other parts are whole.
        """
        names = self.tracks(part)
        if part != "train":
            return names
        found = [name for name in names if not name.endswith(track.MIRROR)]
        alike = [track_names.plain(name) for name in found]
        return tuple(
            name for i, name in enumerate(found) if alike[:i].count(alike[i]) < MOST_LEARNED
        )

    def part(self, name: str) -> Part | None:
        """Returns the part that a track belongs to, None for a track of none."""
        return next((part for part in PARTS if name in self.tracks(part)), None)


_SPLITS = {
    split.name: split
    for split in (
        Split(
            name="generalist",
            train="generated_track,generated_track:mirror,circuit_launch,circuit_launch:mirror,"
            "warehouse,warehouse:mirror,roboracingleague_1,roboracingleague_1:mirror,"
            "sparkfun_avc,sparkfun_avc:mirror,generated_road:1-2,random_circuit:1-30,"
            "tight_circuit:1-20",
            validation="warren,generated_road,random_circuit:900-909",
            held_out="mountain_track,mini_monaco,waveshare,thunderhill,random_circuit:1000-1019",
        ),
    )
}


def names() -> tuple[str, ...]:
    """Returns the names of the splits."""
    return tuple(_SPLITS)


def load(name: str) -> Split:
    """Returns a split by its name.

    Raises:
        UnknownNameError: There is none of that name; it carries the nearest.
    """
    if name not in _SPLITS:
        raise UnknownNameError("split", name, names())
    return _SPLITS[name]


def tracks(text: str) -> tuple[str, ...]:
    """Returns the tracks of a list, each once.

    Args:
        text: As `track_names.split` reads it; `SPLIT:PART` stands for all tracks of a part.

    Raises:
        ConfigurationError: As `track_names.split`.
        UnknownNameError: A split has no such part.

    >>> tracks("generalist:validation, warren")[:3]
    ('warren', 'generated_road', 'random_circuit:900')
    """
    found: list[str] = []
    for name in track_names.split(text):
        split, _, part = name.partition(":")
        if split not in _SPLITS:
            found.append(name)
        elif part in PARTS:
            found += _SPLITS[split].tracks(part)
        else:
            raise UnknownNameError(f"part of the split {split}", part, PARTS)
    return track_names.split(",".join(found))


def named_by(params: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the tracks that a run names, to learn from and to race on.

    Args:
        params: Of the run, as they are stored.
    """
    found: list[str] = []
    for key in ("track", "evaluation.tracks"):
        with contextlib.suppress(InputError):
            found += tracks(params[key]) if params.get(key) else ()
    return tuple(dict.fromkeys(found))


def of(trained: Iterable[str]) -> Split | None:
    """Returns the split that a driver was trained by, None for none.

    Args:
        trained: The tracks that it was trained on, as its description has them.
    """
    known = set(trained)
    return next((each for each in _SPLITS.values() if set(each.tracks("train")) == known), None)
