"""Colours and sharpness of what geometry says a pixel shows: road, paint, verge, sky."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from donkey_rl.configuration import Config
from donkey_rl.envs.simulator.track import Track
from donkey_rl.experiments.fidelity import projection
from donkey_rl.experiments.fidelity.lines import LUMINANCE, PAINT
from donkey_rl.experiments.fidelity.poses import Poses
from donkey_rl.experiments.fidelity.projection import Mounting

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
ImageArray = npt.NDArray[np.uint8]

Colour = tuple[float, float, float]
Pixels = tuple[IntArray, IntArray, IntArray]
"""Image, row and column of each pixel."""

VERGE, SKY, HORIZON = "verge", "sky", "horizon"

_AHEAD = np.arange(2.5, 12.01, 0.25)
_ACROSS = 0.15
_MARGIN = 0.3
"""Places nearer than this (u) to another surface are left out."""

_VERGE = 4.0
"""How far the verge reaches beside the outermost stripe (u)."""

_SKY_FROM = math.radians(20.0)
_HORIZON = (math.radians(1.0), math.radians(10.0))
"""Elevations: sky above the first, hills and trees between the other two."""

_FEWEST = 200


class Spread(Config):
    """Red, green and blue of many pixels, 0 to 255."""

    median: Colour
    low: Colour
    high: Colour


class ColourFigures(Config):
    """Colours of one surface.

    Attributes:
        recorded: Median, 10th and 90th percentile in the recording.
        embedded: The same in the embedded simulator.
        distance: Mean over the channels of the Wasserstein distance (0 to 255).
        pixels: How many there were in the recording.
    """

    recorded: Spread
    embedded: Spread
    distance: float
    pixels: int


class SharpnessFigures(Config):
    """Mean absolute Laplacian of the road's luminance, 0 to 255, and embedded / recorded."""

    recorded: float
    embedded: float
    ratio: float


@dataclasses.dataclass(frozen=True, eq=False)
class Surfaces:
    """Which ground points beside a track's path have which surface.

    Attributes:
        lateral: Offsets in u, shape (m,).
        material: Name of what lies there, or ``""`` near a boundary, m of them.
        own: Whether the place at an arc length step belongs to this part of the road and to no
            other, shape (steps, m).
    """

    lateral: FloatArray
    material: tuple[str, ...]
    own: npt.NDArray[np.bool_]


def surfaces(track: Track) -> Surfaces:
    """Says which surface lies at which lateral offset of a track."""
    low = min(stripe.start for stripe in track.stripes) - _VERGE
    high = max(stripe.end for stripe in track.stripes) + _VERGE
    lateral = np.arange(low, high, _ACROSS)

    def on_top(offset: float) -> str:
        over = [s.material for s in track.stripes if s.start <= offset < s.end]
        return over[-1] if over else VERGE

    material = []
    for offset in lateral:
        near = {on_top(float(offset + step)) for step in (-_MARGIN, 0.0, _MARGIN)}
        material.append(near.pop() if len(near) == 1 else "")
    arc = np.arange(len(track.path.points)) * track.path.spacing
    points = track.path.beside(arc[:, None], lateral)
    own = np.abs(track.path.locate(points)[1] - lateral) < 0.1
    return Surfaces(lateral, tuple(material), own)


def ground_pixels(
    track: Track, known: Surfaces, poses: Poses, camera: Mounting, size: tuple[int, int]
) -> dict[str, Pixels]:
    """Returns the pixels (image, row, column) that show each surface.

    Args:
        track: The track.
        known: Its surfaces.
        poses: The cars.
        camera: How the camera sits on them.
        size: Height and width of the images.
    """
    view = projection.sight(poses, camera, size)
    places = np.nan_to_num(np.column_stack([poses.x, poses.z]))
    arc = track.path.locate(places)[0][:, None] + _AHEAD
    if not track.closed:
        arc = np.clip(arc, 0.0, track.length)
    step = np.rint(arc / track.path.spacing).astype(np.int64) % len(known.own)
    points = track.path.beside(arc[..., None], known.lateral)
    where = projection.pixels(view, points.reshape(len(poses), -1, 2)).reshape(points.shape)
    column, row = where[..., 0], where[..., 1]
    with np.errstate(invalid="ignore"):
        seen = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0]) & known.own[step]
    found: dict[str, Pixels] = {}
    for name in sorted(set(known.material) - {"", *PAINT}):
        chosen = seen & (np.array(known.material) == name)
        image = np.nonzero(chosen)[0]
        above = image * size[0] + row[chosen].astype(np.int64)
        # Near the car many places fall into one pixel, which counts once.
        flat = np.unique(above * size[1] + column[chosen].astype(np.int64))
        above = flat // size[1]
        found[name] = (above // size[0], above % size[0], flat % size[1])
    return found


def above_pixels(count: int, camera: Mounting, size: tuple[int, int]) -> dict[str, Pixels]:
    """Returns the pixels (image, row, column) of sky and of the band above the horizon."""
    rows = np.arange(size[0])
    up = np.arctan((0.5 * size[0] - rows - 0.5) / camera.focal(size[0])) - camera.pitch
    bands = {SKY: up >= _SKY_FROM, HORIZON: (up >= _HORIZON[0]) & (up < _HORIZON[1])}
    found: dict[str, Pixels] = {}
    for name, band in bands.items():
        image, row, column = np.meshgrid(
            np.arange(count), rows[band], np.arange(size[1]), indexing="ij"
        )
        found[name] = (image.ravel(), row.ravel(), column.ravel())
    return found


def paint_pixels(column: FloatArray, width: FloatArray) -> Pixels:
    """Returns the pixels (image, row, column) in the middle of a line where it is two wide.

    Args:
        column: Where it was found, shape (k, h), NaN where it was not.
        width: Columns that it covers, shape (k, h).
    """
    image, row = np.nonzero(np.isfinite(column) & (width >= 2.0))
    return image, row, column[image, row].astype(np.int64)


def compare_colours(recorded: ImageArray, embedded: ImageArray) -> ColourFigures | None:
    """Compares the colours of two sets of pixels, shapes (n, 3) and (m, 3).

    Returns:
        None if either has fewer than 200 pixels.
    """
    if min(len(recorded), len(embedded)) < _FEWEST:
        return None
    share = np.linspace(0.0, 100.0, 201)
    ladders = [np.percentile(each, share, axis=0) for each in (recorded, embedded)]
    # The distance is the area between the two quantile functions.
    distance = float(np.trapezoid(np.abs(ladders[0] - ladders[1]), share / 100.0, axis=0).mean())
    return ColourFigures(
        recorded=_spread(recorded),
        embedded=_spread(embedded),
        distance=distance,
        pixels=len(recorded),
    )


def _spread(colours: ImageArray) -> Spread:
    median, low, high = (
        (float(red), float(green), float(blue))
        for red, green, blue in np.percentile(colours, (50, 10, 90), axis=0)
    )
    return Spread(median=median, low=low, high=high)


def laplacian(images: ImageArray) -> FloatArray:
    """Returns the absolute Laplacian of the luminance, shape (k, h, w), 0 along the border."""
    light = images.astype(np.float64) @ LUMINANCE
    out = np.zeros_like(light)
    middle = light[:, 1:-1, 1:-1]
    around = light[:, :-2, 1:-1] + light[:, 2:, 1:-1] + light[:, 1:-1, :-2] + light[:, 1:-1, 2:]
    out[:, 1:-1, 1:-1] = np.abs(around - 4.0 * middle)
    return np.asarray(out, dtype=np.float64)
