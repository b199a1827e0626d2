"""The examples do what they are said to do, started by the commands that are printed."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import matplotlib.pyplot as plt
import pytest
from gymnasium.envs.registration import EnvSpec

from donkey_rl import cli
from donkey_rl.agents.driver import Driver
from donkey_rl.envs import registration
from donkey_rl.experiments import beginning, stored_races, stored_runs
from donkey_rl.metrics import laps

EXAMPLES = Path(__file__).parents[1] / "examples"
PRINTED = (EXAMPLES / "README.md").read_text(encoding="utf-8")
SHORTER = {"40000": "2048"}
"""Steps of a training."""

QUICK = (
    "steps=300", "cars=4", "encoder.frames=256", "encoder.epochs=1", "check.every=400",
    "check.races=1", "evaluation.races=1", "evaluation.laps=1",
    "sac.learning_starts=100", "sac.batch_size=64", "sac.gradient_steps=1", "sac.hidden=16,16",
)  # fmt: skip
"""A training of a command, shortened."""

ALONE = "--no-yardsticks"
PATIENT = ("--frame-limit-ms", "5000")
"""How fast this machine is, is not what is tested."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder with a store of its own, and the examples below it."""
    path = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES, path / "examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path / 'mlflow.db'}")
        patch.chdir(path)
        yield path


def commands(name: str) -> list[list[str]]:
    """The words of the commands of an example, in order."""
    (row,) = re.findall(rf"^\| \[{re.escape(name)}\].*$", PRINTED, flags=re.MULTILINE)
    return [shlex.split(each) for each in re.findall(r"`((?:donkey-rl|python) [^`]+)`", row)]


def start(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Carries out what the table prints for an example; trainings are shortened."""
    printed = commands(name)
    assert printed
    for program, *words in printed:
        words = [SHORTER.get(word, word) for word in words]
        if program == "python":
            monkeypatch.setattr(sys, "argv", words)
            runpy.run_path(words[0], run_name="__main__")
        else:
            if words[0] == "train":
                # How long an encoder of one's own is trained is its own affair.
                own = "encoder.name=own" in words
                quick = [each for each in QUICK if not (own and each == "encoder.epochs=1")]
                words += [word for each in quick for word in ("--set", each)]
            if words[0] == "evaluate":
                words += [ALONE, *(PATIENT if name == "own_driver.py" else ())]
            assert cli.main(words) == 0


def test_every_example_is_listed_and_short() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".json", ".ipynb")}
    assert files == set(re.findall(r"^\| \[([\w.]+)\]", PRINTED, flags=re.MULTILINE))
    for link in re.findall(r"\]\(([^)#]+)\)", PRINTED):
        assert (EXAMPLES / link).resolve().exists(), link
    for name in files:
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        lines = source(name) if name.endswith(".ipynb") else text.splitlines()
        assert len(lines) < 40, name
        if name.endswith(".py"):
            # What a file says of itself is what the table prints.
            for words in commands(name):
                assert shlex.join(words) in text.replace("'", "")


@pytest.mark.slow
def test_own_driver_drives_clean_laps_and_the_notebook_looks_at_them(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("donkey_rl.experiments.foreign_driver.SILENCE_S", 60.0)
    start("own_driver.py", monkeypatch)
    run = next(run for run in stored_runs.every() if "own_driver" in run.name)
    (races,) = stored_races.read(run).courses.values()
    assert [[lap.clean for lap in laps.laps(race)] for race in races.values()] == [[True]] * 2
    capsys.readouterr()
    plt.close("all")
    names: dict[str, object] = {}
    for cell in cells("look_at_a_run.ipynb"):
        exec(compile(cell, "look_at_a_run.ipynb", "exec"), names)
    assert "2 races of generated_track" in capsys.readouterr().out
    assert len(plt.get_fignums()) == 3
    plt.close("all")


def test_own_metric_is_checked_and_scores_races(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check-metric", "examples/own_metric.py:left_share"]) == 0
    start("own_metric.py", monkeypatch)
    assert "left_share" in capsys.readouterr().out


def test_own_track_is_drawn_and_driven(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start("own_track.json", monkeypatch)
    assert (place / "own_track.png").is_file()
    run = next(run for run in stored_runs.every() if run.name == "pursuit")
    driven = [course for course in stored_races.read(run).courses if course.track == "own_track"]
    assert len(driven) == 1
    for race in stored_races.read(run).courses[driven[0]].values():
        assert [lap.clean for lap in laps.laps(race)] == [True]


@pytest.mark.slow
def test_own_reward_is_learned_by(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start("own_reward.py", monkeypatch)
    trained = [run for run in stored_runs.every() if "task.reward" in run.params]
    (run,) = [run for run in trained if run.params["task.reward"].endswith("own_reward.py:pace")]
    assert run.params["check.keep"] == "last"
    kept = stored_runs.download(run, beginning.REWARD_FILE)
    assert kept.read_bytes() == (EXAMPLES / "own_reward.py").read_bytes()


@pytest.mark.slow
def test_own_encoder_is_trained_and_learned_by(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("own_encoder.py", monkeypatch)
    trained = [run for run in stored_runs.every() if run.params.get("encoder.name") == "own"]
    (run,) = [run for run in trained if run.params["encoder.code"].endswith("own_encoder.py:Eye")]
    kept = stored_runs.download(run, beginning.ENCODER_FILE)
    assert kept.read_bytes() == (EXAMPLES / "own_encoder.py").read_bytes()
    driver = Driver.load(stored_runs.download_driver(run))
    assert (driver.encoder.name, driver.encoder.features) == ("own", 5)


def test_code_of_gym_donkeycar_sees_its_own_spaces(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: gymnasium.registry[name] for name in registration.IDS}
    monkeypatch.delitem(sys.modules, "donkey_rl.envs.stock", raising=False)
    # Of another package, which was imported before.
    gymnasium.registry["donkey-warehouse-v0"] = EnvSpec("donkey-warehouse-v0", "elsewhere:Env")
    try:
        start("gym_donkeycar_code.py", monkeypatch)
        one = gymnasium.make("donkey-warehouse-v0", conf={})
        assert one.observation_space.shape == (120, 160, 3)
        one.close()
        several = gymnasium.make_vec("donkey-warehouse-v0", num_envs=2)
        assert several.single_observation_space.shape == (120, 160, 3)
        several.close()
    finally:
        gymnasium.registry.update(before)
        sys.modules.pop("donkey_rl.envs.stock", None)
    assert capsys.readouterr().out.startswith("(120, 160, 3) Box([-1.  0.], 1.0, (2,), float32)")


def cells(name: str) -> list[str]:
    """The code cells of a notebook."""
    book = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))
    code = [each for each in book["cells"] if each["cell_type"] == "code"]
    assert all(each["outputs"] == [] and each["execution_count"] is None for each in code)
    return ["".join(each["source"]) for each in code]


def source(name: str) -> list[str]:
    """The lines of code of a notebook."""
    return [line for cell in cells(name) for line in cell.splitlines()]
