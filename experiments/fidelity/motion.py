"""How the embedded car moves beside a recorded one.

The recorded commands are replayed from recorded states, and place and speed compared after half
a second, one and two. Then the car's figures are fitted to the recording: where a fitted value
differs from the configured one, the embedded simulator has something to learn. Not always that
figure: what the model lacks altogether goes into the nearest one it has, such as a recorded car
that pushes straight on under power into a smaller steer gain.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pydantic

from donkey_rl.configuration import Config
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.experiments.fidelity import motion_fit, replay
from donkey_rl.experiments.fidelity.motion_fit import (
    CONTROL_DELAY,
    DRAG,
    DRIVE,
    FITTED,
    GRIP,
    STEER_GAIN,
    Estimate,
    Problem,
)
from donkey_rl.experiments.fidelity.replay import Model

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BRAKE = "brake"
UNITS = {
    DRIVE: "u/s^2", DRAG: "1/s", BRAKE: "u/s^2", STEER_GAIN: "", GRIP: "", CONTROL_DELAY: "s",
}  # fmt: skip

_ROAD_FRICTION = 0.8
"""Static friction of the tracks' roads."""

_SLOWEST = 2.0
"""Speed errors are relative to the recorded speed, where it is at least this (u/s)."""

_MOST_COMPARED = 2000
_MOST_FITTED = 250
"""Windows overlap: of a long recording, evenly spread ones say as much as all."""

_FEWEST_FITTED = 20
"""With fewer windows nothing is fitted."""


class HorizonError(Config):
    """How far the model's car is off after some time.

    Attributes:
        seconds: Simulation time since the recorded state.
        speed_median: Median of the relative speed error; None where all were slow.
        speed_p90: Its 90th percentile.
        position_median: Median distance in u.
        position_p90: Its 90th percentile in u.
    """

    seconds: float
    speed_median: float | None
    speed_p90: float | None
    position_median: float
    position_p90: float


class Parameter(Config):
    """A figure of the car, as configured and as the recording has it.

    Attributes:
        unit: Of the values; empty for factors.
        configured: In the embedded simulator; None for the control delay, the recorder's own.
        value: Fitted; None if it was not measured.
        low: Lower end of the 95 % interval; `high` likewise.
        reason: Why it was not measured.
    """

    unit: str
    configured: float | None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class MotionReport(Config):
    """How the embedded car moves beside a recorded one.

    Attributes:
        vehicle: Name of the embedded car.
        windows: Number of predictions that were compared.
        left_out: Samples at which no prediction began, by reason.
        control_delay_s: Time between a command's record and its effect that suits the configured
            car best; None if the recording does not tell it.
        errors: Of the configured car, by horizon; empty if nothing was compared.
        fit: Drive (full throttle), drag, brake (full), steer gain and grip (factors on the
            configured angle and friction) and control delay.
        fitted_errors: With the fitted figures; those not measured stay as configured.
        reason: Why nothing was compared.
    """

    vehicle: str
    windows: int = 0
    left_out: dict[str, int] = pydantic.Field(default_factory=dict)
    control_delay_s: float | None = None
    errors: tuple[HorizonError, ...] = ()
    fit: dict[str, Parameter] = pydantic.Field(default_factory=dict)
    fitted_errors: tuple[HorizonError, ...] = ()
    reason: str | None = None


class VehicleChoice(Config):
    """Which car generation a recording was made with, probably.

    Attributes:
        name: The one with the smallest median distance after a second; None if nothing could be
            compared.
        errors: By car and horizon.
        reason: Why there is no name.
    """

    name: str | None
    errors: dict[str, tuple[HorizonError, ...]] = pydantic.Field(default_factory=dict)
    reason: str | None = None


def compare(
    recording: Recording,
    trace: Trace,
    vehicle: Vehicle,
    *,
    ground_friction: float = _ROAD_FRICTION,
    road: tuple[float, float] | None = None,
) -> MotionReport:
    """Holds the embedded car against a recorded one.

    Args:
        recording: The drive, in the units of the embedded simulator.
        trace: Its places on the simulator's clock.
        vehicle: The embedded car.
        ground_friction: Static friction of the road; counts for cars whose tyres it scales.
        road: Cross-track error (u) of the road's left and right edge, to leave out windows in
            which wheels left it; None keeps them.

    Returns:
        What could be measured; poor recordings give None and reasons.
    """
    drives = replay.replay(recording, trace, road)
    chosen = replay.windows(drives)
    configured = _configured(vehicle)
    if not len(chosen.sample):
        reason = _why_none(len(drives), chosen.left_out)
        unknown = {name: Estimate(None, reason=reason) for name in FITTED}
        return MotionReport(
            vehicle=vehicle.name, left_out=chosen.left_out, reason=reason,
            fit=_parameters(configured, unknown),
        )  # fmt: skip
    sample = _spread(chosen.sample, _MOST_COMPARED)
    problem = Problem(drives, replay.model(vehicle, ground_friction), sample)
    fewer = dataclasses.replace(problem, sample=_spread(sample, _MOST_FITTED))
    start = {**dict.fromkeys(FITTED, 1.0), CONTROL_DELAY: motion_fit.best_delay(fewer)}
    values, estimates = _fit(fewer, start)
    delay_known = estimates[CONTROL_DELAY].value is not None
    return MotionReport(
        vehicle=vehicle.name,
        windows=len(sample),
        left_out=chosen.left_out,
        control_delay_s=start[CONTROL_DELAY] if delay_known else None,
        errors=_errors(problem, start),
        fit=_parameters(configured, estimates),
        fitted_errors=_errors(problem, values),
    )


