"""What a run is told that is a part of something larger, such as one training of a sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.experiments.config import TrainingConfig

Figures = Mapping[str, float]

TrainEncoder = Callable[[], tuple[Encoder, Figures]]


class EndedEarly(Exception):  # noqa: N818
    """What a hook raises to end a training whose driver so far is to be kept."""


def _train(key: str, train: TrainEncoder, between: Callable[[], None]) -> tuple[Encoder, Figures]:
    return train()


def _here(
    config: TrainingConfig, local: ExtractedVecEnv, encoder: Encoder | None
) -> ExtractedVecEnv:
    return local


@dataclasses.dataclass(frozen=True)
class Membership:
    """What a run belongs to; by default to nothing.

    Attributes:
        parent: Id of the run that it is a part of.
        tags: Labels of its own.
        shown: Whether its pictures and the video of a race are made.
        patience_s: How long it waits for a store of runs that is away when it begins (s).
        begun: Told the run's id before anything is trained.
        checked: Told the environment steps and the score of each check; may raise `EndedEarly`.
        encoder: Returns an encoder, and figures of its training, from where it was trained
            before or by training it. Given a key of all that it depends on, what trains it, and
            what to call while it waits, which may end the training.
        environment: Returns what the policy learns in: the cars that it is given, or as many
            elsewhere, seen through the same encoder.
        collectors: How many processes drive these, None where they are driven here.
    """

    parent: str | None = None
    tags: Mapping[str, object] = dataclasses.field(default_factory=dict)
    shown: bool = True
    patience_s: float = 0.0
    begun: Callable[[str], object] = lambda run_id: None
    checked: Callable[[int, float], object] = lambda steps, score: None
    encoder: Callable[[str, TrainEncoder, Callable[[], None]], tuple[Encoder, Figures]] = _train
    environment: Callable[[TrainingConfig, ExtractedVecEnv, Encoder | None], ExtractedVecEnv] = (
        _here
    )
    collectors: int | None = None


ALONE = Membership()
"""A run that is a part of nothing."""
