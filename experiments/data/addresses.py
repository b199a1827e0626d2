"""Which place an address of a store names."""

from __future__ import annotations

import os

from donkey_rl.experiments.data.backends import MLFLOW, Backend

DEFAULT = "data"
"""The store where none is named: a folder."""

VARIABLE = "DONKEY_RL_DATA"
_PROXIED = "mlflow-artifacts:"


def open_backend(url: str | None = None) -> Backend:
    """Returns the place that an address names.

    Args:
        url: A folder, an address that fsspec knows (`s3://`, `sftp://`), `mlflow:` for the
            artifacts of the MLflow store that runs are kept in, or `mlflow-artifacts://HOST:PORT`.
            By default ``DONKEY_RL_DATA``, or the folder ``data``.

    Raises:
        InputError: No such kind of address, or what it needs is not installed.
        StorageError: It cannot be reached.
    """
    address = url or os.environ.get(VARIABLE) or DEFAULT
    if address == MLFLOW or address.startswith(_PROXIED):
        from donkey_rl.experiments.data import mlflow_backend

        address = mlflow_backend.located(address)
        if address.startswith(_PROXIED):
            return mlflow_backend.MlflowBackend(address)
    from donkey_rl.experiments.data import fsspec_backend

    return fsspec_backend.FsspecBackend(address)
