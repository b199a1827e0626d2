"""Ensembles of stored drivers: put together, and kept as runs of their own."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy.typing as npt
from pydantic import Field

from donkey_rl.agents import ensemble, evaluators
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.evaluators import Evaluator
from donkey_rl.agents.manifest import ENSEMBLE, DriverDescription, ObservationSpec
from donkey_rl.agents.members import check_alike, check_critics
from donkey_rl.configuration import Config
from donkey_rl.envs import batch as batches
from donkey_rl.errors import InputError
from donkey_rl.experiments import description, drivers, sight, tracking
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.deployment import frames
from donkey_rl.experiments.drivers import Entrant, LearnedEntrant
from donkey_rl.experiments.progress import ProgressDisplay

Parts = Mapping[str, npt.NDArray[Any]]

MEMBERS_TAG = "donkey_rl.members"
"""Tag of an ensemble's run: the runs of its members, with commas."""

_NAMED = 3
"""Tracks in the name of an ensemble."""

_FRAMES = 1600
"""Observations on which what is usual for some drivers is found."""


class Joining(Config):
    """How drivers are joined.

    Attributes:
        evaluator: What makes one action of what they propose.
        weights: Share of each in a mean, of any sum; alike where there are none.
        temperature: Of the evaluator `critic`; see `Evaluator`.
        slowing: Throttle taken off where they disagree more than is usual; see `Evaluator`.
    """

    evaluator: evaluators.Kind = "mean"
    weights: tuple[float, ...] | None = None
    temperature: float = Field(default=Evaluator().temperature, ge=0.01, le=100.0)
    slowing: float = Field(default=0.0, ge=0.0, le=1000.0)


class EnsembleResult(Config):
    """What `donkey-rl ensemble` reports.

    Attributes:
        run_id: The ensemble's run, or that of the one driver that was chosen; empty where that
            driver is of a folder.
        name: Its name.
        members: What its members are called: runs, or folders.
        weights: Share of each in the action, or in the choice.
        driver_hash: SHA-256 of what it is.
        evaluator: What makes the action of what they propose.
    """

    run_id: str
    name: str
    members: tuple[str, ...]
    weights: tuple[float, ...]
    driver_hash: str
    evaluator: Evaluator = Evaluator()


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


class _Planned(NamedTuple):
    """A driver that is still to be trained, as far as members have to be alike."""

    observation: ObservationSpec
    description: DriverDescription
    hash: str = ""


def check_planned(config: TrainingConfig, named: Sequence[LearnedEntrant]) -> None:
    """Refuses to train members that could not be joined with drivers that are there.

    Args:
        config: Of the members to be trained.
        named: The drivers that are there.

    Raises:
        DriverError: With the first difference.
    """
    seen = ObservationSpec(
        image_shape=config.camera.shape, history=config.history, scaling=sight.scaling(config)
    )
    planned = _Planned(seen, description.of(config, "", 0, None))
    for entrant in named:
        check_alike(single_driver(entrant), planned)


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
    references: Sequence[str],
    joining: Joining,
    progress: ProgressDisplay,
    name: str | None = None,
) -> EnsembleResult:
    """Makes an ensemble of stored drivers and keeps it as a run.

    Args:
        references: As in `drivers.load`.
        joining: How.
        progress: Shows how far it is.
        name: Of the run.

    Raises:
        InputError: A reference is no single driver.
        DriverError: The drivers do not fit together.
        StorageError: The run cannot be stored.
    """
    members = load(references)
    if len(members) < len(references):
        progress.message(f"{len(references) - len(members)} named twice: each driver counts once")
    evaluators.check_weights(len(members), joining.weights, joining.evaluator)
    single = [single_driver(each) for each in members]
    return keep(members, joined(single, joining, lambda: driven(single, progress)), name)


def joined(members: Sequence[Driver], joining: Joining, seen: Callable[[], Parts]) -> Ensemble:
    """Joins drivers.

    Args:
        members: The drivers.
        joining: How.
        seen: Returns what they see where they were trained, for what is usual for them; called
            where that counts.

    Raises:
        DriverError: The drivers do not fit together, or not the evaluator.
    """
    if joining.evaluator != "critic" and not joining.slowing:
        return Ensemble(members, joining.weights, Evaluator(kind=joining.evaluator))
    if joining.evaluator == "critic":
        # Before anything takes time.
        check_critics(members)
    usual = ensemble.calibrated(
        members,
        seen(),
        kind=joining.evaluator,
        temperature=joining.temperature,
        slowing=joining.slowing,
    )
    return Ensemble(members, joining.weights, usual)


def driven(members: Sequence[Driver], progress: ProgressDisplay) -> Parts:
    """Lets drivers drive where they were trained, as the mean of their actions.

    Args:
        members: The drivers.
        progress: Shows how far it is.

    Returns:
        What they saw, by the names of its parts, of about 1600 observations.

    Raises:
        InputError: A track that they were trained on is not there any more.
        DriverError: The drivers do not fit together.
    """
    return frames.rendered(Ensemble(members), progress, _FRAMES).parts


def keep(
    members: Sequence[LearnedEntrant],
    made: Ensemble,
    name: str | None = None,
    parent: str | None = None,
) -> EnsembleResult:
    """Stores an ensemble as a run with links to its members.

    Args:
        members: Single drivers.
        made: What they are joined to.
        name: Of the run.
        parent: Id of the run that it belongs to.

    Raises:
        StorageError: The run cannot be stored.
    """
    about = made.description
    shown = ", ".join(about.tracks[:_NAMED])
    more = len(about.tracks) - _NAMED
    where = f"{shown} and {more} more" if more > 0 else shown
    named = name or f"ensemble of {len(members)} on {where}"
    tags = {
        "agent": ENSEMBLE,
        "track": ",".join(about.tracks),
        "vehicle": about.vehicle,
        MEMBERS_TAG: ",".join(each.run_id for each in members if each.run_id),
    }
    labels = [each.run_id or each.name for each in members]
    # MLflow takes no path as a parameter's name that has brackets or dots in it.
    keys = [each.run_id or each.hash[:12] for each in members]
    params = {f"weight.{key}": w for key, w in zip(keys, made.weights, strict=True)}
    params |= {f"evaluator.{key}": value for key, value in made.evaluator.model_dump().items()}
    environment = drivers.environment_of(made)
    with (
        tempfile.TemporaryDirectory(prefix="donkey-rl-") as temporary,
        tracking.start(
            named, params={"agent": ENSEMBLE, **params}, tags=tags, parent=parent
        ) as run,
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
        evaluator=made.evaluator,
    )
