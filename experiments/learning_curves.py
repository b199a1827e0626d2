"""How stored runs learned: the curves of their checks, grouped by configuration."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.learning_plots import Curve, Runs
from donkey_rl.experiments.stored_runs import StoredRun

FIGURES = {
    "check/clean_share": "share of clean laps",
    "check/mean_lap_s": "mean lap (s)",
    "check/completion": "share of the race driven",
}
"""Metrics of a run's checks, with what they are called in a picture."""

FREE = ("seed", "evaluation.", "checkpoint.", "link.")
"""Settings in which runs of one configuration may differ; with a stop, all that begin so."""

_MOST_NAMED = 3


def history(run: StoredRun, metric: str, *, uri: str | None = None) -> Curve:
    """Returns a metric of a run against environment steps.

    A run that was gone on with has logged some steps twice: the later value counts.

    Args:
        run: The run.
        metric: Its name in the store.
        uri: The store, as in `tracking.start`.

    Raises:
        StorageError: If the store cannot be read.
    """
    client = mlflow_store.client(uri)
    with mlflow_store.guard(f"The metric {metric} of run {run.id} could not be read"):
        points = client.get_metric_history(run.id, metric)
    values = {each.step: each.value for each in sorted(points, key=lambda each: each.timestamp)}
    steps = sorted(values)
    return Curve(
        np.array(steps, np.float64), np.array([values[step] for step in steps], np.float64)
    )


_NONE = Curve(np.empty(0), np.empty(0))


def groups(runs: Sequence[StoredRun], *, uri: str | None = None) -> list[Runs]:
    """Returns the curves of runs, those together that differ in settings of `FREE` only.

    Args:
        runs: Runs of any configurations.
        uri: The store, as in `tracking.start`.

    Raises:
        StorageError: If the store cannot be read.
    """
    together: dict[tuple[tuple[str, str], ...], list[StoredRun]] = defaultdict(list)
    for run in runs:
        together[settings_of(run)].append(run)
    labels = _labels([dict(settings) for settings in together])
    found = []
    for label, members in zip(labels, together.values(), strict=True):
        # A run without the figure stays one of them: a band of the others would be of the better.
        curves = {
            title: [
                history(run, metric, uri=uri) if metric in run.metrics else _NONE
                for run in members
            ]
            for metric, title in FIGURES.items()
            if any(metric in run.metrics for run in members)
        }
        found.append(Runs(label, curves))
    return found


def settings_of(run: StoredRun, free: Sequence[str] = FREE) -> tuple[tuple[str, str], ...]:
    """Returns the settings of a run, in order, without those in which others may differ.

    Args:
        run: The run.
        free: Names of those, as in `FREE`.
    """
    groups = tuple(name for name in free if name.endswith("."))
    return tuple(
        sorted(
            (key, value)
            for key, value in run.params.items()
            if key not in free and not key.startswith(groups)
        )
    )


def _labels(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns names of configurations: agent and track, and what tells those of one name apart."""
    names = [f"{each.get('agent', 'run')} on {each.get('track', 'a track')}" for each in settings]
    named = []
    for name, each in zip(names, settings, strict=True):
        alike = [other for other, its in zip(settings, names, strict=True) if its == name]
        differing = [key for key in sorted(each) if len({str(o.get(key)) for o in alike}) > 1]
        words = [f"{key}={each[key]}" for key in differing[:_MOST_NAMED]]
        named.append(" ".join([name, *words]) + (" ..." if len(differing) > _MOST_NAMED else ""))
    return named
