"""What a gradient step of SAC takes its targets from, and what follows it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces

from donkey_rl.agents import observations
from donkey_rl.agents.augmentation.config import AugmentationConfig
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.replay import Batch
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.learner import Learner

NUMBERS = spaces.Box(-4, 4, (2,), np.float32)
IMAGE = (12, 16, 3)
SEEING = spaces.Dict(image=spaces.Box(0, 255, IMAGE, np.uint8), numbers=NUMBERS)
SMALL = SACConfig(
    hidden=(16,),
    batch_size=64,
    cnn=CnnConfig(filters=(4, 8), units=8),
    augmentation=AugmentationConfig(),
)


def fresh(space: spaces.Space[Any] = NUMBERS, **settings: Any) -> Learner:
    """Returns a learner of one action, of the same weights at each call."""
    return Learner(observations.layout(space), 1, SMALL.model_copy(update=settings), 0)


def drawn_rows(steps: int, discount: float) -> npt.NDArray[np.float32]:
    """Returns transitions: two numbers, an action, return and discount, two numbers after."""
    rows = np.random.default_rng(1).uniform(-1, 1, (steps, 64, 7)).astype(np.float32)
    rows[..., 4] = discount
    return rows


def drawn_images(seed: int) -> npt.NDArray[np.uint8]:
    """Returns what 64 transitions saw, each of another brightness."""
    random = np.random.default_rng(seed)
    brightest = random.integers(2, 257, (64, 1, 1, 1))
    return random.integers(0, brightest, (64, *IMAGE)).astype(np.uint8)


def test_the_slow_critics_and_not_the_learning_ones_are_what_follows() -> None:
    learner = fresh(entropy=1e-6, entropy_learned=False)
    for model, value in ((learner.critics, 0.0), (learner.target_critics, 8.0)):
        model.set_weights(
            # The only arrays of one number are what the last layers add.
            [np.full_like(w, value if w.shape == (1,) else 0.0) for w in model.get_weights()]
        )
    rows = np.tile(np.array([0, 0, 0, 1, 0.5, 0, 0], np.float32), (1, 64, 1))
    # Both critics say 0 and should have said 1 + 0.5 * 8 = 5: half of 25, twice.
    found = learner.update(Batch(rows, None), 1e-3)
    assert found["critic_loss"] == pytest.approx(25.0, rel=1e-3)
    assert found["q_mean"] == 0.0


def test_slow_critics_go_a_share_of_the_way_to_where_the_others_have_stepped() -> None:
    learner = fresh(tau=0.25)
    begun = [w.copy() for w in learner.critics.get_weights()]
    # Somewhere else, or the way would be as short as a step.
    old = [w + 1.0 for w in begun]
    learner.target_critics.set_weights(old)
    learner.update(Batch(drawn_rows(1, 0.9), None), 0.01)
    stepped, slow = learner.critics.get_weights(), learner.target_critics.get_weights()
    assert max(np.abs(now - then).max() for now, then in zip(stepped, begun, strict=True)) > 5e-3
    for target, critic, before in zip(slow, stepped, old, strict=True):
        np.testing.assert_allclose(target, before + 0.25 * (critic - before), atol=1e-5)


def test_critics_are_asked_about_the_image_before_and_not_the_one_after() -> None:
    learner = fresh(SEEING)
    before, after = drawn_images(2), drawn_images(3)
    rows = drawn_rows(1, 0.9)
    said = [
        learner.critics(np.concatenate([learner.cnn(image), rows[0, :, :3]], 1)).numpy().mean()
        for image in (before, after)
    ]
    assert abs(said[0] - said[1]) > 1e-3
    found = learner.update(Batch(rows, np.stack([before, after], axis=1)[None]), 1e-3)
    assert found["q_mean"] == pytest.approx(said[0], abs=1e-5)


def test_the_image_after_counts_where_what_follows_does() -> None:
    learner = fresh(SEEING)
    begun = learner.random.bit_generator.state
    before = drawn_images(2)
    gaps = []
    for discount in (0.9, 0.0):
        losses = []
        for brightness in (0, 255):
            images = np.stack([before, np.full_like(before, brightness)], axis=1)[None]
            # The same noise each time, and steps that go nowhere.
            learner.random.bit_generator.state = begun
            losses.append(learner.update(Batch(drawn_rows(1, discount), images), 0.0))
        gaps.append(abs(losses[0]["critic_loss"] - losses[1]["critic_loss"]))
    assert gaps[0] > 1e-2
    assert gaps[1] < 1e-5


@pytest.mark.parametrize(("target", "direction"), [(5.0, 1.0), (-50.0, -1.0)])
def test_the_entropy_coefficient_is_led_to_the_target_entropy(
    target: float, direction: float
) -> None:
    # No policy in [-1, 1] has more than log 2 nats, and none so new as few as -50.
    learner = fresh(entropy=0.2, target_entropy=target)
    found = learner.update(Batch(drawn_rows(20, 0.9), None), 1e-3)
    # Of gradients of one sign and about one size, Adam makes steps of the learning rate.
    risen = float(learner.state()["log_alpha"]) - math.log(0.2)
    assert risen == pytest.approx(direction * 20 * 1e-3, rel=0.1)
    # What each step was taken with: on average half of the way.
    assert found["ent_coef"] == pytest.approx(0.2 * math.exp(risen / 2), rel=2e-3)


@pytest.mark.parametrize(("settings", "expected"), [({}, -3.0), ({"target_entropy": -1.5}, -1.5)])
def test_the_target_entropy_is_minus_the_number_of_actions_unless_it_is_set(
    settings: dict[str, float], expected: float
) -> None:
    config = SMALL.model_copy(update=settings)
    assert Learner(observations.layout(NUMBERS), 3, config, 0).target_entropy == expected
