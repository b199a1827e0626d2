"""The command `donkey-rl sweep`: its mistakes, and a whole small sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from donkey_rl import cli
from donkey_rl.experiments import stored_runs
from donkey_rl.experiments.sweeps import trial

SMALL = (
    "cars=4", "encoder.frames=256", "encoder.epochs=1", "encoder.filters=8,8", "encoder.pool=4",
    "check.every=400", "check.every_later=400", "check.races=1", "evaluation.races=2",
    "evaluation.laps=1", "sac.learning_starts=100",
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--agent", "sax"], "Unknown agent 'sax'. Did you mean 'sac'?"),
        (["--set", "sac.gama=0.9"], "Did you mean 'sac.gamma'?"),
        (["--track", "warren,warehose"], "Did you mean 'warehouse'?"),
        (["--pruner", "wilcox"], "Did you mean 'wilcoxon'?"),
        (["--engine", "rai"], "engine should be 'local' or 'ray'"),
        (["--space", "none.yaml"], "search space 'none.yaml' does not exist"),
        (["--space", "seed.yaml"], "cannot hold seed, which the sweep itself sets"),
        (["--set", "simulator=10.0.0.1:9091"], "A sweep drives the embedded simulator"),
        (["--agent", "sac", "--recipe", "ppo_race"], "is made for ppo"),
        (["--workers", "2", "--storage", "sqlite:///x.db"], "SQLite takes one worker"),
        (["--storage", "oracle://anna:secret@host/x"], "Received: 'oracle://anna:***@host/x'"),
        (["--study", "a/b"], "Received: 'a/b'"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("seed.yaml").write_text("seed: {low: 0, high: 9}")
    assert cli.main(["sweep", "--study", "x", *words]) == cli.BAD_INPUT
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert said in line
    assert "secret" not in line
    assert not Path("mlflow.db").exists()


def test_the_space_that_is_shown_can_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sweep", "--study", "x", "--agent", "ppo", "--show-space"]) == 0
    text = capsys.readouterr().out
    Path("space.yaml").write_text(text)
    words = ["--agent", "ppo", "--space", "space.yaml", "--show-space", "--json"]
    assert cli.main(["sweep", "--study", "x", *words]) == 0
    assert json.loads(capsys.readouterr().out) == yaml.safe_load(text)


def test_another_study_of_the_name_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from donkey_rl.experiments.sweeps import plan, storage, studies

    monkeypatch.chdir(tmp_path)
    wanted = plan.make(plan.SweepRequest(study="x", agent="sac"))
    studies.join(wanted, storage.open_storage(storage.default("x")))
    assert cli.main(["sweep", "--study", "x", "--agent", "ppo"]) == cli.BAD_INPUT
    assert "The study 'x' is another: it has agent sac, not ppo" in capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_sweep_and_one_trial_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}

    def sweep(trials: int) -> tuple[dict[str, object], str]:
        settings = [word for setting in SMALL for word in ("--set", setting)]
        words = ["--agent", "sac", "--study", "small", "--steps", "800", "--pruner", "none"]
        words += ["--trials", str(trials), "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "donkey_rl", "sweep", *words, *settings],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    first, told = sweep(1)
    assert first["trials"] == {"complete": 1, "pruned": 0, "failed": 0, "running": 0}
    assert first["recipe"] == first["best"]["value"]  # type: ignore[index]
    assert "trial 0: score" in told
    result, told = sweep(2)
    assert result["trials"] == {"complete": 2, "pruned": 0, "failed": 0, "running": 0}
    assert "trial 0: score" not in told
    runs = list(stored_runs.every())
    parents = [run for run in runs if run.tags.get("kind") == "sweep"]
    assert [run.id for run in parents] == [result["run_id"]]
    children = [run for run in runs if run.tags.get("donkey_rl.study") == "small"]
    assert sorted(run.tags["donkey_rl.trial"] for run in children) == ["0", "0", "1", "1"]
    assert {run.status for run in children} == {"FINISHED"}
    # One encoder for each seed, and each trained once.
    assert len([path for path in Path("sweeps/encoders").iterdir() if path.is_dir()]) == 2
    best = result["best"]
    found = [trial.finished(run_id) for run_id in best["runs"].values()]  # type: ignore[index]
    scores = [row["score"] for each in found if each is not None for row in each.per_race]
    assert len(scores) == 4
    assert best["value"] == pytest.approx(sum(scores) / 4)  # type: ignore[index]
    for name in result["files"].values():  # type: ignore[attr-defined]
        assert stored_runs.download(parents[0], name).exists()
    recipe = yaml.safe_load(Path(str(result["recipe_file"])).read_text())
    assert recipe["agent"] == "sac"
    assert not Path("runs").exists()
