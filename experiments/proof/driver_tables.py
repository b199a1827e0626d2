"""Tables of what drivers are worth: in races, late, elsewhere, exported."""

from __future__ import annotations

import dataclasses
from typing import Final

from donkey_rl.experiments.proof import reading, reading_trainings
from donkey_rl.experiments.proof.steps import (
    SERVED,
    TRAINED,
    Amounts,
    Step,
    Table,
    measured,
    raced,
    trained,
)

TRACKS: Final = ("generated_track", "mountain_track", "warehouse", "warren")
CARS: Final = ("donkey_2021", "donkey_2022")

EXPERT_TRACKS: Final = (
    *TRACKS,
    "circuit_launch",
    "waveshare",
    "mini_monaco",
    "roboracingleague_1",
)
"""Scenes with a limit for `donkey_2021` that the expert is raced on."""

_EXPERT_RACES: Final = 10

GENERALIST, RACE, FAST = "generalist", "race", "sac_fast"
"""Recipes whose drivers are measured."""

INTERVALS: Final = (
    "Intervals hold 95 %: Wilson's for shares, the bootstrap's over races for means. Races start "
    "as their seeds draw it, from seed 1000 on."
)

OVER_TRACKS: Final = (
    f"{INTERVALS} In rows of several tracks means, and the bootstrap with them, are over tracks."
)

MEMBERS: Final = (
    "Scores with their 95 % interval, the bootstrap's over races, and the races that ended in a "
    "disqualification; `changed` is light, grip and cues together. Every driver drives the same "
    "races, from starts of their own."
)

TUNING: Final = (
    "--set", "check.every=2400", "--set", "check.every_later=2400", "--set", "check.rounds=3",
    "--set", "evaluation.races=1", "--set", "sac.gradient_steps=2", "--set", "sac.entropy=0.01",
    "--set", "sac.learning_rate=0.0003", "--set",
)  # fmt: skip
"""Settings with which a driver is tuned in a simulator that does not wait; a driver follows."""

_OTHER_LOOK: Final = (
    "--set", "randomisation.hue=120", "--set", "randomisation.colours=0.3",
    "--set", "randomisation.light=0.5", "--set", "randomisation.contrast=0.3",
)  # fmt: skip
"""How a served simulator is made to look otherwise than any that was trained in."""

LATENCIES: Final = ((100, 20), (200, 40), (300, 40))
"""Latencies that a driver is raced at beside none, and their jitter (ms)."""

_ROADS: Final = "generated_road:3-32"
"""The simulator's scene of that name is another road each time that it is loaded."""

_TCP_RACES: Final = 5
"""Races in a simulator of one car, one after another, some of them in real time."""


def generalist(amounts: Amounts) -> Table:
    """One driver on all tracks of the split, under looks that it never saw."""
    unseen = ("--look", "unseen")
    once = amounts.model_copy(update={"races": 1})
    roads = reading.together(f"{_ROADS}, one race each")
    steps = (
        *trained(amounts, GENERALIST, amounts.generalist_minutes),
        raced(amounts, "split", reading.split, "--split", "generalist", *unseen),
        raced(once, "roads", roads, "--track", _ROADS, *unseen),
    )
    return Table("One driver on tracks and looks that it never saw", steps, OVER_TRACKS)


def latency(amounts: Amounts) -> Table:
    """The driver of `race` without latency, and with latencies that vary."""
    steps = [*trained(amounts, RACE, amounts.specialist_minutes)]
    steps.append(raced(amounts, "0-ms", reading.races("0 ms")))
    for late, jitter in LATENCIES:
        words = ("--latency-ms", str(late), "--jitter-ms", str(jitter))
        read = reading.races(f"{late} ms, {jitter} ms jitter")
        steps.append(raced(amounts, f"{late}-ms", read, *words))
    return Table("What latency takes", tuple(steps), INTERVALS, side_by_side=True)


def specialists(amounts: Amounts) -> Table:
    """Drivers of `race` by track and car, beside the limit of each."""
    steps: list[Step] = []
    for track in TRACKS:
        for car in CARS:
            place = ("--track", track, "--set", f"vehicle={car}")
            name = f"{track}-{car}"
            minutes = amounts.specialist_minutes
            steps += trained(amounts, RACE, minutes, f"train-{name}", *place)
            steps.append(raced(amounts, f"race-{name}", reading.at_the_limit))
    return Table("Specialists", tuple(steps), INTERVALS, side_by_side=True)


