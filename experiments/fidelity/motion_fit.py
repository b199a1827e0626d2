"""Fitting the embedded car's figures to a recording, and how sure they are.

Least squares over the places and speeds that windows reach, robust against those in which
something happened that the model lacks. Intervals come from a bootstrap over blocks of time:
windows overlap, and what one shows its neighbours show as well. Each draw is refitted by one
Gauss-Newton step from the optimum, which costs no simulation.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import optimize

from donkey_rl.envs.simulator import vehicle as v
from donkey_rl.experiments.fidelity import replay
from donkey_rl.experiments.fidelity.replay import Model, Replay

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

DRIVE, DRAG, STEER_GAIN, GRIP, CONTROL_DELAY = (
    "drive", "drag", "steer_gain", "grip", "control_delay",
)  # fmt: skip
FITTED = (DRIVE, DRAG, STEER_GAIN, GRIP, CONTROL_DELAY)
"""All but the delay are factors on what is configured; the delay is in s."""

HORIZONS = (0.5, 1.0)
"""Later places mostly say how an early deviation grew."""

_BOUNDS = {
    DRIVE: (0.2, 4.0),
    DRAG: (0.1, 6.0),
    STEER_GAIN: (0.3, 3.0),
    GRIP: (0.4, 2.5),
    CONTROL_DELAY: (replay.EARLIEST_DELAY, replay.LATEST_DELAY),
}
_METHOD = {DRIVE: 0.005, DRAG: 0.01, STEER_GAIN: 0.02, GRIP: 0.03, CONTROL_DELAY: 0.006}
"""How far the fit is off where recordings of the embedded car itself tell the truth: the slip at
the start of a window is not recorded. Intervals are wider by this at either end."""

_WIDEST = {DRIVE: 0.4, DRAG: 0.8, STEER_GAIN: 0.4, GRIP: 0.4, CONTROL_DELAY: 0.2}
"""A figure with a wider 95 % interval than this was not measured."""

_PLACE_SCALE, _SPEED_SCALE = 0.2, 0.3
"""Deviations (u, u/s) of this size begin to count less than by their square."""

_PRIOR = 0.3
"""A figure far from 1 costs as much as one deviation of its size over this: next to nothing
beside a recording, but what that leaves open stays put."""

_BLOCK = 4.0
"""Length in s of the blocks of the bootstrap, several times that of a window."""

_TOGETHER = 0.9
"""From this correlation on, two figures count as one."""

_UNINFORMED = 0.1
"""Share of the prior's variance that must not be left once the recording is known."""

