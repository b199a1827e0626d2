"""A run's driver registered in MLflow under a name and an alias: `donkey-rl register`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from donkey_rl.agents import ensemble, manifest
from donkey_rl.configuration import Config
from donkey_rl.envs import batch as batches
from donkey_rl.errors import InputError
from donkey_rl.experiments import drivers, mlflow_store, model_registry, stored_runs, tracking
from donkey_rl.experiments.driver_model import MODEL_TAG
from donkey_rl.experiments.model_registry import ALIAS, NAME, SCHEME
from donkey_rl.experiments.stored_runs import StoredRun

_LETTERS = {
    "name": (re.compile(r"[\w.-]{1,200}"), "'_', '-' and '.'"),
    "alias": (re.compile(r"[\w-]{1,200}"), "'_' and '-'"),
}
"""What MLflow takes."""


class Registered(Config):
    """A driver that was registered.

    Attributes:
        name: Of the registered model.
        version: Of it.
        alias: That points to this version now.
        address: What the driver is called from now on.
        run_id: The run that it is of.
        model_id: MLflow's id of the model.
    """

    name: str
    version: int
    alias: str
    address: str
    run_id: str
    model_id: str


def register(
    reference: str, name: str = NAME, alias: str = ALIAS, *, uri: str | None = None
) -> Registered:
    """Registers a run's driver; a driver that is registered already gets the alias alone.

    Args:
        reference: The run, as in `stored_runs.find`.
        name: Of the registered model, which is made where it is missing.
        alias: To point to the driver; it is taken from the version that had it.
        uri: The store, as in `tracking.start`.

    Raises:
        InputError: There is no such run, it has no driver, or a name has other signs than
            letters, digits, `_`, `-` and, but for aliases, `.`.
        StorageError: The store cannot be written.
    """
    for what, given in (("name", name), ("alias", alias)):
        pattern, signs = _LETTERS[what]
        if not pattern.fullmatch(given) or given.lower() == "latest" or _is_version(given):
            raise InputError(
                f"The {what} is made of letters, digits, {signs}, and is neither 'latest' nor a "
                f"version such as v9. Received: '{given}'."
            )
    stored = _portable(stored_runs.find(reference, uri=uri), uri)
    model_id = stored.tags[MODEL_TAG]
    client = mlflow_store.client(uri)
    with mlflow_store.guard(f"The driver of run {stored.id} could not be registered"):
        if name not in model_registry.registered(client):
            client.create_registered_model(name)
        known = client.search_model_versions(f"name = '{name}'")
        version = next((each for each in known if each.tags.get(MODEL_TAG) == model_id), None)
        if version is None:
            # Not by its models:/ address, which MLflow would look up in the default store.
            place = client.get_logged_model(model_id).artifact_location
            # MLflow's databases do not keep the version's model id.
            version = client.create_model_version(
                name, place, run_id=stored.id, tags={MODEL_TAG: model_id}
            )
        client.set_registered_model_alias(name, alias, version.version)
    return Registered(
        name=name,
        version=int(version.version),
        alias=alias,
        address=f"{SCHEME}{name}@{alias}",
        run_id=stored.id,
        model_id=model_id,
    )


def _is_version(text: str) -> bool:
    return re.fullmatch(r"v?\d+", text) is not None


def _portable(stored: StoredRun, uri: str | None) -> StoredRun:
    """Returns the run with a driver that has its LiteRT part, which is made where it is missing.

    The driver that a run stores at its first clean lap has none.
    """
    folder = stored_runs.download_driver(stored, uri=uri)
    if (folder / manifest.LITE_MODEL).is_file():
        return stored
    driver = ensemble.load(folder)
    environment = drivers.environment_of(driver)
    with (
        tempfile.TemporaryDirectory(prefix="donkey-rl-") as scratch,
        tracking.attach(stored.id, uri=uri) as run,
    ):
        driver.save(Path(scratch) / "driver")
        spaces = batches.observation_space(environment), batches.action_space()
        run.log_driver(Path(scratch) / "driver", *spaces)
    return stored_runs.find(stored.id, uri=uri)
