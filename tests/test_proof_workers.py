"""Commands of a table side by side: as with one at a time, but sooner."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import re
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from donkey_rl import cli
from donkey_rl.errors import DonkeyRLError
from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.proof import commands, making, running, steps, tables
from donkey_rl.experiments.proof.commands import Place, Processes
from donkey_rl.experiments.proof.steps import Step, Table
from donkey_rl.experiments.sweeps import worker_process
from tests.test_proof import RACED, plan

PATIENCE_S = 60.0
"""However busy the machine is, what is waited for comes sooner."""

Answer = Callable[[tuple[str, ...], Place], Mapping[str, Any]]


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Has no store made; returns how often one was asked for."""
    found: list[str] = []
    monkeypatch.setattr(mlflow_store, "client", lambda: "client")
    monkeypatch.setattr(mlflow_store, "experiment_id", found.append)
    return found


@pytest.fixture
def carry_out(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Has a function answer in place of this program."""

    def put(answer: Answer) -> None:
        monkeypatch.setattr(commands, "answer", lambda words, place, _: answer(words, place))

    return put


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Table], None]:
    """Has a table stand for `expert`."""

    def put(table: Table) -> None:
        there = {"expert": lambda _: table}
        monkeypatch.setattr(tables, "TABLES", there)
        monkeypatch.setattr(running, "TABLES", there)

    return put


def run_of(words: tuple[str, ...]) -> str:
    """A run's id for each place that a driver is trained for."""
    return hashlib.md5(" ".join(words).encode(), usedforsecurity=False).hexdigest()


def driven(words: tuple[str, ...]) -> Mapping[str, Any]:
    """What a training answers, and races whose best lap tells whose they are."""
    if words[0] == "train":
        return {"run_id": run_of(words)}
    return {**RACED, "run_id": words[1], "best_lap_s": int(words[1][:6], 16) / 1e3}


def two_chains() -> Table:
    chains = (
        (
            Step(f"train-{name}", ("train", name), trains=True),
            Step(f"race-{name}", ("evaluate", "{trained}"), lambda _: [{"what": "raced"}]),
        )
        for name in ("a", "b")
    )
    return Table("Two", tuple(step for chain in chains for step in chain), side_by_side=True)


def waiting_for(met: Callable[[], object], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < until, f"{what} did not come"
        time.sleep(0.01)


def test_a_command_waits_for_the_training_of_its_driver_and_for_nothing_else(
    tmp_path: pathlib.Path,
) -> None:
    def waits(name: str) -> dict[str, list[str]]:
        there = tables.TABLES[name](plan(tmp_path, name)).steps
        found = zip(there, steps.awaited(there), strict=True)
        return {step.name: [there[each].name for each in wait] for step, wait in found}

    for name, wait in waits("specialists").items():
        assert wait == ([] if name.startswith("train-") else [name.replace("race-", "train-")])
    assert list(waits("latency").values()) == [[], *[["train"]] * 4]
    # The first makes the run of the expert that all others are written into.
    assert list(waits("expert").values()) == [[], *[["generated_track"]] * 7]
    found = waits("transfer")
    assert found["tune"] == ["train"]
    assert found["over-tcp-tuned"] == ["tune"]
    assert found["train-2021"] == []
    assert found["donkey_2021-driver-in-its-own-car"] == ["train-2021"]


def test_tables_of_times_and_rates_have_the_machine_alone(
    tmp_path: pathlib.Path, carry_out: Callable[[Answer], None], opened: list[str]
) -> None:
    made = {name: tables.TABLES[name](plan(tmp_path, name)) for name in tables.TABLES}
    together = [name for name, table in made.items() if table.side_by_side]
    assert together == ["expert", "specialists", "latency"]

    places = []

    def answer(words: tuple[str, ...], place: Place) -> Mapping[str, Any]:
        places.append((place.limits, place.say))
        return {"run_id": "a" * 32, "models": []}

    carry_out(answer)
    running.prove(plan(tmp_path, "exports", workers=4), ProgressDisplay())
    assert places == [(False, None)] * 7
    assert opened == []


def test_two_workers_make_what_one_makes(
    tmp_path: pathlib.Path, carry_out: Callable[[Answer], None], opened: list[str]
) -> None:
    carry_out(lambda words, _: driven(words))
    (one,) = running.prove(plan(tmp_path / "one", "specialists"), ProgressDisplay())
    assert opened == []

    both = threading.Barrier(2, timeout=PATIENCE_S)

    def answer(words: tuple[str, ...], place: Place) -> Mapping[str, Any]:
        if words[0] == "train":
            # Goes on only where another training is there as well.
            both.wait()
        return driven(words)

    carry_out(answer)
    wanted = plan(tmp_path / "two", "specialists", workers=2)
    (two,) = running.prove(wanted, ProgressDisplay())
    assert opened == ["client"]
    assert two.rows == one.rows
    assert len({row["best lap (s)"] for row in two.rows}) == 8

    def told(folder: str) -> list[str]:
        """The page, less what depends on when its commands were carried out."""
        text = (tmp_path / folder / "specialists" / "table.md").read_text()
        return re.sub(r"\| [\d-]{10} [\d:]{5} \| \d+ \| \S+ \|", "| when |", text).split("\n")

    assert told("two") == told("one")
    assert sum("| when |" in line for line in told("two")) == 16

    # And one goes on where two were.
    carry_out(lambda words, _: pytest.fail(f"carried out again: {words}"))
    assert running.prove(plan(tmp_path / "two", "specialists"), ProgressDisplay()) == (two,)


def test_each_has_its_share_of_the_cores_but_what_all_wait_for_has_all(
    tmp_path: pathlib.Path,
    carry_out: Callable[[Answer], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: dict[int, tuple[int, ...]] = {}
    monkeypatch.setattr(making, "usable", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(
        worker_process, "hold_to", lambda cores: held.update({threading.get_ident(): cores})
    )
    both = threading.Barrier(2, timeout=PATIENCE_S)
    found = []

    def answer(words: tuple[str, ...], place: Place) -> Mapping[str, Any]:
        assert held[threading.get_ident()] == place.cores
        found.append((words[0], place.cores, place.limits))
        if words[0] == "evaluate":
            both.wait()
        return driven(words)

    carry_out(answer)
    running.prove(plan(tmp_path, "latency", workers=2), ProgressDisplay())
    assert found[0] == ("train", (0, 1, 2, 3), False)
    shares = [("evaluate", (0, 1), True), ("evaluate", (2, 3), True)]
    assert sorted(found[1:]) == sorted(2 * shares)


def test_a_limited_command_starts_as_many_threads_as_it_has_cores() -> None:
    place = Place("", (0,), limits=True, say=print)
    found = commands.answer(("version", "--all", "--json"), place, Processes())
    assert found["environment"]["OMP_NUM_THREADS"] == "1"
    assert found["environment"]["NUMBA_NUM_THREADS"] == "1"


def test_a_failure_lets_what_runs_come_to_its_end(
    tmp_path: pathlib.Path,
    carry_out: Callable[[Answer], None],
    offer: Callable[[Table], None],
) -> None:
    offer(two_chains())
    shown = io.StringIO()
    typed = []

    def answer(words: tuple[str, ...], place: Place) -> Mapping[str, Any]:
        typed.append(words)
        if words == ("train", "a"):
            raise DonkeyRLError("no a")
        waiting_for(lambda: "what runs comes to its end" in shown.getvalue(), "the failure")
        return driven(words)

    carry_out(answer)
    wanted = plan(tmp_path, "expert", workers=2)
    with pytest.raises(DonkeyRLError, match="no a"), ProgressDisplay(shown) as progress:
        running.prove(wanted, progress)
    assert sorted(typed) == [("train", "a"), ("train", "b")]
    assert "expert, 1 of 4: no a\nexpert: what runs comes to its end, train-b" in shown.getvalue()
    assert "Not finished: 1 of 4" in (tmp_path / "expert" / "table.md").read_text()

    typed.clear()
    carry_out(lambda words, _: typed.append(words) or driven(words))
    running.prove(wanted, ProgressDisplay())
    a, b = run_of(("train", "a")), run_of(("train", "b"))
    assert sorted(typed) == sorted([("train", "a"), ("evaluate", a), ("evaluate", b)])


@pytest.fixture
def program(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Has a program stand for Python: it trains at once; races say so and never end."""
    file = tmp_path / "program"
    text = f"""\
        #!{sys.executable} -S
        import json, os, pathlib, sys, time
        word, name = sys.argv[3:5]
        if word == "evaluate" and not pathlib.Path({str(tmp_path / "ends")!r}).exists():
            print("lap", name, file=sys.stderr, flush=True)
            pathlib.Path({str(tmp_path)!r}, str(os.getpid()) + ".pid").touch()
            time.sleep(3600)
        print(json.dumps({{"run_id": 32 * name}}))
        """
    file.write_text(textwrap.dedent(text))
    file.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(file))
    return file


@pytest.mark.skipif(sys.platform == "win32", reason="a program by its first line")
def test_ctrl_c_ends_all_and_leaves_what_is_finished(
    tmp_path: pathlib.Path,
    program: pathlib.Path,
    offer: Callable[[Table], None],
) -> None:
    offer(two_chains())
    wanted = plan(tmp_path / "proof", "expert", workers=2)
    shown = io.StringIO()

    def interrupt() -> None:
        try:
            waiting_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2, "both races")
            waiting_for(lambda: shown.getvalue().count(": lap") == 2, "their lines")
        finally:
            # Nothing else ends them.
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), ProgressDisplay(shown) as progress:
        running.prove(wanted, progress)
    thread.join()
    for file in tmp_path.glob("*.pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.stem), 0)
    # Each line says whose it is.
    assert f"race-a: lap {32 * 'a'}\n" in shown.getvalue()
    assert f"race-b: lap {32 * 'b'}\n" in shown.getvalue()
    assert "expert, 2 of 4: donkey-rl evaluate aaaa" in shown.getvalue()
    assert "stopping: what is finished is kept" in shown.getvalue()

    folder = tmp_path / "proof" / "expert"
    assert sorted(each.name for each in folder.glob("*.json")) == ["train-a.json", "train-b.json"]
    before = [(folder / f"train-{name}.json").stat().st_mtime_ns for name in "ab"]
    (tmp_path / "ends").touch()
    running.prove(wanted, ProgressDisplay(shown))
    assert [(folder / f"train-{name}.json").stat().st_mtime_ns for name in "ab"] == before
    runs = [json.loads((folder / f"race-{name}.json").read_text())["command"] for name in "ab"]
    assert runs == [["evaluate", 32 * "a"], ["evaluate", 32 * "b"]]


def test_nothing_starts_once_all_were_ended() -> None:
    processes = Processes()
    processes.end()
    with pytest.raises(DonkeyRLError, match="before it began"):
        commands.answer(("tracks",), Place("", ()), processes)


def test_workers_are_asked_for(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = []
    monkeypatch.setattr(running, "prove", lambda wanted, *_: plans.append(wanted) or ())
    words = ["prove", "expert", "--out", str(tmp_path), "--json"]
    assert cli.main([*words, "--workers", "3"]) == cli.main(words) == 0
    assert [each.workers for each in plans] == [3, 1]
