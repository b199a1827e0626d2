"""What makes one action of several drivers' proposals: a mean, a median, or the drivers' critics.

An ensemble shows one observation to several drivers, and an evaluator makes its action of what
they propose:

- ``mean``: their weighted mean (Breiman 1996, "Bagging predictors", Machine Learning 24).
- ``median``: the median of the steering and that of the throttle, which one driver that errs does
  not move.
- ``critic``: each critic values each proposal, and the mean of those values, in units of the
  critic's own usual differences, is what the proposals are weighed by: softmax with a
  temperature, which chooses the best one where it is low. That is how ensembles of critics value
  actions in Chen et al. 2021, "Randomized ensembled double Q-learning" (REDQ, arXiv:2101.05982)
  and Lee et al. 2021, "SUNRISE" (arXiv:2007.04938), which learn by it.

Where drivers that were trained apart disagree, they know little (Lakshminarayanan et al. 2017,
"Simple and scalable predictive uncertainty estimation using deep ensembles", arXiv:1612.01474).
So throttle may be taken off in proportion to their disagreement, above what is usual, and to the
speed (as Kahn et al. 2017, "Uncertainty-aware reinforcement learning for collision avoidance",
arXiv:1702.01182, which moves slowly where models disagree). In proportion to the speed, so that a
car which stands still starts however much they disagree.

All of it is a Keras model of layers that Keras 2 has as well, so that every kind of export holds
it. Shapes: B observations, K members, F numbers that a member reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from donkey_rl.agents.deployment import plain_layers
from donkey_rl.agents.manifest import ACTIONS
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.configuration import Config
from donkey_rl.errors import DriverError

FloatArray = npt.NDArray[np.float32]
Tensor = Any
Kind = Literal["mean", "median", "critic"]

_USUAL: Final = 99.0
"""Percentile of the disagreement where the drivers were trained above which it is unusual."""

_LEAST_SCALE: Final = 1e-6
_Scale = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]


MOST_MEMBERS: Final = 32


class Evaluator(Config):
    """How an ensemble's action is made of its members' proposals.

    Attributes:
        kind: See this module.
        temperature: Of the softmax over the critics' values: the lower, the more the best
            proposal counts.
        scales: Of each member's critic: how far its values of the members' proposals usually lie
            from their mean; see `scales`.
        slowing: Throttle taken off for each unit of the members' disagreement above `threshold`,
            at the speed that a policy reads as 1; 0 for none.
        threshold: Disagreement that is usual: standard deviation of the members' steering.
    """

    kind: Kind = "mean"
    temperature: float = pydantic.Field(default=0.5, ge=0.01, le=100.0)
    scales: tuple[_Scale, ...] = ()
    slowing: float = pydantic.Field(default=0.0, ge=0.0, le=1000.0)
    threshold: float = pydantic.Field(default=0.0, ge=0.0, le=2.0)

    @pydantic.model_validator(mode="after")
    def _scales_of_critics(self) -> Self:
        if bool(self.scales) != (self.kind == "critic"):
            raise ValueError(
                f"an evaluator has scales where it is 'critic' and else none, received "
                f"{len(self.scales)} for '{self.kind}'"
            )
        return self


def scales(values: FloatArray) -> tuple[float, ...]:
    """Returns how far each critic's values of some proposals usually lie from their mean.

    Critics of different runs tell returns of different rewards; and how much a critic's values
    differ between situations says nothing about which proposal is the best.

    Args:
        values: Of n observations: what critic j says of proposal k, (n, J, K).

    Returns:
        Root mean square of the values less their mean over the proposals, of each critic.
    """
    apart = values - values.mean(axis=2, keepdims=True)
    found = np.sqrt(np.mean(np.square(apart, dtype=np.float64), axis=(0, 2)))
    return tuple(float(max(each, _LEAST_SCALE)) for each in found)


def usual_disagreement(disagreement: FloatArray) -> float:
    """Returns the disagreement that is seldom exceeded: its 99th percentile.

    Args:
        disagreement: Standard deviation of the members' steering on frames of where they were
            trained, (n,).
    """
    return float(np.percentile(disagreement, _USUAL))


def model(
    evaluator: Evaluator, weights: Sequence[float], critics: Sequence[Any], widths: Sequence[int]
) -> Any:
    """Builds what makes the action.

    Args:
        evaluator: How.
        weights: Share of each member in a mean; they add up to 1.
        critics: Of each member, (B, F + 2) -> (B, 1); read by ``critic`` only.
        widths: F of each member.

    Returns:
        A Keras model of the members' proposals, K times (B, 2), what each of them reads, K times
        (B, F), and the scaled speed (B, 1) -> action (B, 2); of what `inputs` takes of these.
    """
    count = len(weights)
    proposals = [keras.Input((ACTIONS,), name=f"proposal_{k}") for k in range(count)]
    seen = [keras.Input((width,), name=f"seen_{k}") for k, width in enumerate(widths)]
    speed = keras.Input((1,), name="scaled_speed")
    listed = _listed(proposals)
    if evaluator.kind == "median":
        action = _median(proposals)
    elif evaluator.kind == "critic":
        action = _valued(evaluator, listed, seen, critics)
    else:
        action = _mean(proposals, weights)
    if evaluator.slowing:
        action = _slowed(evaluator, action, listed, speed)
    return keras.Model(inputs(evaluator, proposals, seen, speed), action, name="evaluator")


def inputs(
    evaluator: Evaluator, proposals: Sequence[Tensor], seen: Sequence[Tensor], speed: Tensor
) -> list[Tensor]:
    """Returns what the model of an evaluator takes, in its order."""
    taken = list(proposals)
    if evaluator.kind == "critic":
        taken += seen
    if evaluator.slowing:
        taken.append(speed)
    return taken


def _disagreement(listed: Tensor) -> Tensor:
    """Returns the standard deviation of the steering of proposals (B, K, 2), (B, 1)."""
    count = listed.shape[1]
    mean = keras.layers.GlobalAveragePooling1D(name="mean_proposal")(listed)
    means = keras.layers.RepeatVector(count, name="mean_proposals")(mean)
    apart = keras.layers.Subtract(name="apart")([listed, means])
    steering = _fixed(apart, "steering_apart", [[1.0], [0.0]])
    flat = keras.layers.Reshape((count,), name="steerings_apart")(steering)
    # Keras 2 has no layer for a root: a vector times itself at length 1 adds up to its length.
    unit = keras.layers.UnitNormalization(name="direction")(flat)
    product = keras.layers.Multiply(name="lengths")([flat, unit])
    return _fixed(product, "disagreement", np.full((count, 1), 1.0 / math.sqrt(count)))


def _mean(proposals: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    shares = [
        keras.layers.Rescaling(weight, name=f"share_{k}")(proposal)
        for k, (weight, proposal) in enumerate(zip(weights, proposals, strict=True))
    ]
    return keras.layers.Add(name="mean")(shares) if len(shares) > 1 else shares[0]


def _median(proposals: Sequence[Tensor]) -> Tensor:
    """Returns the median of each part of the proposals, by a sorting network.

    Odd-even transposition: as many rounds as there are numbers, each of which puts neighbours in
    order (Knuth, "The Art of Computer Programming" 3, section 5.3.4).
    """
    ordered = list(proposals)
    count = len(ordered)
    for turn in range(count):
        for low in range(turn % 2, count - 1, 2):
            both = ordered[low : low + 2]
            ordered[low] = keras.layers.Minimum(name=f"lower_{turn}_{low}")(both)
            ordered[low + 1] = keras.layers.Maximum(name=f"higher_{turn}_{low}")(both)
    middle = ordered[(count - 1) // 2 : count // 2 + 1]
    return keras.layers.Average(name="median")(middle) if len(middle) > 1 else middle[0]


def _valued(
    evaluator: Evaluator, listed: Tensor, seen: Sequence[Tensor], critics: Sequence[Any]
) -> Tensor:
    """Returns the mean of the proposals (B, K, 2), weighed by what the critics say of them."""
    count = listed.shape[1]
    values = []
    for k, (critic, read) in enumerate(zip(critics, seen, strict=True)):
        repeated = keras.layers.RepeatVector(count, name=f"seen_again_{k}")(read)
        both = keras.layers.Concatenate(name=f"to_value_{k}")([repeated, listed])
        value = plain_layers.translated(critic, [both], f"critic_{k}_")
        share = 1.0 / (count * evaluator.scales[k] * evaluator.temperature)
        scaled = keras.layers.Rescaling(share, name=f"value_{k}")(value)
        values.append(keras.layers.Reshape((count,), name=f"values_{k}")(scaled))
    total = keras.layers.Add(name="values")(values) if count > 1 else values[0]
    weights = keras.layers.Activation("softmax", name="weights")(total)
    column = keras.layers.Reshape((count, 1), name="weight_of_each")(weights)
    shares = keras.layers.Multiply(name="weighed")([column, listed])
    mean = keras.layers.GlobalAveragePooling1D(name="weighed_mean")(shares)
    return keras.layers.Rescaling(float(count), name="valued")(mean)


def _slowed(evaluator: Evaluator, action: Tensor, listed: Tensor, speed: Tensor) -> Tensor:
    """Returns an action with less throttle where the proposals disagree more than is usual."""
    gain = evaluator.slowing
    above = keras.layers.Rescaling(gain, -gain * evaluator.threshold, name="above_usual")(
        _disagreement(listed)
    )
    unusual = keras.layers.ReLU(name="unusual")(above)
    moving = keras.layers.Multiply(name="while_moving")([unusual, speed])
    change = _fixed(moving, "less_throttle", [[0.0, -1.0]])
    total = keras.layers.Add(name="slower")([action, change])
    # Within [-1, 1].
    raised = keras.layers.Rescaling(1.0, 1.0, name="slower_raised")(total)
    bounded = keras.layers.ReLU(2.0, name="slower_bounded")(raised)
    return keras.layers.Rescaling(1.0, -1.0, name="slowed")(bounded)


def _listed(proposals: Sequence[Tensor]) -> Tensor:
    """Returns proposals as one tensor, (B, K, 2)."""
    rows = [
        keras.layers.Reshape((1, ACTIONS), name=f"row_{k}")(proposal)
        for k, proposal in enumerate(proposals)
    ]
    if len(rows) == 1:
        return rows[0]
    return keras.layers.Concatenate(axis=1, name="proposals")(rows)


def _fixed(source: Tensor, name: str, kernel: npt.ArrayLike) -> Tensor:
    """Returns a tensor times a matrix of constants, (..., n) -> (..., m)."""
    matrix = np.asarray(kernel, np.float32)
    layer = keras.layers.Dense(matrix.shape[1], use_bias=False, name=name)
    result = layer(source)
    layer.set_weights([matrix])
    return result


def check_weights(count: int, weights: Sequence[float] | None, kind: Kind) -> None:
    """Checks how many drivers are joined and what they count, whoever they are.

    Args:
        count: Of the drivers.
        weights: How much each counts, None for alike.
        kind: What makes the action.

    Raises:
        DriverError: There are none or too many, there is not one positive weight for each, or
            weights would count for nothing.
    """
    if not 1 <= count <= MOST_MEMBERS:
        raise DriverError(
            f"An ensemble has 1 to {MOST_MEMBERS} members. Received: {count}. Add some, or leave "
            "some out."
        )
    if weights is None:
        return
    told = ", ".join(f"{weight:g}" for weight in weights)
    if len(weights) != count or not all(0.0 < weight < math.inf for weight in weights):
        raise DriverError(
            f"Each of the {count} members has one positive weight. Received: {told}. Give as many "
            "positive numbers, or none."
        )
    if kind != "mean" and len(set(weights)) > 1:
        raise DriverError(
            f"Weights count in a mean only. Received: {told} for the evaluator {kind}. Leave the "
            "weights out, or take the mean."
        )
