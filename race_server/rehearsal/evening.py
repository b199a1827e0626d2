"""A rehearsal: race evenings on this machine until everything that was asked for has happened."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from donkey_rl import configuration
from donkey_rl.errors import StorageError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.race_server.garage import checks as garage_checks
from donkey_rl.race_server.garage import references
from donkey_rl.race_server.rehearsal import checks, faults, field, outcome, record_checks, staging
from donkey_rl.race_server.rehearsal.checks import Return, Violation
from donkey_rl.race_server.rehearsal.outcome import Broken, EveningResult
from donkey_rl.race_server.rehearsal.plan import RehearsalPlan
from donkey_rl.race_server.rehearsal.staging import Held, StagedEvening


def hold(plan: RehearsalPlan, progress: ProgressDisplay) -> EveningResult:
    """Holds evenings until all faults were injected, at least one, and checks what was seen.

    Args:
        plan: What they are like.
        progress: Shows stages, laps and faults.

    Raises:
        InputError: A driver, a track or a configuration does not fit.
        StorageError: Its files cannot be written.
        DonkeyRLError: The host or a process of racers ended, or nothing goes on.
    """
    began = time.perf_counter()
    plan, throttle = _settled(plan)
    others = field.opponents(plan.race, plan.opponents, plan.opponent_drivers, throttle)
    left = deque(faults.draw(plan.faults, plan.seed, faults.possible()))
    held: list[Held] = []
    while not held or left:
        folder = _made(plan.folder / f"evening-{len(held) + 1}")
        seed = plan.seed + len(held)
        held.append(StagedEvening(plan, [plan.race, *others], folder, left, seed).hold(progress))
    return _result(plan, held, time.perf_counter() - began)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StorageError(
            f"The rehearsal's folder '{folder}' cannot be made: {error.strerror}. Name another "
            "one: --out FOLDER."
        ) from error
    return folder


def _settled(plan: RehearsalPlan) -> tuple[RehearsalPlan, float]:
    """Finds the drivers once for all cars; returns the plan, and our highest throttle command."""
    kept = plan.folder / "drivers"
    folders: dict[str, Path] = {}
    for each in (plan.race.driver, *plan.race.spares, *plan.opponent_drivers):
        folders[each] = references.find(each, kept).folder
    ours = garage_checks.load(folders[plan.race.driver])
    track = plan.track or plan.race.scene or ours.description.tracks[0]
    race = configuration.with_values(
        field.known(plan.race),
        {
            "driver": str(folders[plan.race.driver]),
            "spares": [str(folders[each]) for each in plan.race.spares],
            "scene": track,
            # The organiser of a hosted race gives GO by hand; here the host does.
            "start": "race_start",
            "generation": plan.race.generation or garage_checks.generation(ours),
        },
    )
    drivers = [str(folders[each]) for each in plan.opponent_drivers]
    values = {"race": race.model_dump(), "track": track, "opponent_drivers": drivers}
    return configuration.with_values(plan, values), ours.description.throttle_limits[1]


def _result(plan: RehearsalPlan, held: list[Held], wall_s: float) -> EveningResult:
    """Checks what was seen, and says what all has come to."""
    broken: list[Broken] = []
    returns: list[Return] = []
    violations: list[Violation] = []
    for k, each in enumerate(held):
        back = checks.returns(each.sightings, each.injected)
        found = checks.with_causes(
            [
                *checks.uncommanded(each.sightings),
                *checks.unbraked(each.sightings),
                *checks.late_returns(back),
                *checks.misdeeds(each.injected),
                *record_checks.lost_lines(each.sightings, each.records),
            ],
            each.injected,
        )
        returns += back
        violations += found
        broken += [
            Broken(
                evening=k + 1,
                at_s=max(0.0, one.at - each.began),
                rule=one.rule,
                text=one.text,
                after=one.after,
            )
            for one in found
        ]
    ours = [each.ours for each in held]
    return EveningResult(
        standings=outcome.standings(held[-1].evening, staging.identity(plan.race)),
        faults=outcome.summary(
            returns, violations, [one for each in held for one in each.injected]
        ),
        disconnects=sum(each["disconnects"] for each in ours),
        latency_ms=ours[-1]["latency_ms"],
        laps=sum(each["laps"] for each in ours),
        frames=sum(each["frames"] for each in ours),
        violations=tuple(broken),
        evenings=len(held),
        wall_s=wall_s,
        folder=plan.folder,
        records=tuple(one for each in held for one in record_checks.record_folders(each.records)),
    )
