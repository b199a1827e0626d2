"""Splits of a data set: whole races to one part each, tracks in the same shares."""

from __future__ import annotations

import collections
import math
import random
from collections.abc import Mapping, Sequence

from donkey_rl.errors import InputError
from donkey_rl.experiments.data.manifest import PARTS, Entry, Part


def check_shares(shares: Sequence[float]) -> dict[Part, float]:
    """Returns the shares of the parts, which come to 1.

    >>> check_shares([80, 10, 10])
    {'train': 0.8, 'validation': 0.1, 'test': 0.1}

    Raises:
        InputError: They are not three, or not positive for `train`, or negative.
    """
    total = sum(shares)
    fits = len(shares) == len(PARTS) and min(shares) >= 0 and shares[0] > 0
    if not fits or not math.isfinite(total):
        raise InputError(
            f"A split has three shares, of {', '.join(PARTS)}, none negative and some for the "
            f"first. Received: {', '.join(f'{share:g}' for share in shares)}. Example: --shares "
            "80,10,10."
        )
    return {part: share / total for part, share in zip(PARTS, shares, strict=True)}


def assigned(
    races: Sequence[Entry], known: Mapping[str, Part], shares: Mapping[Part, float], seed: int
) -> dict[str, Part]:
    """Returns a part for each race that has none yet.

    Races are taken in an order drawn by the seed, track by track, and each goes where most is
    missing: on its track and in all. So a track of ten races is split like the whole, and of ten
    tracks with one race each some go to every part.

    Args:
        races: Of the set.
        known: Part by SHA-256 of those that have one; they keep it.
        shares: Of each part, 1 in all.
        seed: Same seed and races, same parts.
    """
    groups: dict[str, list[str]] = {}
    for race in races:
        track = race.facts.track if race.facts is not None else ""
        groups.setdefault(track, []).append(race.sha256)
    everywhere: collections.Counter[Part] = collections.Counter()
    here = {track: collections.Counter[Part]() for track in groups}
    for track, digests in groups.items():
        here[track].update(known[digest] for digest in digests if digest in known)
        everywhere.update(here[track])
    chosen: dict[str, Part] = {}
    for track in sorted(groups):
        waiting = sorted(digest for digest in groups[track] if digest not in known)
        random.Random(f"{seed} {track}").shuffle(waiting)
        for digest in waiting:
            part = _neediest(shares, here[track], everywhere)
            here[track][part] += 1
            everywhere[part] += 1
            chosen[digest] = part
    return chosen


def _neediest(
    shares: Mapping[Part, float],
    here: collections.Counter[Part],
    everywhere: collections.Counter[Part],
) -> Part:
    def missing(part: Part) -> float:
        on_track = shares[part] * (here.total() + 1) - here[part]
        return on_track + shares[part] * (everywhere.total() + 1) - everywhere[part]

    return max((part for part, share in shares.items() if share > 0), key=missing)
