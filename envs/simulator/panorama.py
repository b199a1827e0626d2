"""What stands around a track, too far away to move: sky and hills, trees, or the walls of a hall.

Baked once a track as bytes over azimuth and elevation (`camera.PANORAMA_WIDTH` columns,
`camera.PANORAMA_HEIGHT` rows from the horizon up).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import camera, materials
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]

_INDEX = {name: k for k, name in enumerate(materials.SURROUNDINGS)}
_OVERSAMPLE = 2
_HORIZON_DEG = 16.0
"""Nothing at the horizon stands higher than this."""


def bake(track: Track) -> npt.NDArray[np.uint8]:
    """Draws the surroundings of a track.

    Returns:
        Shape (PANORAMA_HEIGHT, PANORAMA_WIDTH), row 0 at the horizon.
    """
    rng = np.random.default_rng([len(track.name), *track.name.encode()])
    width, height = camera.PANORAMA_WIDTH, camera.PANORAMA_HEIGHT * _OVERSAMPLE
    azimuth = 2.0 * math.pi * (np.arange(width * _OVERSAMPLE) + 0.5) / (width * _OVERSAMPLE)
    top = math.degrees(camera.PANORAMA_TOP)
    elevation = (np.arange(height) + 0.5) / height * top
    shares = np.zeros((height, len(azimuth), materials.COUNT), dtype=np.float32)
    if track.look.indoor:
        _draw_hall(shares, elevation, azimuth, rng)
    else:
        _draw_sky(shares, elevation, azimuth, rng)
        low = elevation < _HORIZON_DEG
        hills = track.look.scenery == "hills"
        _draw_horizon(shares[: low.sum()], elevation[low], azimuth, rng, hills=hills)
    blocks = shares.reshape(
        camera.PANORAMA_HEIGHT, _OVERSAMPLE, width, _OVERSAMPLE, materials.COUNT
    )
    mixed = blocks.mean(axis=(1, 3), dtype=np.float64)
    return materials.encode(mixed, rng.uniform(0.2, 0.8, size=mixed.shape[:2]))


def _fill(shares: npt.NDArray[np.float32], where: npt.NDArray[np.bool_], material: str) -> None:
    """Covers a region with one material."""
    shares[where] = 0.0
    shares[where, _INDEX[material]] = 1.0


def _draw_sky(
    shares: npt.NDArray[np.float32],
    elevation: FloatArray,
    azimuth: FloatArray,
    rng: np.random.Generator,
) -> None:
    """A sky that pales towards the horizon, with soft clouds."""
    pale = np.exp(-elevation / 18.0)
    shares[..., _INDEX["sky_top"]] = (1.0 - pale)[:, None]
    shares[..., _INDEX["sky_horizon"]] = pale[:, None]
    for _ in range(14):
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
    *,
    hills: bool,
) -> None:
    """Round hills far away, and hedges and trees before them."""
    ridge = np.full(azimuth.shape, 1.0)
    lit = np.ones(azimuth.shape, dtype=bool)
    for _ in range(26 if hills else 10):
        centre = rng.uniform(0, 2 * math.pi)
        broad, tall = rng.uniform(0.06, 0.24), rng.uniform(3.0, 11.0 if hills else 5.0)
        turn = (azimuth - centre + math.pi) % (2 * math.pi) - math.pi
        bump = tall * np.exp(-((turn / broad) ** 2))
        lit = np.where(bump > ridge, turn < 0.25 * broad, lit)
        ridge = np.maximum(ridge, bump)
    below = elevation[:, None] < ridge[None, :]
    _fill(shares, below & lit[None, :], "far")
    _fill(shares, below & ~lit[None, :], "far_dark")
    for _ in range(60 if hills else 110):
        centre, stem = rng.uniform(0, 2 * math.pi), rng.uniform(1.5, 5.0)
        broad, crown = rng.uniform(0.02, 0.05), rng.uniform(0.9, 2.2)
        turn = (azimuth - centre + math.pi) % (2 * math.pi) - math.pi
        high = elevation[:, None] - stem
        leaves = (turn[None, :] / broad) ** 2 + (high / crown) ** 2 < rng.uniform(0.6, 1.0)
        leaves &= rng.random(leaves.shape) < 0.75
        trunk = (np.abs(turn)[None, :] < 0.1 * broad) & (elevation[:, None] < stem)
        _fill(shares, trunk, "near_dark")
        _fill(shares, leaves & (high > 0.0), "near")
        _fill(shares, leaves & (high <= 0.0), "near_dark")
    steps = rng.uniform(0.4, 1.4, size=96)
    hedge = np.repeat(np.where(rng.random(96) < 0.7, steps, 0.3), len(azimuth) // 96 + 1)
    low = elevation[:, None] < hedge[None, : len(azimuth)]
    _fill(shares, low, "near")
    _fill(shares, low & (elevation[:, None] < 0.35), "near_dark")


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
