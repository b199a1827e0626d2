"""The figures of several recordings in one: the worst of each, and why some are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from donkey_rl.configuration import Config
from donkey_rl.experiments.fidelity.geometry import GeometryReport
from donkey_rl.experiments.fidelity.motion import MotionReport
from donkey_rl.experiments.fidelity.picture import PictureReport
from donkey_rl.experiments.fidelity.reading import ReadingReport

_HORIZONS = {"05s": 0.5, "1s": 1.0, "2s": 2.0}
_PICTURE = ("horizon_px", "centre_line_px", "edge_line_px")


class RecordingReport(Config):
    """What was measured on one recording; each part says why where it could not be.

    Attributes:
        name: Of the recording.
        records: Number of records; `samples` of them bring a new position.
        frames: Records with a camera frame.
        seconds: Simulation time of all unbroken drives.
        notes: What reading repaired or left out.
    """

    name: str
    records: int
    samples: int
    frames: int
    seconds: float
    notes: tuple[str, ...]
    geometry: GeometryReport
    motion: MotionReport
    picture: PictureReport
    reading: ReadingReport


def geometry(reports: Sequence[RecordingReport]) -> dict[str, Any]:
    """Returns the worst figures of the cross-track error and of progress."""
    errors = [each.geometry.cte for each in reports]
    gains = [each.geometry.progress for each in reports]
    return {
        "cte": {
            "correlation": _worst([each.correlation for each in errors], smallest=True),
            "mean_difference": _worst([each.mean_difference for each in errors]),
        },
        "progress": {
            "correlation": _worst([each.correlation for each in gains], smallest=True),
        },
    }


def motion(reports: Sequence[RecordingReport]) -> dict[str, Any]:
    """Returns the worst median errors after half a second, one and two seconds."""
    figures: dict[str, Any] = {}
    for label, seconds in _HORIZONS.items():
        errors = [
            error for each in reports for error in each.motion.errors if error.seconds == seconds
        ]
        figures[f"speed_error_{label}"] = _worst([error.speed_median for error in errors])
        figures[f"position_error_{label}"] = _worst([error.position_median for error in errors])
    return figures


def picture(reports: Sequence[RecordingReport]) -> dict[str, Any]:
    """Returns the worst differences of horizon and lines."""
    return {name: _worst([getattr(each.picture, name) for each in reports]) for name in _PICTURE}


def reading(reports: Sequence[RecordingReport]) -> dict[str, Any]:
    """Returns what was read from the recording whose lateral offset is read worst."""
    worst = min(
        (each.reading for each in reports if each.reading.lateral_offset.correlation is not None),
        key=lambda each: each.lateral_offset.correlation or 0.0,
        default=ReadingReport(),
    )
    return worst.model_dump(include={"frames", "lateral_offset", "heading"})


def _worst(values: Sequence[float | None], *, smallest: bool = False) -> float | None:
    """Returns the worst of the figures that were measured: the largest, or the smallest."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return min(known) if smallest else max(known)


def reasons(reports: Sequence[RecordingReport]) -> dict[str, str]:
    """Returns why a part was measured on no recording at all."""
    measured = {
        "geometry": [each.geometry.cte.correlation is not None for each in reports],
        "motion": [bool(each.motion.errors) for each in reports],
        "picture": [
            any(getattr(each.picture, name) is not None for name in _PICTURE) for each in reports
        ],
        "reading": [each.reading.lateral_offset.correlation is not None for each in reports],
    }
    # The recording with most to say, not one that lacks the part for another reason.
    most = max(reports, key=lambda each: (each.frames, each.samples))
    return {
        part: getattr(most, part).reason or _unlined(most.picture)
        for part, done in measured.items()
        if not any(done)
    }


def _unlined(report: PictureReport) -> str:
    """Says why frames that were compared gave no figure."""
    return report.estimate.reason or "no painted line was found in both images"
