"""PPO on images and dicts: it learns to see, and keeps what Stable-Baselines3's users rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl.agents import driving, observations
from donkey_rl.agents.augmentation.config import AugmentationConfig
from donkey_rl.agents.cnn_config import CnnConfig
from donkey_rl.agents.observations import Parts
from donkey_rl.agents.ppo import rollout
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.learner import Learner
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.ppo.rollout import Rollout
from donkey_rl.errors import InputError

IMAGE = (16, 24, 3)
EYES = CnnConfig(filters=(4, 8), units=16)
SMALL = PPOConfig(n_steps=16, batch_size=32, n_epochs=2, hidden=(16,), cnn=EYES)


class Sides(gymnasium.Env[Any, Any]):
    """A bright stripe on one side, and a flag: go to its side, or away from it where it is set.

    Without the image, or without the flag, every action is right half of the time.
    """

    def __init__(self, *, flagged: bool = True, choices: bool = True, image: Any = IMAGE) -> None:
        seen = spaces.Box(0, 255, image, np.uint8)
        flag = spaces.Box(0, 1, (1,), np.float32)
        self.observation_space = spaces.Dict(image=seen, flag=flag) if flagged else seen
        self.action_space = (
            spaces.Discrete(2) if choices else spaces.Box(-1.0, 1.0, (2,), np.float32)
        )
        self.flagged, self.shape = flagged, image

    def _observe(self) -> Any:
        random = self.np_random
        self.side, self.away = int(random.integers(2)), int(random.integers(2))
        image = random.integers(0, 100, self.shape).astype(np.uint8)
        column = 12 * self.side + int(random.integers(10))
        image[:, column : column + 2] = 255
        if not self.flagged:
            return image
        return {"image": image, "flag": np.array([self.away], np.float32)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        right = self.side ^ self.away if self.flagged else self.side
        reward = float(int(np.ravel(action)[0] > 0) == right)
        return self._observe(), reward, False, True, {}


def envs(count: int = 4, seed: int = 0, **kwargs: Any) -> DummyVecEnv:
    made = DummyVecEnv([lambda: Sides(**kwargs)] * count)
    made.seed(seed)
    return made


def rightness(model: PPO, **kwargs: Any) -> float:
    """Returns the share of right actions in 200 situations, the policy deterministic."""
    test = envs(200, seed=7, **kwargs)
    observed = test.reset()
    return float(test.step(model.predict(observed, deterministic=True)[0])[1].mean())


def test_learns_what_only_image_and_number_together_tell() -> None:
    changed = {"gamma": 0.0, "learning_rate": 3e-3, "n_epochs": 6, "batch_size": 128}
    model = PPO(envs(16), SMALL.model_copy(update=changed), seed=0)
    before = model.learner.cnn.get_weights()
    assert rightness(model) < 0.7
    model.learn(8_000)
    assert rightness(model) >= 0.95
    after = model.learner.cnn.get_weights()
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("image", [IMAGE, (3, 16, 24)])
@pytest.mark.parametrize("choices", [True, False])
def test_predict_takes_one_image_or_many(image: tuple[int, ...], choices: bool) -> None:
    env = DummyVecEnv([lambda: Channels(image, choices)])
    model = PPO(env, SMALL, seed=0)
    one = np.random.default_rng(0).integers(0, 256, IMAGE).astype(np.uint8)
    single, _ = model.predict(one, deterministic=True)
    assert np.shape(single) == env.action_space.shape
    assert env.action_space.contains(single if np.shape(single) else int(single))
    # Stable-Baselines3 turns images; both ways round are understood.
    for given in (one, np.moveaxis(one, -1, 0)):
        many, _ = model.predict(np.stack([given] * 3), deterministic=True)
        np.testing.assert_allclose(many, np.stack([single] * 3), atol=1e-6)
    assert len({tuple(np.ravel(model.predict(one)[0])) for _ in range(30)}) > 1


class Channels(Sides):
    """Images only, their channels where they are asked for; of one look."""

    def __init__(self, image: tuple[int, ...], choices: bool) -> None:
        super().__init__(flagged=False, choices=choices)
        self.observation_space = spaces.Box(0, 255, image, np.uint8)

    def _observe(self) -> Any:
        seen = super()._observe()
        return seen if self.observation_space.shape == IMAGE else np.moveaxis(seen, -1, 0)


@pytest.mark.parametrize("flagged", [True, False])
def test_saved_agent_predicts_and_goes_on_as_before(flagged: bool, tmp_path: Path) -> None:
    model = PPO(envs(flagged=flagged, choices=False), SMALL, seed=0)
    model.learn(64)
    model.save(tmp_path / "agent")
    loaded = PPO.load(tmp_path / "agent", envs(flagged=flagged, choices=False))
    seen = envs(8, seed=5, flagged=flagged, choices=False).reset()
    expected = model.predict(seen, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(seen, deterministic=True)[0], expected)
    kept = loaded.learner.cnn.get_weights()
    loaded.learn(64, reset_num_timesteps=False)
    assert loaded.num_timesteps == 128
    assert not np.array_equal(loaded.learner.cnn.get_weights()[0], kept[0])
    # Without an environment it only predicts.
    alone = PPO.load(tmp_path / "agent")
    np.testing.assert_array_equal(alone.predict(seen, deterministic=True)[0], expected)
    with pytest.raises(InputError, match="Expected the observation_space"):
        PPO.load(tmp_path / "agent", envs(flagged=not flagged, choices=False))


def test_same_seed_is_same_run() -> None:
    def run(seed: int) -> np.ndarray:
        model = PPO(envs(seed=seed), SMALL, seed=seed)
        model.learn(192)
        return np.concatenate([w.ravel() for w in driving_weights(model)])

    def driving_weights(model: PPO) -> list[np.ndarray]:
        return [*model.learner.cnn.get_weights(), *model.learner.actor.get_weights()]

    np.testing.assert_array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(4))


def test_weights_of_a_policy_are_kept_and_put_back() -> None:
    model = PPO(envs(choices=False), SMALL, seed=0)
    seen = envs(8, seed=5, choices=False).reset()
    kept = driving.weights(model)
    expected = model.predict(seen, deterministic=True)[0]
    model.learn(128)
    assert np.abs(model.predict(seen, deterministic=True)[0] - expected).max() > 0.0
    driving.put_back(model, kept)
    np.testing.assert_array_equal(model.predict(seen, deterministic=True)[0], expected)


def test_images_of_a_rollout_are_stored_once_as_they_came() -> None:
    model = PPO(envs(), SMALL, seed=0)
    model.learn(64)
    buffer = model.rollout_buffer
    assert buffer.image is not None
    assert (buffer.image.dtype, buffer.image.shape) == (np.uint8, (16, 4, *IMAGE))
    numbers, images = buffer.steps().seen
    assert np.shares_memory(images, buffer.image)
    np.testing.assert_array_equal(images[4 * 3 + 2], buffer.image[3, 2])
    np.testing.assert_array_equal(numbers[4 * 3 + 2], buffer.numbers[3, 2])
    # Every image is a stripe of 255 on less than 100.
    assert (np.sort(images, axis=None)[[0, -1]] == [0, 255]).all()


def test_cut_episodes_are_worth_what_the_critic_says_of_their_ends() -> None:
    model = PPO(envs(), SMALL, seed=0)
    ends = [Sides() for _ in range(4)]
    infos: list[dict[str, Any]] = [
        {"TimeLimit.truncated": i != 1, "terminal_observation": env.reset(seed=i)[0]}
        for i, env in enumerate(ends)
    ]
    found = model._cut_values(infos, np.array([True, True, False, True]))
    for i in (0, 3):
        end = infos[i]["terminal_observation"]
        value = model.learner.values(Parts(end["flag"][None], end["image"][None]))[0]
        assert found[i] == pytest.approx(0.99 * value, rel=1e-4)
        assert value != 0.0
    assert found[1] == found[2] == 0.0


def test_advantages_of_three_steps() -> None:
    # gamma 0.5, lambda 0.5. Errors r + 0.5 V' - V, V' = 0 after an end:
    # goes on: 1 + 2 - 3 = 0, 2 + 3 - 4 = 1, 3 + 4 - 6 = 1;
    # ends with the second: 0, 2 + 0 - 4 = -2, 1.
    # Advantages, each 0.25 of the following one added where the episode goes on:
    # 1, 1.25, 0.3125, and 1, -2, -0.5.
    found = rollout.advantages(
        np.array([[1, 1], [2, 2], [3, 3]], np.float32),
        np.array([[3, 3], [4, 4], [6, 6]], np.float32),
        np.array([[False, False], [False, True], [False, False]]),
        np.array([8, 8], np.float32),
        (0.5, 0.5),
    )
    np.testing.assert_allclose(found, [[0.3125, -0.5], [1.25, -2.0], [1.0, 1.0]])


def test_callbacks_see_what_stable_baselines3_shows_them() -> None:
    class Look(BaseCallback):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[str] = []

        def _on_rollout_start(self) -> None:
            self.calls.append("start")

        def _on_step(self) -> bool:
            names = ("infos", "rewards", "dones", "new_obs", "actions", "clipped_actions")
            assert all(len(self.locals[name]) == 4 for name in names[:3])
            assert set(names) | {"values", "log_probs", "env", "n_steps"} <= set(self.locals)
            self.calls.append("step")
            return True

        def _on_rollout_end(self) -> None:
            assert self.locals["rollout_buffer"].returns.shape == (16, 4)
            self.calls.append("end")

    look = Look()
    PPO(envs(), SMALL, seed=0).learn(128, look)
    assert look.calls == 2 * ["start", *16 * ["step"], "end"]


def test_another_environment_can_be_set() -> None:
    model = PPO(envs(), SMALL, seed=0)
    model.learn(64)
    model.set_env(envs(seed=9))
    model.learn(64, reset_num_timesteps=False)
    assert model.num_timesteps == 128
    with pytest.raises(ValueError, match="spaces do not match"):
        model.set_env(envs(flagged=False))


def test_generators_decide_what_is_drawn() -> None:
    model = PPO(envs(choices=False), SMALL, seed=0)
    seen = envs(2, choices=False).reset()
    states = {name: g.bit_generator.state for name, g in model.generators.items()}
    drawn = model.predict(seen)[0]
    assert not np.array_equal(model.predict(seen)[0], drawn)
    for name, generator in model.generators.items():
        generator.bit_generator.state = states[name]
    np.testing.assert_array_equal(model.predict(seen)[0], drawn)


def test_images_too_small_for_the_convolutions_are_refused() -> None:
    with pytest.raises(InputError, match="large enough for 5 convolutions"):
        PPO(envs(), PPOConfig(cnn=CnnConfig(filters=(4,) * 5)))


ROAD = spaces.Dict(
    image=spaces.Box(0, 255, IMAGE, np.uint8),
    numbers=spaces.Box(-np.inf, np.inf, (4,), np.float32),
)


def agreeing() -> tuple[Learner, Parts, Any]:
    """Learns from steps that are worth nothing, so that agreement alone is learned."""
    config = SMALL.model_copy(
        update={
            "n_epochs": 6,
            "normalise_advantage": False,
            "agreement": 5.0,
            "augmentation": AugmentationConfig(mirror=True),
        }
    )
    learner = Learner(observations.layout(ROAD), 2, config, 0, choices=False)
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (256, *IMAGE)).astype(np.uint8)
    plain = Parts(random.normal(size=(256, 4)).astype(np.float32), image)
    actions, density, values = learner.act(plain)
    nothing = np.zeros(256, np.float32)
    steps = Rollout(rollout.seen(plain), actions, density, nothing, values, values)
    return learner, plain, steps


def asymmetry(learner: Learner, plain: Parts) -> float:
    """Returns how differently the policy drives on mirrored roads, share of what it does."""
    signs = np.array([1, -1, -1, 1], np.float32)
    turned = Parts(plain.numbers * signs, plain.image[:, :, ::-1])
    gaps = learner.decide(plain) - learner.decide(turned) * [-1.0, 1.0]
    return float(np.abs(gaps).mean() / np.abs(learner.decide(plain)).mean())


def test_policy_comes_to_agree_on_what_is_mirrored() -> None:
    learner, plain, steps = agreeing()
    before = asymmetry(learner, plain)
    assert learner.update(steps, 3e-3, 0.2)["agreement_loss"] > 0.0
    assert asymmetry(learner, plain) < 0.7 * before
    again, _, _ = agreeing()
    again.update(steps, 3e-3, 0.2)
    pairs = zip(learner.actor.get_weights(), again.actor.get_weights(), strict=True)
    assert all((a == b).all() for a, b in pairs)


def test_choices_are_not_mirrored() -> None:
    config = SMALL.model_copy(
        update={"agreement": 0.1, "augmentation": AugmentationConfig(mirror=True)}
    )
    with pytest.raises(InputError, match="to mirror them"):
        PPO(envs(), config, seed=0)
