"""Pictures of a race at a host: what was measured over time, and the video of what was seen."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.link import images
from donkey_rl.errors import MessageError, StorageError
from donkey_rl.experiments import figures, video
from donkey_rl.experiments.race_drives import Drive
from donkey_rl.experiments.video import Frame, Instruments
from donkey_rl.metrics import laps as lap_times

FPS = 20.0
SIZE = (480, 360)
MOST_S = 600.0
"""A video is no longer than this (s)."""

_LONGEST_STILL_S = 2.0
"""Where no frame came for longer, as while a connection was lost, the video goes on."""

_COLUMNS = ("speed", "steering", "throttle", "latency_ms")
_LABELS = ("speed (u/s)", "steering (right +)", "throttle", "latency (ms)")


def over_time(drives: Sequence[Drive], path: str | pathlib.Path, title: str) -> pathlib.Path:
    """Draws speed, steering, throttle and latency over time, with laps and disqualifications.

    Args:
        drives: In order.
        path: The PNG file to write.
        title: Above the picture.

    Raises:
        StorageError: If the file cannot be written.
    """
    figure = figures.new_figure(12.0, 8.0)
    panels = figure.subplots(len(_COLUMNS), 1, sharex=True)
    for axes, column, label in zip(panels, _COLUMNS, _LABELS, strict=True):
        for drive in drives:
            axes.plot(drive.noted_s, drive.race[column], color=figures.BLUE, linewidth=0.9)
            for lap in lap_times.laps(drive.race):
                axes.axvline(drive.moment_s(lap.end_s), color=figures.GREEN, linewidth=1.0)
            timing = drive.race.header.timing
            if timing is not None and timing.disqualified:
                axes.axvline(
                    drive.noted_s[-1], color=figures.VERMILION, linestyle="--", linewidth=1.2
                )
        axes.set(ylabel=label)
        axes.grid(alpha=0.3)
    top = panels[0]
    for drive in drives:
        for lap in lap_times.laps(drive.race):
            # Beside the line that ends the lap.
            top.annotate(
                f"{lap.time_s:.2f} s",
                (drive.moment_s(lap.end_s), 1.0),
                xytext=(-3, -5),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                rotation=90,
                ha="right",
                va="top",
                fontsize=8,
            )
    top.plot([], [], color=figures.GREEN, label="lap")
    top.plot([], [], color=figures.VERMILION, linestyle="--", label="disqualified")
    top.legend(loc="lower right", fontsize=9)
    panels[-1].set(xlabel="time since the record began (s); GO to stop only")
    figure.suptitle(title)
    return figures.save(figure, path)


def film(
    drives: Iterable[Drive], path: str | pathlib.Path, shown: Callable[[float], None]
) -> float:
    """Writes what was seen in some drives, one after the other, as a video in real time.

    Each frame is shown from its own time until that of the next.

    Args:
        drives: The drives; ten minutes of them are shown.
        path: The file.
        shown: Called with how much is written (s).

    Returns:
        Its length (s); 0, and no file, where there is no picture that can be read.

    Raises:
        StorageError: If the file cannot be written.
    """
    writer = video.VideoWriter(path, FPS, SIZE)
    try:
        for drive in drives:
            for frame in _frames(drive):
                if writer.frames >= MOST_S * FPS:
                    break
                writer.append(frame)
                shown(writer.frames / FPS)
        if not writer.frames:
            writer.discard()
            return 0.0
        writer.close()
    except BaseException:
        writer.discard()
        raise
    return writer.frames / FPS


def _frames(drive: Drive) -> Iterator[Frame]:
    """Yields the frames of a drive's video, evenly in time."""
    rows = _rows_shown(drive.race["time_s"])
    instruments = list(video.instruments_of(drive.race))
    seen: npt.NDArray[np.uint8] | None = None
    shown: Frame | None = None
    last = -1
    for row in rows.tolist():
        if row != last:
            seen = _picture(drive, row) if drive.pictures[row] is not None else seen
            shown = None if seen is None else _drawn(seen, instruments[row])
            last = row
        if shown is not None:
            yield shown


def _rows_shown(time_s: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Returns which row each frame of a video shows.

    >>> _rows_shown(np.array([0.0, 0.05, 0.2])).tolist()
    [0, 1, 1, 1, 2]
    """
    steps = np.minimum(np.diff(time_s), _LONGEST_STILL_S)
    shown_s = np.concatenate([[0.0], np.cumsum(steps)])
    moments = np.arange(int(shown_s[-1] * FPS + 1e-6) + 1) / FPS
    return np.searchsorted(shown_s, moments + 1e-6, side="right") - 1


def _picture(drive: Drive, row: int) -> npt.NDArray[np.uint8] | None:
    """Returns the picture of a row, None where it cannot be read."""
    place = drive.pictures[row]
    try:
        return images.unpack(place.read()) if place is not None else None
    except (MessageError, StorageError):
        return None


def _drawn(seen: npt.NDArray[np.uint8], instruments: Instruments) -> Frame:
    return video.overlay(seen, instruments, SIZE)
