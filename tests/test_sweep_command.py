"""The command `donkey-rl sweep`: its mistakes, and a whole small sweep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from donkey_rl import cli
from donkey_rl.experiments import stored_runs
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.sweeps import trial

SMALL = (
    "cars=4", "encoder.frames=256", "encoder.epochs=1", "encoder.filters=8,8", "encoder.pool=4",
    "check.every=400", "check.every_later=400", "check.races=1", "evaluation.races=2",
    "evaluation.laps=1", "sac.learning_starts=100", "sac.gradient_steps=1", "sac.batch_size=64",
    "sac.hidden=32,32",
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
        (["--study", "a/b", "--storage", "postgresql://host/x"], "Received: 'a/b'"),
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
def test_a_whole_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    # For the worker, which is a process of its own.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    settings = [word for setting in SMALL for word in ("--set", setting)]
    words = ["--agent", "sac", "--study", "small", "--trials", "2", "--seeds", "1"]
    words += ["--steps", "800", "--pruner", "none", "--space", "space.yaml", "--json"]
    # The agent's own space asks for large networks and many updates.
    Path("space.yaml").write_text(
        "sac.gamma: {low: 0.96, high: 0.995}\nsac.learning_rate: {low: 3.0e-4, high: 3.0e-3}\n"
    )
    assert cli.main(["sweep", *words, *settings]) == 0
    shown = capfd.readouterr()
    assert "trial 0: score" in shown.err
    result = json.loads(shown.out)
    assert result["trials"] == {"complete": 2, "pruned": 0, "failed": 0, "running": 0}
    best = result["best"]
    assert best["value"] >= result["recipe"]
    runs = list(stored_runs.every())
    (parent,) = [run for run in runs if run.tags.get("kind") == "sweep"]
    assert parent.id == result["run_id"]
    assert parent.status == "FINISHED"
    children = [run for run in runs if run.tags.get("donkey_rl.study") == "small"]
    assert sorted(run.tags["donkey_rl.trial"] for run in children) == ["0", "1"]
    assert {run.status for run in children} == {"FINISHED"}
    assert best["run_id"] in {run.id for run in children}
    # Both had the encoder that was trained once.
    assert len([path for path in Path("sweeps/encoders").iterdir() if path.is_dir()]) == 1
    # What another attempt would read back, were it to find the run finished.
    found = trial.finished(best["run_id"], TrainingConfig())
    assert found is not None
    scores = [row["score"] for row in found.per_race]
    assert best["value"] == pytest.approx(sum(scores) / len(scores))
    for name in result["files"].values():
        assert stored_runs.download(parent, name).exists()
    assert yaml.safe_load(Path(result["recipe_file"]).read_text())["agent"] == "sac"
    # Nothing is left to go on with.
    assert {path.name for path in Path("runs").glob("*")} <= {"unsent"}
