"""What stands around a track, too far away to move: sky and hills, trees, or the walls of a hall.

Baked once a track as bytes over azimuth and elevation (`camera.PANORAMA_WIDTH` columns,
`camera.PANORAMA_HEIGHT` rows from the horizon up).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import camera, materials
from donkey_rl.envs.simulator.scenery import Hill, Look, Sun
from donkey_rl.envs.simulator.track import MIRROR, Track

FloatArray = npt.NDArray[np.float64]

_INDEX = {name: k for k, name in enumerate(materials.SURROUNDINGS)}
_OVERSAMPLE = 2
_PALE_DEG, _GLOW = 15.0, 0.3
"""Elevation over which the sky darkens; share of the way to pale towards the sun."""

_HORIZON_DEG = 16.0
"""Nothing at the horizon stands higher than this."""


def bake(track: Track) -> npt.NDArray[np.uint8]:
    """Draws the surroundings of a track; those of its mirror image are their mirror image.

    Returns:
        Shape (PANORAMA_HEIGHT, PANORAMA_WIDTH), row 0 at the horizon.
    """
    if track.name.endswith(MIRROR):
        return np.ascontiguousarray(bake(track.mirrored())[:, ::-1])
    rng = np.random.default_rng([len(track.name), *track.name.encode()])
    width, height = camera.PANORAMA_WIDTH, camera.PANORAMA_HEIGHT * _OVERSAMPLE
    azimuth = 2.0 * math.pi * (np.arange(width * _OVERSAMPLE) + 0.5) / (width * _OVERSAMPLE)
    top = math.degrees(camera.PANORAMA_TOP)
    elevation = (np.arange(height) + 0.5) / height * top
    shares = np.zeros((height, len(azimuth), materials.COUNT), dtype=np.float32)
    if track.look.indoor:
        _draw_hall(shares, elevation, azimuth, rng)
    else:
        _draw_sky(shares, elevation, azimuth, rng, track.look.sun)
        low = elevation < _HORIZON_DEG
        _draw_horizon(shares[: low.sum()], elevation[low], azimuth, rng, track.look)
    blocks = shares.reshape(
        camera.PANORAMA_HEIGHT, _OVERSAMPLE, width, _OVERSAMPLE, materials.COUNT
    )
    mixed = blocks.mean(axis=(1, 3), dtype=np.float64)
    return materials.encode(mixed, rng.uniform(0.3, 0.7, size=mixed.shape[:2]))


def _fill(shares: npt.NDArray[np.float32], where: npt.NDArray[np.bool_], material: str) -> None:
    """Covers a region with one material."""
    shares[where] = 0.0
    shares[where, _INDEX[material]] = 1.0


def _draw_sky(
    shares: npt.NDArray[np.float32],
    elevation: FloatArray,
    azimuth: FloatArray,
    rng: np.random.Generator,
    sun: Sun | None,
) -> None:
    """A sky that pales towards the horizon and the sun; with soft clouds if there is no sun."""
    pale = np.exp(-elevation / _PALE_DEG)[:, None] * np.ones_like(azimuth)
    if sun is not None:
        pale += _GLOW * np.maximum(0.0, np.cos(azimuth - sun.azimuth)) ** 2 * (1.0 - pale)
    shares[..., _INDEX["sky_top"]] = 1.0 - pale
    shares[..., _INDEX["sky_horizon"]] = pale
    for _ in range(14 if sun is None else 0):
        centre, height = rng.uniform(0, 2 * math.pi), rng.uniform(14, 55)
        broad, tall = rng.uniform(0.1, 0.35), rng.uniform(1.5, 4.0)
        turn = (azimuth - centre + math.pi) % (2 * math.pi) - math.pi
        cloud = 0.5 * np.exp(
            -((turn[None, :] / broad) ** 2) - ((elevation[:, None] - height) / tall) ** 2
        )
        shares *= (1.0 - cloud)[..., None]
        shares[..., _INDEX["cloud"]] += cloud


def _draw_horizon(
    shares: npt.NDArray[np.float32],
    elevation: FloatArray,
    azimuth: FloatArray,
    rng: np.random.Generator,
    look: Look,
) -> None:
    """Round hills far away, and trees and bushes before them."""
    hilly = look.scenery == "hills"
    hills = look.hills or _random_hills(rng, 26 if hilly else 10, 11.0 if hilly else 5.0)
    sun = look.sun or Sun(math.radians(-60.0), math.radians(50.0))
    # What stands towards the sun turns its dark side to the viewer.
    behind = 0.5 + 0.5 * np.cos(azimuth - sun.azimuth)
    shape = (len(elevation), len(azimuth))
    dots = rng.random(shape)
    for hill in sorted(hills, key=lambda each: -each.elevation):
        turn = (azimuth - hill.azimuth + math.pi) % (2 * math.pi) - math.pi
        share = np.clip(np.abs(turn) / (1.6 * hill.half_width), 0.0, 1.0)
        top = math.degrees(hill.elevation) * (0.5 + 0.5 * np.cos(math.pi * share)) ** 1.2
        top += 0.12 * np.repeat(rng.uniform(-1.0, 1.0, len(azimuth) // 8), 8)
        inside = elevation[:, None] < np.where(share < 1.0, top, -1.0)[None, :]
        # The side away from the sun is darker, and the foot paler than the top.
        slope = np.sin(sun.azimuth - hill.azimuth) * np.clip(turn / hill.half_width, -1.0, 1.0)
        height = elevation[:, None] / np.maximum(top, 0.3)[None, :]
        dark = 1.1 * behind**1.5 - 0.3 * slope + 0.3 * height + 0.5 * (dots - 0.5) - 0.15
        dark = np.clip(np.broadcast_to(dark, shape), 0.0, 1.0)[inside]
        shares[inside] = 0.0
        shares[inside, _INDEX["far"]] = 1.0 - dark
        shares[inside, _INDEX["far_dark"]] = dark
    low = elevation[:, None] < (1.2 + 0.5 * np.sin(7.0 * azimuth) * np.sin(3.0 * azimuth))[None]
    _fill(shares, low, "far")
    for _ in range(60 if hilly else 110):
        _draw_tree(shares, elevation, azimuth, rng)
    steps = rng.uniform(0.2, 0.7, size=128)
    bushes = np.repeat(np.where(rng.random(128) < 0.5, steps, 0.0), len(azimuth) // 128)
    _fill(shares, elevation[:, None] < bushes[None, :], "near_dark")


def _random_hills(rng: np.random.Generator, count: int, tallest: float) -> tuple[Hill, ...]:
    """Draws hills all around.

    Args:
        rng: Random numbers.
        count: How many.
        tallest: Highest elevation, degrees.
    """
    return tuple(
        Hill(
            rng.uniform(0.0, 2.0 * math.pi),
            rng.uniform(0.06, 0.24),
            math.radians(rng.uniform(3.0, tallest)),
        )
        for _ in range(count)
    )


def _draw_tree(
    shares: npt.NDArray[np.float32],
    elevation: FloatArray,
    azimuth: FloatArray,
    rng: np.random.Generator,
) -> None:
    """A loose crown of fronds on a thin trunk."""
    centre, stem = rng.uniform(0, 2 * math.pi), rng.uniform(2.0, 5.0)
    broad, crown = rng.uniform(0.025, 0.05), rng.uniform(0.8, 1.6)
    turn = (azimuth - centre + math.pi) % (2 * math.pi) - math.pi
    high = elevation[:, None] - stem + 1.2 * np.abs(turn[None, :]) / broad
    leaves = ((turn[None, :] / broad) ** 2 + (high / crown) ** 2) < 1.0
    bright = rng.random(leaves.shape)
    leaves &= bright < 0.7
    _fill(shares, (np.abs(turn)[None, :] < 0.06 * broad) & (high < 0.0), "trim")
    _fill(shares, leaves & (bright < 0.5), "near_dark")
    _fill(shares, leaves & (bright >= 0.5), "near")


def _draw_hall(
    shares: npt.NDArray[np.float32],
    elevation: FloatArray,
    azimuth: FloatArray,
    rng: np.random.Generator,
) -> None:
    """Walls with doors, windows and shelves, under a ceiling with lamps."""
    # A rectangular hall: the walls' top appears lower towards the corners.
    wall = 14.0 * np.maximum(np.abs(np.sin(azimuth)), 0.6 * np.abs(np.cos(azimuth)))
    _fill(shares, elevation[:, None] >= wall[None, :], "sky_top")
    lamps = ((elevation[:, None] // 6.0) % 3 == 1) & (np.sin(9.0 * azimuth)[None, :] > 0.6)
    _fill(shares, lamps & (elevation[:, None] > wall[None, :] + 4.0), "cloud")
    side = np.abs(np.sin(azimuth)) > 0.6 * np.abs(np.cos(azimuth))
    below = elevation[:, None] < wall[None, :]
    _fill(shares, below & side[None, :], "far")
    _fill(shares, below & ~side[None, :], "far_dark")
    _fill(shares, (elevation < 0.8)[:, None] & np.ones_like(side)[None, :], "trim")
    for _ in range(34):
        centre, broad = rng.uniform(0, 2 * math.pi), rng.uniform(0.03, 0.11)
        bottom, top = sorted(rng.uniform(0.0, 7.0, size=2))
        turn = np.abs((azimuth - centre + math.pi) % (2 * math.pi) - math.pi) < broad
        band = (elevation[:, None] > bottom) & (elevation[:, None] < top) & turn[None, :]
        material = ("near", "near_dark", "sky_horizon", "trim")[int(rng.integers(4))]
        _fill(shares, band & below, material)
