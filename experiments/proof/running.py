"""Making tables: command by command, each answer kept so that nothing is done twice."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import pydantic

import donkey_rl
from donkey_rl.configuration import Config
from donkey_rl.errors import DonkeyRLError, StorageError
from donkey_rl.experiments import process_clock, provenance, served_simulator
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.proof.reading import Rows
from donkey_rl.experiments.proof.tables import TABLES, ProofPlan, Step, Table

_LARGEST = 10_000_000
"""Bytes of a kept answer."""

_FORMAT = 1


class Kept(Config):
    """What is kept of a command that was carried out.

    Attributes:
        format: Version of the file.
        command: What was typed after `donkey-rl`.
        serves: Of the simulator that was served meanwhile, as `Step.serves`; None for none.
        version: Of this package.
        date: When it ended (UTC).
        wall_s: How long it took (s).
        load: Mean number of processes that wanted a core over its last minute, where known.
        run_id: The run of its answer, empty for none.
        rows: What the table shows of it.
    """

    format: int = _FORMAT
    command: tuple[str, ...]
    serves: tuple[str, ...] | None
    version: str
    date: str
    wall_s: float
    load: float | None
    run_id: str
    rows: Rows


class Made(Config):
    """A table that was made.

    Attributes:
        name: Of `TABLES`.
        file: Where it is, as Markdown.
        rows: Its rows.
    """

    name: str
    file: str
    rows: Rows


def prove(plan: ProofPlan, progress: ProgressDisplay) -> tuple[Made, ...]:
    """Makes tables; what an earlier call has carried out is not carried out again.

    Args:
        plan: Which.
        progress: Says which command runs.

    Raises:
        DonkeyRLError: A command failed or was stopped; what was done before it is kept.
        StorageError: The folder cannot be written.
    """
    return tuple(_make(name, TABLES[name](plan), plan, progress) for name in plan.tables)


def _make(name: str, table: Table, plan: ProofPlan, progress: ProgressDisplay) -> Made:
    """Makes one table."""
    folder = plan.folder / name
    trained = plan.run or ""
    done: list[tuple[Step, Kept]] = []
    for number, step in enumerate(table.steps, 1):
        words = tuple(word.replace("{trained}", trained) for word in step.words)
        file = folder / f"{step.name}.json"
        kept = _found(file, words, step.serves)
        if kept is None:
            progress.message(f"{name}, {number} of {len(table.steps)}: donkey-rl {_typed(words)}")
            kept = _carried_out(step, words)
            _write(file, kept.model_dump_json(indent=2))
        trained = kept.run_id if step.trains else trained
        done.append((step, kept))
        _write(folder / "table.md", _markdown(table, done))
    rows = [row for _, kept in done for row in kept.rows]
    return Made(name=name, file=str(folder / "table.md"), rows=rows)


def _found(
    file: pathlib.Path, words: tuple[str, ...], serves: tuple[str, ...] | None
) -> Kept | None:
    """Returns what is kept of a command, None where it is not there or of another one."""
    with contextlib.suppress(OSError, pydantic.ValidationError):
        with file.open("rb") as opened:
            content = opened.read(_LARGEST)
        kept = Kept.model_validate_json(content)
        wanted = (_FORMAT, words, serves, donkey_rl.__version__)
        if (kept.format, kept.command, kept.serves, kept.version) == wanted:
            return kept
    return None


def _carried_out(step: Step, words: tuple[str, ...]) -> Kept:
    """Carries out a command in a process of its own, with a clock and a memory of its own."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        typed = words
        if step.serves is not None:
            port = stack.enter_context(served_simulator.served(*step.serves))
            typed = tuple(word.replace("{served}", f"127.0.0.1:{port}") for word in words)
        answer = _answer(typed)
    return Kept(
        command=words,
        serves=step.serves,
        version=donkey_rl.__version__,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        wall_s=round(time.monotonic() - started, 1),
        load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        run_id=str(answer.get("run_id", "")),
        rows=step.read(answer),
    )


def _answer(words: tuple[str, ...]) -> Mapping[str, Any]:
    """Returns the JSON object that a command of this package prints."""
    command = [sys.executable, "-m", "donkey_rl", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    stopped = done.returncode != 0
    answer: dict[str, Any] = {} if stopped else json.loads(done.stdout)
    if stopped or answer.get("stopped"):
        raise DonkeyRLError(
            f"Expected `donkey-rl {_typed(words)}` to come to its end. Received: exit code "
            f"{done.returncode}{'' if stopped else ', stopped early'}; see above. What was done "
            "before it is kept: the same command goes on there."
        )
    return answer


def _typed(words: tuple[str, ...]) -> str:
    return " ".join(words)


def _served(kept: Kept) -> str:
    """Returns what is said of the simulator that was served while a command ran."""
    if kept.serves is None:
        return ""
    track, time_scale, *more = kept.serves
    words = ("sim", "--track", track, "--time-scale", time_scale, *more)
    return f" beside `donkey-rl {_typed(words)}`"


def _markdown(table: Table, done: list[tuple[Step, Kept]]) -> str:
    """Returns a table as it stands, with what it was made by and on."""
    rows = [row for _, kept in done for row in kept.rows]
    heads = list(dict.fromkeys(head for row in rows for head in row))
    machine = process_clock.machine()
    versions = provenance.versions()
    lines = [f"# {table.title}", ""]
    if len(done) < len(table.steps):
        lines += [f"Not finished: {len(done)} of {len(table.steps)} commands are done.", ""]
    if rows:
        lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        lines += [f"| {' | '.join(row.get(head, '') for head in heads)} |" for row in rows]
        lines.append("")
    lines += [
        "Intervals hold 95 %: Wilson's for shares, the bootstrap's over races for means.",
        "",
        f"Machine: {machine[process_clock.PROCESSOR_TAG]}, "
        f"{machine[process_clock.CORES_TAG]} cores. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        "| command | ended (UTC) | took (s) | load at its end | run |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `donkey-rl {_typed(kept.command)}`{_served(kept)} | {kept.date} | {kept.wall_s:.0f} | "
        f"{'-' if kept.load is None else kept.load} | {kept.run_id[:8]} |"
        for _, kept in done
    ]
    return "\n".join(lines) + "\n"


def _write(file: pathlib.Path, text: str) -> None:
    """Writes a file in one move.

    Raises:
        StorageError: It cannot be written.
    """
    draft = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        raise StorageError(
            f"'{file}' could not be written: {error.strerror or error}. Give another --out."
        ) from error
