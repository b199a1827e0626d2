"""Finding a run that ended early, and what may differ where it is continued."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import pydantic

from donkey_rl import configuration, formatting
from donkey_rl.envs import simulators
from donkey_rl.errors import InputError
from donkey_rl.experiments import beginning, provenance, stored_runs
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.beginning import Beginning
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.run_folder import PLACE, RunFolder
from donkey_rl.experiments.sealed import DamagedError

PLACE_TAG = "donkey_rl.run_folder"
"""Tag of a run: where its folder is, an absolute path."""

_FREE = ("evaluation.", "checkpoint.keep")
"""Settings that learning does not depend on."""

_OF_THE_LINK = ("simulator", "link.")
"""Settings that may change from one simulator of another program to the next."""

_PACKAGE = "donkey-rl"


class Resumption(NamedTuple):
    """A run that can go on.

    Attributes:
        run_id: MLflow's run id.
        config: Its configuration.
        folder: Where its checkpoints are.
        remarks: What the user should know first.
    """

    run_id: str
    config: TrainingConfig
    folder: RunFolder
    remarks: tuple[str, ...]


def begin(run: Run, config: TrainingConfig, collectors: int | None = None) -> RunFolder:
    """Makes the folder of a run that starts here; the run notes where, and on what machine.

    Args:
        run: The run.
        config: Its configuration.
        collectors: As in `Membership`.

    Raises:
        StorageError: The place cannot be written.
    """
    folder = RunFolder(pathlib.Path(PLACE).resolve() / run.id)
    begun = beginning.of(config, collectors)
    beginning.store(begun, run)
    run.set_tags({PLACE_TAG: folder.path, **begun.machine})
    # Last: a run that has them can go on, whenever it is killed.
    folder.keep_settings(begun.model_dump())
    return folder


def find(reference: str, settings: Sequence[str], *, collectors: int | None = None) -> Resumption:
    """Finds a run that ended early.

    Args:
        reference: The run, as in `stored_runs.find`.
        settings: Assignments `key=value` that are to hold when it goes on.
        collectors: How many processes are to drive, None where the cars are driven here.

    Raises:
        InputError: There is no such run, it has finished, its folder is gone or damaged, it was
            started with another version, or a setting differs that must not.
    """
    stored = stored_runs.find(reference)
    if stored.status == "FINISHED":
        raise InputError(
            f"Run {stored.id} has finished: there is nothing to continue. Race its driver with "
            f"`donkey-rl evaluate {stored.id[:8]}`, or start a new run."
        )
    place = stored.tags.get(PLACE_TAG)
    if place is None or not pathlib.Path(place).is_dir():
        where = f"in '{place}'" if place else "anywhere"
        raise InputError(
            f"Run {stored.id} can be continued only where its checkpoints are. Received: none "
            f"{where}. Put the folder back, or start a new run."
        )
    folder = RunFolder(pathlib.Path(place))
    try:
        begun = Beginning.model_validate(folder.settings())
    except (DamagedError, pydantic.ValidationError) as error:
        raise InputError(
            f"Run {stored.id} cannot be continued: {formatting.reason(error)}. Start a new run, "
            "or use the version that began it."
        ) from error
    remarks = _compare_versions(stored.id, begun, beginning.machine(collectors))
    if not folder.checkpoints.numbers():
        remarks += ("it has no checkpoint yet: the policy begins anew",)
    config = configuration.validate(TrainingConfig, begun.config)
    if begun.track_file != beginning.hash_of_track_file(config.track):
        raise InputError(
            f"The track file '{config.track}' is not what it was when run {stored.id} began. "
            "Put the old one back, or start a new run."
        )
    _compare_code(stored.id, begun, config)
    _compare_data(stored.id, begun, config, folder)
    wanted = beginning.lasting(configuration.with_settings(config, settings))
    _compare_settings(stored.id, config, wanted)
    return Resumption(stored.id, wanted, folder, remarks)


def _compare_versions(run_id: str, begun: Beginning, machine: dict[str, str]) -> tuple[str, ...]:
    """Refuses another version of this package; returns a remark on others, and on the machine."""
    before, now = begun.versions, provenance.versions()
    if before.get(_PACKAGE) != now.get(_PACKAGE):
        raise InputError(
            f"Run {run_id} was started with version {before.get(_PACKAGE)} of donkey-rl. "
            f"Received: version {now.get(_PACKAGE)}. Install that version, or start a new run."
        )
    others = beginning.differences(before, now)
    others += beginning.differences(begun.machine, machine)
    if not others:
        return ()
    return (f"not bit for bit what it would have been: {', '.join(others)}",)


def _compare_data(
    run_id: str, begun: Beginning, config: TrainingConfig, folder: RunFolder
) -> None:
    """Refuses files that have changed and that the rest of the run still depends on."""
    now = beginning.hashes_of_data(config)
    taken_in = bool(folder.checkpoints.numbers())
    for key, digest in begun.data.items():
        done = taken_in or (folder.has_encoder and key.startswith("encoder."))
        if done and key not in beginning.LASTING:
            continue
        if not beginning.is_same(digest, now.get(key)):
            raise InputError(
                f"What {key} names is not what it was when run {run_id} began. Put it back as it "
                "was, or start a new run."
            )


def _compare_code(run_id: str, begun: Beginning, config: TrainingConfig) -> None:
    """Refuses code of the user's own that has changed."""
    flat, now = configs.flat(begun.config), beginning.hashes_of_code(config)
    for key, digest in begun.code.items():
        if now.get(key) != digest:
            raise InputError(
                f"The file of {key}='{flat.get(key)}' is not what it was when run {run_id} began. "
                f"Put the old one back, which the run has as {beginning.CODE[key]}, or start a "
                "new run."
            )


def _compare_settings(run_id: str, begun: TrainingConfig, wanted: TrainingConfig) -> None:
    """Refuses settings that would make another run of it."""
    free: tuple[str, ...] = _FREE
    if simulators.count(begun.simulator) == simulators.count(wanted.simulator) is not None:
        free += _OF_THE_LINK
    before = configs.flat(begun.model_dump(mode="json"))
    after = configs.flat(wanted.model_dump(mode="json"))
    different = [
        f"{key}={_shown(before.get(key))}, not {_shown(after.get(key))}"
        for key in before | after
        if before.get(key) != after.get(key) and not key.startswith(free)
    ]
    if different:
        raise InputError(
            f"Run {run_id} was started with {'; '.join(different)}. It goes on with the same. "
            "Leave that out, or start a new run."
        )


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
