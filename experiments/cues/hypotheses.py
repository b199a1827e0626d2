"""What a driver may be steering by, and the few pictures whose label tells it.

Where a cue and the road always agree, "it steers by the lane" and "it steers by the cue" explain
the same actions. Each hypothesis becomes a small predictor of the steering, fitted where they
agree, and the pictures are chosen where the predictors' answers are most likely to differ
(query by committee: Settles 2009, "Active learning literature survey", section 3.2): by the
information that the label is expected to bring about the hypothesis (Lindley 1956, "On a measure
of the information provided by an experiment"; as BALD: Houlsby et al. 2011, arXiv:1112.5745,
equation 2), one after the other, given the labels of the pictures before (Kirsch et al. 2019,
arXiv:1906.08158).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.labels import LANE_LABELS

FloatArray = npt.NDArray[np.float64]

LANE = "lane"
"""The hypothesis that no cue matters."""

_RIDGE = 1.0
"""Penalty on the squared weights of the standardised labels of the lane."""

_LEAST_SPREAD = 0.05
"""No predictor is surer of the steering than this (standard deviation)."""

_LEAST_BITS = 0.05
"""A picture that is expected to tell less than this (bits) is not worth a label."""

_DRAWS = 100
_GRID = np.linspace(-2.0, 2.0, 161)


class Predictions(NamedTuple):
    """What each hypothesis says of the steering in some pictures.

    Attributes:
        names: Names of the H hypotheses.
        mean: Steering, shape (H, n).
        spread: Standard deviation of the label around it, shape (H,).
    """

    names: tuple[str, ...]
    mean: FloatArray
    spread: FloatArray

    def at(self, pictures: Sequence[int]) -> Predictions:
        """Returns the predictions of some pictures alone."""
        return self._replace(mean=self.mean[:, list(pictures)])


def fit(
    lane: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    said: tuple[Mapping[str, npt.NDArray[np.int64]], Mapping[str, npt.NDArray[np.int64]]],
    steering: npt.NDArray[np.float32],
) -> Predictions:
    """Fits every hypothesis where cues and road agree, and predicts where they do not.

    By the lane: a linear function of the lane's labels (ridge regression). By a cue: a linear
    function of where the car stands on the road and of what the cue says, in place of the road
    ahead (least squares without a constant, since left and right are alike).

    Args:
        lane: Labels of the lane in the pictures to fit, (m, 21), and to predict, (n, 21); see
            `labels.lane`.
        said: What each cue says, -1 or 1, by name: in the former, (m,), and the latter, (n,).
        steering: Labels of the pictures to fit, shape (m,).
    """
    known, asked = (each.astype(np.float64) for each in lane)
    wanted = steering.astype(np.float64)
    fitted, guess = _ridge(known, wanted, asked)
    names, means, spreads = [LANE], [guess], [_spread(wanted - fitted)]
    for name in said[0]:
        inputs = np.column_stack([_stance(known), said[0][name]])
        weights = np.linalg.lstsq(inputs, wanted)[0]
        names.append(name)
        means.append(np.column_stack([_stance(asked), said[1][name]]) @ weights)
        spreads.append(_spread(wanted - inputs @ weights))
    return Predictions(tuple(names), np.clip(np.stack(means), -1.0, 1.0), np.array(spreads))


def _stance(lane: FloatArray) -> FloatArray:
    """Returns the offset from the road's middle (u) and the angle to the road (rad), (n, 2)."""
    columns = [LANE_LABELS.index(k) for k in ("left_edge", "right_edge", "heading_error")]
    left, right, turned = lane[:, columns].T
    return np.column_stack([0.5 * (left - right), turned])