_DRAWS = 1000
_FEWEST_BLOCKS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What is fitted to.

    Attributes:
        drives: The recording.
        car: The configured model.
        sample: Where the windows begin, shape (k,).
    """

    drives: Replay
    car: Model
    sample: IntArray


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A fitted value with its 95 % interval; None where the recording does not tell it."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def changed(car: Model, values: dict[str, float]) -> Model:
    """Returns a model with some figures multiplied.

    Args:
        car: The model.
        values: Factors by name; a control delay is ignored.
    """
    row = car.car.copy()
    row[v.DRIVE_FORCE] *= values.get(DRIVE, 1.0)
    row[[v.DRAG, v.WHEEL_DRAG]] *= values.get(DRAG, 1.0)
    row[v.STEER_LIMIT] *= values.get(STEER_GAIN, 1.0)
    return Model(row, car.torque, car.grip * values.get(GRIP, 1.0))


def best_delay(problem: Problem) -> float:
    """Returns the control delay (s) with which the configured car comes closest, to 0.01 s.

    Searched on grids: over records and physics steps the deviation is smooth, but not convex.
    """
    truth = replay.recorded(problem.drives, problem.sample, HORIZONS)
    edges = _BOUNDS[CONTROL_DELAY]
    grid = np.arange(edges[0], edges[1] + 1e-9, 0.04)
    for _ in range(2):
        costs = [_cost(_deviations(problem, problem.car, each, truth)) for each in grid]
        best = round(float(grid[int(np.argmin(costs))]), 2)
        grid = np.clip(best + 0.01 * np.arange(-3, 4), *edges)
    return best


def fit(problem: Problem, start: dict[str, float], free: tuple[str, ...]) -> dict[str, float]:
    """Fits some figures; the others stay as they are.

    Args:
        problem: What to fit to.
        start: Values to start from, all of them.
        free: Names of what is fitted.

    Returns:
        All values by name.
    """
    if not free:
        return start
    truth = replay.recorded(problem.drives, problem.sample, HORIZONS)
    low, high = np.array([_BOUNDS[name] for name in free]).T + _origin(free)[:, None].T
    guess = np.array([start[name] for name in free]) + _origin(free)
    found = optimize.least_squares(
        lambda z: _residuals(problem, start, free, z, truth),
        np.clip(guess, low + 1e-3, high - 1e-3),
        bounds=(low, high), loss="soft_l1", diff_step=0.01, x_scale=0.1, max_nfev=30,
    )  # fmt: skip
    return {**start, **_named(free, found.x)}


def intervals(
    problem: Problem, values: dict[str, float], free: tuple[str, ...]
) -> dict[str, Estimate]:
    """Returns the fitted values with their intervals, or why there is none.

    Args:
        problem: What was fitted to.
        values: The optimum.
        free: Names of what was fitted.
    """
    drawn = _bootstrap(problem, values, free)
    if drawn is None:
        reason = f"the drive is shorter than {_FEWEST_BLOCKS} blocks of {_BLOCK:g} s"
        return dict.fromkeys(free, Estimate(None, reason=reason))
    draws, informed = drawn
    method = np.array([_METHOD[name] for name in free])
    low, high = np.percentile(draws, (2.5, 97.5), axis=0) + np.array([-1.0, 1.0])[:, None] * method
    found = {}
    for i, name in enumerate(free):
        edges = _BOUNDS[name]
        if not informed[i]:
            found[name] = Estimate(None, reason="the recorded way hardly depends on it")
        elif min(values[name] - edges[0], edges[1] - values[name]) < 0.005:
            reason = f"the best value is at the edge of what was tried, {values[name]:.2f}"
            found[name] = Estimate(None, reason=reason)
        elif high[i] - low[i] > _WIDEST[name]:
            found[name] = Estimate(None, reason=_why_open(name, free, draws, low[i], high[i]))
        else:
            found[name] = Estimate(values[name], float(low[i]), float(high[i]))
    return found


def _why_open(name: str, free: tuple[str, ...], draws: FloatArray, low: float, high: float) -> str:
    """Says within which limits a figure is open, and with which other it changes."""
    unit = " s" if name == CONTROL_DELAY else " times the configured value"
    reason = f"the recording leaves it open between {low:.2f} and {high:.2f}{unit}"
    spread = draws.std(axis=0)
    own = free.index(name)
    others = [i for i in range(len(free)) if i != own and spread[i] > 0.0 and spread[own] > 0.0]
    for i in others:
        if abs(np.corrcoef(draws[:, own], draws[:, i])[0, 1]) > _TOGETHER:
            return f"{reason}; it is only known together with {free[i]}"
    return reason


def _origin(free: tuple[str, ...]) -> FloatArray:
    """Shifts delays away from 0, where a relative step of the solver would vanish."""
    return np.array([1.0 if name == CONTROL_DELAY else 0.0 for name in free])


def _named(free: tuple[str, ...], z: FloatArray) -> dict[str, float]:
    return {name: float(x) for name, x in zip(free, z - _origin(free), strict=True)}


def _deviations(problem: Problem, car: Model, delay: float, truth: FloatArray) -> FloatArray:
    """Returns the scaled differences of place and speed, shape (k, 3 * horizons)."""
    reached = replay.predicted(problem.drives, car, problem.sample, delay, HORIZONS)
    scale = np.array([_PLACE_SCALE, _PLACE_SCALE, _SPEED_SCALE])
    return np.asarray(((reached - truth) / scale).reshape(len(truth), -1))


def _cost(deviations: FloatArray) -> float:
    return float(np.sum(np.sqrt(1.0 + deviations**2) - 1.0))


def _residuals(
    problem: Problem, start: dict[str, float], free: tuple[str, ...], z: FloatArray,
    truth: FloatArray,
) -> FloatArray:  # fmt: skip
    """Returns what least squares makes small, the prior's last."""
    values = {**start, **_named(free, z)}
    car = changed(problem.car, values)
    deviations = _deviations(problem, car, values[CONTROL_DELAY], truth)
    return np.concatenate([deviations.ravel(), (z - 1.0) * _PRIOR])


def _bootstrap(
    problem: Problem, values: dict[str, float], free: tuple[str, ...]
) -> tuple[FloatArray, npt.NDArray[np.bool_]] | None:
    """Refits drives put together from random blocks.

    Returns:
        Values, shape (draws, f), and which figures the recording says anything about at all,
        shape (f,); None if there are too few blocks.
    """
    time = problem.drives.time[problem.sample]
    block = np.unique((time // _BLOCK).astype(np.int64), return_inverse=True)[1]
    count = int(block.max()) + 1
    if count < _FEWEST_BLOCKS:
        return None
    here, slope = _linearised(problem, values, free)
    weight = 1.0 / np.sqrt(1.0 + here**2)
    matrix = np.zeros((count, len(free), len(free)))
    pull = np.zeros((count, len(free)))
    np.add.at(matrix, block, np.einsum("kri,kr,krj->kij", slope, weight, slope))
    np.add.at(pull, block, np.einsum("kri,kr,kr->ki", slope, weight, here))
    prior = _PRIOR**2 * np.eye(len(free))
    left = np.diag(np.linalg.inv(matrix.sum(axis=0) + prior)) * _PRIOR**2
    chance = np.random.default_rng(0)
    times = chance.multinomial(count, np.full(count, 1.0 / count), size=_DRAWS).astype(np.float64)
    normal = np.einsum("db,bij->dij", times, matrix) + prior
    # Relative to the optimum, where the pulls of all blocks cancel but for prior and bounds.
    push = np.einsum("db,bi->di", times - 1.0, pull)
    optimum = np.array([values[name] for name in free])
    return optimum - np.linalg.solve(normal, push[..., None])[..., 0], left < _UNINFORMED


def _linearised(
    problem: Problem, values: dict[str, float], free: tuple[str, ...]
) -> tuple[FloatArray, FloatArray]:
    """Returns the deviations of each window, shape (k, r), and their slopes, (k, r, f)."""
    truth = replay.recorded(problem.drives, problem.sample, HORIZONS)

    def at(name: str, step: float) -> FloatArray:
        moved = {**values, name: values[name] + step}
        car = changed(problem.car, moved)
        return _deviations(problem, car, moved[CONTROL_DELAY], truth)

    step = 0.01
    slopes = [(at(name, step) - at(name, -step)) / (2.0 * step) for name in free]
    return at(free[0], 0.0), np.stack(slopes, axis=-1)
