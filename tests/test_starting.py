"""Trainings that begin with a driver, and that end by the clock."""

from __future__ import annotations

import io
import itertools
import pathlib

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl import configuration
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.features import FeatureScaling
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments import (
    description,
    learning_bench,
    prerequisites,
    process_clock,
    sight,
    starting,
    stored_runs,
    training,
)
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay
from tests import small_drivers

HIDDEN = SACConfig(hidden=(16,), learning_starts=10**6)
SMALL = (
    "camera.img_w=80", "camera.img_h=60", f"history={small_drivers.HISTORY}", "cars=4",
    "sac.hidden=16",
)  # fmt: skip


@pytest.fixture(scope="module")
def driver() -> Driver:
    return with_limits(-1.0, 1.0, 0.0, config().environment().throttle_max)


def with_limits(left: float, right: float, low: float, high: float) -> Driver:
    own = small_drivers.lane(seed=3, critic=HIDDEN)
    limits = {"steering_limits": (left, right), "throttle_limits": (low, high)}
    return Driver(
        own.encoder,
        own.actor,
        own.description.model_copy(update=limits),
        history=small_drivers.HISTORY,
        scaling=small_drivers.SCALING,
        critic=own.critic,
    )


@pytest.fixture(scope="module")
def folder(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("start") / "driver"
    driver.save(path, lite=False)
    return path


def config(*settings: str) -> TrainingConfig:
    return configuration.with_settings(TrainingConfig(), [*SMALL, *settings])


def features() -> DummyVecEnv:
    return learning_bench.numbers(features=3 + 2 + 2 * small_drivers.HISTORY)


def test_only_critics_that_have_learned_go_with_a_driver(driver: Driver) -> None:
    agent = SAC(features(), SACConfig(hidden=(16,), learning_starts=8, batch_size=8), seed=1)
    assert sight.driver_critic(agent, driver.encoder) is None
    agent.learn(32)
    assert sight.driver_critic(agent, driver.encoder) is not None
    assert sight.driver_critic(agent, None) is None, "what sees by itself goes on changing"


def test_an_agent_acts_and_judges_as_the_driver_that_it_begins_with(driver: Driver) -> None:
    seen = np.random.default_rng(0).normal(size=(20, 9)).astype(np.float32)
    done = np.random.default_rng(1).uniform(-1, 1, size=(20, 2)).astype(np.float32)
    agent = SAC(features(), HIDDEN, seed=1)
    assert not np.allclose(agent.deterministic_model()(seen), driver.actor(seen), atol=1e-3)
    assert starting.take_over(agent, driver) == ("policy", "critics")
    acted = agent.predict(seen, deterministic=True)[0]
    np.testing.assert_allclose(acted, driver.actor(seen), atol=1e-5)
    judged = np.concatenate([seen, done], axis=1)
    np.testing.assert_allclose(
        agent.action_value_model()(judged), driver.critic(judged), atol=1e-5
    )
    for own, target in zip(
        agent.learner.critics.get_weights(),
        agent.learner.target_critics.get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(own, target)


def test_it_explores_around_what_the_driver_would_do(driver: Driver) -> None:
    seen = np.random.default_rng(0).normal(size=(400, 9)).astype(np.float32)
    plain, begun = SAC(features(), HIDDEN, seed=1), SAC(features(), HIDDEN, seed=1)
    starting.take_over(begun, driver)
    before = {}
    for name, agent in (("by chance", plain), ("begun", begun)):
        middle = np.arctanh(np.clip(agent.predict(seen, deterministic=True)[0], -0.999, 0.999))
        drawn = np.arctanh(np.clip(agent.predict(seen)[0], -0.999, 0.999))
        before[name] = (drawn - middle).std(axis=0)
    # A Gaussian of this width has an entropy of -1, the target for each of two actions.
    assert before["begun"] == pytest.approx([0.0890, 0.0890], rel=0.15)
    assert (before["by chance"] > 4 * before["begun"]).all()


@pytest.mark.parametrize("by_chance", [True, False])
def test_who_drives_before_learning_starts(driver: Driver, by_chance: bool) -> None:
    agent = SAC(features(), HIDDEN, seed=1)
    starting.take_over(agent, driver)
    agent.begins_by_chance = by_chance
    agent.learn(200)
    assert agent.replay_buffer is not None
    rows = agent.replay_buffer.sample(200)
    wanted = agent.predict(np.asarray(rows.observations), deterministic=True)[0]
    off = np.abs(np.asarray(rows.actions) - wanted).mean()
    assert (off > 0.3) == by_chance


def test_a_driver_without_critics_gives_its_policy_alone() -> None:
    agent = SAC(features(), HIDDEN, seed=1)
    before = agent.learner.critics.get_weights()
    assert starting.take_over(agent, small_drivers.lane(seed=3)) == ("policy",)
    np.testing.assert_array_equal(before[0], agent.learner.critics.get_weights()[0])


def test_networks_of_other_shapes_are_refused_by_their_layers(driver: Driver) -> None:
    wide = SAC(features(), SACConfig(hidden=(32,), learning_starts=10**6), seed=1)
    with pytest.raises(InputError, match=r"expected policy of the layers 9x32, 32x2.*9x16, 16x2"):
        starting.take_over(wide, driver)
    single = SAC(features(), HIDDEN.model_copy(update={"critics": 1}), seed=1)
    with pytest.raises(InputError, match="expected critics"):
        starting.take_over(single, driver)
    with pytest.raises(InputError, match="expected policy"):
        starting.take_over(PPO(features(), PPOConfig(hidden=(16, 16)), seed=1), driver)


def test_drivers_that_no_training_can_go_on_with_are_refused(
    folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(InputError, match=r"3 past commands\. Received: .* and 2\."):
        starting.load(config(f"start.driver={folder}", "history=3"))
    with pytest.raises(InputError, match=r"one driver\. Received: 'pursuit'"):
        starting.load(config("start.driver=pursuit"))
    small_drivers.seeing().save(tmp_path / "seeing", lite=False)
    with pytest.raises(InputError, match="sees by itself"):
        starting.load(config(f"start.driver={tmp_path / 'seeing'}"))
    with pytest.raises(ConfigurationError, match=r"encoder\.name=cnn as well"):
        config(f"start.driver={folder}", "encoder.name=cnn")
    blind = FeatureScaling(speed=4.0, yaw_rate=2.0, blind_to=("speed",))
    own = small_drivers.lane(seed=3)
    Driver(
        own.encoder, own.actor, own.description, history=small_drivers.HISTORY, scaling=blind
    ).save(tmp_path / "blind", lite=False)
    with pytest.raises(
        InputError, match=r"of sac, blind to nothing\. Received: one of sac, blind"
    ):
        starting.load(config(f"start.driver={tmp_path / 'blind'}"))
    with pytest.raises(InputError, match=r"a driver of ppo, .* Received: one of sac"):
        starting.load(config(f"start.driver={folder}", "agent=ppo"))
    with_limits(-1.0, 1.0, -1.0, 0.5).save(tmp_path / "quick", lite=False)
    quick = f"start.driver={tmp_path / 'quick'}"
    with pytest.raises(InputError, match=r"throttle 0 to 0\.2.* Received: throttle -1 to 0\.5"):
        starting.load(config(quick))
    assert starting.load(config(quick, "throttle_min=-1", "throttle_max=0.5")) is not None
    # Another car has other limits anyhow.
    assert starting.load(config(quick, "vehicle=donkey_2021")) is not None
    assert starting.load(config()) is None
    with pytest.raises(InputError, match=r"of 32, 8 units\. Received: 16\. Set sac\.hidden=16"):
        starting.load(config(f"start.driver={folder}", "sac.hidden=32,8"))


def test_a_run_has_the_settings_of_the_encoder_that_it_takes_over(
    driver: Driver, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(driver.encoder, LaneEncoder)
    with ProgressDisplay(io.StringIO()) as progress:
        begun = prerequisites.checked(
            config(f"start.driver={folder}", "encoder.epochs=7"), progress
        )
        assert begun.encoder == driver.encoder.config != TrainingConfig().encoder
        named = {"driver": "f" * 32, "rival": "e" * 32}
        monkeypatch.setattr(prerequisites, "_fixed", named.get)
        with_rivals = config("start.driver=driver", "opponents.count=1", "opponents.drivers=rival")
        pinned = prerequisites._pinned(with_rivals, driver)
        assert (pinned.start.driver, pinned.opponents.drivers) == ("f" * 32, ("e" * 32,))
        other = config(f"start.driver={folder}", "encoder.name=autoencoder", "encoder.data=frames")
        with pytest.raises(ConfigurationError, match=r"Received: encoder\.data=frames as well"):
            prerequisites.checked(other, progress)


def test_settings_that_a_training_does_not_read_are_refused_and_idle_ones_told() -> None:
    text = io.StringIO()
    with ProgressDisplay(text) as progress:
        for setting, instead in (
            ("link.host=10.0.0.5", r"set simulator=HOST:PORT"),
            ("link.port=9000", r"set simulator=HOST:PORT"),
            ("link.camera.fov=120", r"set camera\.\*"),
        ):
            with pytest.raises(ConfigurationError, match=instead):
                prerequisites.checked(config(setting), progress)
        prerequisites.checked(config("agent=ppo", "ppo.critic_steps=4000", "steps=4000"), progress)
        assert text.getvalue() == "", "the last of its rollouts ends after 4,096 steps"
        prerequisites.checked(config("agent=ppo", "ppo.critic_steps=4000", "steps=3900"), progress)
    assert "changed after 4,000 steps (ppo.critic_steps), and steps=3,900" in text.getvalue()


def test_the_mean_of_quantiles_is_no_part_of_the_critics() -> None:
    quantiles = HIDDEN.model_copy(update={"quantiles": 5, "critics": 3})
    driver = small_drivers.lane(seed=3, critic=quantiles)
    agent = SAC(features(), quantiles, seed=1)
    assert starting.take_over(agent, driver) == ("policy", "critics")
    judged = np.random.default_rng(0).normal(size=(20, 11)).astype(np.float32)
    assert driver.critic is not None
    np.testing.assert_allclose(
        agent.action_value_model()(judged), driver.critic(judged), atol=1e-5
    )


def test_critics_that_are_no_numbers_go_nowhere() -> None:
    driver = small_drivers.lane(seed=3, critic=HIDDEN)
    assert driver.critic is not None
    spoiled = [np.full_like(array, np.nan) for array in driver.critic.get_weights()]
    driver.critic.set_weights(spoiled)
    agent = SAC(features(), SACConfig(hidden=(16,), learning_starts=8, batch_size=8), seed=1)
    assert starting.take_over(agent, driver) == ("policy",)
    agent.learn(32)
    for critics in (agent.learner.critics, agent.learner.target_critics):
        critics.set_weights([np.full_like(array, np.nan) for array in critics.get_weights()])
    assert sight.driver_critic(agent, driver.encoder) is None


def test_tracks_that_the_first_driver_has_seen_stay_seen(driver: Driver) -> None:
    about = description.of(config("track=warren"), "r", 5, driver)
    assert about.tracks == ("warren", "generated_track")
    assert description.of(config("track=warren"), "r", 5, None).tracks == ("warren",)


@pytest.mark.usefixtures("own_store")
@pytest.mark.slow
def test_a_training_goes_on_with_a_driver_until_its_minutes_are_over(
    driver: Driver,
    folder: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each look at the clock takes a second: 60 of them are over long before the steps are.
    ticks = itertools.count()
    monkeypatch.setattr(process_clock, "seconds", lambda: float(next(ticks)))
    asked = config(
        f"start.driver={folder}",
        "steps=5000000",
        "minutes=1",
        "sac.learning_starts=0",
        "sac.gradient_steps=1",
        "sac.learning_rate=1e-8",
        "sac.final_learning_rate=1e-8",
        "check.races=1",
        "evaluation.races=1",
        "evaluation.laps=1",
    )
    text = io.StringIO()
    with ProgressDisplay(text) as progress:
        result = training.train(asked, progress)
    assert "begins with policy and critics" in text.getvalue()
    assert "rendering frames" not in text.getvalue()
    assert "1 minutes are over at step" in text.getvalue()
    assert 0 < result.steps < 1000
    assert not result.stopped
    made = Driver.load(stored_runs.download_driver(result.run_id))
    for own, first in zip(made.encoder.model.get_weights(), driver.encoder.model.get_weights(),
                          strict=True):  # fmt: skip
        np.testing.assert_array_equal(own, first)
    for own, first in zip(made.actor.get_weights(), driver.actor.get_weights(), strict=True):
        np.testing.assert_allclose(own, first, atol=1e-4)
