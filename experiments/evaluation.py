"""Racing a driver by the fixed protocol: `donkey-rl evaluate`."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Self

from pydantic import Field, field_validator, model_validator

from donkey_rl import configuration
from donkey_rl.agents import driver as learned
from donkey_rl.configuration import Config
from donkey_rl.envs import simulators
from donkey_rl.envs.latency import MOST_MS, LatencyConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments import (
    conditions,
    drivers,
    evaluation_tracks,
    race_latency,
    race_recording,
    racing,
    rivals,
    split_report,
    splits,
    stored_races,
    unseen_looks,
    video,
    yardsticks,
)
from donkey_rl.experiments import evaluation_folders as folders
from donkey_rl.experiments import evaluation_races as driving
from donkey_rl.experiments import evaluation_result as results
from donkey_rl.experiments.cluster import placement
from donkey_rl.experiments.cues import stored as cues
from donkey_rl.experiments.cues.report import ProbePlan
from donkey_rl.experiments.drivers import Entrant
from donkey_rl.experiments.evaluation_races import Drive, Driven, RacePlan
from donkey_rl.experiments.evaluation_result import Condition, Evaluation, EvaluationResult
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics import registry, robustness
from donkey_rl.metrics.registry import Metric

PROBES = ("cues",)
"""What a driver can be probed for."""

MOST_PERTURBED = 10
"""Races under each change of `CHANGES`: the first ones of the evaluation."""

CHANGES: dict[str, tuple[float, Randomisation]] = {
    "latency": (100.0, Randomisation()),
    "light": (0.0, Randomisation(light=0.5, gamma=0.3, contrast=0.3)),
    "camera": (
        0.0,
        Randomisation(
            camera_offset=0.15, camera_pitch=3.0, camera_yaw=2.0, camera_roll=2.0, fov=5.0
        ),
    ),
    "grip": (0.0, Randomisation(grip=0.25, mass=0.2)),
}
"""What a driver must bear: latency that is added (ms), and what each race's seed draws."""


class EvaluationRequest(Config):
    """What `donkey-rl evaluate` is asked.

    Attributes:
        driver: As in `drivers.load`.
        track: Tracks, with commas; by default that of the training.
        held_out: Whether tracks are added that it was not trained on: see `evaluation_tracks`.
        split: Split of tracks on all of which it races, in place of `track`.
        look: What the world looks like, of `unseen_looks.LOOKS`; by default as calibrated.
        settings: Assignments `key=value` to car, camera and limits.
        opponents: Who else is on the road, with commas: see `envs.opponents.parse`.
        simulator: Where to drive.
        races: Races on each track.
        laps: Laps of a race.
        seed: Added to the seed of each race.
        latency_ms: Two-way latency to add between a frame and its command.
        jitter_ms: How much more or less it is from message to message, at most.
        latency_profile: Measured latency to add in place of both.
        frame_limit_ms: Time of a stranger's driver to answer a frame.
        robustness: Whether it drives under `CHANGES` as well.
        yardsticks: Whether it is held against others.
        probe: What it is probed for: whether it steers by `cues` that go with the turn.
        metrics: Further metrics, `PATH.py:NAME`.
        video: Where a video of the first race goes.
        frames: Whether the races' records keep what the camera saw.
        engine: Where races are driven: on this machine, or on a Ray cluster.
        address: Of the cluster, HOST:PORT.
    """

    driver: str
    track: str | None = None
    held_out: bool = False
    split: str | None = None
    look: str | None = None
    settings: tuple[str, ...] = ()
    opponents: str | None = None
    simulator: str = simulators.EMBEDDED
    races: int = Field(default=5, ge=1, le=1000)
    laps: int = Field(default=3, ge=1, le=100)
    seed: int = Field(default=0, ge=0, lt=2**31)
    latency_ms: float = Field(default=0.0, ge=0.0, le=MOST_MS)
    jitter_ms: float = Field(default=0.0, ge=0.0, le=MOST_MS)
    latency_profile: pathlib.Path | None = None
    frame_limit_ms: float = Field(default=driving.FRAME_LIMIT_MS, gt=0.0, le=5000.0)
    robustness: bool = False
    yardsticks: bool = True
    probe: str | None = None
    metrics: tuple[str, ...] = ()
    video: pathlib.Path | None = None
    frames: bool = False
    engine: placement.Engine = "local"
    address: str | None = None

    @field_validator("split")
    @classmethod
    def _known_split(cls, value: str | None) -> str | None:
        return value if value is None else splits.load(value).name

    @field_validator("look")
    @classmethod
    def _known_look(cls, value: str | None) -> str | None:
        if value is not None:
            unseen_looks.load(value)
        return value

    @field_validator("probe")
    @classmethod
    def _known_probe(cls, value: str | None) -> str | None:
        if value is not None and value not in PROBES:
            raise UnknownNameError("probe", value, PROBES)
        return value

    @model_validator(mode="after")
    def _cluster_is_wanted(self) -> Self:
        placement.check(self.engine, self.address)
        return self

    @property
    def latency(self) -> LatencyConfig:
        """The latency to add."""
        return race_latency.asked(self.latency_ms, self.jitter_ms, self.latency_profile)


