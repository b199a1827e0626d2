"""Models by their address in MLflow: ``models:/NAME@ALIAS``, ``models:/NAME/3``, by their id."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.driver_model import MODEL_TAG

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.tracking import MlflowClient

SCHEME = "models:/"
NAME, ALIAS = "donkey-driver", "race"
"""What a driver is registered as where nothing else is said."""

_ADDRESS = re.compile(
    r"models:/(?:(?P<id>m-[0-9a-f]+)|(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+)))"
)


def model(reference: str, client: MlflowClient) -> LoggedModel:
    """Returns the model of an address.

    Args:
        reference: The address.
        client: The store.

    Raises:
        UnknownNameError: There is no such model; it carries the nearest name or alias.
        InputError: That is no address of a model, there is no such version, or the model was not
            stored by a run of this package.
        StorageError: The store cannot be read.
    """
    found = _ADDRESS.fullmatch(reference)
    if found is None:
        raise InputError(
            f"A model is given as {SCHEME}NAME@ALIAS, {SCHEME}NAME/VERSION or {SCHEME}MODEL_ID. "
            f"Received: '{reference}'."
        )
    model_id = found["id"] or _version(found, client).tags.get(MODEL_TAG)
    if not model_id:
        raise InputError(
            f"'{reference}' was registered by something else. Register a driver with "
            "`donkey-rl register RUN_ID`."
        )
    with mlflow_store.guard(f"The model '{reference}' could not be read"):
        logged = client.get_logged_model(model_id)
    if not logged.source_run_id:
        raise InputError(f"The model '{reference}' belongs to no run. Give one that does.")
    return logged


def registered(client: MlflowClient) -> dict[str, Any]:
    """Returns all registered models by name; MLflow lists some at a time."""
    found: dict[str, Any] = {}
    token: str | None = None
    while True:
        page = client.search_registered_models(page_token=token)
        found |= {each.name: each for each in page}
        token = page.token
        if not token:
            return found


def _version(found: re.Match[str], client: MlflowClient) -> Any:
    """Returns the version of a registered model that an address means."""
    name = found["name"]
    with mlflow_store.guard(f"The registered model '{name}' could not be read"):
        models = registered(client)
        if name not in models:
            raise UnknownNameError(
                "registered model",
                name,
                models,
                remedy="Register a driver with `donkey-rl register RUN_ID`.",
            )
        if found["version"]:
            versions = client.search_model_versions(f"name = '{name}'")
            chosen = [each for each in versions if str(each.version) == found["version"]]
            if not chosen:
                numbers = ", ".join(sorted((str(each.version) for each in versions), key=int))
                raise InputError(
                    f"The registered model '{name}' has the versions {numbers}. "
                    f"Received: {found['version']}."
                )
            return chosen[0]
        aliases = models[name].aliases
        if found["alias"] not in aliases:
            raise UnknownNameError(
                f"alias of '{name}'",
                found["alias"],
                aliases,
                remedy="Set it with `donkey-rl register RUN_ID --alias ALIAS`.",
            )
        return client.get_model_version_by_alias(name, found["alias"])
