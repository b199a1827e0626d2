"""Data sets that a training learns from, by its settings `imitation.data` and `encoder.data`."""

from __future__ import annotations

from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.data import reference

_GROUPS = ("imitation", "encoder")


def recorded(config: TrainingConfig) -> dict[str, str]:
    """Returns what a configuration names to be learned from, paths and data sets, by group."""
    # Not every encoder learns from recordings.
    found = {group: getattr(getattr(config, group), "data", None) for group in _GROUPS}
    return {group: text for group, text in found.items() if text is not None}


def named(config: TrainingConfig) -> dict[str, str]:
    """Returns the data sets that a configuration names, by their setting."""
    return {
        f"{group}.data": text
        for group, text in recorded(config).items()
        if reference.is_reference(text)
    }


def pinned(config: TrainingConfig) -> TrainingConfig:
    """Returns a configuration whose data sets are of the versions that they are now.

    So a run says what it has learned from, and another one can learn from the same.

    Raises:
        InputError: There is no such data set.
        StorageError: The store cannot be read.
    """
    groups = {}
    for key, text in named(config).items():
        group = key.partition(".")[0]
        fixed = {"data": reference.pinned(text)}
        groups[group] = getattr(config, group).model_copy(update=fixed)
    return config.model_copy(update=groups)
