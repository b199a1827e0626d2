"""How cars see the world, as the drawing reads it: one row a car."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import cues, effects
from donkey_rl.envs.simulator.randomisation import Look
from donkey_rl.errors import ConfigurationError

_BODY_COLOURS = ((220, 60, 50), (40, 90, 200), (240, 200, 40), (60, 170, 80), (235, 235, 235))


class Looks(NamedTuple):
    """How each car sees the world; axis 0 is the car.

    Attributes:
        ground: Packed colour of each ground byte, shape (n, 256).
        sky: Packed colour of each byte of the surroundings, shape (n, 256).
        ground_cues: `ground` in each state of its cue, shape (n, 3, 256).
        sky_cues: `sky` in each state of its cues, see `cues.sky_colours`, shape (n, 9, 256).
        posts: Which posts it sees, see `cues.Signals.posts_shown`, shape (n,).
        sky_turn: Columns by which the panorama is turned, shape (n,).
        light: Factor on the colours of things, shape (n, 3).
        noise: Standard deviation of the sensor noise, 0 to 255, shape (n,).
        blur: Weight of the neighbours, see `effects.blur`, shape (n,).
        jpeg: JPEG quality, 1 to 100, or 0 for none, shape (n,).
        shadows: Share of the ground's cells with a dark patch, see `patches`, shape (n,).
        shadow_key: Which patches they are, shape (n,).
        bonnet: The car's own bonnet, see `effects.BONNET`, shape (n, 8).
        body: Colour of the car as others see it, shape (n, 3).
    """

    ground: npt.NDArray[np.uint32]
    sky: npt.NDArray[np.uint32]
    ground_cues: npt.NDArray[np.uint32]
    sky_cues: npt.NDArray[np.uint32]
    posts: npt.NDArray[np.int64]
    sky_turn: npt.NDArray[np.int64]
    light: npt.NDArray[np.float64]
    noise: npt.NDArray[np.float64]
    blur: npt.NDArray[np.float64]
    jpeg: npt.NDArray[np.int64]
    shadows: npt.NDArray[np.float64]
    shadow_key: npt.NDArray[np.int64]
    bonnet: npt.NDArray[np.float64]
    body: npt.NDArray[np.float64]


def empty(count: int) -> Looks:
    """Allocates the looks of `count` cars."""
    body = [_BODY_COLOURS[k % len(_BODY_COLOURS)] for k in range(count)]
    return Looks(
        ground=np.zeros((count, 256), dtype=np.uint32),
        sky=np.zeros((count, 256), dtype=np.uint32),
        ground_cues=np.zeros((count, cues.STATES, 256), dtype=np.uint32),
        sky_cues=np.zeros((count, cues.STATES**2, 256), dtype=np.uint32),
        posts=np.zeros(count, dtype=np.int64),
        sky_turn=np.zeros(count, dtype=np.int64),
        light=np.ones((count, 3)),
        noise=np.zeros(count),
        blur=np.zeros(count),
        jpeg=np.zeros(count, dtype=np.int64),
        shadows=np.zeros(count),
        shadow_key=np.zeros(count, dtype=np.int64),
        bonnet=np.zeros((count, effects.BONNET)),
        body=np.array(body, dtype=np.float64),
    )


def give(looks: Looks, i: int, look: Look) -> None:
    """Gives car `i` a look; its body keeps its colour."""
    for name, value in look._asdict().items():
        getattr(looks, name)[i] = value


def signal(looks: Looks, signals: cues.Signals, arcs: npt.NDArray[np.float64]) -> Looks:
    """Shows every car the cues of the place where it is; returns the same looks.

    Args:
        looks: How each car sees the world.
        signals: What the cues say.
        arcs: Arc length at which each car is (u), shape (n,).
    """
    present, cars = signals.cues.present, np.arange(len(arcs))
    if "ground" in present:
        looks.ground[:] = looks.ground_cues[cars, signals.states("ground", arcs)]
    if "background" in present or "sky" in present:
        behind, above = (signals.states(name, arcs) for name in ("background", "sky"))
        looks.sky[:] = looks.sky_cues[cars, cues.STATES * behind + above]
    if "object" in present:
        looks.posts[:] = signals.posts_shown()
    return looks


def paint(looks: Looks, i: int, colour: Sequence[float] | None) -> None:
    """Paints the body of car `i`, red, green and blue; by default one of a few colours.

    Raises:
        ConfigurationError: The colour is none.
    """
    wanted = np.array(
        _BODY_COLOURS[i % len(_BODY_COLOURS)] if colour is None else colour, dtype=np.float64
    )
    if wanted.shape != (3,) or not ((wanted >= 0.0) & (wanted <= 255.0)).all():
        raise ConfigurationError(
            f"A colour is red, green and blue from 0 to 255. Received: {colour}."
        )
    looks.body[i] = wanted