def evaluate(request: EvaluationRequest, progress: ProgressDisplay) -> Evaluation:
    """Races a driver and stores the results: in its run, or in one that only holds evaluations.

    Raises:
        InputError: Unknown driver, track or metric, or a run without a driver.
        LinkError: A simulator cannot be reached.
        StorageError: Results could not be written.
    """
    _check(request)
    metrics = _metrics(request.metrics)
    place: dict[str, object] = {"simulator": request.simulator, "randomisation": {}}
    if request.opponents is not None:
        place["opponents"] = rivals.of_race(request.opponents, request.driver).model_dump()
    entrant = drivers.load(
        request.driver, request.settings, limit_s=request.frame_limit_ms / 1000.0
    )
    held = race_latency.padded(request.latency, entrant.trained_latency_ms).added_ms
    if held:
        progress.message(
            f"commands wait {held:g} ms, as at a race: the driver was trained for a latency of "
            f"{entrant.trained_latency_ms[0]:g} ms at least"
        )
    usual = entrant.environment.model_dump() | place
    environments = [
        rivals.named(
            configuration.validate(EnvironmentConfig, usual | {"track": name}), request.driver
        )
        for name in evaluation_tracks.chosen(
            request.track, request.split, entrant, held_out=request.held_out
        )
    ]
    split = splits.load(request.split) if request.split is not None else None
    for line in split_report.warnings(split, entrant.tracks) if split is not None else ():
        progress.message(line)
    for config in environments if request.probe else ():
        cues.check(config)
    wanted = [(config, _plan(request, entrant, config, metrics)) for config in environments]
    wanted[1:] = [
        (config, dataclasses.replace(plan, films=False, video=None)) for config, plan in wanted[1:]
    ]
    with _driving(request, entrant, wanted, progress) as drive:
        found = [
            _evaluate(drive, entrant, config, plan, request, progress) for config, plan in wanted
        ]
    summed = None
    if split is not None:
        by_name = {config.track: each for config, each in zip(environments, found, strict=True)}
        summed = split_report.report(split, by_name, entrant.tracks, request.look)
    return Evaluation(**dict(found[0]), others=tuple(found[1:]), split=summed)


def _check(request: EvaluationRequest) -> None:
    """Refuses what cannot be, before anything is loaded."""
    evaluation_tracks.check(
        simulator=request.simulator,
        split=request.split,
        elsewhere=request.track is not None or request.held_out,
        look=request.look,
        robustness=request.robustness,
        late=request.latency.wanted,
        opponents=request.opponents is not None,
    )
    racing.check_settings(request.settings)
    if request.probe is not None and (request.latency.wanted or request.look is not None):
        raise InputError(
            "--probe drives without added latency, in the usual look. Received: one of them too. "
            "Evaluate without --probe under these."
        )
    for name in splits.tracks(request.track) if request.track is not None else ():
        track.load(name)
    if request.video is not None:
        video.check(request.video)


def _driving(
    request: EvaluationRequest,
    entrant: Entrant,
    wanted: Sequence[tuple[EnvironmentConfig, RacePlan]],
    progress: ProgressDisplay,
) -> AbstractContextManager[Drive]:
    """Returns what drives the races: this process, or a cluster to which they are given now."""
    if request.engine == "local":
        return contextlib.nullcontext(driving.drive)
    from donkey_rl.experiments.cluster import races

    pieces = [races.Piece(*each) for each in wanted]
    if request.robustness:
        pieces += [
            races.Piece(config, changed)
            for config, plan in wanted
            for changed in _changed_plans(plan).values()
        ]
    return races.placed(request.address, entrant, pieces, progress)


def race_driver(
    driver: learned.Driver,
    configs: Sequence[EnvironmentConfig],
    run: Run,
    plan: RacePlan,
    progress: ProgressDisplay,
) -> Evaluation:
    """Races the driver that a run has just trained, and stores the results in the run.

    Args:
        driver: The driver.
        configs: Simulator, track, car and camera, of each track.
        run: The run.
        plan: How many races of how many laps on each track.
        progress: Shows how far it is.

    Returns:
        The results on the first track, with those of the others in it.
    """
    found: list[EvaluationResult] = []
    for config, folder in zip(configs, race_folders(configs), strict=True):
        entrant = drivers.of_run(driver, config, run.id)
        plan = dataclasses.replace(plan, films=plan.films and not found, folder=folder)
        driven = driving.drive(entrant, config, plan, progress, f"racing on {config.track}")
        found.append(driving.store(driving.report(driven, run.id), driven, run, progress))
    return Evaluation(**dict(found[0]), others=tuple(found[1:]))


