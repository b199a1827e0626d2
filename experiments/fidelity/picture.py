"""How close the embedded simulator's picture comes to a recording's frames.

The embedded camera is placed where each recorded frame was taken. The same detector finds the
painted lines in both images, so that what it does badly it does badly in both.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import numpy.typing as npt

from donkey_rl.configuration import Config
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.experiments.fidelity import lines, pairs, surfaces, vanishing
from donkey_rl.experiments.fidelity.camera_fit import CameraEstimate
from donkey_rl.experiments.fidelity.lines import Seen
from donkey_rl.experiments.fidelity.pairs import Pairs
from donkey_rl.experiments.fidelity.surfaces import ColourFigures, SharpnessFigures

FloatArray = npt.NDArray[np.float64]

_WINDOW = 8.0
_WIDE_WINDOW = 20.0
"""How far beside its expected place a line may be found, in pixels of an image 120 high: where
the recording's camera is estimated, and where it is only assumed."""

_THROUGH_FISH_EYE = "lines are not measured through fish-eye"
_FEWEST_PLACES = 30
_BANDS = 8


class Band(Config):
    """Some image rows: first and last one, median difference (pixels), places found in both."""

    first_row: int
    last_row: int
    median_px: float | None
    places: int


class LineFigures(Config):
    """One painted line, row by row in both images of each pair.

    Attributes:
        name: See `lines.PaintedLine`.
        median_px: Median over all rows of all pairs of the absolute difference in columns;
            None where too few rows show the line.
        percentile_90_px: Nine in ten differ by less.
        bias_px: Median difference, embedded less recorded.
        found: Share of the rows that must show the line in which it is found in both images.
        bands: The differences from the horizon down.
        reason: Why there is no figure.
    """

    name: str
    median_px: float | None = None
    percentile_90_px: float | None = None
    bias_px: float | None = None
    found: float = 0.0
    bands: tuple[Band, ...] = ()
    reason: str | None = None


class HorizonFigures(Config):
    """Where the horizon is, in rows from the top of the image.

    Attributes:
        embedded_row: Of the embedded camera, when the car is level.
        recorded_row: Of the camera estimated from the recording, likewise.
        difference_px: Between these two.
        meeting_px: Median over frames on straight road of the absolute difference between the
            rows in which the lines meet, recorded and embedded; needs no estimate.
        meeting_bias_px: Median of embedded less recorded.
        meeting_frames: Frames that it was measured on.
        reason: Why a figure is missing.
    """

    embedded_row: float
    recorded_row: float | None = None
    difference_px: float | None = None
    meeting_px: float | None = None
    meeting_bias_px: float | None = None
    meeting_frames: int = 0
    reason: str | None = None


class PictureReport(Config):
    """How close the picture comes; what could not be measured is None or left out.

    Attributes:
        horizon_px: Difference of the horizon in rows: between the cameras, or by where lines
            meet if the recording's camera cannot be estimated.
        centre_line_px: Median difference of the centre line in columns.
        edge_line_px: Median difference of the right edge line in columns.
        frames: Pairs of images compared.
        size: Height and width of the frames.
        estimate: The recording's camera.
        horizon: Its horizon against the embedded one.
        lines: The painted lines from left to right.
        colours: Of ``road``, ``shoulder``, ``centre_line``, ``edge_line``, ``verge``, ``sky``
            and ``horizon`` (what stands there) as far as seen.
        sharpness: Of the road.
        reason: Why nothing was measured.
    """

    horizon_px: float | None = None
    centre_line_px: float | None = None
    edge_line_px: float | None = None
    frames: int = 0
    size: tuple[int, int] | None = None
    estimate: CameraEstimate = CameraEstimate(reason="no frames were compared")
    horizon: HorizonFigures | None = None
    lines: tuple[LineFigures, ...] = ()
    colours: dict[str, ColourFigures] = {}  # noqa: RUF012 - pydantic copies it
    sharpness: SharpnessFigures | None = None
    reason: str | None = None


def compare(
    recording: Recording,
    trace: Trace,
    track: Track,
    vehicle: Vehicle,
    camera: CameraConfig | None = None,
    estimate: CameraEstimate | None = None,
) -> PictureReport:
    """Compares the frames of a recording with the embedded simulator's from the same places.

    Args:
        recording: The drive with camera frames.
        trace: Its places on the simulator's clock.
        track: Where it was driven.
        vehicle: With which car.
        camera: The embedded camera, the simulator's own by default; it draws images of the
            recording's size.
        estimate: The recording's camera where it is known already.

    Returns:
        The report; one that says why where a recording does not allow it.
    """
    made = pairs.pair(recording, trace, track, vehicle, camera or CameraConfig(), estimate)
    return PictureReport(reason=made) if isinstance(made, str) else measure(made)


