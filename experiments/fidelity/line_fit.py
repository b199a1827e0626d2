"""Fitting a camera to where painted lines are found in frames.

Lines are looked for around where a guess puts them, the guess is fitted to what was found, and
the next look is closer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from donkey_rl.experiments.fidelity import frames, lines
from donkey_rl.experiments.fidelity.frames import Frames
from donkey_rl.experiments.fidelity.lines import Layout, Seen
from donkey_rl.experiments.fidelity.projection import Mounting

FloatArray = npt.NDArray[np.float64]

FIRST = ("above", "pitch", "yaw", "fov", "lag")
ALL = ("right", "above", "pitch", "yaw", "roll", "fov", "lag")
FORWARD = "forward"

SCALE = {
    "right": 0.1, "above": 0.1, "forward": 0.2, "pitch": 0.02, "yaw": 0.01, "roll": 0.01,
    "fov": 0.02, "lag": 0.02,
}  # fmt: skip
BOUNDS = {
    "right": (-5.0, 5.0), "above": (0.2, 12.0), "forward": (-5.0, 5.0),
    "pitch": (-0.7, 1.4), "yaw": (-0.5, 0.5), "roll": (-0.34, 0.34), "fov": (0.35, 2.8),
    "lag": frames.LAGS,
}  # fmt: skip

_USUAL_HEIGHT = 120.0
_SOFT = 1.5
_ROUNDS = ((30.0, FIRST), (20.0, FIRST), (14.0, ALL), (10.0, ALL))
_BLOCKS = 20
_MOST_PULL = 100.0
"""A place that moves by more pixels than this with a usual change runs along its row."""


@dataclasses.dataclass(frozen=True)
class Guess:
    """A camera and how much older frames are than their records (s)."""

    camera: Mounting
    lag: float

    def __getitem__(self, name: str) -> float:
        """Returns a quantity by its name."""
        return self.lag if name == "lag" else float(getattr(self.camera, name))

    def changed(self, names: Sequence[str], values: FloatArray) -> Guess:
        """Returns the guess with some quantities replaced."""
        new = dict(zip(names, values.tolist(), strict=True))
        lag = new.pop("lag", self.lag)
        return Guess(dataclasses.replace(self.camera, **new), lag)


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Where lines were found, and how much each place counts; shapes (lines, k, h)."""

    column: FloatArray
    weight: FloatArray

    @property
    def points(self) -> int:
        """Number of places."""
        return int(np.isfinite(self.column).sum())


@dataclasses.dataclass(frozen=True, eq=False)
class Quality:
    """How well a guess explains frames.

    Attributes:
        points: Places of lines found near where they belong.
        frames: Frames with any of them.
        share: Share of the rows in which a line belongs.
        residual: Median distance to the line in pixels; None without places.
    """

    points: int
    frames: int
    share: float
    residual: float | None


def unit(chosen: Frames) -> float:
    """Returns what a pixel of an image 120 high measures in these (pixels)."""
    return chosen.size[0] / _USUAL_HEIGHT


def _every(chosen: Frames) -> int:
    return max(1, round(3 * unit(chosen)))


def _seen(chosen: Frames, layout: Layout, guess: Guess) -> Seen:
    return layout.seen(chosen.poses(guess.lag), guess.camera, chosen.size)


def match(chosen: Frames, layout: Layout, guess: Guess) -> float:
    """Returns how well lines in the images lie where a guess expects them, 0 to 1."""
    expected = _seen(chosen, layout, guess)
    reach, every = 10.0 * unit(chosen), 2 * _every(chosen)
    found, strength = lines.find(chosen.images, layout.lines, expected, window=reach, every=every)
    near = 1.0 - np.abs(found - expected.column) / (1.2 * reach)
    looked = float(lines.inside(expected, chosen.size)[..., ::every].sum())
    return float(np.nansum(near * np.minimum(strength, 0.5))) / max(looked, 200.0)


def fit(chosen: Frames, layout: Layout, guess: Guess) -> Guess:
    """Fits a guess in rounds, each looking closer than the one before."""
    for window, free in _ROUNDS:
        guess, _ = fit_round(chosen, layout, guess, (window, free))
    return guess


