"""Ensembles that are trained, calibrated, made, exported and measured by one command each."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from donkey_rl import cli
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.errors import DonkeyRLError
from donkey_rl.experiments import ensemble_bench, ensemble_training, ensembles
from donkey_rl.experiments.ensemble_bench import EnsemblePlan, EnsembleRow
from donkey_rl.experiments.ensembles import Joining
from donkey_rl.experiments.progress import ProgressDisplay
from tests import small_drivers


@pytest.fixture(scope="module")
def two() -> tuple[Driver, ...]:
    return tuple(small_drivers.lane(seed, critic=SACConfig(hidden=(8,))) for seed in (3, 4))


@pytest.fixture(scope="module")
def folders(two: tuple[Driver, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    place = tmp_path_factory.mktemp("members")
    for number, driver in enumerate(two):
        driver.save(place / str(number), lite=False)
    return str(place / "0"), str(place / "1")


def test_what_is_usual_is_found_on_frames(two: tuple[Driver, ...]) -> None:
    seen = small_drivers.noise(200)
    steering = np.stack([each.act(seen)[:, 0] for each in two], axis=1).std(axis=1)
    made = ensembles.joined(two, Joining(slowing=3.0), lambda: seen)
    assert made.evaluator.threshold == pytest.approx(np.percentile(steering, 99), rel=1e-4)
    judged = ensembles.joined(two, Joining(evaluator="critic", temperature=0.2), lambda: seen)
    assert (judged.evaluator.temperature, judged.evaluator.slowing) == (0.2, 0.0)
    for judge, scale in zip(two, judged.evaluator.scales, strict=True):
        read = np.asarray(judge.seen(*judge.observation.parts(seen)[0]))
        assert judge.critic is not None
        said = [judge.critic(np.concatenate([read, each.act(seen)], 1)) for each in two]
        apart = np.asarray(said[0] - said[1])[:, 0] / 2
        assert scale == pytest.approx(np.sqrt(np.mean(np.square(apart))), rel=1e-3)

    def never() -> Any:
        raise AssertionError("a mean needs no frames")

    assert ensembles.joined(two, Joining(weights=(3, 1)), never).weights == (0.75, 0.25)


def pretend(place: pathlib.Path, code: str) -> pathlib.Path:
    """A program that is started in place of Python."""
    trainer = place / "trainer"
    trainer.write_text(f"#!{sys.executable}\n{code}")
    trainer.chmod(0o755)
    return trainer


def test_members_are_trained_with_one_seed_after_the_other(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = pretend(
        tmp_path,
        "import json, sys\n"
        "words = sys.argv[1:]\n"
        "assert words[:5] == ['-m', 'donkey_rl', 'train', '--recipe', 'sac_fast'], words\n"
        "assert words[-1] == '--json'\n"
        "seed = words[words.index('--seed') + 1]\n"
        "print(json.dumps({'run_id': f'run{seed}', 'stopped': seed == '9'}))\n"
        "sys.exit(seed == '20')\n",
    )
    monkeypatch.setattr(sys, "executable", str(trainer))
    words, shown = ["--recipe", "sac_fast"], ProgressDisplay()
    assert ensemble_training.train(3, words, 5, shown) == ["run5", "run6", "run7"]
    with pytest.raises(DonkeyRLError, match=r"number 2 ended early.*Kept are: run8 run9\."):
        ensemble_training.train(3, words, 8, shown)
    with pytest.raises(DonkeyRLError, match=r"number 2 ended early.*Kept are: run19\."):
        ensemble_training.train(3, words, 19, shown)


@pytest.mark.skipif(sys.platform == "win32", reason="such signals are POSIX")
def test_a_signal_is_handed_on_to_the_member_which_is_waited_for_and_named(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tmp_path / "ready"
    trainer = pretend(
        tmp_path,
        "import json, pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    print(json.dumps({'run_id': 'run1', 'stopped': True}), flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(600)\n",
    )
    monkeypatch.setattr(sys, "executable", str(trainer))
    communicate, pressed = subprocess.Popen.communicate, []

    def interrupted(process: Any, *args: Any, **settings: Any) -> Any:
        if not pressed:
            while not ready.exists():
                time.sleep(0.01)
            pressed.append(True)
            raise KeyboardInterrupt
        return communicate(process, *args, **settings)

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(DonkeyRLError, match=r"number 1 ended early.*Kept are: run1\."):
        ensemble_training.train(3, ["--recipe", "sac_fast"], 1, ProgressDisplay())


@pytest.mark.slow
def test_members_and_ensembles_drive_the_same_races(folders: tuple[str, ...]) -> None:
    plan = EnsemblePlan(races=2, laps=1, conditions=("nominal", "light"), joinings=("mean",))
    with ProgressDisplay() as progress:
        rows = list(ensemble_bench.measure(folders, plan, progress))
    assert [(row.driver, row.condition) for row in rows] == [
        (name, condition) for condition in plan.conditions for name in (*folders, "mean")
    ]
    assert all(row.races == 2 and 0 <= row.disqualified <= 2 for row in rows)
    assert [row.is_member for row in rows[:3]] == [True, True, False]


def test_changed_conditions_are_added_up() -> None:
    def row(driver: str, condition: str, disqualified: int, *scores: float) -> EnsembleRow:
        mean = float(np.mean(scores))
        return EnsembleRow(
            driver=driver, is_member=driver == "m", condition=condition, races=len(scores),
            disqualified=disqualified, scores=scores,
            score={"value": mean, "low": mean, "high": mean},
        )  # fmt: skip

    rows = [
        row("m", "nominal", 0, 9.0, 9.0), row("m", "light", 1, 0.0, 8.0),
        row("m", "grip", 2, 0.0, 0.0), row("mean", "light", 0, 7.0, 7.0),
    ]  # fmt: skip
    first, second = ensemble_bench.summary(rows)
    assert (first["driver"], first["is_member"], first["nominal"]["value"]) == ("m", True, 9.0)
    assert (first["changed_score"], first["changed_disqualified"]) == (2.0, 3)
    assert (first["changed_races"], second["changed_races"]) == (4, 2)
    assert (second["nominal"], second["changed_score"]) == (None, 7.0)


@pytest.mark.usefixtures("own_store")
@pytest.mark.slow
def test_one_command_makes_it_and_one_exports_it(
    folders: tuple[str, ...],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ensembles, "_FRAMES", 32)
    words = ["--evaluator", "critic", "--temperature", "0.3", "--slowing", "2", "--name", "judged"]
    assert cli.main(["ensemble", *folders, *words, "--json"]) == 0
    evaluator = json.loads(capsys.readouterr().out)["evaluator"]
    assert (evaluator["kind"], evaluator["temperature"]) == ("critic", 0.3)
    assert len(evaluator["scales"]) == 2
    assert evaluator["threshold"] > 0
    small_drivers.tub(tmp_path / "tub", 20)
    words = ["--to", "litert", "--frames", "tub", "--output", "car", "--json"]
    assert cli.main(["export", "judged", *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["largest_action_difference"] <= 1e-3
    assert (tmp_path / "car" / "driver.tflite").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x", "--choose", "--evaluator", "median"], "--choose finds members and weights"),
        (["x", "--temperature", "1"], "--temperature is of the evaluator critic"),
        (["x", "--recipe", "sac_fast"], "Give --train N too"),
        (["x", "--evaluator", "medain"], "Did you mean 'median'"),
        ([], "An ensemble has 1 to 32 members. Received: 0"),
        (["--train", "2", "--set", "seed=3"], "Give --seed in its place"),
        (["--train", "3", "--weights", "1,1,0"], "has one positive weight"),
        (["--train", "3", "--evaluator", "median", "--weights", "2,1,1"], "count in a mean only"),
        (["--train", "33"], "1 to 32 members. Received: 33"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ensemble", *words]) == cli.BAD_INPUT
    assert message in capsys.readouterr().err
