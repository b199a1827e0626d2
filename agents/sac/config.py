"""What a run of soft actor-critic can be told."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from donkey_rl import setting_keys
from donkey_rl.agents.augmentation.config import AugmentationConfig
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.configuration import Config

Width = Annotated[int, pydantic.Field(ge=1, le=4096)]


class SACConfig(Config):
    """Settings of soft actor-critic.

    The defaults here are those of the algorithm by itself. ``donkey-rl train`` starts from those
    of ``experiments/config.py``, which ``docs/agents/sac.md`` lists.
    """

    FORMER: ClassVar = {"random_shift": "augmentation.shift"}

    learning_rate: float = pydantic.Field(
        default=1e-3, gt=0, le=1, description="Adam's step size for actor, critics and entropy."
    )
    final_learning_rate: float | None = pydantic.Field(
        default=None,
        gt=0,
        le=1,
        description="Step size at the end of the run, reached linearly; none keeps it constant.",
    )
    hidden: tuple[Width, ...] = pydantic.Field(
        default=(128, 128),
        min_length=1,
        max_length=8,
        description="Units of the hidden layers of the actor and of each critic.",
    )
    critic_precision: Literal["float32", "bfloat16"] = pydantic.Field(
        default="float32",
        description="What the critics' products between hidden layers are computed in.",
    )
    critics: int = pydantic.Field(
        default=2, ge=1, le=20, description="Critics, the lowest of which counts."
    )
    critic_dropout: float = pydantic.Field(
        default=0.0,
        ge=0,
        le=0.9,
        description="Share of the critics' hidden units that drops out (DroQ: 0.01).",
    )
    critic_layer_norm: bool = pydantic.Field(
        default=False, description="Whether the critics' hidden layers are normalised (DroQ)."
    )
    quantiles: int = pydantic.Field(
        default=0,
        ge=0,
        le=200,
        description="Quantiles of the return that each critic tells (TQC: 25); 0 for its mean.",
    )
    dropped_quantiles: int = pydantic.Field(
        default=2,
        ge=0,
        le=200,
        description="Highest quantiles left out of the target, per critic.",
    )
    sde: bool = pydantic.Field(
        default=False, description="Whether exploration depends on the state (gSDE)."
    )
    sde_sample_frequency: int = pydantic.Field(
        default=64,
        ge=-1,
        le=1_000_000,
        description="Steps between two draws of its noise within a collection; -1 draws at its "
        "start only.",
    )
    cnn: CnnConfig = pydantic.Field(
        default_factory=CnnConfig, description="The network that sees; not used without an image."
    )
    augmentation: AugmentationConfig = pydantic.Field(
        default_factory=lambda: AugmentationConfig(shift=4),
        description="How images change at random while learning (DrQ); not used without images.",
    )
    batch_size: int = pydantic.Field(
        default=256, ge=1, le=65_536, description="Transitions per gradient step."
    )
    gamma: float = pydantic.Field(default=0.99, ge=0, lt=1, description="Discount per step.")
    n_steps: int = pydantic.Field(
        default=3, ge=1, le=64, description="Rewards summed before the critics bootstrap."
    )
    tau: float = pydantic.Field(
        default=0.01,
        gt=0,
        le=1,
        description="Share of the critics that enters their targets per step.",
    )
    entropy: float = pydantic.Field(
        default=0.1, gt=0, le=100, description="Entropy coefficient at the start."
    )
    entropy_learned: bool = pydantic.Field(
        default=True, description="Whether the coefficient follows the target entropy."
    )
    target_entropy: float | None = pydantic.Field(
        default=None,
        description="Entropy to hold, in nats; none takes minus the number of actions.",
    )
    buffer_size: int = pydantic.Field(
        default=300_000, ge=1, le=100_000_000, description="Transitions the replay buffer holds."
    )
    learning_starts: int = pydantic.Field(
        default=1_000,
        ge=0,
        description="Environment steps before the first update, driven at random, or by the "
        "driver that a run begins with.",
    )
    train_frequency: int = pydantic.Field(
        default=1, ge=1, le=10_000, description="How much is driven between two trainings."
    )
    train_unit: Literal["step", "episode"] = pydantic.Field(
        default="step",
        description="What that counts: steps of the vector environment, or episodes of one car.",
    )
    gradient_steps: int = pydantic.Field(
        default=8,
        ge=-1,
        le=10_000,
        description="Gradient steps of one training; -1 takes one per environment step driven.",
    )
    overlap: bool | None = pydantic.Field(
        default=None,
        description="Whether updates run while the cars drive; none: where they cannot wait.",
    )
    policy_delay: int = pydantic.Field(
        default=1,
        ge=1,
        le=10_000,
        description="Steps of the critics for each of actor and entropy (DroQ: gradient_steps).",
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _take_former_keys(cls, values: Any) -> Any:
        return setting_keys.moved(cls, values)

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.gradient_steps == 0:
            raise ValueError("gradient_steps must be -1, or at least 1")
        if self.sde_sample_frequency == 0:
            raise ValueError("sde_sample_frequency must be -1, or at least 1")
        if self.quantiles and self.dropped_quantiles >= self.quantiles:
            raise ValueError(
                f"dropped_quantiles must be below quantiles, {self.quantiles}, "
                f"and is {self.dropped_quantiles}"
            )
        return self
