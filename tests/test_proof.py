"""Tables that are made command by command, and go on where they were interrupted."""

from __future__ import annotations

import json
import pathlib
import socket
from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest

from donkey_rl import cli, configuration
from donkey_rl.errors import DonkeyRLError, InputError, UnknownNameError
from donkey_rl.experiments import drivers
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.proof import commands, running, tables
from donkey_rl.experiments.proof.commands import Place, Processes
from donkey_rl.experiments.proof.steps import Step, Table
from donkey_rl.experiments.proof.tables import ProofPlan

INTERVAL = {"mean": 20.5, "ci_low": 20.25, "ci_high": 20.75}
RACED = {
    "run_id": "a" * 32,
    "track": "generated_track",
    "vehicle": "donkey_2022",
    "races": 10,
    "races_clean": 9,
    "best_lap_s": 19.875,
    "metrics": {
        "disqualified": {"mean": 0.1, "ci_low": 0.0, "ci_high": 0.3},
        "race_score": {"mean": 0.5, "ci_low": 0.4, "ci_high": 0.6},
        "mean_lap_s": INTERVAL,
        "pace": {"mean": None, "ci_low": None, "ci_high": None},
        "steering_change": {"mean": 0.05, "ci_low": 0.04, "ci_high": 0.06},
    },
}


def plan(folder: pathlib.Path, *names: str, **changes: Any) -> ProofPlan:
    values = {"tables": names, "folder": folder, **changes}
    return configuration.validate(ProofPlan, values)


class Program:
    """Stands for this program: answers at once what `answers` has for the first word."""

    def __init__(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        self.answers = dict(answers)
        self.typed: list[tuple[str, ...]] = []

    def __call__(self, words: tuple[str, ...], *_: object) -> Mapping[str, Any]:
        self.typed.append(words)
        if words[0] not in self.answers:
            raise DonkeyRLError(f"no {words[0]}")
        return self.answers[words[0]]


def test_a_table_goes_on_where_it_was_interrupted(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program({"train": {"run_id": "b" * 32}})
    monkeypatch.setattr(commands, "answer", program)
    wanted = plan(tmp_path, "latency")
    with pytest.raises(DonkeyRLError, match="no evaluate"):
        running.prove(wanted, ProgressDisplay())
    assert [words[0] for words in program.typed] == ["train", "evaluate"]
    page = (tmp_path / "latency" / "table.md").read_text()
    assert "Not finished: 1 of 5 commands are done." in page

    program.answers["evaluate"] = RACED
    program.typed.clear()
    (made,) = running.prove(wanted, ProgressDisplay())
    # The training is not done again, and its run is raced.
    assert [words[:2] for words in program.typed] == [("evaluate", "b" * 32)] * 4
    assert program.typed[2][4:8] == ("--latency-ms", "200", "--jitter-ms", "40")
    late = [f"{ms} ms, {jitter} ms jitter" for ms, jitter in ((100, 20), (200, 40), (300, 40))]
    assert [row["what"] for row in made.rows] == ["0 ms", *late]
    # 9 of 10: Wilson's interval is 0.596 to 0.982.
    assert made.rows[0] == {
        "what": "0 ms",
        "races": "10",
        "all laps clean": "9 of 10 (60% to 98%)",
        "disqualified": "1 of 10 (2% to 40%)",
        "score": "0.500 (0.400 to 0.600)",
        "mean lap (s)": "20.50 (20.25 to 20.75)",
        "best lap (s)": "19.88",
        "pace": "-",
    }
    page = (tmp_path / "latency" / "table.md").read_text()
    assert "Not finished" not in page
    assert "| 0 ms | 10 | 9 of 10 (60% to 98%) |" in page
    assert "`donkey-rl evaluate bbbbbbbb --races" in page

    program.typed.clear()
    assert running.prove(wanted, ProgressDisplay()) == (made,)
    assert program.typed == []
    # What is kept of another command, or is damaged, is done again.
    (tmp_path / "latency" / "0-ms.json").write_text("{")
    running.prove(plan(tmp_path, "latency", races=12), ProgressDisplay())
    assert [words[0] for words in program.typed] == ["evaluate"] * 4


def test_a_named_run_is_measured_and_none_is_trained(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Program({"evaluate": RACED})
    monkeypatch.setattr(commands, "answer", program)
    meant = {"mine": "1" * 64}
    monkeypatch.setattr(drivers, "load", lambda name: mock.Mock(hash=meant[name]))
    wanted = plan(tmp_path, "latency", run="mine")
    running.prove(wanted, ProgressDisplay())
    assert [words[:2] for words in program.typed] == [("evaluate", "mine")] * 4
    running.prove(wanted, ProgressDisplay())
    assert len(program.typed) == 4
    # Another driver of that name.
    meant["mine"] = "2" * 64
    running.prove(wanted, ProgressDisplay())
    assert len(program.typed) == 8


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_command_of_every_table_is_one_that_there_is(
    name: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tables.TABLES[name](plan(tmp_path, name))
    assert len({step.name for step in table.steps}) == len(table.steps)
    # Of trainings and races that differ in their values alone one is enough.
    kinds = {tuple(w for w in step.words if w[:1] == "-"): step.words for step in table.steps}
    for words in kinds.values():
        # Options are read, and refused, before `--help` is carried out.
        assert cli.main([*words, "--help"]) == 0, words
    capsys.readouterr()


def test_a_simulator_is_served_while_its_command_runs(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greeted: list[bytes] = []

    def greet(words: tuple[str, ...], *_: object) -> Mapping[str, Any]:
        host, port = words[2].split(":")
        with socket.create_connection((host, int(port)), timeout=60.0) as peer:
            greeted.append(peer.recv(4096))
        return {}

    step = Step("greet", ("doctor", "--simulator", "{served}"), serves=("waveshare", "max"))
    tables_there = {"served": lambda plan: Table("A simulator", (step,))}
    monkeypatch.setattr(tables, "TABLES", tables_there)
    monkeypatch.setattr(running, "TABLES", tables_there)
    monkeypatch.setattr(commands, "answer", greet)
    running.prove(plan(tmp_path, "served"), ProgressDisplay())
    assert b"msg_type" in greeted[0]
    kept = json.loads((tmp_path / "served" / "greet.json").read_text())
    assert kept["command"] == ["doctor", "--simulator", "{served}"]
    page = (tmp_path / "served" / "table.md").read_text()
    assert "beside `donkey-rl sim --track waveshare --time-scale max`" in page


def test_a_command_that_fails_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DonkeyRLError, match=r"donkey-rl tracks show nowhere.*exit code 2"):
        commands.answer(("tracks", "show", "nowhere"), Place("", ()), Processes())


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        (("latncy",), {}, "Did you mean 'latency'"),
        (("specialists",), {"run": "3f2a"}, "Leave --run out"),
    ],
)
def test_tables_that_cannot_be_made_are_refused(
    names: tuple[str, ...], changes: dict[str, Any], message: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message):
        plan(tmp_path, *names, **changes)