def expert(amounts: Amounts) -> Table:
    """The expert beside the limit of each track."""
    del amounts
    steps = tuple(
        Step(
            track,
            (
                *("evaluate", "pursuit", "--track", track, "--set", "vehicle=donkey_2021"),
                *("--set", "throttle_min=-1", "--races", str(_EXPERT_RACES)),
                *("--no-yardsticks", "--json"),
            ),
            reading.at_the_limit,
            # Its run, which all are written into.
            first=track == EXPERT_TRACKS[0],
        )
        for track in EXPERT_TRACKS
    )
    return Table("The expert at the limit", steps, INTERVALS, side_by_side=True)


def evaluation(amounts: Amounts) -> Table:
    """How long an evaluation takes, with all that it is held against."""
    words = ("evaluate", TRAINED, "--races", str(amounts.races), "--json")
    rows = (("first", "the first, which also races the expert"), ("second", "the second"))
    steps = tuple(Step(name, words, reading.races(what), timed=True) for name, what in rows)
    return Table("An evaluation", (*trained(amounts, FAST, None), *steps), INTERVALS)


def ensemble(amounts: Amounts) -> Table:
    """Members and ensembles of them, as usual and under changes; see `ensemble_bench`."""
    del amounts
    step = measured("ensemble", reading.ensemble, recipes=(FAST,))
    return Table("An ensemble beside its members", (step,), MEMBERS)


def exports(amounts: Amounts) -> Table:
    """What is exported, held against the driver."""
    steps = [*trained(amounts, FAST, None)]
    for target, width in (
        ("donkeycar", None),
        ("donkeycar", "8bit"),
        ("litert", None),
        ("litert", "8bit"),
        ("onnx", None),
        ("keras", None),
    ):
        name = f"{target}-{width or 'float'}"
        words = ["export", TRAINED, "--to", target, "--out", str(amounts.folder / name)]
        words += [*(("--quantise", width) if width else ()), "--json"]
        steps.append(Step(name, tuple(words), reading.export(name)))
    return Table("Exports beside the driver", tuple(steps))


def transfer(amounts: Amounts) -> Table:
    """A driver where it was not trained: other looks, the other car, over TCP, and tuned there."""
    steps = [*trained(amounts, None, None)]
    rows: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("as trained", ()),
        ("unseen look", ("--look", "unseen")),
        ("donkey_2022 driver in donkey_2021", ("--set", "vehicle=donkey_2021")),
    )
    for name, words in rows:
        steps.append(raced(amounts, name.replace(" ", "-"), reading.races(name), *words))
    steps += _over_tcp(amounts)
    if amounts.run is None:
        steps += trained(amounts, None, None, "train-2021", "--set", "vehicle=donkey_2021")
        for name, words in (
            ("donkey_2021 driver in its own car", ()),
            ("donkey_2021 driver in donkey_2022", ("--set", "vehicle=donkey_2022")),
        ):
            steps.append(raced(amounts, name.replace(" ", "-"), reading.races(name), *words))
    return Table("From the embedded simulator to others", tuple(steps), INTERVALS)


def _over_tcp(amounts: Amounts) -> list[Step]:
    """Returns races and fine-tuning in a served simulator, one car, pictures as JPEG."""
    few = amounts.model_copy(update={"races": min(amounts.races, _TCP_RACES)})
    there = ("--simulator", SERVED)
    usual, other = (TRACKS[0],), (TRACKS[0], *_OTHER_LOOK)
    steps = []
    for name, (track, *look), scale in (
        ("over TCP, lock-step", usual, "max"),
        ("over TCP, real time", usual, "1"),
        ("over TCP, real time, other look", other, "1"),
    ):
        step = raced(few, name.replace(", ", "-").replace(" ", "-"), reading.races(name), *there)
        steps.append(dataclasses.replace(step, serves=(track, scale, *look)))
    tuned = ("train", "--agent", "sac", *there, *TUNING, f"start.driver={TRAINED}")
    words = (*tuned, "--set", f"minutes={amounts.tuning_minutes:g}", "--seed", str(amounts.seed))
    serves = (TRACKS[0], "1", *_OTHER_LOOK)
    steps.append(
        Step("tune", (*words, "--json"), reading_trainings.tuning, trains=True, serves=serves),
    )
    name = "over TCP, real time, other look, tuned there"
    step = raced(few, "over-tcp-tuned", reading.races(name), *there)
    steps.append(dataclasses.replace(step, serves=serves))
    return steps
