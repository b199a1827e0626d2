"""The tables: of which commands each is made, and what of their answers it shows."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import Field, field_validator, model_validator

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments.proof import reading
from donkey_rl.experiments.proof.reading import Rows

TRACKS: Final = ("generated_track", "mountain_track", "warehouse", "warren")
CARS: Final = ("donkey_2021", "donkey_2022")

GENERALIST, RACE, FAST = "generalist", "race", "sac_fast"
"""Recipes whose drivers are measured."""

SEVERAL: Final = ("specialists", "ensemble")
"""Tables of several drivers, which are always trained for them."""

_TRAINED, SERVED = "{trained}", "{served}"
"""Stand for the run trained last, or named, and for the address of a simulator."""

TUNING: Final = (
    "--set", "check.every=600", "--set", "check.races=1", "--set", "evaluation.races=1",
    "--set", "sac.learning_starts=0", "--set",
)  # fmt: skip
"""Settings with which a driver is tuned in a simulator that does not wait; a driver follows."""

_OTHER_LOOK: Final = (
    "--set", "randomisation.hue=120", "--set", "randomisation.colours=0.3",
    "--set", "randomisation.light=0.5", "--set", "randomisation.contrast=0.3",
)  # fmt: skip
"""How a served simulator is made to look otherwise than any that was trained in."""

_TCP_RACES: Final = 5
"""Races in a simulator of one car, one after another, some of them in real time."""


class ProofPlan(Config):
    """Which tables, of what.

    Attributes:
        tables: Of `TABLES`.
        folder: Where rows and tables are kept.
        run: A driver to measure in place of one that is trained first, where a table is of one.
        races: Of each driver under each condition.
        seed: Of trainings.
        generalist_minutes: Wall time of the training of `generalist`.
        specialist_minutes: The same of each driver of `race`.
        tuning_minutes: The same of the tuning in a simulator that does not wait.
    """

    tables: tuple[str, ...]
    folder: pathlib.Path
    run: str | None = None
    races: int = Field(default=30, ge=2, le=1000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    generalist_minutes: float = Field(default=60.0, gt=0.0)
    specialist_minutes: float = Field(default=30.0, gt=0.0)
    tuning_minutes: float = Field(default=10.0, gt=0.0)

    @field_validator("tables")
    @classmethod
    def _known_tables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in TABLES:
                raise UnknownNameError("table", name, tuple(TABLES))
        return value

    @model_validator(mode="after")
    def _of_one_driver(self) -> ProofPlan:
        several = [name for name in self.tables if name in SEVERAL]
        if self.run is not None and several:
            raise InputError(
                f"The table {several[0]} trains drivers of its own. Received: --run {self.run} "
                "as well. Leave --run out, or choose other tables."
            )
        return self


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
    """

    name: str
    words: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Rows] = reading.nothing
    trains: bool = False
    serves: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it shows.
        steps: The commands, in order.
    """

    title: str
    steps: tuple[Step, ...]


def generalist(plan: ProofPlan) -> Table:
    """One driver on all tracks of the split, under looks that it never saw."""
    split = _evaluated(plan, "split", "--split", "generalist", "--look", "unseen")
    steps = (*_trained(plan, GENERALIST, plan.generalist_minutes), _of(split, reading.split))
    return Table("One driver on tracks and looks that it never saw", steps)


def latency(plan: ProofPlan) -> Table:
    """The driver of `race` without latency and with 200 ms that vary by 40."""
    late = ("--latency-ms", "200", "--jitter-ms", "40")
    steps = (
        *_trained(plan, RACE, plan.specialist_minutes),
        _of(_evaluated(plan, "0-ms"), reading.races("0 ms")),
        _of(_evaluated(plan, "200-ms", *late), reading.races("200 ms, 40 ms jitter")),
    )
    return Table("What latency takes", steps)


def specialists(plan: ProofPlan) -> Table:
    """Drivers of `race` by track and car."""
    steps: list[Step] = []
    for track in TRACKS:
        for car in CARS:
            place = ("--track", track, "--set", f"vehicle={car}")
            name = f"{track}-{car}"
            steps += _trained(plan, RACE, plan.specialist_minutes, f"train-{name}", *place)
            raced = _evaluated(plan, f"race-{name}")
            steps.append(_of(raced, reading.races(f"{track}, {car}")))
    return Table("Specialists", tuple(steps))


def ensemble(plan: ProofPlan) -> Table:
    """Members and ensembles of them, as usual and under changes; see `ensemble_bench`."""
    del plan
    words = ("bench", "--part", "ensemble", "--json")
    return Table("An ensemble beside its members", (Step("ensemble", words, reading.ensemble),))


def exports(plan: ProofPlan) -> Table:
    """What is exported, held against the driver."""
    steps = [*_trained(plan, FAST, None)]
    for target, width in (
        ("donkeycar", None),
        ("donkeycar", "8bit"),
        ("litert", None),
        ("litert", "8bit"),
        ("onnx", None),
        ("keras", None),
    ):
        name = f"{target}-{width or 'float'}"
        words = ["export", _TRAINED, "--to", target, "--out", str(plan.folder / name)]
        words += [*(("--quantise", width) if width else ()), "--json"]
        steps.append(Step(name, tuple(words), reading.export(name)))
    return Table("Exports beside the driver", tuple(steps))


def transfer(plan: ProofPlan) -> Table:
    """A driver where it was not trained: other looks, the other car, over TCP, and tuned there."""
    steps = [*_trained(plan, None, None)]
    rows: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("as trained", ()),
        ("unseen look", ("--look", "unseen")),
        ("donkey_2022 driver in donkey_2021", ("--set", "vehicle=donkey_2021")),
    )
    for name, words in rows:
        steps.append(_of(_evaluated(plan, name.replace(" ", "-"), *words), reading.races(name)))
    steps += _over_tcp(plan)
    if plan.run is None:
        steps += _trained(plan, None, None, "train-2021", "--set", "vehicle=donkey_2021")
        for name, words in (
            ("donkey_2021 driver in its own car", ()),
            ("donkey_2021 driver in donkey_2022", ("--set", "vehicle=donkey_2022")),
        ):
            raced = _evaluated(plan, name.replace(" ", "-"), *words)
            steps.append(_of(raced, reading.races(name)))
    return Table("From the embedded simulator to others", tuple(steps))


def _over_tcp(plan: ProofPlan) -> list[Step]:
    """Returns races and fine-tuning in a served simulator, one car, pictures as JPEG."""
    few = plan.model_copy(update={"races": min(plan.races, _TCP_RACES)})
    there = ("--simulator", SERVED)
    usual, other = (TRACKS[0],), (TRACKS[0], *_OTHER_LOOK)
    steps = []
    for name, (track, *look), scale in (
        ("over TCP, lock-step", usual, "max"),
        ("over TCP, real time", usual, "1"),
        ("over TCP, real time, other look", other, "1"),
    ):
        raced = _evaluated(few, name.replace(", ", "-").replace(" ", "-"), *there)
        served = dataclasses.replace(raced, serves=(track, scale, *look))
        steps.append(_of(served, reading.races(name)))
    tuned = ("train", "--agent", "sac", *there, *TUNING, f"start.driver={_TRAINED}")
    words = (*tuned, "--set", f"minutes={plan.tuning_minutes:g}", "--seed", str(plan.seed))
    serves = (TRACKS[0], "1", *_OTHER_LOOK)
    steps.append(
        Step("tune", (*words, "--json"), reading.tuning, trains=True, serves=serves),
    )
    raced = _evaluated(few, "over-tcp-tuned", *there)
    name = "over TCP, real time, other look, tuned there"
    steps.append(_of(dataclasses.replace(raced, serves=serves), reading.races(name)))
    return steps


TABLES: Final[Mapping[str, Callable[[ProofPlan], Table]]] = {
    "generalist": generalist,
    "latency": latency,
    "specialists": specialists,
    "ensemble": ensemble,
    "exports": exports,
    "transfer": transfer,
}
"""By name."""


def _trained(
    plan: ProofPlan, recipe: str | None, minutes: float | None, name: str = "train", *more: str
) -> tuple[Step, ...]:
    """Returns the training of a driver, the default one without a recipe; none for a named run."""
    if plan.run is not None:
        return ()
    limit = () if minutes is None else ("--set", f"minutes={minutes:g}")
    seed = ("--seed", str(plan.seed))
    what = ("--agent", "sac") if recipe is None else ("--recipe", recipe)
    words = ("train", *what, *limit, *more, *seed, "--json")
    return (Step(name, words, trains=True),)


def _evaluated(plan: ProofPlan, name: str, *more: str) -> Step:
    """Returns races of the driver, of which nothing is read yet."""
    words = ("evaluate", _TRAINED, "--races", str(plan.races), *more, "--no-yardsticks", "--json")
    return Step(name, words)


def _of(step: Step, read: Callable[[Mapping[str, Any]], Rows]) -> Step:
    return dataclasses.replace(step, read=read)
