"""A training run from outside: Ctrl-C, the store, and that it learns."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from donkey_rl import cli, configuration
from donkey_rl.agents.driver import Driver
from donkey_rl.errors import ConfigurationError
from donkey_rl.experiments import stored_runs
from donkey_rl.experiments.config import TrainingConfig, flat
from donkey_rl.experiments.school import School

SMALL = ("--set", "cars=4", "--set", "encoder.frames=512", "--set", "encoder.epochs=1")


def train(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return subprocess.Popen(
        [sys.executable, "-m", "donkey_rl", "train", "--json", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_full_throttle_leaves_grip_to_steer() -> None:
    # donkey_2022: 25 u/s2 at full throttle, grip 0.8 * 9.81 = 7.85; 0.65 * 7.85 / 25 = 0.204.
    assert TrainingConfig().highest_throttle == pytest.approx(0.204, abs=0.001)
    # donkey_2021: 2.81 u/s2 never reach 0.65 * 9.81.
    assert TrainingConfig(vehicle="donkey_2021").highest_throttle == 1.0
    assert TrainingConfig(throttle_max=0.5).highest_throttle == 0.5


def test_configuration_goes_to_flat_parameters_and_back() -> None:
    config = TrainingConfig(seed=4)
    assert flat(config.model_dump())["sac.gamma"] == config.sac.gamma
    assert configuration.validate(TrainingConfig, config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"agent": "sca"}, "Did you mean 'sac'"),
        ({"vehicle": "donkey_2032"}, "Did you mean 'donkey_2022'"),
        ({"track": "generated_trak"}, "Did you mean 'generated_track'"),
        ({"camera": {"img_w": 513}}, "camera.img_w"),
        ({"camera": {"img_w": 16, "img_h": 16}}, "large enough for 4 convolutions"),
        ({"steps": -1}, "steps"),
        ({"cars": 4096, "imitation": {"expert": "pursuit"}}, "of 4096 cars; lower cars"),
        (
            {"cars": 64, "imitation": {"expert": "pursuit", "rounds": 2, "round_steps": 64}},
            "round_steps must be 2 for each car",
        ),
        ({"cars": 4, "sac": {"train_unit": "episode"}}, "train_unit=episode is for one car"),
        (
            {"cars": 1, "simulator": "a:1,b:1", "sac": {"train_unit": "episode"}},
            "is for one car, received cars=2",
        ),
        (
            {
                "cars": 64,
                "history": 7,
                "latency": {"low_ms": 300, "high_ms": 300},
                "imitation": {"expert": "pursuit", "steps": 256},
            },
            "imitation.steps must be 8 for each car",
        ),
        ({"throttle_min": 0.5}, "throttle_min must be below throttle_max"),
        ({"task": {"time_limit_s": 20.01}}, "multiple of 0.05 s"),
        ({"encoder": {"frames": 64}}, "at least one batch"),
        ({"encoder": {"name": "cnm"}}, "Did you mean 'cnn'"),
        ({"encoder": {"name": "cnn", "frames": 64}}, "encoder.frames is a setting of"),
        (
            {"agent": "ppo", "encoder": {"name": "cnn", "pool": 8}, "camera": {"img_h": 60}},
            "large enough for 3",
        ),
    ],
)
def test_bad_settings_are_refused_before_any_work(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configuration.validate(TrainingConfig, values)


@pytest.mark.parametrize("name", configuration.recipes())
def test_a_recipe_changes_only_what_it_names(name: str) -> None:
    recipe = configuration.read_recipe(name)
    config = configuration.validate(TrainingConfig, recipe)
    named = flat(recipe)
    assert named
    defaults = flat(TrainingConfig().model_dump())
    for key, value in flat(config.model_dump()).items():
        wanted = named.get(key, defaults[key])
        # YAML has no tuples.
        assert value == (tuple(wanted) if isinstance(wanted, list) else wanted), key


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT" if sys.platform == "win32" else "SIGTERM"])
def test_a_signal_to_end_keeps_the_driver_and_marks_the_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    with train(tmp_path, "--steps", "5000000", *SMALL, "--set", "check.every=100") as process:
        # A run that never ends is ended, and the assertions below say what it printed.
        ended = threading.Timer(600.0, process.kill)
        ended.start()
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if line.startswith("training driver"):
                process.send_signal(getattr(signal, name))
                break
        out, rest = process.communicate()
        ended.cancel()
    assert process.returncode == 0, "".join(lines) + rest
    result = json.loads(out)
    assert result["stopped"] is True
    assert result["run_id"] in "".join(lines) + rest

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert stored_runs.find(result["run_id"]).status == "KILLED"
    driver = Driver.load(stored_runs.download_driver(result["run_id"]))
    assert driver.description.notes["steps"] > 0


@pytest.mark.slow
def test_a_store_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{blocked}/mlflow.db")
    assert cli.main(["train", "--json", *SMALL]) == cli.FAILURE
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert str(blocked) in line
    assert "Traceback" not in err


@pytest.mark.slow
def test_learns_to_lap_from_camera_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that does not learn never laps: random driving leaves the road within seconds."""
    words = ("--recipe", "first_lap", "--seed", "0", "--steps", "12000")
    words += ("--set", "evaluation.races=1", "--set", "evaluation.laps=1")
    with train(tmp_path, *words) as process:
        ended = threading.Timer(900.0, process.kill)
        ended.start()
        out, err = process.communicate()
        ended.cancel()
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["first_clean_lap_steps"] is not None, err
    assert 0.0 < result["first_clean_lap_wall_s"] <= result["wall_s"]
    assert sum(result["time_split"].values()) == pytest.approx(1.0, abs=0.05)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    driver = Driver.load(stored_runs.download_driver(result["run_id"]))
    assert driver.critic is not None
    seen = np.random.default_rng(0).normal(0, 0.5, (64, driver.actor.input_shape[1]))
    said = [
        np.asarray(driver.critic(np.concatenate([seen, np.full((64, 2), each)], axis=1)))
        for each in (0.0, 1.0)
    ]
    assert np.isfinite(said).all()
    # What it says depends on the action, and on the place.
    assert np.abs(said[0] - said[1]).max() > 1e-3
    assert said[0].std() > 1e-3


