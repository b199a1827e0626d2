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
from importlib import metadata
from typing import Any, Final

import pydantic

import donkey_rl
from donkey_rl.configuration import Config
from donkey_rl.errors import DonkeyRLError
from donkey_rl.experiments import process_clock, provenance, served_simulator
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.proof import marks, writing
from donkey_rl.experiments.proof.cells import Rows
from donkey_rl.experiments.proof.steps import Step
from donkey_rl.experiments.proof.tables import TABLES, ProofPlan
from donkey_rl.experiments.proof.writing import Kept, typed

_LARGEST = 10_000_000
"""Bytes of a kept answer."""

_BESIDE: Final = ("torch", "sbx-rl")
"""Packages that something is measured beside; their versions are kept where they are there."""

_REMEDY = "Give another --out."


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


def prove(
    plan: ProofPlan, progress: ProgressDisplay, page: pathlib.Path | None = None
) -> tuple[Made, ...]:
    """Makes tables; what an earlier call has carried out is not carried out again.

    Args:
        plan: Which.
        progress: Says which command runs.
        page: A page of Markdown that each table is put into, once it is whole.

    Raises:
        InputError: The page has no place for a table.
        DonkeyRLError: A command failed or was stopped; what was done before it is kept.
        StorageError: The folder or the page cannot be written.
    """
    if page is not None:
        marks.check(page, plan.tables)
    return tuple(_make(name, plan, page, progress) for name in plan.tables)


def _make(
    name: str, plan: ProofPlan, page: pathlib.Path | None, progress: ProgressDisplay
) -> Made:
    """Makes one table."""
    table = TABLES[name](plan)
    folder = plan.folder / name
    trained = plan.run or ""
    done: list[Kept] = []
    for number, step in enumerate(table.steps, 1):
        words = tuple(word.replace("{trained}", trained) for word in step.words)
        file = folder / f"{step.name}.json"
        kept = _found(file, words, step.serves)
        if kept is None:
            progress.message(f"{name}, {number} of {len(table.steps)}: donkey-rl {typed(words)}")
            kept = _carried_out(step, words)
            writing.write(file, kept.model_dump_json(indent=2), _REMEDY)
        trained = kept.run_id if step.trains else trained
        done.append(kept)
        writing.write(folder / "table.md", writing.markdown(table, done), _REMEDY)
    if page is not None:
        marks.put_in(page, name, writing.markdown(table, done))
    return Made(name=name, file=str(folder / "table.md"), rows=writing.rows(table, done))


def _found(
    file: pathlib.Path, words: tuple[str, ...], serves: tuple[str, ...] | None
) -> Kept | None:
    """Returns what is kept of a command, None where it is not there or of another one."""
    with contextlib.suppress(OSError, pydantic.ValidationError):
        with file.open("rb") as opened:
            content = opened.read(_LARGEST)
        kept = Kept.model_validate_json(content)
        wanted = (writing.FORMAT, words, serves, donkey_rl.__version__)
        if (kept.format, kept.command, kept.serves, kept.version) == wanted:
            return kept
    return None


def _carried_out(step: Step, words: tuple[str, ...]) -> Kept:
    """Carries out a command in a process of its own, with a clock and a memory of its own."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        called = words
        if step.serves is not None:
            port = stack.enter_context(served_simulator.served(*step.serves))
            called = tuple(word.replace("{served}", f"127.0.0.1:{port}") for word in words)
        answer = _answer(called)
    wall_s = round(time.monotonic() - started, 1)
    rows = step.read(answer)
    if step.timed:
        rows = [{**row, "whole command (s)": f"{wall_s:.1f}"} for row in rows]
    return Kept(
        command=words,
        serves=step.serves,
        version=donkey_rl.__version__,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        wall_s=wall_s,
        load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        machine=_machine(),
        run_id=str(answer.get("run_id", "")),
        rows=rows,
    )


def _answer(words: tuple[str, ...]) -> Mapping[str, Any]:
    """Returns the JSON object that a command of this package prints."""
    command = [sys.executable, "-m", "donkey_rl", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    stopped = done.returncode != 0
    answer: dict[str, Any] = {} if stopped else json.loads(done.stdout)
    if stopped or answer.get("stopped"):
        raise DonkeyRLError(
            f"Expected `donkey-rl {typed(words)}` to come to its end. Received: exit code "
            f"{done.returncode}{'' if stopped else ', stopped early'}; see above. What was done "
            "before it is kept: the same command goes on there."
        )
    return answer


def _machine() -> str:
    """Returns the machine and the versions that a command is carried out with."""
    machine = process_clock.machine()
    versions = dict(provenance.versions())
    for name in _BESIDE:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return (
        f"{machine[process_clock.PROCESSOR_TAG]}, {machine[process_clock.CORES_TAG]} cores; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "."
    )
