"""What a run of proximal policy optimisation can be told."""

from __future__ import annotations

from typing import Annotated, Self

import pydantic

from donkey_rl.agents.augmentation.config import AugmentationConfig
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.configuration import Config

Width = Annotated[int, pydantic.Field(ge=1, le=4096)]


class PPOConfig(Config):
    """Settings of proximal policy optimisation; the defaults are Stable-Baselines3's."""

    learning_rate: float = pydantic.Field(default=3e-4, gt=0, le=1, description="Adam's step size")
    final_learning_rate: float | None = pydantic.Field(
        default=None,
        gt=0,
        le=1,
        description="Step size at the end of the run, reached linearly; none keeps it constant.",
    )
    hidden: tuple[Width, ...] = pydantic.Field(
        default=(64, 64),
        min_length=1,
        max_length=8,
        description="Units of the hidden layers of the actor and of the critic.",
    )
    cnn: CnnConfig = pydantic.Field(
        default_factory=CnnConfig,
        description="The network that sees, where observations hold an image.",
    )
    augmentation: AugmentationConfig = pydantic.Field(
        default_factory=lambda: AugmentationConfig(shift=4),
        description="How the images change that policy and critic are to agree on.",
    )
    agreement: float = pydantic.Field(
        default=0.0,
        ge=0,
        le=100,
        description="Weight of that agreement (DrAC: 0.1); 0 changes no image.",
    )
    n_steps: int = pydantic.Field(
        default=2048, ge=1, le=1_000_000, description="Steps of each environment in a rollout."
    )
    batch_size: int = pydantic.Field(
        default=64, ge=1, le=1_000_000, description="Steps per gradient step."
    )
    n_epochs: int = pydantic.Field(
        default=10, ge=1, le=1000, description="How often a rollout is gone through."
    )
    gamma: float = pydantic.Field(default=0.99, ge=0, le=1, description="Discount per step.")
    gae_lambda: float = pydantic.Field(
        default=0.95, ge=0, le=1, description="Trade-off of bias and variance of the advantages."
    )
    clip_range: float = pydantic.Field(
        default=0.2, gt=0, le=10, description="How far the policy may move in an update."
    )
    final_clip_range: float | None = pydantic.Field(
        default=None, gt=0, le=10, description="The same at the end of the run."
    )
    clip_range_values: float | None = pydantic.Field(
        default=None, gt=0, description="How far the critic may move in an update; none: freely."
    )
    normalise_advantage: bool = pydantic.Field(
        default=True, description="Whether advantages have mean 0 and deviation 1 in a batch."
    )
    entropy_coefficient: float = pydantic.Field(
        default=0.0, ge=0, le=100, description="Reward of randomness."
    )
    value_coefficient: float = pydantic.Field(
        default=0.5, ge=0, le=100, description="Weight of the critic's loss."
    )
    max_gradient_norm: float = pydantic.Field(
        default=0.5, gt=0, le=1e6, description="Gradients are scaled down to this length."
    )
    target_kl: float | None = pydantic.Field(
        default=None, gt=0, description="An update stops when the policy has moved so far."
    )
    critic_steps: int = pydantic.Field(
        default=0,
        ge=0,
        le=100_000_000,
        description="Environment steps at the start in which the critic learns alone: a policy "
        "that can drive already is not to be led by a critic that knows nothing.",
    )
    anchor: float = pydantic.Field(
        default=0.0,
        ge=0,
        le=100,
        description="Weight of the policy's divergence (nats) from the one that its updates began "
        "with, to keep what it was taught; 0 lets it go.",
    )
    least_anchor: float | None = pydantic.Field(
        default=None,
        gt=0,
        le=100,
        description="Each check that the policy passes halves that weight, down to this, and each "
        "other doubles it again, up to `anchor`; none: it stays.",
    )
    initial_log_std: float = pydantic.Field(
        default=0.0, ge=-10, le=2, description="Logarithm of the actions' first deviation."
    )

    @pydantic.model_validator(mode="after")
    def _falls(self) -> Self:
        for last, first in (("final_clip_range", "clip_range"), ("least_anchor", "anchor")):
            low, high = getattr(self, last), getattr(self, first)
            if low is not None and low > high:
                raise ValueError(f"{last} must not exceed {first}, received {low} and {high}")
        return self