@pytest.mark.slow
def test_a_driver_that_learned_in_lessons_alone_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = (
        "cars=4", "encoder.frames=512", "encoder.epochs=1", "ppo.n_steps=16", "ppo.hidden=16,16",
        "ppo.critic_steps=1000", "check.races=1", "check.laps=1", "evaluation.races=1",
    )  # fmt: skip
    small = [word for setting in settings for word in ("--set", setting)]
    words = ["train", "--agent", "ppo", "--steps", "64", "--json", *small]
    assert cli.main(words) == cli.FAILURE
    assert "changed no weight of the policy" in capfd.readouterr().err
    lessons = ("imitation.expert=pursuit", "imitation.steps=256", "imitation.epochs=1")
    words += [word for setting in lessons for word in ("--set", setting)]
    for steps in ("64", "0"):
        words[words.index("--steps") + 1] = steps
        assert cli.main(words) == cli.SUCCESS
        result = json.loads(capfd.readouterr().out)
        assert result["steps"] == int(steps)
        assert result["driver_stored"]
        driver = Driver.load(stored_runs.download_driver(result["run_id"]))
        assert driver.description.agent == "ppo"


@pytest.mark.slow
def test_what_was_taught_is_kept_though_the_lessons_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rounds = []

    def correct(self: School, show: Callable[[int], None]) -> None:
        rounds.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(School, "correct", correct)
    settings = (
        "cars=4", "encoder.frames=512", "encoder.epochs=1", "imitation.expert=pursuit",
        "imitation.steps=256", "imitation.epochs=1", "imitation.rounds=2",
    )  # fmt: skip
    words = ["train", "--agent", "ppo", "--steps", "0", "--json"]
    words += [word for setting in settings for word in ("--set", setting)]
    assert cli.main(words) == cli.SUCCESS
    out, said = capfd.readouterr()
    assert "stopped: storing the driver so far" in said
    result = json.loads(out)
    assert (len(rounds), result["stopped"], result["driver_stored"]) == (1, True, True)
    assert Driver.load(stored_runs.download_driver(result["run_id"])).description.agent == "ppo"


FAILING = """
CALLS = []


def pace(step, failed):
    CALLS.append(1)
    if len(CALLS) > 60:
        raise RuntimeError("no more")
    return step.speed
"""


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True])
def test_a_training_that_fails_keeps_its_driver(
    full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FAILING)
    settings = ("encoder.frames=512", "encoder.epochs=1", "check.races=1", "check.laps=1",
                "cars=4", "sac.learning_starts=100", "task.reward=mine.py:pace")  # fmt: skip
    if full:
        monkeypatch.setattr(Driver, "save", full_disk)
    words = ["train", "--steps", "2000"]
    words += [word for setting in settings for word in ("--set", setting)]
    assert cli.main(words) == cli.BAD_INPUT
    said = capfd.readouterr().err
    assert "the training has failed: storing the driver so far" in said
    assert "RuntimeError" in said.splitlines()[-1]
    (run,) = stored_runs.search("", 10)
    assert run.status == "FAILED"
    if full:
        assert "no driver is stored: " in said
        return
    driver = Driver.load(stored_runs.download_driver(run.id))
    assert 100 < driver.description.notes["steps"] < 300


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_without_steps_there_must_be_lessons(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--agent", "ppo", "--steps", "0"]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "steps=0 is for a driver of lessons alone" in said
    assert "imitation.expert=pursuit" in said
