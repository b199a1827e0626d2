"""Lap timing while driving, for many cars at once.

The same rules as `metrics.laps` applies to a finished record: the clock runs from start line to
start line in simulation time, interpolated between steps; the whole way round must be driven in
between; a crossing sooner than the least lap time after the last accepted one is ignored.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class LapTimer:
    """Times the laps of N cars.

    Attributes:
        count: Laps completed since the start, shape (N,).
        last_time: Time of the last lap (s), 0 before the first, shape (N,).
        last_clean: Whether the last lap was clean: no step off the road, no hit, shape (N,).
        clean_count: Clean laps since the start, shape (N,).
        best_clean: Best clean lap time (s), infinite before the first, shape (N,).
    """

    def __init__(self, track: Track, count: int) -> None:
        """Prepares the clocks of `count` cars on a track."""
        self._length = track.length
        self._line = track.start_line
        self._closed = track.closed
        self._least = track.min_lap_s
        self.count = np.zeros(count, dtype=np.int64)
        self.clean_count = np.zeros(count, dtype=np.int64)
        self.last_time = np.zeros(count)
        self.last_clean = np.zeros(count, dtype=np.bool_)
        self.best_clean = np.full(count, np.inf)
        self._next_line = np.zeros(count)
        self._crossed_at = np.full(count, np.nan)
        self._clean = np.ones(count, dtype=np.bool_)
        self._time = np.zeros(count)
        self._progress = np.zeros(count)

    def restart(self, cars: npt.NDArray[np.int64], arc: FloatArray, time: FloatArray) -> None:
        """Sets clocks back for cars that start at given arc lengths (u) and times (s)."""
        self.count[cars] = 0
        self.clean_count[cars] = 0
        self.last_time[cars] = 0.0
        self.last_clean[cars] = False
        self.best_clean[cars] = np.inf
        self._next_line[cars] = start_line_progress(self._line, arc, self._length, self._closed)
        self._crossed_at[cars] = np.nan
        self._clean[cars] = True
        self._time[cars] = time
        self._progress[cars] = 0.0

    def advance(self, time: FloatArray, progress: FloatArray, faults: Flags) -> Flags:
        """Moves all clocks on by one step.

        Args:
            time: Simulation time (s), shape (N,).
            progress: Progress since the start (u), shape (N,).
            faults: Whether something happened in this step that spoils a lap, shape (N,).

        Returns:
            Which cars completed a lap in this step, shape (N,).
        """
        # Who stands on the line meets it once it drives on, as in the race server.
        crossing = (progress >= self._next_line) & (progress > self._progress)
        done = np.zeros(len(time), dtype=np.bool_)
        for i in np.flatnonzero(crossing):
            gained = progress[i] - self._progress[i]
            share = (self._next_line[i] - self._progress[i]) / gained
            moment = self._time[i] + max(share, 0.0) * (time[i] - self._time[i])
            began = np.isnan(self._crossed_at[i])
            # An open road has a start and an end: one lap.
            lap = self._length if self._closed else self._length - self._line
            self._next_line[i] += lap if self._closed or began else np.inf
            if began:
                self._begin(int(i), moment, faults)
            elif moment - self._crossed_at[i] >= self._least:
                # What happens in the step of the crossing spoils the lap that it begins.
                self._end(int(i), moment)
                self._begin(int(i), moment, faults)
                done[i] = True
        self._clean &= ~faults
        self._time[:] = time
        self._progress[:] = progress
        return done

    @property
    def spoiled(self) -> Flags:
        """Whether the lap that a car drives now can no longer be clean, shape (N,)."""
        return np.asarray(~self._clean & ~np.isnan(self._crossed_at))

    @property
    def elapsed(self) -> FloatArray:
        """Time of the lap that a car drives now (s), NaN before the start line, shape (N,)."""
        return self._time - self._crossed_at

    def _begin(self, i: int, moment: float, faults: Flags) -> None:
        self._crossed_at[i] = moment
        self._clean[i] = not faults[i]

    def _end(self, i: int, moment: float) -> None:
        self.last_time[i] = moment - self._crossed_at[i]
        self.last_clean[i] = self._clean[i]
        self.count[i] += 1
        if self._clean[i]:
            self.clean_count[i] += 1
            self.best_clean[i] = min(self.best_clean[i], self.last_time[i])


def start_line_progress(
    line: float, arc: npt.ArrayLike, length: float, closed: bool
) -> FloatArray:
    """Returns the progress (u) at which a car first meets the start line.

    Args:
        line: Arc length of the start line (u).
        arc: Arc length where the car starts (u).
        length: Length of the path (u).
        closed: Whether the path is closed; on an open one a line behind the car counts at once.
    """
    gap = line - np.asarray(arc, dtype=np.float64)
    return np.asarray(gap % length if closed else np.maximum(gap, 0.0))
