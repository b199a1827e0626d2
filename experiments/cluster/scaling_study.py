"""How far sweeps scale: calls measured here, and workers beyond this machine simulated."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping, Sequence

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.experiments import process_clock
from donkey_rl.experiments.cluster import scaling_measurements as measurements
from donkey_rl.experiments.cluster import scaling_model
from donkey_rl.experiments.cluster.scaling_model import Costs, Sweep, Throughput
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import addresses

WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Numbers of workers that are simulated."""

CHECKED = (1, 2, 4, 8)
"""Numbers of workers with which the model is held against reality."""

TRIAL_S = (35.9, 43.8, 39.8, 44.7, 28.8, 86.1, 84.9, 88.9, 64.7, 65.2, 71.2)
"""Wall times of eleven short trainings with races, on two cores without a GPU (s)."""

LONG = 10.0
"""How many times as long the trials of a sweep for a race are."""

WAIT_S = 0.2
"""Length of the trials that only wait, with which the model is checked (s)."""

FAR_S = 0.05
"""Round trip of a network between two towns (s)."""


class Check(Config):
    """Workers that only wait, beside what the model says of them.

    Attributes:
        workers: How many.
        measured_per_s: Trials per second that they came to.
        modelled_per_s: What the model says.
    """

    workers: int
    measured_per_s: float
    modelled_per_s: float


class Curve(Config):
    """The simulated throughput of a sweep against its workers.

    Attributes:
        name: What is assumed.
        storage: Kind of the storage.
        mean_trial_s: Mean training time of a trial (s).
        round_trip_s: Of the network (s).
        workers: Numbers of workers.
        efficiency: Throughput relative to workers that never wait.
        busy: Share of the time that each server is busy.
        bottleneck: What costs a trial the most time beside its training.
    """

    name: str
    storage: str
    mean_trial_s: float
    round_trip_s: float
    workers: tuple[int, ...]
    efficiency: tuple[float, ...]
    busy: tuple[dict[str, float], ...]
    bottleneck: tuple[str, ...]


class ScalingResult(Config):
    """What was measured, how well the model agrees with it, and what it says of more workers.

    Attributes:
        costs: Of the calls, by kind of storage.
        checks: The model beside reality, by kind of storage.
        curves: Simulated sweeps.
        machine: Where it was measured.
    """

    costs: dict[str, Costs]
    checks: dict[str, tuple[Check, ...]] = Field(default_factory=dict)
    curves: tuple[Curve, ...]
    machine: str


def run(
    progress: ProgressDisplay,
    storages: Sequence[str] = (),
    *,
    trial_s: Sequence[float] = TRIAL_S,
    check: bool = True,
) -> ScalingResult:
    """Measures the calls to storages and to a tracking server, and simulates many workers.

    A journal in a temporary folder is always measured. It takes some minutes, and wants a machine
    that does nothing else.

    Args:
        progress: Shows how far it is.
        storages: Addresses of others, such as a PostgreSQL server's.
        trial_s: Training times of trials, measured (s).
        check: Whether the model is held against workers that only wait.

    Raises:
        InputError: An address is none, or the server refuses it.
        StorageError: A storage cannot be used, or the tracking server does not come up.
    """
    costs: dict[str, Costs] = {}
    checks: dict[str, tuple[Check, ...]] = {}
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as folder:
        urls = [str(pathlib.Path(folder) / "measured.journal"), *storages]
        steps = 1 + len(urls) * (1 + (len(CHECKED) if check else 0))
        with progress.phase("measuring", steps, "parts") as phase:
            done = 1
            tracked = measurements.tracking_costs()
            phase.update(done)
            for url in urls:
                kind = addresses.scheme(url) or "journal"
                measured = measurements.storage_costs(url)
                costs[kind] = measured.model_copy(update=tracked)
                done += 1
                phase.update(done)
                found = []
                for workers in CHECKED if check else ():
                    found.append(_check(url, measured, workers, progress))
                    done += 1
                    phase.update(done)
                checks[kind] = tuple(found)
    return ScalingResult(
        costs=costs,
        checks=checks,
        curves=curves(costs, trial_s),
        machine=process_clock.machine_in_words(),
    )


def _check(url: str, costs: Costs, workers: int, progress: ProgressDisplay) -> Check:
    """Has workers wait for real and in the model."""
    real = measurements.rate(url, workers, WAIT_S, progress)
    # Their parameters are drawn at random, and nothing is reported on the way.
    free = scaling_model.Cost(fixed_s=0.0)
    alike = costs.model_copy(update=dict.fromkeys(("sample", "log", "upload"), free))
    sweep = Sweep(trial_s=(WAIT_S,), reports=0, log_every_s=3600.0, night_s=60.0)
    [modelled] = scaling_model.simulate(alike, sweep, [workers])
    return Check(
        workers=workers,
        measured_per_s=real.per_s,
        modelled_per_s=modelled.trials / sweep.night_s,
    )


def curves(costs: Mapping[str, Costs], trial_s: Sequence[float]) -> tuple[Curve, ...]:
    """Simulates a night of sweeps with short and with long trials, near and far.

    Args:
        costs: Of the calls, by kind of storage.
        trial_s: Training times of short trials (s).
    """
    found = []
    for kind, each in costs.items():
        for factor, trip in ((1.0, 0.0), (LONG, 0.0), (LONG, FAR_S)):
            times = tuple(factor * seconds for seconds in trial_s)
            sweep = Sweep(trial_s=times, round_trip_s=trip)
            throughput = scaling_model.simulate(each, sweep, WORKERS)
            found.append(_curve(kind, sweep, throughput))
    return tuple(found)


def _curve(kind: str, sweep: Sweep, throughput: Sequence[Throughput]) -> Curve:
    mean_s = sum(sweep.trial_s) / len(sweep.trial_s)
    far = f", {1000 * sweep.round_trip_s:g} ms away" if sweep.round_trip_s else ""
    return Curve(
        name=f"{kind}, trials of {mean_s:,.0f} s{far}",
        storage=kind,
        mean_trial_s=mean_s,
        round_trip_s=sweep.round_trip_s,
        workers=tuple(each.workers for each in throughput),
        efficiency=tuple(round(each.efficiency, 4) for each in throughput),
        busy=tuple(
            {name: round(share, 4) for name, share in each.busy.items()} for each in throughput
        ),
        bottleneck=tuple(each.bottleneck for each in throughput),
    )
