"""What tables are made of: how much is measured, commands, and what is read of their answers."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.experiments.proof import reading
from donkey_rl.experiments.proof.cells import Rows

TRAINED, SERVED = "{trained}", "{served}"
"""Stand for the run trained last, or named, and for the address of a simulator."""

Read = Callable[[Mapping[str, Any]], Rows]
"""What a table shows of the answer of a command."""


class Amounts(Config):
    """How much is measured, and of what.

    Attributes:
        folder: Where rows and tables are kept.
        run: A driver to measure in place of one that is trained first, where a table is of one.
        races: Of each driver under each condition.
        seed: Of trainings, the first where there are several.
        seeds: Trainings of each recipe, where a table is of several seeds.
        generalist_minutes: Wall time of the training of `generalist`.
        specialist_minutes: The same of each driver of `race`.
        tuning_minutes: The same of the tuning in a simulator that does not wait.
    """

    folder: pathlib.Path
    run: str | None = None
    races: int = Field(default=30, ge=2, le=1000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    seeds: int = Field(default=3, ge=1, le=100)
    generalist_minutes: float = Field(default=60.0, gt=0.0)
    specialist_minutes: float = Field(default=30.0, gt=0.0)
    tuning_minutes: float = Field(default=20.0, gt=0.0)


@dataclasses.dataclass(frozen=True)
class Step:
    """One command of a table.

    Attributes:
        name: Of its file.
        words: What is typed after `donkey-rl`; `{trained}` stands for the run trained last,
            `{served}` for the address of a simulator.
        read: What rows its answer gives.
        trains: Whether the run of its answer is what later steps call `{trained}`.
        serves: Of a simulator that is served meanwhile, as `served_simulator.served` takes them:
            track, time scale and further options.
        timed: Whether its rows end with how long the command took.
        recipes: Recipes of this package that it reads and that its words do not name.
        first: Whether what comes behind it waits for its end: it makes what each of them would
            make otherwise, such as the run of a driver that nobody trained.
    """

    name: str
    words: tuple[str, ...]
    read: Read = reading.nothing
    trains: bool = False
    serves: tuple[str, ...] | None = None
    timed: bool = False
    recipes: tuple[str, ...] = ()
    first: bool = False


def _as_they_are(rows: Rows) -> Rows:
    return rows


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it shows.
        steps: The commands, in order.
        note: What is said below it.
        summed: The rows of all commands as the table shows them.
        side_by_side: Whether commands that do not wait for each other may run at once: nothing
            that it shows is a time or a rate, which others would change. By default each command
            has the machine alone.
    """

    title: str
    steps: tuple[Step, ...]
    note: str = ""
    summed: Callable[[Rows], Rows] = _as_they_are
    side_by_side: bool = False


def awaited(steps: Sequence[Step]) -> tuple[frozenset[int], ...]:
    """Returns for each step the numbers of those, from 0, whose end it waits for.

    These are the training of the driver that it names, and the last step that is `Step.first`.

    Args:
        steps: Of a table, in order.
    """
    found = []
    training: int | None = None
    first: int | None = None
    for number, step in enumerate(steps):
        of_driver = training if any(TRAINED in word for word in step.words) else None
        found.append(frozenset(each for each in (of_driver, first) if each is not None))
        training = number if step.trains else training
        first = number if step.first else first
    return tuple(found)


def trained(
    amounts: Amounts, recipe: str | None, minutes: float | None, name: str = "train", *more: str
) -> tuple[Step, ...]:
    """Returns the training of a driver; none where a run is named.

    Args:
        amounts: The seed, and the run.
        recipe: By which; the default training without one.
        minutes: Wall time; as long as its steps take by default.
        name: Of the step.
        more: Further options.
    """
    if amounts.run is not None:
        return ()
    limit = () if minutes is None else ("--set", f"minutes={minutes:g}")
    seed = ("--seed", str(amounts.seed))
    what = ("--agent", "sac") if recipe is None else ("--recipe", recipe)
    words = ("train", *what, *limit, *more, *seed, "--json")
    return (Step(name, words, trains=True),)


def raced(amounts: Amounts, name: str, read: Read, *more: str) -> Step:
    """Returns races of the driver that was trained last, without anybody beside it.

    Args:
        amounts: How many.
        name: Of the step.
        read: What rows its answer gives.
        more: Further options.
    """
    count = ("--races", str(amounts.races))
    return Step(name, ("evaluate", TRAINED, *count, *more, "--no-yardsticks", "--json"), read)


def measured(name: str, read: Read, *more: str, recipes: tuple[str, ...] = ()) -> Step:
    """Returns a part of `donkey-rl bench`.

    Args:
        name: Of the part, and the step.
        read: What rows its answer gives.
        more: Further options.
        recipes: See `Step`.
    """
    return Step(name, ("bench", "--part", name, *more, "--json"), read, recipes=recipes)
