"""Which tracks an evaluation is on."""

from __future__ import annotations

from donkey_rl.experiments import splits
from donkey_rl.experiments.drivers import Entrant

HELD_OUT = (
    "generated_track",
    "circuit_launch",
    "warren",
    "warehouse",
    "mini_monaco",
    "mountain_track",
    "roboracingleague_1",
    "sparkfun_avc",
    "waveshare",
    "thunderhill",
    "generated_road",
)
"""Tracks to hold out, in the order in which they are taken: short circuits first."""

HELD_OUT_COUNT = 3
"""Tracks that `--held-out` takes: the first ones that the driver was not trained on."""


def chosen(
    track: str | None, split: str | None, entrant: Entrant, *, held_out: bool
) -> tuple[str, ...]:
    """Returns the tracks to race on, each once.

    Args:
        track: Tracks as `splits.tracks` reads them; by default the driver's own first one.
        split: A split, all tracks of which are raced on in place of those.
        entrant: Who drives.
        held_out: Whether tracks are added that the driver was not trained on: those that its
            split holds out, or else `HELD_OUT_COUNT` of `HELD_OUT`.
    """
    if split is not None:
        parts = splits.load(split)
        return tuple(name for part in splits.PARTS for name in parts.tracks(part))
    wanted = splits.tracks(track) if track is not None else (entrant.environment.track,)
    if held_out:
        own = splits.of(entrant.tracks)
        if own is not None:
            wanted += own.tracks("held_out")
        else:
            known = {*wanted, *(name.partition(":")[0] for name in entrant.tracks)}
            wanted += tuple(name for name in HELD_OUT if name not in known)[:HELD_OUT_COUNT]
    return tuple(dict.fromkeys(wanted))
