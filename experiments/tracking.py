"""Runs in MLflow: parameters, curves against environment steps, files, the driver as a model.

```python
with tracking.start("sac on generated_track", params={"sac.gamma": 0.99}) as run:
    run.log_metrics({"train/critic_loss": 0.2}, step=1000)
    run.log_driver("driver", observation_space, action_space)
```

What is logged goes to a file below `runs/unsent/` and from there to the store, by a thread beside
the training. So a store that is away stops nothing and loses nothing; docs/tracking.md.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from donkey_rl.errors import DonkeyRLError, StoreAwayError
from donkey_rl.experiments import mlflow_store, provenance, stored_runs
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.spooling import leftovers
from donkey_rl.experiments.spooling.spool import About

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PARENT_TAG = "mlflow.parentRunId"
_PAUSE_S = 2.0
_LONGEST_NAME = 250
"""Characters that MLflow's databases have for the name of a run."""


def start(
    name: str,
    *,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, object] | None = None,
    parent: str | None = None,
    uri: str | None = None,
    patience_s: float = 0.0,
) -> Run:
    """Starts a run in the experiment ``donkey-rl``.

    Its id comes from the store: so a run cannot start while the store is away.

    Args:
        name: Name shown in the pages.
        params: Settings by flat key.
        tags: Labels, such as the track.
        parent: Id of the run that this one belongs to.
        uri: The store; ``MLFLOW_TRACKING_URI`` or ``sqlite:///mlflow.db`` by default.
        patience_s: How long to wait for a store that is away (s), as a sweep does.

    Raises:
        StoreAwayError: If the store is away.
        StorageError: If the store cannot be written.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            return _start(name, params or {}, tags or {}, parent, uri)
        except StoreAwayError:
            if time.monotonic() >= end:
                raise
            time.sleep(_PAUSE_S)


def _start(
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, object],
    parent: str | None,
    uri: str | None,
) -> Run:
    leftovers.send_once(uri)
    client = mlflow_store.client(uri)
    experiment = mlflow_store.experiment_id(client, uri)
    labels = provenance.source_tags() | {key: str(value) for key, value in tags.items()}
    labels |= {_PARENT_TAG: parent} if parent else {}
    with mlflow_store.guard("The run could not be started"):
        created = client.create_run(experiment, tags=labels, run_name=name[:_LONGEST_NAME])
    about = _about(created.info.run_id, experiment, uri)
    run = Run(client, about, started_ms=created.info.start_time)
    try:
        run.log_params(params)
    except BaseException as error:
        # Nobody else knows of it yet.
        with contextlib.suppress(DonkeyRLError):
            run.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    return run


def attach(reference: str, *, uri: str | None = None) -> Run:
    """Returns a stored run to log more into; its status stays what it is.

    Args:
        reference: As in `find`.
        uri: As in `start`.

    Raises:
        InputError: If there is no such run.
        StorageError: If the store cannot be opened.
    """
    stored = stored_runs.find(reference, uri=uri)
    client = mlflow_store.client(uri)
    about = _about(stored.id, mlflow_store.experiment_id(client, uri), uri)
    return Run(client, about, started_ms=None)


def reopen(run_id: str, spools: Path | None = None, *, uri: str | None = None) -> Run:
    """Returns a run that ended early, to go on with it: it is ``RUNNING`` again.

    Args:
        run_id: MLflow's run id.
        spools: Folder in which its earlier process kept what it could not send, where that is
            not below the current folder.
        uri: As in `start`.

    Raises:
        StorageError: If the store cannot be written.
    """
    # What a process that was killed has kept comes first: sent later, its older driver and tags
    # would take the place of this one's.
    leftovers.send_and_tell(uri)
    if spools is not None:
        leftovers.send_and_tell(uri, spools)
    client: MlflowClient = mlflow_store.client(uri)
    with mlflow_store.guard(f"Run {run_id} could not be reopened"):
        client.update_run(run_id, status="RUNNING")
        started_ms = client.get_run(run_id).info.start_time
    about = _about(run_id, mlflow_store.experiment_id(client, uri), uri)
    return Run(client, about, started_ms=started_ms)


def _about(run_id: str, experiment_id: str, uri: str | None) -> About:
    store = mlflow_store.shown(mlflow_store.tracking_uri(uri))
    return About(run_id=run_id, experiment_id=experiment_id, store=store)
