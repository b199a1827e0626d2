"""Ensembles of stored drivers: put together, and kept as runs of their own."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Sequence

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import AGENT, Ensemble
from donkey_rl.configuration import Config
from donkey_rl.envs import batch as batches
from donkey_rl.errors import InputError
from donkey_rl.experiments import drivers, tracking
from donkey_rl.experiments.drivers import Entrant, LearnedEntrant

MEMBERS_TAG = "donkey_rl.members"
"""Tag of an ensemble's run: the runs of its members, with commas."""


class EnsembleResult(Config):
    """What `donkey-rl ensemble` reports.

    Attributes:
        run_id: The ensemble's run, or that of the one driver that was chosen; empty where that
            driver is of a folder.
        name: Its name.
        members: What its members are called: runs, or folders.
        weights: Share of each in the action.
        driver_hash: SHA-256 of what it is.
    """

    run_id: str
    name: str
    members: tuple[str, ...]
    weights: tuple[float, ...]
    driver_hash: str


def load(references: Sequence[str]) -> tuple[LearnedEntrant, ...]:
    """Returns single drivers by their references, each once.

    Args:
        references: As in `drivers.load`.

    Raises:
        InputError: A reference is unknown, or means what is no single driver of this package.
        DriverError: A driver's folder is damaged.
        StorageError: The store cannot be read.
    """
    found: dict[str, LearnedEntrant] = {}
    for reference in references:
        entrant = drivers.load(reference)
        single_driver(entrant)
        if isinstance(entrant, LearnedEntrant):
            found.setdefault(entrant.hash, entrant)
    return tuple(found.values())


def single_driver(entrant: Entrant) -> Driver:
    """Returns the driver of an entrant that may be a member.

    Raises:
        InputError: It is none of this package's, or an ensemble itself.
    """
    if isinstance(entrant, LearnedEntrant) and isinstance(entrant.driver, Driver):
        return entrant.driver
    kind = "an ensemble" if isinstance(entrant, LearnedEntrant) else entrant.kind
    raise InputError(
        f"The members of an ensemble are drivers that runs have trained. Received: {kind}, "
        f"'{entrant.name}'. Name its members, or other runs."
    )


def make(
    references: Sequence[str], weights: Sequence[float] | None = None, name: str | None = None
) -> EnsembleResult:
    """Makes an ensemble of stored drivers and keeps it as a run.

    Args:
        references: As in `drivers.load`.
        weights: One for each; alike by default.
        name: Of the run.

    Raises:
        InputError: A reference is no single driver.
        DriverError: The drivers do not fit together.
        StorageError: The run cannot be stored.
    """
    members = load(references)
    if weights is not None and len(weights) != len(members):
        raise InputError(
            f"Each of the {len(members)} different drivers has one weight. Received: "
            f"{len(weights)}. Give --weights as many numbers, with commas, or none."
        )
    return keep(members, weights, name)


def keep(
    members: Sequence[LearnedEntrant],
    weights: Sequence[float] | None = None,
    name: str | None = None,
    parent: str | None = None,
) -> EnsembleResult:
    """Stores an ensemble as a run with links to its members.

    Args:
        members: Single drivers.
        weights: One for each; alike by default.
        name: Of the run.
        parent: Id of the run that it belongs to.

    Raises:
        InputError: A member is no single driver.
        DriverError: The drivers do not fit together.
        StorageError: The run cannot be stored.
    """
    made = Ensemble([single_driver(each) for each in members], weights)
    about = made.description
    named = name or f"ensemble of {len(members)} on {', '.join(about.tracks)}"
    tags = {
        "agent": AGENT,
        "track": ",".join(about.tracks),
        "vehicle": about.vehicle,
        MEMBERS_TAG: ",".join(each.run_id for each in members if each.run_id),
    }
    labels = [each.run_id or each.name for each in members]
    # MLflow takes no path as a parameter's name that has brackets or dots in it.
    keys = [each.run_id or each.hash[:12] for each in members]
    params = {f"weight.{key}": w for key, w in zip(keys, made.weights, strict=True)}
    environment = drivers.environment_of(made)
    with (
        tempfile.TemporaryDirectory(prefix="donkey-rl-") as temporary,
        tracking.start(named, params={"agent": AGENT, **params}, tags=tags, parent=parent) as run,
    ):
        folder = pathlib.Path(temporary) / "driver"
        made.save(folder)
        run.log_driver(folder, batches.observation_space(environment), batches.action_space())
    return EnsembleResult(
        run_id=run.id,
        name=named,
        members=tuple(labels),
        weights=made.weights,
        driver_hash=made.hash,
    )