def best_vehicle(
    recording: Recording,
    trace: Trace,
    *,
    ground_friction: float = _ROAD_FRICTION,
    road: tuple[float, float] | None = None,
) -> VehicleChoice:
    """Finds the car generation that moves most like the recorded one.

    Each gets the control delay that suits it best. Arguments as for `compare`.
    """
    drives = replay.replay(recording, trace, road)
    chosen = replay.windows(drives)
    if not len(chosen.sample):
        return VehicleChoice(name=None, reason=_why_none(len(drives), chosen.left_out))
    errors = {}
    for name in v.names():
        car = replay.model(v.load(name), ground_friction)
        problem = Problem(drives, car, _spread(chosen.sample, _MOST_FITTED))
        delay = motion_fit.best_delay(problem)
        errors[name] = _errors(problem, {CONTROL_DELAY: delay})
    after_a_second = replay.HORIZONS.index(1.0)
    best = min(errors, key=lambda name: errors[name][after_a_second].position_median)
    return VehicleChoice(name=best, errors=errors)


def _fit(
    problem: Problem, start: dict[str, float]
) -> tuple[dict[str, float], dict[str, Estimate]]:
    """Fits what the recording tells and leaves the rest as configured."""
    if len(problem.sample) < _FEWEST_FITTED:
        reason = f"{len(problem.sample)} windows; at least {_FEWEST_FITTED} are needed"
        return start, dict.fromkeys(FITTED, Estimate(None, reason=reason))
    estimates: dict[str, Estimate] = {}
    free: tuple[str, ...] = FITTED
    values = start
    while free:
        values = motion_fit.fit(problem, start, free)
        estimates |= motion_fit.intervals(problem, values, free)
        left = tuple(name for name in free if estimates[name].value is not None)
        if left == free:
            break
        free, values = left, start
    return values, estimates


def _errors(problem: Problem, values: dict[str, float]) -> tuple[HorizonError, ...]:
    """Returns the errors of a model with some figures changed."""
    car: Model = motion_fit.changed(problem.car, values)
    horizons, sample = replay.HORIZONS, problem.sample
    truth = replay.recorded(problem.drives, sample, horizons)
    off = replay.predicted(problem.drives, car, sample, values[CONTROL_DELAY], horizons) - truth
    rows = []
    for h, seconds in enumerate(horizons):
        distance = np.hypot(off[:, h, 0], off[:, h, 1])
        swift = truth[:, h, 2] >= _SLOWEST
        relative = np.abs(off[swift, h, 2]) / truth[swift, h, 2]
        rows.append(
            HorizonError(
                seconds=seconds,
                speed_median=float(np.median(relative)) if len(relative) else None,
                speed_p90=float(np.percentile(relative, 90)) if len(relative) else None,
                position_median=float(np.median(distance)),
                position_p90=float(np.percentile(distance, 90)),
            )
        )
    return tuple(rows)


def _configured(vehicle: Vehicle) -> dict[str, float | None]:
    """Returns what the embedded simulator has for the fitted figures."""
    row = v.parameter_row(vehicle)
    mass = row[v.MASS]
    return {
        DRIVE: float(row[v.DRIVE_FORCE] / mass),
        DRAG: float(row[v.DRAG] + row[v.WHEEL_DRAG] / mass),
        BRAKE: float(row[v.BRAKE_FORCE] / mass),
        STEER_GAIN: 1.0,
        GRIP: 1.0,
        CONTROL_DELAY: None,
    }


def _parameters(
    configured: dict[str, float | None], estimates: dict[str, Estimate]
) -> dict[str, Parameter]:
    """Lays estimates, factors but for the delay, beside what is configured."""
    braked = Estimate(None, reason="recordings hold no brake command")
    table = {}
    for name, own in configured.items():
        estimate = estimates.get(name, braked)
        scale = 1.0 if own is None else own
        value, low, high = (
            None if x is None else x * scale for x in (estimate.value, estimate.low, estimate.high)
        )
        table[name] = Parameter(
            unit=UNITS[name], configured=own, value=value, low=low, high=high,
            reason=estimate.reason,
        )  # fmt: skip
    return table


def _why_none(samples: int, left_out: dict[str, int]) -> str:
    """Says why there is no window."""
    if not samples:
        shortest = replay.SHORTEST_DRIVE
        return f"no unbroken drive of {shortest:g} s with known places and speeds"
    listed = ", ".join(f"{name} ({count})" for name, count in left_out.items())
    return f"none of {samples} samples has {replay.HORIZONS[-1]:g} s to compare after it: {listed}"


def _spread(sample: IntArray, most: int) -> IntArray:
    """Returns at most so many windows, evenly spread."""
    if len(sample) <= most:
        return sample
    return sample[np.linspace(0, len(sample) - 1, most).astype(np.int64)]
