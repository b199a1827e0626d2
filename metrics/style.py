"""The metrics of how a car is driven: the start, the commands, and how late they come.

Figures of commands are per step, which is 0.05 s of simulation time; commands are in [-1, 1].
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from donkey_rl.metrics import laps
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import metric

FloatArray = npt.NDArray[np.float64]

REVERSAL = 0.1
"""A command that goes back by less than this has not turned."""


@metric(unit="s", direction="lower", low=0.0)
def launch_s(race: Race) -> float:
    """Time from the start to the start line.

    Time of the first crossing of the line minus that of the first row; NaN if it was never
    crossed.

    The race server gives 10 s for it.

    >>> from donkey_rl.metrics.examples import drive, steady
    >>> round(launch_s(drive(steady(16.0, 1.0))), 3)  # 2 u at 16 u/s
    0.125
    """
    crossed, timing = laps.crossings(race), race.header.timing
    if timing is not None and timing.crossings and timing.crossings[0].lap_s:
        # It began under way.
        return math.nan
    return float(crossed[0] - race["time_s"][0]) if len(crossed) else math.nan


@metric(unit="", direction="lower", low=0.0, high=2.0)
def steering_change(race: Race) -> float:
    """Mean change of the steering command from one step to the next.

    ``mean(abs(s[i] - s[i-1]))``, none over a reset; NaN for a single row.

    >>> from donkey_rl.metrics.examples import drive
    >>> steering_change(drive([0.0, 0.1, 0.2, 0.3], steering=[0.0, 0.5, 0.5, -0.5]))  # 1.5 / 3
    0.5
    """
    return _mean_size(_changes(race, "steering", 1))


@metric(unit="", direction="lower", low=0.0, high=2.0)
def throttle_change(race: Race) -> float:
    """Mean change of the throttle command from one step to the next.

    ``mean(abs(t[i] - t[i-1]))``, none over a reset; NaN for a single row.

    >>> from donkey_rl.metrics.examples import drive
    >>> throttle_change(drive([0.0, 0.1, 0.2], throttle=[0.0, 1.0, 0.5]))
    0.75
    """
    return _mean_size(_changes(race, "throttle", 1))


@metric(unit="", direction="lower", low=0.0, high=4.0)
def steering_jerk(race: Race) -> float:
    """Mean change of the change of the steering command.

    ``mean(abs(s[i+1] - 2 s[i] + s[i-1]))``, none over a reset; NaN below three rows.

    A steady turn of the wheel has none, trembling has much.

    >>> from donkey_rl.metrics.examples import drive
    >>> way = [0.0, 0.1, 0.2, 0.3]
    >>> steering_jerk(drive(way, steering=[0.0, 0.25, 0.5, 0.75]))
    0.0
    >>> steering_jerk(drive(way, steering=[0.0, 0.25, 0.0, 0.25]))  # 0.25, -0.25, 0.25: 0.5 twice
    0.5
    """
    return _mean_size(_changes(race, "steering", 2))


@metric(unit="", direction="lower", low=0.0, high=4.0)
def throttle_jerk(race: Race) -> float:
    """Mean change of the change of the throttle command.

    ``mean(abs(t[i+1] - 2 t[i] + t[i-1]))``, none over a reset; NaN below three rows.

    >>> from donkey_rl.metrics.examples import drive
    >>> throttle_jerk(drive([0.0, 0.1, 0.2], throttle=[0.0, 1.0, 0.5]))
    1.5
    """
    return _mean_size(_changes(race, "throttle", 2))


@metric(unit="1/s", direction="lower", low=0.0)
def steering_reversals(race: Race) -> float:
    """How often a second the steering turns back.

    Number of times the command leaves its last extreme by 0.1 or more in the other direction, by
    the time from the first row to the last; NaN for a single row.

    After McLean and Hoffmann 1975, "Steering reversals as a measure of driver performance and
    steering task difficulty".

    >>> from donkey_rl.metrics.examples import drive
    >>> commands = [0.0, 0.5, 0.45, 0.5, -0.5, 0.0]  # turns at 0.5 and -0.5; 0.05 is too little
    >>> steering_reversals(drive([0.0] * 6, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], steering=commands))
    2.0
    """
    return _reversals(race, "steering")


@metric(unit="1/s", direction="lower", low=0.0)
def throttle_reversals(race: Race) -> float:
    """How often a second the throttle turns back.

    As ``steering_reversals``, of the throttle command.

    >>> from donkey_rl.metrics.examples import drive
    >>> throttle_reversals(drive([0.0] * 3, [0.0, 0.5, 1.0], throttle=[0.0, 1.0, 0.5]))
    1.0
    """
    return _reversals(race, "throttle")


@metric(unit="ms", direction="lower", low=0.0)
def latency_ms(race: Race) -> float:
    """Median time from a frame to the command for it.

    Median of ``latency_ms`` over the rows where it is known; NaN where it never is.

    >>> from donkey_rl.metrics.examples import drive
    >>> latency_ms(drive([0.0, 0.1, 0.2, 0.3], latency_ms=[float("nan"), 20.0, 90.0, 30.0]))
    30.0
    """
    return _latency(race, 50.0)


@metric(unit="ms", direction="lower", low=0.0)
def latency_p95_ms(race: Race) -> float:
    """Time from a frame to the command for it that 95 % of the commands keep within.

    95th percentile of ``latency_ms`` over the rows where it is known, interpolated between them;
    NaN where it never is.

    >>> from donkey_rl.metrics.examples import drive
    >>> latency_p95_ms(drive([0.0, 0.1, 0.2], latency_ms=[20.0, 30.0, 40.0]))  # 0.9 from 30 to 40
    39.0
    """
    return _latency(race, 95.0)


@metric(unit="", direction="lower", low=0.0, high=1.0)
def missed_deadlines(race: Race) -> float:
    """Share of the commands that came after the next frame.

    Rows with ``missed`` by the rows where that or the latency is known; NaN where it never is.

    >>> from donkey_rl.metrics.examples import drive
    >>> missed_deadlines(drive([0.0, 0.1], latency_ms=[20.0, 70.0], missed=[False, True]))
    0.5
    >>> missed_deadlines(drive([0.0, 0.1], latency_ms=[20.0, float("nan")], missed=[False, True]))
    0.5
    """
    known = ~np.isnan(race["latency_ms"]) | race["missed"]
    return float(np.mean(race["missed"][known])) if known.any() else math.nan


def _changes(race: Race, name: str, order: int) -> list[FloatArray]:
    """Returns the differences of a column between neighbouring rows, by stretch."""
    values = race[name].astype(np.float64)
    return [np.diff(values[rows], order) for rows in laps.stretches(race)]


def _mean_size(parts: list[FloatArray]) -> float:
    """Returns the mean absolute value, NaN of none."""
    sizes = np.abs(np.concatenate(parts))
    return float(np.mean(sizes)) if len(sizes) else math.nan


def _reversals(race: Race, name: str) -> float:
    """Returns how often a second a command turns back by `REVERSAL` or more."""
    if not race.duration_s:
        return math.nan
    turns = 0
    for rows in laps.stretches(race):
        low = high = extreme = float(race[name][rows.start])
        heading = 0
        for value in race[name][rows].tolist():
            if heading == 0:
                low, high = min(low, value), max(high, value)
                if high - low >= REVERSAL:
                    heading, extreme = (1 if value == high else -1), value
            elif (value - extreme) * heading >= 0.0:
                extreme = value
            elif (extreme - value) * heading >= REVERSAL:
                turns, heading, extreme = turns + 1, -heading, value
    return turns / race.duration_s


def _latency(race: Race, percent: float) -> float:
    """Returns a percentile of the known latencies (ms), NaN without one."""
    known = race["latency_ms"][~np.isnan(race["latency_ms"])].astype(np.float64)
    return float(np.percentile(known, percent)) if len(known) else math.nan
