"""A table in the making: its commands, one at a time or side by side, each answer kept."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from concurrent import futures

import pydantic

import donkey_rl
from donkey_rl.cores import usable
from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.progress import ProgressDisplay, duration
from donkey_rl.experiments.proof import commands, fingerprint, steps, writing
from donkey_rl.experiments.proof.commands import Order, Place, Processes
from donkey_rl.experiments.proof.steps import TRAINED, Table
from donkey_rl.experiments.proof.tables import ProofPlan
from donkey_rl.experiments.proof.writing import Kept, typed
from donkey_rl.experiments.sweeps.crew import shares

_LARGEST = 10_000_000
"""Bytes of a kept answer."""

_WAIT_S = 1.0
"""Where a wait has no end, Ctrl-C does not come through on Windows."""

_REMEDY = "Give another --out."


class Making:
    """Makes one table; what an earlier call has carried out is not carried out again.

    Attributes:
        table: Which.
        file: Where it is, as Markdown; it is written anew after each command.
    """

    def __init__(
        self, name: str, table: Table, plan: ProofPlan, driver: str, display: ProgressDisplay
    ) -> None:
        """Prepares; nothing is started.

        Args:
            name: Of the table.
            table: Which.
            plan: How much at once, of which run, and where it is kept.
            driver: SHA-256 of the driver that the plan names, empty where it names none.
            display: Says which command runs.
        """
        self.table = table
        self.file = plan.folder / name / "table.md"
        self._name = name
        self._named_run = plan.run or ""
        self._driver_hash = driver
        self._display = display
        self._awaited = steps.awaited(table.steps)
        self._machine = commands.machine()
        at_once = min(plan.workers, len(table.steps)) if table.side_by_side else 1
        self._shares = shares(usable(), at_once)
        self._free = list(range(at_once))
        self._done: dict[int, Kept] = {}
        self._orders: dict[int, Order] = {}
        self._waiting: list[int] = []
        self._running: dict[futures.Future[Kept], tuple[int, int]] = {}
        self._failures: list[BaseException] = []
        self._processes = Processes()

    def make(self) -> tuple[Kept, ...]:
        """Carries out what is not kept, and returns all commands in the order of the table.

        Raises:
            DonkeyRLError: A command failed or was stopped. What ran beside it has come to its
                end; what was done is kept.
            StorageError: The folder cannot be written.
            KeyboardInterrupt: After Ctrl-C, when all that ran has ended.
        """
        with futures.ThreadPoolExecutor(len(self._shares)) as pool:
            try:
                self._look()
                if len(self._shares) > 1 and self._waiting:
                    # Two commands that make a new store at the same moment disturb each other.
                    mlflow_store.experiment_id(mlflow_store.client())
                self._start(pool)
                while self._running:
                    self._take()
                    self._look()
                    self._start(pool)
            except KeyboardInterrupt:
                self._display.message("stopping: what is finished is kept")
                raise
            finally:
                self._processes.end()
        if self._failures:
            raise self._failures[0]
        return self._so_far()

    def _so_far(self) -> tuple[Kept, ...]:
        """Returns what is done, in the order of the table."""
        return tuple(self._done[number] for number in sorted(self._done))

    def _look(self) -> None:
        """Finds what is kept, and what waits for nothing any more."""
        for number, step in enumerate(self.table.steps):
            ready = self._awaited[number] <= self._done.keys()
            if not ready or number in self._done or number in self._orders:
                continue
            words = tuple(word.replace(TRAINED, self._driver(number)) for word in step.words)
            order = Order(step, words, fingerprint.of(step, self._driver_hash))
            kept = _found(self._file_of(number), order)
            if kept is None:
                self._orders[number] = order
                self._waiting = sorted([*self._waiting, number])
            else:
                self._done[number] = kept
        writing.write(self.file, writing.markdown(self.table, self._so_far()), _REMEDY)

    def _start(self, pool: futures.Executor) -> None:
        """Starts what waits for nothing, while there is a place for it and nothing has failed."""
        # Whatever else there is waits for its end.
        alone = not self._running and len(self._waiting) == 1
        while self._waiting and self._free and not self._failures:
            number, slot = self._waiting.pop(0), self._free.pop(0)
            order = self._orders[number]
            place = Place(self._machine, usable())
            if len(self._shares) > 1 and not alone:
                say = functools.partial(self._say, order.step.name)
                place = Place(self._machine, self._shares[slot], limits=True, say=say)
            self._display.message(f"{self._which(number)}: donkey-rl {typed(order.words)}")
            work = pool.submit(_carry_out, order, self._file_of(number), place, self._processes)
            self._running[work] = number, slot

    def _take(self) -> None:
        """Waits until a command has ended."""
        ended: set[futures.Future[Kept]] = set()
        while not ended:
            ended, _ = futures.wait(self._running, _WAIT_S, futures.FIRST_COMPLETED)
        for work in ended:
            number, slot = self._running.pop(work)
            self._free = sorted([*self._free, slot])
            error = work.exception()
            if error is None:
                self._done[number] = work.result()
                if self._running:
                    took = duration(self._done[number].wall_s)
                    self._display.message(f"{self._which(number)}: done, {took} taken")
                continue
            self._failures.append(error)
            if self._running or len(self._failures) > 1:
                self._display.message(f"{self._which(number)}: {error}")
            if self._running:
                names = (self.table.steps[each].name for each, _ in self._running.values())
                self._display.message(
                    f"{self._name}: what runs comes to its end, {', '.join(names)}"
                )

    def _which(self, number: int) -> str:
        return f"{self._name}, {number + 1} of {len(self.table.steps)}"

    def _say(self, name: str, line: str) -> None:
        self._display.message(f"{name}: {line}")

    def _driver(self, number: int) -> str:
        """Returns the run that was trained last before a step, or that is named."""
        trainings = [each for each in self._awaited[number] if self.table.steps[each].trains]
        return self._done[max(trainings)].run_id if trainings else self._named_run

    def _file_of(self, number: int) -> pathlib.Path:
        """Returns where the answer of a step is kept."""
        return self.file.with_name(f"{self.table.steps[number].name}.json")


def _carry_out(order: Order, file: pathlib.Path, place: Place, processes: Processes) -> Kept:
    """Carries out a command and keeps its answer, whatever becomes of others meanwhile."""
    kept = commands.carried_out(order, place, processes)
    writing.write(file, kept.model_dump_json(indent=2), _REMEDY)
    return kept


def _found(file: pathlib.Path, order: Order) -> Kept | None:
    """Returns what is kept of a command, None where it is not there or of another one."""
    with contextlib.suppress(OSError, pydantic.ValidationError):
        with file.open("rb") as opened:
            content = opened.read(_LARGEST)
        kept = Kept.model_validate_json(content)
        there = (kept.format, kept.command, kept.serves, kept.version, kept.reads)
        version = donkey_rl.__version__
        if there == (writing.FORMAT, order.words, order.step.serves, version, order.reads):
            return kept
    return None
