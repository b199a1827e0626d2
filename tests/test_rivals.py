"""Races among other cars: what is measured on them, and evaluations with opponents."""

from __future__ import annotations

import contextlib
import json
import pathlib
from typing import Any

import numpy as np
import pytest

from donkey_rl import cli, configuration
from donkey_rl.envs import labels
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.opponents import OpponentConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.traffic import Traffic, shown
from donkey_rl.errors import ConfigurationError, DonkeyRLError, DriverError, InputError
from donkey_rl.experiments import drivers, racing, rivals
from donkey_rl.metrics import registry
from donkey_rl.metrics.examples import drive

SMALL = {"camera": {"img_w": 32, "img_h": 16}, "throttle_min": -1.0}


def score(name: str, **changes: object) -> float:
    """Returns a metric of a drive of four rows, 0.05 s apart, behind another car."""
    behind = {"gap": [20.0, 10.0, 8.0, 6.0], "gap_speed": [5.0, 5.0, 5.0, 5.0]}
    return registry.load(name)(
        drive([0.0, 0.5, 0.75, 1.0], **{"opponents": ["red", "blue"], **behind, **changes})
    )


def test_time_held_up_is_time_near_behind_at_the_speed_of_the_car_ahead() -> None:
    assert score("blocked_s", speed=[5.0] * 4) == pytest.approx(0.10)  # not where 20 u are free
    assert score("blocked_s", speed=[10.0] * 4) == 0.0  # it comes up
    assert score("blocked_s", speed=[3.9] * 4) == 0.0  # it falls back: 1.0 u/s is the limit
    assert score("blocked_s", speed=[6.0] * 4) == pytest.approx(0.10)


def test_contacts_are_with_other_cars_alone_and_blame_is_counted_apart() -> None:
    touched = {"hit": ["red", "cone", "blue", "blue"], "blameless": [False, False, True, False]}
    assert score("contacts", **touched) == 2.0
    assert score("contacts_to_blame", **touched) == 1.0
    assert np.isnan(registry.load("overtakes")(drive([0.0, 0.1])))


def test_overtakes_count_from_the_first_row_and_fall_where_one_is_passed() -> None:
    assert score("overtakes", passed=[2, 3, 4, 4]) == 2.0
    assert score("overtakes", passed=[0, 0, -1, -1]) == -1.0


def test_opponents_of_a_race_start_ahead_by_its_seed_and_are_in_its_record() -> None:
    config = configuration.validate(
        EnvironmentConfig, {**SMALL, "opponents": rivals.of_race("pursuit:0.4", "nobody")}
    )
    records = []
    for _ in range(2):
        field = racing.Field(config, 2, seed=1000)
        with contextlib.closing(field), drivers.pursuit(config).pilot(field) as pilot:
            records.append(field.race(pilot, 1))
    for first, second in zip(*records, strict=True):
        for name, values in first.columns.items():
            np.testing.assert_array_equal(values, second[name], err_msg=name)
        assert first.header.opponents == ("opponent 1",)
        assert 8.0 - 0.2 <= first["gap"][0] <= 30.2
        # A lap at its own speed comes past a car at 0.4 of it.
        assert registry.load("overtakes")(first) >= 1.0
    assert records[0][0]["gap"][0] != records[0][1]["gap"][0]


def test_opponents_of_a_race_that_cannot_be_read_are_refused() -> None:
    assert rivals.of_race("self, parked", "3f2a").drivers == ("3f2a", "parked")
    with pytest.raises(ConfigurationError, match="up to 1"):
        rivals.of_race("pursuit:2", "3f2a")
    with pytest.raises(InputError, match="at most 7"):
        rivals.of_race(",".join(["pursuit"] * 8), "3f2a")


def test_an_opponent_that_is_no_learned_driver_is_refused_before_anything_is_driven() -> None:
    config = configuration.validate(
        EnvironmentConfig, {**SMALL, "opponents": {"count": 1, "drivers": ["self"]}}
    )
    with pytest.raises(InputError, match="copy of a learned driver"):
        rivals.seat(Batch(config, 1))
    named = config.opponents.model_copy(update={"drivers": ("untrained",)})
    with pytest.raises(DriverError, match=r"'untrained' does not fit.*shape"):
        rivals.seat(Batch(config.model_copy(update={"opponents": named}), 1))
    with pytest.raises(DriverError, match="does not fit"):
        rivals.check(config.model_copy(update={"opponents": named}))
    unknown = config.opponents.model_copy(update={"drivers": ("self", "pursuit", "no-such-run")})
    with pytest.raises(DonkeyRLError, match="no-such-run"):
        rivals.check(config.model_copy(update={"opponents": unknown}))
    rivals.check(EnvironmentConfig(opponents=named))
    batch = Batch(EnvironmentConfig(opponents=named), 1)
    rivals.seat(batch)  # learned, if badly, and with the usual camera
    assert isinstance(batch.world, Traffic)
    assert batch.world.vacant == ()
    batch.step(np.zeros((1, 2)))


