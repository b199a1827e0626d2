"""Probing a driver: which cues move its actions, what that costs in races, what to ask about."""

from __future__ import annotations

import contextlib
import math
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import cues
from donkey_rl.envs.simulator.cues import Cues
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.experiments import rivals
from donkey_rl.experiments.cues import hypotheses, movement
from donkey_rl.experiments.cues.report import (
    CueReport,
    CueResult,
    Movement,
    ProbePlan,
    Question,
    verdict,
)
from donkey_rl.experiments.cues.stills import Places, Stills, Studio, draw_places
from donkey_rl.experiments.drivers import Entrant
from donkey_rl.experiments.evaluation_races import FIRST_SEED
from donkey_rl.experiments.evaluation_result import SCORE
from donkey_rl.experiments.pilots import Actions
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics import registry, statistics

SCORES = (SCORE, "completion", "clean_laps")
"""Metrics by which races with and without cues are compared."""

REPORT = "cues.json"

_SIDES = {-1: "left", 1: "right"}


class _Probe(NamedTuple):
    """What all parts of a probe share."""

    entrant: Entrant
    config: EnvironmentConfig
    plan: ProbePlan
    places: Places
    last: Actions
    step: Callable[[], None]


def probe(
    entrant: Entrant,
    config: EnvironmentConfig,
    plan: ProbePlan,
    folder: pathlib.Path,
    progress: ProgressDisplay,
) -> CueReport:
    """Finds out whether a driver steers by cues that go with the turn of the road.

    Args:
        entrant: The driver.
        config: Track, car and camera.
        plan: How thoroughly.
        folder: Where `cues.json` and the pictures to ask about are written.
        progress: Shows how far it is.

    Raises:
        InputError: The track has no bends, or the simulator is not the embedded one.
        DriverError: The driver failed.
    """
    # Others on the road would be seen, and hide what is probed.
    (config,) = rivals.without([config])
    places = draw_places(config, plan.places, plan.seed)
    with progress.phase("probing", 3 * len(cues.NAMES) + 2, "scenes") as phase:
        done = iter(range(1, 3 * len(cues.NAMES) + 3))

        def step() -> None:
            phase.update(next(done))

        with Studio(entrant, config, Cues(), places) as studio:
            last = studio.answers()
        shared = _Probe(entrant, config, plan, places, last, step)
        nominal = _race(shared, Cues())
        results = tuple(_result(shared, cue) for cue in cues.NAMES)
        questions, beliefs = _questions(shared, folder)
    report = CueReport(
        driver=entrant.name,
        track=config.track,
        places=plan.places,
        races=plan.races,
        laps=plan.laps,
        seed=plan.seed,
        nominal=nominal,
        cues=results,
        questions=questions,
        beliefs=beliefs,
        verdict=verdict(results),
    )
    (folder / REPORT).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return report


def _race(shared: _Probe, scene: Cues) -> dict[str, float | None]:
    """Races the driver in a scene and returns its mean scores, None where undefined."""
    plan, look = shared.plan, Randomisation(cues=scene)
    seed = FIRST_SEED + plan.seed
    cars = rivals.field(shared.entrant, shared.config, plan.races, seed, look)
    with contextlib.closing(cars) as field, shared.entrant.pilot(field) as pilot:
        races = field.race(pilot, plan.laps)
    shared.step()
    table = registry.score_races(races, [registry.load(name) for name in SCORES])
    means = {name: statistics.summarise(table[name]).mean.value for name in SCORES}
    return {name: None if math.isnan(mean) else mean for name, mean in means.items()}


def _result(shared: _Probe, cue: str) -> CueResult:
    """Probes one cue."""
    agreeing, opposing = Cues(**{cue: 1.0}), Cues(**{cue: -1.0})
    with Studio(shared.entrant, shared.config, agreeing, shared.places) as studio:
        before = studio.stills(shared.last)
        with Studio(shared.entrant, shared.config, opposing, shared.places) as other:
            after = other.stills(shared.last)
        sizes = movement.size(before.images, after.images)
        noisy = movement.changed(before.images, sizes, shared.plan.seed)
        yardstick = studio.answers(shared.last, noisy)
    shared.step()
    follows = statistics.summarise(
        movement.towards(before.actions[:, 0], after.actions[:, 0], shared.places.direction)
    ).mean
    chance = _moved(before.actions, yardstick, 0)
    won, lost = _race(shared, agreeing), _race(shared, opposing)
    return CueResult(
        cue=cue,
        steering=_moved(before.actions, after.actions, 0),
        throttle=_moved(before.actions, after.actions, 1),
        yardstick_steering=chance,
        yardstick_throttle=_moved(before.actions, yardstick, 1),
        image_change=float(sizes.mean()),
        towards=follows.value,
        towards_low=follows.low,
        towards_high=follows.high,
        correlated=won,
        flipped=lost,
        share_lost=_share_lost(won[SCORE], lost[SCORE]),
        followed=max(follows.low, -follows.high) > chance.mean,
    )


def _moved(before: Actions, after: Actions, column: int) -> Movement:
    apart = np.abs(after[:, column].astype(np.float64) - before[:, column])
    return Movement(mean=float(apart.mean()), p95=float(np.percentile(apart, 95)))


def _share_lost(won: float | None, lost: float | None) -> float | None:
    if not won or lost is None:
        return None
    return 1.0 - lost / won


def _questions(
    shared: _Probe, folder: pathlib.Path
) -> tuple[tuple[Question, ...], dict[str, float]]:
    """Chooses the pictures to ask about and writes them.

    Returns:
        The pictures, and what the driver's own answers to them say of the hypotheses.
    """
    agree, differ = (Cues(**dict.fromkeys(cues.NAMES, c)) for c in (1.0, 0.0))
    with Studio(shared.entrant, shared.config, agree, shared.places) as studio:
        known = studio.stills(shared.last)
    with Studio(shared.entrant, shared.config, differ, shared.places) as studio:
        asked = studio.stills(shared.last)
    predictions = hypotheses.fit(
        (known.lane, asked.lane), (known.said, asked.said), known.actions[:, 0]
    )
    choice = hypotheses.choose(predictions, shared.plan.questions, shared.plan.seed)
    questions = []
    for number, (k, bits) in enumerate(zip(choice.pictures, choice.bits, strict=True), 1):
        name = f"question_{number}.png"
        Image.fromarray(asked.images[k]).save(folder / name)
        questions.append(_question(shared.places, asked, predictions, k, bits, name))
    shared.step()
    labels: npt.NDArray[np.float32] = asked.actions[list(choice.pictures), 0]
    return tuple(questions), hypotheses.beliefs(predictions.at(choice.pictures), labels)


def _question(
    places: Places,
    asked: Stills,
    predictions: hypotheses.Predictions,
    k: int,
    bits: float,
    name: str,
) -> Question:
    return Question(
        file=name,
        arc=float(places.start.arc[k]),
        lateral=float(places.start.lateral[k]),
        bend=_SIDES[int(places.direction[k])],
        cues={cue: _SIDES[int(said[k])] for cue, said in asked.said.items()},
        predictions=_by_name(predictions.names, predictions.mean[:, k]),
        spreads=_by_name(predictions.names, predictions.spread),
        bits=bits,
        driver=float(asked.actions[k, 0]),
    )


def _by_name(names: tuple[str, ...], values: npt.NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))
