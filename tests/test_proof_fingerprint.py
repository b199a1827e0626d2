"""What is kept of a command stands only while what it read of this package is the same."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from donkey_rl import configuration
from donkey_rl.agents.encoders import config
from donkey_rl.experiments import driving_bench, ensemble_bench
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.proof import commands, fingerprint, running, tables
from donkey_rl.experiments.proof.steps import Step
from tests.test_proof import RACED, Program, plan


class OtherDefaults(TrainingConfig):
    cars: int = 63


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    found = Program({"train": {"run_id": "b" * 32}, "evaluate": RACED})
    monkeypatch.setattr(commands, "answer", found)
    return found


def proved(program: Program, folder: pathlib.Path) -> list[str]:
    """Makes `latency`, and returns what was typed for it."""
    program.typed.clear()
    running.prove(plan(folder, "latency"), ProgressDisplay())
    return [words[0] for words in program.typed]


def test_another_recipe_is_trained_by_again(
    program: Program, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert proved(program, tmp_path) == ["train", *["evaluate"] * 4]
    assert proved(program, tmp_path) == []

    def changed(name: str) -> dict[str, Any]:
        assert name == "race"
        return {"agent": "ppo", "steps": 7}

    monkeypatch.setattr(configuration, "read_recipe", changed)
    # It is the same run here, so that its races stand.
    assert proved(program, tmp_path) == ["train"]
    program.answers["train"] = {"run_id": "c" * 32}
    monkeypatch.undo()
    monkeypatch.setattr(commands, "answer", program)
    assert proved(program, tmp_path) == ["train", *["evaluate"] * 4]


def test_with_other_defaults_all_is_done_again(
    program: Program, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved(program, tmp_path)
    monkeypatch.setattr(fingerprint, "TrainingConfig", OtherDefaults)
    assert proved(program, tmp_path) == ["train", *["evaluate"] * 4]


@pytest.mark.parametrize("encoder", ["AutoencoderConfig", "CnnEncoderConfig"])
def test_defaults_of_each_encoder_count(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step("agents", ("bench",))
    before = fingerprint.of(step)

    class Other(getattr(config, encoder)):  # type: ignore[misc]
        more: int = 1

    monkeypatch.setattr(fingerprint, encoder, Other)
    assert fingerprint.of(step) != before


def test_what_an_earlier_version_kept_is_done_again(
    program: Program, tmp_path: pathlib.Path
) -> None:
    proved(program, tmp_path)
    file = tmp_path / "latency" / "100-ms.json"
    kept = json.loads(file.read_text())
    del kept["reads"]
    file.write_text(json.dumps(kept | {"format": 1}))
    assert proved(program, tmp_path) == ["evaluate"]


def test_commands_that_read_recipes_unnamed_are_known(tmp_path: pathlib.Path) -> None:
    def read(name: str) -> tuple[str, ...]:
        (step,) = tables.TABLES[name](plan(tmp_path, name)).steps
        return step.recipes

    assert set(read("agents")) == set(driving_bench._RECIPES.values())
    assert ("--recipe", *read("ensemble")) == ensemble_bench.MEMBERS[:2]
    assert read("logging") == ("sac_fast",)
    named = fingerprint.of(Step("train", ("train", "--recipe", "sac_fast")))
    assert fingerprint.of(Step("bench", ("bench",), recipes=("sac_fast",))) == named
    # By another of its names it is the same.
    assert fingerprint.of(Step("train", ("train", "--recipe", "first_lap"))) == named
    assert fingerprint.of(Step("bench", ("bench",))) != named