def fit_round(
    chosen: Frames, layout: Layout, guess: Guess, how: tuple[float, Sequence[str]]
) -> tuple[Guess, Sample]:
    """Looks for lines around where a guess puts them, and fits the guess to them.

    Args:
        chosen: The frames.
        layout: The lines.
        guess: The camera so far.
        how: The window (pixels of an image 120 high), and what is fitted.

    Returns:
        The better guess, and what it was fitted to.
    """
    window, free = how
    expected = _seen(chosen, layout, guess)
    column, _ = lines.find(
        chosen.images,
        layout.lines,
        expected,
        window=window * unit(chosen),
        every=_every(chosen),
    )
    # A line that runs aslant is as far from its place as a step across it.
    sample = Sample(column, 1.0 / np.sqrt(1.0 + expected.slope**2) / unit(chosen))
    if sample.points < len(free):
        return guess, sample
    bounds = np.array([BOUNDS[name] for name in free])
    values = np.clip([guess[name] for name in free], bounds[:, 0] + 1e-6, bounds[:, 1] - 1e-6)
    solved = optimize.least_squares(
        lambda x: _residuals(chosen, layout, guess.changed(free, x), sample),
        values,
        bounds=bounds.T,
        loss="soft_l1",
        f_scale=_SOFT,
        x_scale=[SCALE[name] for name in free],
        max_nfev=10,
    )
    return guess.changed(free, solved.x), sample


def _residuals(chosen: Frames, layout: Layout, guess: Guess, sample: Sample) -> FloatArray:
    """Returns the distance of each found place to its line, 0 where that is out of sight."""
    found = np.isfinite(sample.column)
    gap = (_seen(chosen, layout, guess).column - sample.column) * sample.weight
    return np.asarray(np.nan_to_num(gap[found]), dtype=np.float64)


def quality(chosen: Frames, layout: Layout, guess: Guess, window: float) -> Quality:
    """Looks at how many lines are found, and how far from where a guess puts them.

    Args:
        chosen: The frames.
        layout: The lines.
        guess: The camera.
        window: How far beside its place a line is looked for (pixels of an image 120 high).
    """
    expected, every = _seen(chosen, layout, guess), _every(chosen)
    column, _ = lines.find(
        chosen.images, layout.lines, expected, window=window * unit(chosen), every=every
    )
    found = np.isfinite(column)
    gap = np.abs(column - expected.column) / np.sqrt(1.0 + expected.slope**2)
    must = max(int(lines.inside(expected, chosen.size).sum()), 1)
    return Quality(
        points=int(found.sum()),
        frames=int(found.any(axis=(0, 2)).sum()),
        share=float(found.sum() * every / must),
        residual=float(np.median(gap[found])) if found.any() else None,
    )


def ranges(
    chosen: Frames, layout: Layout, guess: Guess, sample: Sample, free: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Returns the 95 % interval of each fitted quantity.

    Frames that follow each other err together: the spread is taken between blocks of them (the
    infinitesimal jackknife of the robust fit).
    """
    value = np.array([guess[name] for name in free])
    scale = np.array([SCALE[name] for name in free])
    now = _residuals(chosen, layout, guess, sample)
    slope = np.empty((len(now), len(free)))
    for k in range(len(free)):
        step = np.zeros(len(free))
        step[k] = 0.05 * scale[k]
        above, below = (
            _residuals(chosen, layout, guess.changed(free, value + sign * step), sample)
            for sign in (1.0, -1.0)
        )
        slope[:, k] = (above - below) / (2.0 * step[k])
    slope[np.abs(slope * scale).max(axis=1) > _MOST_PULL] = 0.0
    weight = 1.0 / np.sqrt(1.0 + (now / _SOFT) ** 2)
    inverse = np.linalg.pinv(slope.T @ (slope * weight[:, None]))
    blocks = min(_BLOCKS, len(chosen) // 2)
    frame = np.broadcast_to(np.arange(len(chosen))[None, :, None], sample.column.shape)
    block = frame[np.isfinite(sample.column)] * blocks // len(chosen)
    pull = np.array([slope[block == k].T @ (weight * now)[block == k] for k in range(blocks)])
    spread = inverse @ (pull.T @ pull) @ inverse * blocks / (blocks - 1.0)
    half = float(stats.t.ppf(0.975, blocks - 1)) * np.sqrt(np.diag(spread))
    low, high = (value - half).tolist(), (value + half).tolist()
    return {name: (low[k], high[k]) for k, name in enumerate(free)}
