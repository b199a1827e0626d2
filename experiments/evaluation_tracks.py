"""Which tracks an evaluation is on."""

from __future__ import annotations

from donkey_rl.envs import simulators
from donkey_rl.envs.simulator import track_names
from donkey_rl.errors import InputError
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


def check(
    *,
    simulator: str,
    split: str | None,
    elsewhere: bool,
    look: str | None,
    robustness: bool,
    late: bool,
    opponents: bool,
) -> None:
    """Refuses what does not go together.

    Args:
        simulator: Where to drive.
        split: As for `chosen`.
        elsewhere: Whether other tracks are asked for as well.
        look: What the world looks like, None for as calibrated.
        robustness: Whether light and camera are changed.
        late: Whether latency is added.
        opponents: Whether others are put on the road.

    Raises:
        InputError: Names the options.
    """
    changed = robustness or late or opponents or look is not None or split is not None
    if simulators.parse(simulator) and changed:
        raise InputError(
            "Tracks, looks, latency, light, camera and grip are changed, and opponents put on the "
            "road, in the embedded simulator only. Leave --simulator out, or --split, --look, "
            "--robustness, --opponents, --latency-ms, --jitter-ms and --latency-profile."
        )
    if split is not None and elsewhere:
        raise InputError(
            "--split names all tracks to race on. Received: --track or --held-out as well. "
            "Leave one of the two out."
        )
    if look is not None and robustness:
        raise InputError(
            "--robustness changes light and camera from the calibrated ones. Received: --look as "
            "well. Leave one of the two out."
        )


def chosen(
    track: str | None, split: str | None, entrant: Entrant, *, held_out: bool
) -> tuple[str, ...]:
    """Returns the tracks to race on, each once.

    Args:
        track: Tracks as `splits.tracks` reads them; by default the driver's own first one.
        split: A split, on whose tracks the races are in place of those, see `Split.raced`.
        entrant: Who drives.
        held_out: Whether tracks are added that the driver was not trained on: those that its
            split holds out, or else `HELD_OUT_COUNT` of `HELD_OUT`.
    """
    if split is not None:
        parts = splits.load(split)
        return tuple(name for part in splits.PARTS for name in parts.raced(part))
    wanted = splits.tracks(track) if track is not None else (entrant.environment.track,)
    if held_out:
        own = splits.of(entrant.tracks)
        if own is not None:
            wanted += own.tracks("held_out")
        else:
            known = {*wanted, *map(track_names.plain, entrant.tracks)}
            wanted += tuple(name for name in HELD_OUT if name not in known)[:HELD_OUT_COUNT]
    return tuple(dict.fromkeys(wanted))