def _ridge(
    inputs: FloatArray, wanted: FloatArray, others: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Returns the fit at the inputs, shape (m,), and the predictions at others, shape (n,)."""
    middle, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    known, asked = (inputs - middle) / scale, (others - middle) / scale
    gram = known.T @ known + _RIDGE * np.eye(known.shape[1])
    weights = np.linalg.solve(gram, known.T @ (wanted - wanted.mean()))
    return known @ weights + wanted.mean(), asked @ weights + wanted.mean()


def _spread(residuals: FloatArray) -> float:
    return max(_LEAST_SPREAD, float(np.sqrt((residuals**2).mean())))


def information(predictions: Predictions, prior: FloatArray) -> FloatArray:
    """Returns the information that each picture's label is expected to bring, in bits.

    I(h; y | x) = H(sum_h p(h) p(y | x, h)) - sum_h p(h) H(p(y | x, h)), over a grid of steerings.
    Two hypotheses that are equally likely and cannot be taken for each other make 1 bit:

    >>> apart = Predictions(("a", "b"), np.array([[0.5, 0.0], [-0.5, 0.0]]), np.full(2, 0.05))
    >>> information(apart, np.array([0.5, 0.5])).round(3)
    array([1., 0.])

    Args:
        predictions: Of n pictures.
        prior: Probability of each hypothesis, shape (H,).

    Returns:
        Shape (n,).
    """
    return _information(_likelihood(predictions), prior[None])


def _likelihood(predictions: Predictions) -> FloatArray:
    """Returns the probability of each steering of the grid, shape (H, n, grid)."""
    spread = predictions.spread[:, None, None]
    density = np.exp(-0.5 * ((_GRID - predictions.mean[..., None]) / spread) ** 2)
    return np.asarray(density / density.sum(axis=-1, keepdims=True), dtype=np.float64)


def _information(likelihood: FloatArray, priors: FloatArray) -> FloatArray:
    """Returns the expected information, averaged over priors of shape (d, H), shape (n,)."""
    own = _entropy(likelihood)
    total = np.zeros(likelihood.shape[1])
    for prior in priors:
        mixture = np.tensordot(prior, likelihood, axes=1)
        total += _entropy(mixture) - prior @ own
    return np.maximum(total / len(priors), 0.0)


def _entropy(probability: FloatArray) -> FloatArray:
    return np.asarray(-(probability * np.log2(probability + 1e-300)).sum(axis=-1))


class Choice(NamedTuple):
    """Pictures to ask for, in this order.

    Attributes:
        pictures: Their indices.
        bits: What each label is expected to bring beyond those before it.
    """

    pictures: tuple[int, ...]
    bits: tuple[float, ...]


def choose(predictions: Predictions, most: int, seed: int) -> Choice:
    """Chooses the pictures whose labels would best tell the hypotheses apart.

    Args:
        predictions: Of all pictures that may be chosen; all hypotheses are equally likely.
        most: No more than this many; fewer where another label would tell hardly anything.
        seed: Of the labels that are imagined.
    """
    rng = np.random.default_rng([seed, 0xB17])
    hypotheses, likelihood = len(predictions.names), _likelihood(predictions)
    truth = np.repeat(np.arange(hypotheses), _DRAWS // hypotheses)
    beliefs = np.full((len(truth), hypotheses), 1.0 / hypotheses)
    pictures: list[int] = []
    bits: list[float] = []
    while len(pictures) < most:
        gain = _information(likelihood, beliefs)
        gain[pictures] = 0.0
        best = int(gain.argmax())
        if gain[best] < _LEAST_BITS:
            break
        pictures.append(best)
        bits.append(float(gain[best]))
        labels = rng.normal(predictions.mean[truth, best], predictions.spread[truth])
        beliefs = _updated(beliefs, predictions.at([best]), labels[:, None])
    return Choice(tuple(pictures), tuple(bits))


def _updated(beliefs: FloatArray, predictions: Predictions, labels: FloatArray) -> FloatArray:
    """Returns beliefs, shape (d, H), after labels of the pictures, shape (d, n)."""
    spread = predictions.spread[:, None]
    apart = (labels[:, None, :] - predictions.mean) / spread
    logs = np.log(beliefs + 1e-300) - (0.5 * apart**2 + np.log(spread)).sum(axis=-1)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def beliefs(predictions: Predictions, labels: npt.NDArray[np.float32]) -> dict[str, float]:
    """Returns how likely each hypothesis is after the labels of some pictures.

    Args:
        predictions: Of these pictures; all hypotheses are equally likely before.
        labels: Their steering, shape (n,).
    """
    count = len(predictions.names)
    even = np.full((1, count), 1.0 / count)
    found = _updated(even, predictions, labels.astype(np.float64)[None])[0]
    return dict(zip(predictions.names, (float(p) for p in found), strict=True))
