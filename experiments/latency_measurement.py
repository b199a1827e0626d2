"""Measuring how late a simulator's commands are: `donkey-rl doctor --latency-profile`.

A command's echo comes with the first frame after its arrival. From sending a command to its echo
it takes the way there and back, and what is left of the time until the next frame. That rest is
no part of the link. With one command for each frame it would be half an interval on average, and
as much noise to either side; so several are sent, and a frame shows the last that has arrived:
what is left is half the time between two of them.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable

import numpy as np

from donkey_rl.envs import latency_profile
from donkey_rl.envs.link.link import SimulatorLink
from donkey_rl.errors import LinkTimeout
from donkey_rl.experiments.interruption import Interruption
from donkey_rl.experiments.progress import ProgressDisplay

MEASURED_S = 20.0
"""How long is measured."""

_SPACING_S = 0.016
"""Between two commands: about three for each frame."""

_SILENCE_S = 5.0
"""Without a frame for so long, the link is lost."""

_VALUES = 1000
_WIDTH = 0.5
"""Commands steer by one of so many values, in a range of this width; each names its command."""


class _Echoes:
    """Which command was sent when, and which a frame shows."""

    def __init__(self) -> None:
        self._sent_s: list[float] = []
        self._shown = -1

    def next_value(self) -> float:
        """Returns the steering of the next command."""
        return _WIDTH * ((len(self._sent_s) % _VALUES) / _VALUES - 0.5)

    def sent(self, now_s: float) -> None:
        """The command of `next_value` has been sent."""
        self._sent_s.append(now_s)

    def shown(self, steering: float, arrived_s: float) -> tuple[float, float] | None:
        """Takes what a frame shows.

        Returns:
            When the command that it is the first to show was sent (s), and its delay (ms); None
            where it shows none for the first time.
        """
        value = round((steering / _WIDTH + 0.5) * _VALUES)
        if abs(steering - _WIDTH * (value / _VALUES - 0.5)) > 0.2 * _WIDTH / _VALUES:
            return None
        newest = len(self._sent_s) - 1
        found = newest - (newest - value) % _VALUES
        if not self._shown < found:
            return None
        self._shown = found
        sent_s = self._sent_s[found]
        followed_s = self._sent_s[found + 1] if found < newest else arrived_s
        delay_s = max(0.0, arrived_s - sent_s - 0.5 * (followed_s - sent_s))
        return sent_s, min(1000.0 * delay_s, latency_profile.MOST_MS)


def measure(
    link: SimulatorLink, progress: ProgressDisplay, seconds: float
) -> tuple[list[float], list[float]]:
    """Measures with the brake on; Ctrl-C ends it early.

    Args:
        link: An open connection whose car stands.
        progress: Shows how far it is.
        seconds: How long, by the clock.

    Returns:
        When each message was sent (s since the first), and its two-way delay (ms): the longest
        stretch without a gap that a profile may not have.

    Raises:
        LinkError: The connection failed.
    """
    with (
        progress.phase("measuring the latency", round(seconds), "s") as phase,
        Interruption() as interruption,
    ):
        rows = _rows(link, seconds, lambda: interruption.requested, phase.update)
        link.control(0.0, 0.0, 1.0)
    if not rows:
        return [], []
    table = np.array(rows)
    gaps = np.flatnonzero(np.diff(table[:, 0]) > latency_profile.LONGEST_GAP_S) + 1
    stretch = max(np.split(table, gaps), key=len)
    return (stretch[:, 0] - stretch[0, 0]).tolist(), stretch[:, 1].tolist()


def _rows(
    link: SimulatorLink, seconds: float, over: Callable[[], bool], show: Callable[[int], None]
) -> list[tuple[float, float]]:
    """Returns when each echoed command was sent (s), and its delay (ms)."""
    echoes, rows = _Echoes(), list[tuple[float, float]]()
    began = heard = time.perf_counter()
    while (now := time.perf_counter()) < began + seconds and not over():
        show(int(now - began))
        link.control(echoes.next_value(), 0.0, 1.0)
        echoes.sent(now)
        try:
            frame = link.next_frame(_SPACING_S)
        except LinkTimeout:
            if now > heard + _SILENCE_S:
                raise
            continue
        heard = now
        row = echoes.shown(frame.telemetry.steering, frame.arrived)
        if row is not None:
            rows.append(row)
    return rows


def write(
    link: SimulatorLink, path: pathlib.Path, progress: ProgressDisplay, seconds: float
) -> tuple[bool, str]:
    """Measures, and writes a profile where there is enough for one.

    Args:
        link: An open connection whose car stands.
        path: The file.
        progress: Shows how far it is.
        seconds: How long, by the clock.

    Returns:
        Whether it was written, and what was found.

    Raises:
        InputError: The file cannot be written.
        LinkError: The connection failed.
    """
    time_s, delay_ms = measure(link, progress, seconds)
    if len(time_s) < latency_profile.LEAST_ROWS:
        return False, f"{len(time_s)} commands were echoed, {latency_profile.LEAST_ROWS} make one"
    latency_profile.write(path, time_s, delay_ms)
    low, middle, high = np.percentile(delay_ms, [5, 50, 95])
    return True, (
        f"{middle:.0f} ms there and back, 5 % below {low:.0f} ms, 5 % above {high:.0f} ms; "
        f"{len(time_s)} messages in {path}"
    )
