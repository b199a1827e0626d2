"""A run once more: the configuration of a stored run, for a new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from donkey_rl import configuration
from donkey_rl.envs import simulators
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments import beginning, provenance, stored_runs
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.beginning import Beginning
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.training_result import TrainingResult

if TYPE_CHECKING:
    from donkey_rl.experiments.membership import Membership

ORIGIN_TAG = "donkey_rl.from_run"
"""Tag of a run: the run whose configuration it was started with."""


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """A run that can be trained once more.

    Attributes:
        run_id: The run whose configuration it is.
        config: That configuration, with the changes that were asked for.
        remarks: What differs, so that the result may.
    """

    run_id: str
    config: TrainingConfig
    remarks: tuple[str, ...]

    def train(self, progress: ProgressDisplay, member: Membership | None = None) -> TrainingResult:
        """Trains a new run.

        Args:
            progress: Shows how far it is.
            member: What it is a part of, and where its cars drive.

        Raises:
            StorageError: As in `training.train`.
            LinkError: As in `training.train`.
        """
        # TensorFlow is behind these, and whatever is wrong with the run is said before.
        from donkey_rl.experiments import training
        from donkey_rl.experiments.membership import ALONE

        for line in (f"the configuration is that of run {self.run_id}", *self.remarks):
            progress.message(line)
        origin = dataclasses.replace(member or ALONE, tags={ORIGIN_TAG: self.run_id})
        return training.train(self.config, progress, origin)


def find(
    reference: str, settings: Sequence[str] = (), *, collectors: int | None = None
) -> Reproduction:
    """Finds the configuration of a stored run, however it ended.

    Args:
        reference: The run, as in `stored_runs.find`.
        settings: Assignments `key=value` over it.
        collectors: How many processes are to drive, None where the cars are driven here.

    Raises:
        InputError: There is no such run, it holds no configuration, this version does not know
            a setting of it, or its track file, its own code or its data are gone or changed.
        StorageError: The store cannot be read.
    """
    stored = stored_runs.find(reference)
    begun = beginning.read(stored)
    try:
        config = configuration.settings_over(TrainingConfig, begun.config, settings)
    except ConfigurationError as error:
        raise InputError(
            f"The configuration of run {stored.id} does not fit: {error} "
            "Change the setting with --set, or give the others as a recipe."
        ) from error
    replaced = {setting.partition("=")[0].strip() for setting in settings}
    _check_files(stored.id, begun, config, replaced)
    return Reproduction(stored.id, config, _remarks(begun, config, collectors))


def _check_files(
    run_id: str, begun: Beginning, config: TrainingConfig, replaced: set[str]
) -> None:
    """Refuses files that are gone or changed, where they were not replaced on purpose."""
    flat = configs.flat(begun.config)
    before = begun.data | ({"track": begun.track_file} if begun.track_file else {})
    now = beginning.hashes_of_data(config)
    if config.track == flat.get("track"):
        now["track"] = beginning.hash_of_track_file(config.track) or ""
    code, wanted = beginning.hashes_of_code(config), configs.flat(config.model_dump(mode="json"))
    for key, digest in begun.code.items():
        if wanted.get(key) == flat.get(key):
            before[key], now[key] = digest, code.get(key, "")
    for key, digest in before.items():
        if key not in replaced and not beginning.is_same(digest, now.get(key)):
            state = "is not what it was" if key in now else "is gone that was there"
            raise InputError(
                f"{key}: '{flat.get(key)}' {state} when run {run_id} began. Put the old one "
                f"back, or take another with --set {key}=PATH."
            )


def _remarks(begun: Beginning, config: TrainingConfig, collectors: int | None) -> tuple[str, ...]:
    """Returns why the result may not be that of the run, in one line, if there is a reason."""
    reasons = beginning.differences(begun.versions, provenance.versions())
    reasons += beginning.differences(begun.machine, beginning.machine(collectors))
    if config.simulator != simulators.EMBEDDED:
        reasons.append("what another program simulates does not repeat")
    return (f"not bit for bit what it was: {', '.join(reasons)}",) if reasons else ()