def race_folders(configs: Sequence[EnvironmentConfig]) -> list[str]:
    """Returns the folders in a run that `race_driver` stores its results in, by track."""
    others = [f"{driving.FOLDER}-{driving.place_name(each.track)}" for each in configs[1:]]
    return [driving.FOLDER, *others]


def _evaluate(
    drive: Drive,
    entrant: Entrant,
    config: EnvironmentConfig,
    plan: RacePlan,
    request: EvaluationRequest,
    progress: ProgressDisplay,
) -> EvaluationResult:
    """Races a driver on one track, and stores the results."""
    driven = drive(entrant, config, plan, progress, f"racing on {config.track}")
    with (
        race_recording.kept(driven.files),
        folders.open_run(entrant, driven.track.name) as run,
    ):
        result = driving.report(driven, run.id)
        try:
            if request.robustness:
                found, kept = _robustness(drive, driven, run, progress)
                result = result.model_copy(update={"robustness": found, "kept": kept})
            if request.yardsticks:
                others = yardsticks.measure(driven, run.id, progress)
                result = result.model_copy(update={"yardsticks": others})
            if request.probe:
                thorough = ProbePlan(seed=request.seed)
                probed = cues.run_probe(entrant, config, thorough, run, progress)
                result = result.model_copy(update={"cues": probed})
        finally:
            # What was driven is kept, even if Ctrl-C ends what it is held against.
            stored = driving.store(result, driven, run, progress)
        return stored


def _robustness(
    drive: Drive, driven: Driven, run: Run, progress: ProgressDisplay
) -> tuple[dict[str, Condition], float | None]:
    """Races under each of `CHANGES`; returns what is left of the score, and over all of them."""
    plans = _changed_plans(driven.plan)
    found, scores = {}, {}
    for name, plan in plans.items():
        raced = drive(
            driven.entrant, driven.config, plan, progress, f"racing under another {name}"
        )
        driving.store(driving.report(raced, run.id), raced, run, progress)
        score = results.figures(raced.table, [results.SCORE])[results.SCORE]
        scores[name] = raced.table[results.SCORE]
        nominal = driven.table[results.SCORE][: plan.races]
        kept = _known(robustness.score_kept(nominal, scores[name]))
        found[name] = Condition(
            change=dict(plan.changes), races=plan.races, kept=kept, score=score
        )
    nominal = driven.table[results.SCORE][: min(MOST_PERTURBED, len(driven.races))]
    return found, _known(robustness.robustness(nominal, scores))


def _changed_plans(plan: RacePlan) -> dict[str, RacePlan]:
    """Returns the races under each of `CHANGES`."""
    plans = {}
    for name, (added_ms, disturbance) in CHANGES.items():
        late = race_latency.later(plan.latency, added_ms)
        drawn = disturbance.model_dump(exclude_defaults=True)
        plans[name] = dataclasses.replace(
            plan,
            races=min(MOST_PERTURBED, plan.races),
            folder=f"{plan.folder}-{name}",
            latency=late,
            disturbance=disturbance,
            changes={**plan.changes, **race_latency.told(late), **drawn},
            plots=False,
            frames=False,
            films=False,
            video=None,
        )
    return plans


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _plan(
    request: EvaluationRequest,
    entrant: Entrant,
    config: EnvironmentConfig,
    metrics: tuple[Metric, ...],
) -> RacePlan:
    """Returns the races that are asked for on one track."""
    changes = conditions.of(request.latency, request.settings, config)
    if request.look is not None:
        changes |= {"look": request.look}
    longer = request.frame_limit_ms != driving.FRAME_LIMIT_MS
    if longer and isinstance(entrant, drivers.ForeignEntrant):
        changes |= {"frame_limit_ms": request.frame_limit_ms}
    plan = RacePlan(
        races=request.races,
        laps=request.laps,
        seed=request.seed,
        latency=request.latency,
        disturbance=unseen_looks.load(request.look) if request.look is not None else None,
        changes=changes,
        metrics=metrics,
        films=request.video is not None,
        video=request.video,
        frames=request.frames,
        plots=request.split is None,
    )
    changed = request.settings or request.opponents or request.look is not None
    is_own = stored_races.is_own(request.driver, entrant.run_id, entrant.hash)
    marked = bool(changed) or entrant.kind != "run" or not is_own
    folder = folders.name(entrant, config, plan, marked=marked)
    return dataclasses.replace(plan, folder=folder, is_scored=is_own)


def _metrics(references: Sequence[str]) -> tuple[Metric, ...]:
    """Returns the registered metrics, and those of the user's files."""
    own = [registry.from_file(reference) for reference in dict.fromkeys(references)]
    return registry.of_different_names((*map(registry.load, registry.names()), *own))