def measure(made: Pairs) -> PictureReport:
    """Compares pairs of images; see `compare`."""
    looks = _found(made)
    horizon = _horizon(made, looks)
    figures = _lines(made, looks)
    medians = {line.name: line.median_px for line in figures}
    row = horizon.meeting_px if horizon.difference_px is None else horizon.difference_px
    return PictureReport(
        horizon_px=row,
        centre_line_px=medians.get("centre_line"),
        edge_line_px=medians.get("right_edge_line"),
        frames=len(made.frames),
        size=made.frames.size,
        estimate=made.estimate,
        horizon=horizon,
        lines=figures,
        colours=_colours(made, looks),
        sharpness=_sharpness(made),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Look:
    """Lines in one set of images: where they must be and where they were found."""

    expected: Seen
    column: FloatArray


def _fish_eye(made: Pairs) -> bool:
    return made.camera.fish_eye_x > 0.0 or made.camera.fish_eye_y > 0.0


def _found(made: Pairs) -> tuple[_Look, _Look]:
    """Finds the lines in the recorded and in the embedded images."""
    height = made.frames.size[0]
    known = made.estimate.camera is not None
    sets = (
        (made.frames.images, made.recorded_mounting, _WINDOW if known else _WIDE_WINDOW),
        (made.embedded, made.mounting, _WINDOW),
    )
    looks = []
    for images, camera, window in sets:
        expected = made.layout.seen(made.poses, camera, made.frames.size)
        column, _ = lines.find(images, made.layout.lines, expected, window=window * height / 120.0)
        looks.append(_Look(expected, column))
    return looks[0], looks[1]


def _lines(made: Pairs, looks: tuple[_Look, _Look]) -> tuple[LineFigures, ...]:
    """Compares where each line is found."""
    if _fish_eye(made):
        return tuple(
            LineFigures(name=line.name, reason=_THROUGH_FISH_EYE) for line in made.layout.lines
        )
    recorded, embedded = looks
    gap = embedded.column - recorded.column
    must = lines.inside(embedded.expected, made.frames.size)
    must |= lines.inside(recorded.expected, made.frames.size)
    return tuple(
        _line(line.name, gap[k], must[k], made.mounting.horizon(made.frames.size[0]))
        for k, line in enumerate(made.layout.lines)
    )


def _line(name: str, gap: FloatArray, must: npt.NDArray[np.bool_], horizon: float) -> LineFigures:
    """Sums up the differences of one line, shape (k, h), NaN where it is not in both."""
    both = np.isfinite(gap)
    found = float((both & must).sum() / max(int(must.sum()), 1))
    if both.sum() < _FEWEST_PLACES:
        reason = f"it was found in both images in only {both.sum()} rows"
        return LineFigures(name=name, found=found, reason=reason)
    size = np.abs(gap[both])
    bands = []
    edges = np.linspace(max(0.0, math.ceil(horizon)), gap.shape[1], _BANDS + 1).astype(int)
    for first, last in itertools.pairwise(edges.tolist()):
        part = np.abs(gap[:, first:last])[both[:, first:last]]
        median = float(np.median(part)) if len(part) else None
        bands.append(Band(first_row=first, last_row=last - 1, median_px=median, places=len(part)))
    return LineFigures(
        name=name,
        median_px=float(np.median(size)),
        percentile_90_px=float(np.percentile(size, 90)),
        bias_px=float(np.median(gap[both])),
        found=found,
        bands=tuple(bands),
    )


def _horizon(made: Pairs, looks: tuple[_Look, _Look]) -> HorizonFigures:
    """Compares the horizon, by the cameras and by where lines meet on straight road."""
    row = made.mounting.horizon(made.frames.size[0])
    other = made.estimate.horizon_row
    reasons = [] if other is not None else [made.estimate.reason or ""]
    gap = np.zeros(0)
    if _fish_eye(made):
        reasons.append(_THROUGH_FISH_EYE)
    else:
        ends = vanishing.straight_ahead(made.frames.track, made.poses)
        met = [
            vanishing.rows(look.column, ends, (made.poses, camera, made.frames.size))
            for look, camera in zip(looks, (made.recorded_mounting, made.mounting), strict=True)
        ]
        gap = (met[1] - met[0])[np.isfinite(met[1] - met[0])]
    enough = len(gap) >= vanishing.FEWEST
    if not enough:
        reasons.append(f"lines meet on straight road in only {len(gap)} frames")
    return HorizonFigures(
        embedded_row=row,
        recorded_row=other,
        difference_px=None if other is None else abs(other - row),
        meeting_px=float(np.median(np.abs(gap))) if enough else None,
        meeting_bias_px=float(np.median(gap)) if enough else None,
        meeting_frames=len(gap),
        reason="; ".join(reasons) or None,
    )


def _colours(made: Pairs, looks: tuple[_Look, _Look]) -> dict[str, ColourFigures]:
    """Compares the colours of everything whose place is known."""
    track, size, count = made.frames.track, made.frames.size, len(made.frames)
    known = surfaces.surfaces(track)
    sets = []
    for images, look, camera in zip(
        (made.frames.images, made.embedded),
        looks,
        (made.recorded_mounting, made.mounting),
        strict=True,
    ):
        places = surfaces.ground_pixels(track, known, made.poses, camera, size)
        places |= surfaces.above_pixels(count, camera, size)
        pixels = {name: images[place] for name, place in places.items()}
        for material in lines.PAINT:
            own = [
                images[surfaces.paint_pixels(look.column[k], look.expected.width[k])]
                for k, line in enumerate(made.layout.lines)
                if line.material == material
            ]
            pixels[material] = np.concatenate(own) if own else np.zeros((0, 3), dtype=np.uint8)
        sets.append(pixels)
    figures = {
        name: surfaces.compare_colours(sets[0][name], sets[1][name])
        for name in sorted(sets[0].keys() & sets[1].keys())
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _sharpness(made: Pairs) -> SharpnessFigures | None:
    """Compares how sharp the road is."""
    track, size = made.frames.track, made.frames.size
    known = surfaces.surfaces(track)
    means = []
    for images, camera in (
        (made.frames.images, made.recorded_mounting),
        (made.embedded, made.mounting),
    ):
        places = surfaces.ground_pixels(track, known, made.poses, camera, size)
        if "road" not in places or not len(places["road"][0]):
            return None
        means.append(float(surfaces.laplacian(images)[places["road"]].mean()))
    ratio = means[1] / means[0] if means[0] > 0.0 else math.inf
    if not math.isfinite(ratio):
        return None
    return SharpnessFigures(recorded=means[0], embedded=means[1], ratio=ratio)
