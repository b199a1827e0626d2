"""Whose races a run's are, under what they were driven, and what stands for them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import gymnasium
import numpy as np
import pytest

from donkey_rl import cli
from donkey_rl.agents import driver as learned
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.envs import batch
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track
from donkey_rl.experiments import (
    comparison,
    drivers,
    learning_curves,
    mlflow_store,
    pictures,
    stored_races,
    stored_runs,
    tracking,
)
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.stored_races import Course
from tests import small_tubs

pytestmark = pytest.mark.usefixtures("own_store")


def evaluated(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Returns what an evaluation of two short races reports."""
    short = ("--races", "2", "--laps", "1", "--track", "waveshare", "--no-yardsticks", "--json")
    assert cli.main(["evaluate", *words, *short]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.slow
def test_an_earlier_model_of_a_run_leaves_the_races_of_its_driver_alone(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = EnvironmentConfig(track="waveshare")
    second = drivers.usual_driver(config)
    width = second.encoder.features + 2 + 2 * config.history
    actor = networks.deterministic(networks.actor(width, 2, SACConfig(), seed=5))
    first = learned.Driver(second.encoder, actor, second.description, history=config.history)
    told = {"track": "waveshare", "vehicle": config.vehicle}
    models = []
    with tracking.start("two drivers", params={"agent": "sac", **told}, tags=told) as run:
        for name, each in (("first", first), ("second", second)):
            each.save(tmp_path / name / "driver", lite=False)
            space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
            run.log_driver(tmp_path / name / "driver", batch.observation_space(config), space)
            run.flush()
            models.append(stored_runs.find(run.id).tags["donkey_rl.model_id"])
    earlier = evaluated(capsys, f"models:/{models[0]}")
    assert earlier["driver_hash"] == first.hash
    alone = stored_runs.find(run.id)
    assert not any(name.startswith("score/") for name in (*alone.metrics, *alone.tags))
    # Races of another driver alone are not taken for the run's.
    assert stored_races.read(alone).courses == {}
    own = evaluated(capsys, run.id)
    assert own["driver_hash"] == second.hash
    evaluated(capsys, f"models:/{models[0]}")
    (races,) = stored_races.read(stored_runs.find(run.id)).courses.values()
    assert {race.header.driver_hash for race in races.values()} == {second.hash}
    assert stored_races.is_own(f"models:/{models[1]}", run.id, second.hash)
    # MLflow still gives the models of a run that was deleted, and takes nothing more for it.
    mlflow_store.client().delete_run(run.id)
    assert cli.main(["evaluate", f"models:/{models[1]}", "--races", "1"]) == cli.BAD_INPUT
    assert "was deleted" in capsys.readouterr().err


@pytest.mark.slow
def test_longer_for_a_frame_is_told_with_the_races(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def act(self, observation):\n        return [0.0, -1.0]\n",
        encoding="utf-8",
    )
    usual = evaluated(capsys, f"{tmp_path}/mine.py:Mine")
    longer = evaluated(capsys, f"{tmp_path}/mine.py:Mine", "--frame-limit-ms", "1000")
    assert usual["conditions"] == {}
    assert longer["conditions"] == {"frame_limit_ms": 1000.0}
    assert usual["key"] != longer["key"]


def test_a_run_without_a_figure_stays_one_of_its_group() -> None:
    ids = []
    for seed in range(3):
        with tracking.start(f"seed {seed}", params={"agent": "sac", "seed": seed}) as run:
            for step in (100, 200):
                run.log_metrics({"check/clean_share": 0.5}, step)
                if seed:
                    run.log_metrics({"check/mean_lap_s": 30.0}, step)
        ids.append(run.id)
    (group,) = learning_curves.groups([stored_runs.find(each) for each in ids])
    assert len(group.curves["share of clean laps"]) == 3
    laps = group.curves["mean lap (s)"]
    assert sorted(len(curve.steps) for curve in laps) == [0, 2, 2]
    assert "share of the race driven" not in group.curves


def test_races_on_a_file_that_was_changed_are_none_of_it() -> None:
    race = small_tubs.race(track="club", track_digest="a" * 64)
    course = Course.of(race.header)
    assert pictures.races_on({course: {0: race}}, "club") == (race,)
    assert pictures.races_on({course: {0: race}}, "club", "a" * 64) == (race,)
    assert pictures.races_on({course: {0: race}}, "club", "b" * 64) == ()
    road = track.load("warren")
    mine = small_tubs.race(track=road.name, track_digest=road.digest)
    other = small_tubs.race(track=road.name, track_digest="b" * 64)
    for driven, fits in ((mine, True), (other, False)):
        found = comparison._fits(Course.of(driven.header), driven, place=road, laps=None)
        assert found is fits


def test_settings_that_cannot_learn_are_refused() -> None:
    with pytest.raises(ValueError, match=r"encoder\.frames must be one for each track"):
        TrainingConfig.model_validate(
            {
                "track": "random_circuit:1-70",
                "cars": 70,
                "encoder": {"name": "lane", "frames": 64, "batch_size": 8},
            }
        )
    with pytest.raises(ValueError, match=r"checkpoint\.every must be 256 at least"):
        TrainingConfig.model_validate({"checkpoint": {"every": 100}})