def test_the_expert_passes_a_slower_car_without_touching_it() -> None:
    config = configuration.validate(
        EnvironmentConfig,
        {
            **SMALL,
            "opponents": {"count": 1, "drivers": ["pursuit:0.4"], "lateral": 0.0, "reach": None},
        },
    )
    batch = Batch(config, 4, seed=2)
    batch.reset(np.arange(4))
    world, passing = batch.world, drivers.Pursuit(config)
    assert isinstance(world, Traffic)
    touched = 0
    for _ in range(240):
        batch.step(shown(passing, batch))
        touched += sum(name != "none" for name in world.hit_names())
    assert (world.passed >= 1).all()
    assert touched == 0


def test_labels_of_the_car_ahead_say_where_it_is() -> None:
    config = configuration.validate(EnvironmentConfig, {**SMALL, "opponents": {"count": 1}})
    (frames,) = labels.sample_frames(config, 64, seed=4, sampling=labels.Sampling(batch=64))
    names = labels.names(cars=True)
    assert frames.labels.shape == (64, len(names))
    near, right, side = frames.labels[:, -3:].T
    some = near > 0.0
    assert 0.4 < some.mean() < 0.95
    assert (near <= 1.0).all()
    assert (right[~some] == 0.0).all()
    assert (np.sign(right[some]) == np.sign(side[some])).all()
    assert (np.abs(side) <= near + 1e-6).all()
    # Without opponents frames and labels are what they were.
    alone = config.model_copy(update={"opponents": EnvironmentConfig().opponents})
    (plain,) = labels.sample_frames(alone, 64, seed=4, sampling=labels.Sampling(batch=64))
    assert plain.labels.shape == (64, len(labels.LANE_LABELS))
    np.testing.assert_array_equal(plain.labels, frames.labels[:, : plain.labels.shape[1]])
    # A car ahead changes what is seen, and nothing else does.
    changed = (plain.images != frames.images).any(axis=(1, 2, 3))
    assert (changed[near > 0.5]).all()


def test_an_opponent_was_trained_with_the_same_camera(tmp_path: pathlib.Path) -> None:
    drivers.usual_driver(EnvironmentConfig()).save(tmp_path / "driver", lite=False)
    among = OpponentConfig(count=1, drivers=(str(tmp_path / "driver"),))
    rivals.check(EnvironmentConfig(opponents=among))
    narrow = EnvironmentConfig(opponents=among, camera=CameraConfig(fov=60.0))
    with pytest.raises(DriverError, match="see by one camera"):
        rivals.check(narrow)
    # An evaluation with another camera changes it for all that were trained alike.
    batch = Batch(narrow, 1)
    rivals.seat(batch, camera=CameraConfig())
    assert isinstance(batch.world, Traffic)
    assert batch.world.vacant == ()


def test_who_is_evaluated_is_its_own_opponent_for_others_too() -> None:
    told = {"opponents": {"count": 2, "drivers": ["self", "pursuit:0.5"]}}
    config = configuration.validate(EnvironmentConfig, told)
    assert rivals.named(config, "3f2a").opponents.drivers == ("3f2a", "pursuit:0.5")
    assert rivals.named(config, "3f2a").opponents.learned == ("3f2a",)
    assert rivals.named(config, "pursuit").opponents.drivers == ("pursuit:1.0", "pursuit:0.5")
    assert EnvironmentConfig().opponents.learned == ()


@pytest.mark.slow
def test_a_training_with_copies_of_itself_and_an_evaluation_among_others(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> dict[str, Any]:
        assert cli.main([*words, "--json"]) == 0, capsys.readouterr().err
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    settings = ["cars=4", "steps=64", "encoder.frames=256", "encoder.epochs=1", "check.races=1"]
    settings += ["evaluation.races=1", "evaluation.laps=1", "ppo.n_steps=16", "ppo.batch_size=64"]
    settings += ["opponents.count=2", "opponents.drivers=[self,pursuit:0.4-0.7]"]
    given = [word for each in settings for word in ("--set", each)]
    trained = run("train", "--agent", "ppo", *given)
    words = ("evaluate", trained["run_id"], "--races", "1", "--laps", "1", "--no-yardsticks")
    found = run(*words, "--opponents", "pursuit:0.3,self")
    assert found["conditions"] == {"opponents": f"pursuit:0.3,{trained['run_id']}"}
    for name in ("contacts", "contacts_to_blame", "blocked_s", "overtakes"):
        assert found["metrics"][name]["mean"] is not None, name
    assert cli.main([*words, "--opponents", "pursuit:7"]) == cli.BAD_INPUT
