"""A video of two drivers beside each other, from the start on, with the gap between them."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.errors import InputError
from donkey_rl.experiments import video
from donkey_rl.experiments.video import Frame, Instruments, VideoWriter
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics.race import Race

FloatArray = npt.NDArray[np.float64]

FPS = 20.0
_LINGER_S = 1.5
"""After both have ended, the last picture stays so long."""

_BAR_S = 3.0
"""Gap (s) at which the bar is full."""

_LEVEL_U = 0.05
"""Closer than this they are side by side."""

_LEFT, _RIGHT = (86, 180, 233), (230, 159, 0)
_BACKGROUND, _TEXT = (20, 20, 20), (255, 255, 255)


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        label: Who it is.
        race: Its race.
        frames: Camera frames of shape (H, W, 3) or (H, W, 1), one per row of the race.
    """

    label: str
    race: Race
    frames: Iterable[Frame]


class Gap(NamedTuple):
    """How far one driver is ahead of the other.

    Attributes:
        seconds: Since the one ahead was where the other is now (s); positive where the left one
            is ahead, NaN where the one ahead started from farther along.
        way: Along the path (u), of the same sign.
    """

    seconds: float
    way: float


def write(
    path: str | pathlib.Path, left: Side, right: Side, size: tuple[int, int] = (480, 360)
) -> pathlib.Path:
    """Writes two races as one video in real time, aligned at their starts.

    Who has ended stays in its last picture until the other has ended too.

    Args:
        path: The file.
        left: The driver on the left.
        right: The driver on the right, on the same track.
        size: Width and height of one driver's picture.

    Raises:
        InputError: If they drove on different tracks, a race has no row, or a driver's frames are
            fewer than its rows.
        StorageError: If the file cannot be written.
    """
    sides = (left, right)
    names = {(side.race.header.track, side.race.header.track_length) for side in sides}
    if len(names) > 1 or not all(len(side.race) for side in sides):
        raise InputError(
            "A video of two drivers needs two races on one track. Received: "
            + " and ".join(f"{len(s.race)} rows on {s.race.header.track}" for s in sides)
            + "."
        )
    strip = 2 * max(size[1] // 16, 12)
    players = [_Player(side, size) for side in sides]
    count = math.ceil((max(side.race.duration_s for side in sides) + _LINGER_S) * FPS)
    with VideoWriter(path, FPS, (2 * size[0], size[1] + strip)) as writer:
        for k in range(count):
            time = k / FPS
            pictures = np.concatenate([player.at(time) for player in players], axis=1)
            shown = _strip(gap(left.race, right.race, time), sides, (2 * size[0], strip))
            writer.append(np.concatenate([pictures, shown]))
    return writer.path


def gap(left: Race, right: Race, time: float) -> Gap:
    """Returns the gap between two drivers on one track.

    Args:
        left: Race of the left one.
        right: Race of the right one.
        time: Since both started (s); who has ended is where it ended.
    """
    ways = _ways(left), _ways(right)
    places = [float(np.interp(time, *each)) for each in ways]
    way = places[0] - places[1]
    if way == 0.0:
        return Gap(0.0, 0.0)
    ahead, behind = (ways[0], places[1]) if way > 0 else (ways[1], places[0])
    return Gap(math.copysign(time - _reached(*ahead, behind), way), way)


def _ways(race: Race) -> tuple[FloatArray, FloatArray]:
    """Returns time since the start (s), and the farthest way past the start line so far (u)."""
    way = np.maximum.accumulate(race["progress"]) - race.header.start_line_progress
    return race["time_s"] - race["time_s"][0], way


def _reached(clock: FloatArray, way: FloatArray, place: float) -> float:
    """Returns when a driver first came to a place (s), NaN where it started beyond it."""
    row = int(np.searchsorted(way, place))
    if row == 0:
        return float(clock[0]) if place == way[0] else math.nan
    share = (place - way[row - 1]) / (way[row] - way[row - 1])
    return float(clock[row - 1] + share * (clock[row] - clock[row - 1]))


class _Player:
    """Shows one driver at growing times."""

    def __init__(self, side: Side, size: tuple[int, int]) -> None:
        """Begins before the first row."""
        race = side.race
        self._side, self._size = side, size
        self._clock = race["time_s"] - race["time_s"][0]
        self._shown = zip(side.frames, video.instruments_of(race), strict=False)
        self._row = -1
        self._picture: Frame = np.zeros((size[1], size[0], 3), np.uint8)
        laps = lap_times.laps(race)
        clean = sum(lap.clean for lap in laps)
        wanted = race.header.laps if race.header.closed else 1
        self._end = "out" if len(laps) < wanted else f"finished, {clean} of {len(laps)} laps clean"

    def at(self, time: float) -> Frame:
        """Returns its picture at a time since the start (s)."""
        row = int(np.searchsorted(self._clock, time + 1e-6, side="right")) - 1
        if row > self._row:
            pair = None
            while self._row < row:
                pair = next(self._shown, None)
                self._row += 1
            if pair is None:
                raise InputError(
                    f"A race's video needs one frame per row. Received: fewer than {row + 1} "
                    f"of {self._side.label}."
                )
            frame, shown = pair
            self._picture = video.overlay(frame, self._labelled(shown, row), self._size)
        return self._picture

    def _labelled(self, shown: Instruments, row: int) -> Instruments:
        lines = (self._side.label, *shown.lines)
        if row == len(self._clock) - 1:
            lines = (*lines, self._end)
        return dataclasses.replace(shown, lines=lines)


def _strip(shown: Gap, sides: tuple[Side, Side], size: tuple[int, int]) -> Frame:
    """Draws the gap: who is ahead of whom, and a bar towards the one ahead."""
    from PIL import Image, ImageDraw

    width, height = size
    picture = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    middle = width // 2
    text = "side by side"
    if abs(shown.way) >= _LEVEL_U:
        first = sides[0] if shown.way > 0 else sides[1]
        lead = "" if math.isnan(shown.seconds) else f"{abs(shown.seconds):.2f} s, "
        text = f"{first.label} ahead by {lead}{abs(shown.way):.1f} u"
        share = 0.0 if math.isnan(shown.seconds) else min(abs(shown.seconds) / _BAR_S, 1.0)
        tip = middle - round(math.copysign(share * (middle - 10), shown.way))
        box = (min(middle, tip), height - 10, max(middle, tip), height - 4)
        draw.rectangle(box, fill=_LEFT if shown.way > 0 else _RIGHT)
    draw.line((middle, height - 12, middle, height - 2), fill=_TEXT)
    draw.text((middle, 4), text, fill=_TEXT, font=video.font(height // 2), anchor="ma")
    return np.array(picture)
