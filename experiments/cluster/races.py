"""Evaluation races on a Ray cluster: the same races, bit for bit, as on this machine.

What is placed as one piece is all races of one track under one condition. They are driven as one
batch here as there: networks round differently in batches of another size, and a race that is
driven with fewer others would not be the same race.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import platform
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import donkey_rl
from donkey_rl.agents import ensemble
from donkey_rl.envs import simulators
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.errors import DonkeyRLError, DriverError
from donkey_rl.experiments import drivers
from donkey_rl.experiments import evaluation_races as driving
from donkey_rl.experiments.cluster import connection
from donkey_rl.experiments.drivers import Entrant, LearnedEntrant, PursuitEntrant
from donkey_rl.experiments.evaluation_races import Drive, Driven, RacePlan
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics.race import Race

_RETRIES = 5


class Piece(NamedTuple):
    """Races that are driven together.

    Attributes:
        config: Simulator, track, car and camera.
        plan: How many, under which condition.
    """

    config: EnvironmentConfig
    plan: RacePlan


@contextlib.contextmanager
def placed(
    address: str | None, entrant: Entrant, pieces: Sequence[Piece], progress: ProgressDisplay
) -> Iterator[Drive]:
    """Has a driver's races driven on a cluster while this process does something else.

    Races that are filmed, of a stranger's driver, in another simulator than the embedded one, or
    on a track or under a latency that is a file of this machine, or among learned opponents, are
    driven here.

    Args:
        address: ``HOST:PORT`` of the cluster; None for one of this machine's cores.
        entrant: Who drives.
        pieces: What is to be driven; first ones first.
        progress: Shows what is waited for.

    Yields:
        What `evaluation_races.drive` is, and waits for races that were placed.

    Raises:
        InputError: The cluster is refused; see `connection.connected`.
        DonkeyRLError: It cannot be reached.
    """
    going = [piece for piece in pieces if _can_go(entrant, piece)]
    with connection.connected(address, progress):
        import ray

        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_race)
        stored = ray.put(_files(entrant))
        waiting = {
            driving.key(entrant, *piece): task.remote(
                stored, _facts(entrant), piece.config.model_dump(mode="json"), _values(piece.plan)
            )
            for piece in going
        }

        def drive(
            who: Entrant,
            config: EnvironmentConfig,
            plan: RacePlan,
            shown: ProgressDisplay,
            doing: str,
        ) -> Driven:
            found = waiting.get(driving.key(who, config, plan))
            if found is None or plan.films or plan.frames:
                return driving.drive(who, config, plan, shown, doing)
            with shown.phase(f"{doing} on the cluster", plan.races, "races") as phase:
                races = _received(found)
                phase.update(len(races))
            return driving.scored(who, config, plan, track.load(config.track), races)

        yield drive


def _can_go(entrant: Entrant, piece: Piece) -> bool:
    plan, config = piece.plan, piece.config
    return (
        isinstance(entrant, LearnedEntrant | PursuitEntrant)
        and not simulators.parse(config.simulator)
        and ".json" not in config.track
        and not (plan.films or plan.frames)
        and plan.latency.profile is None
        and not config.opponents.learned
    )


def _files(entrant: Entrant) -> dict[str, bytes]:
    """Returns the driver folder, file by file; empty for one that has none."""
    if not isinstance(entrant, LearnedEntrant):
        return {}
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        folder = pathlib.Path(name) / "driver"
        entrant.driver.save(folder, lite=False)
        found = (each for each in folder.rglob("*") if each.is_file())
        return {each.relative_to(folder).as_posix(): each.read_bytes() for each in found}


def _facts(entrant: Entrant) -> dict[str, Any]:
    return {
        "name": entrant.name,
        "kind": entrant.kind,
        "hash": entrant.hash,
        "run_id": entrant.run_id,
        "tracks": entrant.tracks,
        "environment": entrant.environment.model_dump(mode="json"),
        "version": donkey_rl.__version__,
    }


def _values(plan: RacePlan) -> dict[str, Any]:
    """Returns what the races depend on, as plain values."""
    kept = ("races", "laps", "seed", "folder")
    values = {name: getattr(plan, name) for name in kept}
    drawn = plan.disturbance
    values["disturbance"] = drawn.model_dump(mode="json") if drawn is not None else None
    late = plan.latency.model_dump(mode="json")
    return values | {"latency": late, "changes": dict(plan.changes)}


def _received(waiting: Any) -> tuple[Race, ...]:
    """Returns races that were driven elsewhere."""
    import ray

    try:
        answer = ray.get(waiting)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines()
        raise DonkeyRLError(
            f"Races on the cluster were lost: {lines[-1] if lines else type(error).__name__}. Is "
            f"donkey-rl {donkey_rl.__version__} installed on every node?"
        ) from error
    if isinstance(answer, str):
        raise DonkeyRLError(answer)
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        path = pathlib.Path(name) / "race.parquet"
        races = []
        for content in answer:
            path.write_bytes(content)
            races.append(Race.load(path))
    return tuple(races)


def _race(
    files: dict[str, bytes], facts: dict[str, Any], config: dict[str, Any], plan: dict[str, Any]
) -> list[bytes] | str:
    """Drives on a node; returns the records as files, or why there are none."""
    host = platform.node() or "a node"
    if facts["version"] != donkey_rl.__version__:
        return (
            f"donkey-rl is {donkey_rl.__version__} on {host} and {facts['version']} here. Install "
            "the same."
        )
    drawn = plan["disturbance"]
    wanted = RacePlan(
        **{
            **plan,
            "disturbance": Randomisation(**drawn) if drawn is not None else None,
            "latency": LatencyConfig(**plan["latency"]),
        },
        metrics=(),
    )
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name, ProgressDisplay() as progress:
        folder = pathlib.Path(name)
        try:
            entrant = _entrant(files, facts, folder / "driver")
            driven = driving.drive(entrant, EnvironmentConfig(**config), wanted, progress)
        except DonkeyRLError as error:
            return f"Races on {host}: {error}"
        paths = [
            race.save(folder / f"{number}.parquet") for number, race in enumerate(driven.races)
        ]
        return [path.read_bytes() for path in paths]


def _entrant(files: dict[str, bytes], facts: dict[str, Any], folder: pathlib.Path) -> Entrant:
    environment = EnvironmentConfig(**facts["environment"])
    if not files:
        return drivers.pursuit(environment)
    folder.mkdir()
    for name, content in files.items():
        path = (folder / name).resolve()
        if folder.resolve() not in path.parents:
            raise DriverError(f"Expected files of a driver's folder. Received: '{name}'.")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    loaded = ensemble.load(folder)
    return dataclasses.replace(
        drivers.of_run(loaded, environment, facts["run_id"]),
        name=facts["name"],
        kind=facts["kind"],
        tracks=tuple(facts["tracks"]),
    )
