"""What a start by imitation can be told."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import pydantic
from pydantic import Field

from donkey_rl import setting_keys
from donkey_rl.agents.augmentation.config import AugmentationConfig
from donkey_rl.configuration import Config
from donkey_rl.errors import UnknownNameError

NO_EXPERT = "none"
EXPERTS = (NO_EXPERT, "pursuit")
"""Who shows how to drive."""


class ImitationConfig(Config):
    """Demonstrations, and how a policy is trained on them before it drives by itself."""

    FORMER: ClassVar = {
        name: f"augmentation.{name}" for name in ("mirror", "shift", "brightness", "shadow")
    }

    expert: str = Field(
        default=NO_EXPERT,
        description="Who drives the demonstrations: `none`, or `pursuit`, which knows the track.",
    )
    data: str | None = Field(
        default=None,
        description="What to learn from: races, CSV files, a donkeycar tub, or data:NAME.",
    )
    speed: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Speed to take, as the car reports it, where a recording has none; without "
        "it such a recording is refused.",
    )
    steps: int = Field(
        default=4_096, ge=64, le=1_000_000, description="Environment steps that the expert drives."
    )
    noise: float = Field(
        default=0.3,
        ge=0,
        le=2,
        description="Deviation of what is added to the expert's commands, and not recorded.",
    )
    grip: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="Share of the tyres' grip that the expert plans steady bends with.",
    )
    margin: float = Field(
        default=2.0,
        ge=0,
        le=20,
        description="Distance (u) that the line of these bends keeps from the road's edges.",
    )
    pace: float = Field(
        default=1.0,
        ge=0.1,
        le=1.0,
        description="Share of its speeds that the expert drives at: with less, what a learner "
        "does worse leaves it some grip.",
    )
    late_pace: float | None = Field(
        default=None,
        ge=0.1,
        le=1.0,
        description="The same at the longest latency of the run, and between the two at others; "
        "none is `pace` at any.",
    )
    pace_of: Literal["expert", "limit"] = Field(
        default="expert",
        description="What `pace` and `late_pace` are shares of: the expert's speeds, or those of "
        "the time-optimal lap where it is known; never more than the expert's.",
    )
    motion: bool = Field(
        default=True,
        description="Whether the expert follows the motion of a time-optimal lap where it can.",
    )
    rounds: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Rounds in which the policy drives and the expert says what to do (DAgger).",
    )
    round_steps: int = Field(
        default=4_096, ge=64, le=1_000_000, description="Environment steps of each such round."
    )
    round_epochs: int = Field(
        default=2, ge=1, le=100, description="Passes over everything shown, after each round."
    )
    copies: int = Field(
        default=1, ge=0, le=16, description="Augmented copies of each frame to learn from."
    )
    augmentation: AugmentationConfig = Field(
        default_factory=lambda: AugmentationConfig(shift=4, brightness=0.2, shadow=0.5),
        description="How copies are changed.",
    )
    epochs: int = Field(default=20, ge=1, le=1000, description="Passes over the demonstrations.")
    batch_size: int = Field(default=128, ge=1, le=4096, description="Rows per gradient step.")
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Adam's step size.")
    validation_share: float = Field(
        default=0.1, gt=0, lt=0.9, description="Share of the demonstrations kept for the report."
    )
    seed_replay: bool = Field(
        default=True,
        description="Whether the expert's steps go into SAC's replay buffer, with their rewards.",
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _take_former_keys(cls, values: Any) -> Any:
        return setting_keys.moved(cls, values)

    @pydantic.field_validator("expert")
    @classmethod
    def _known_expert(cls, value: str) -> str:
        if value not in EXPERTS:
            raise UnknownNameError("expert", value, EXPERTS)
        return value

    @pydantic.model_validator(mode="after")
    def _enough_rows(self) -> Self:
        self.check_rows(self.steps)
        return self

    def check_rows(self, steps: int) -> None:
        """Checks that what an expert shows is enough to learn from.

        Args:
            steps: How many of its steps are learned from; with late commands the first of each
                episode are not.

        Raises:
            ValueError: They are too few for one batch.
        """
        rows = steps * (1 + self.copies) * (1.0 - self.validation_share)
        if self.expert != NO_EXPERT and rows < self.batch_size:
            raise ValueError(
                f"steps must leave one batch beside the validation share, received {self.steps} "
                f"steps, batch_size {self.batch_size}"
            )

    @pydantic.model_validator(mode="after")
    def _later_is_slower(self) -> Self:
        if self.slowest > self.pace:
            raise ValueError(
                f"late_pace must not exceed pace, received {self.late_pace:g} and {self.pace:g}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _rounds_have_an_expert(self) -> Self:
        if self.rounds and self.expert == NO_EXPERT:
            raise ValueError(
                f"rounds need an expert that says what to do, received rounds={self.rounds} and "
                f"expert={self.expert}; set imitation.expert=pursuit, or imitation.rounds=0"
            )
        return self

    def rate_after(self, rounds: int) -> float:
        """Returns the step size for learning after so many rounds.

        It falls along a line to a tenth after the last: what is shown no longer changes much.

        >>> round(ImitationConfig(expert="pursuit", rounds=10).rate_after(10), 6)
        0.0001
        """
        return self.learning_rate * (1.0 - 0.9 * rounds / max(self.rounds, 1))

    @property
    def slowest(self) -> float:
        """Share of its speeds that the expert drives at where commands are latest."""
        return self.pace if self.late_pace is None else self.late_pace

    @property
    def wanted(self) -> bool:
        """Whether there is anything to imitate."""
        return self.expert != NO_EXPERT or self.data is not None
