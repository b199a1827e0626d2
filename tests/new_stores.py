"""New stores of runs: copies of one that is empty, since to make one takes MLflow a second."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import sqlite3
import tempfile


@functools.cache
def _empty() -> bytes:
    from donkey_rl.experiments import mlflow_store

    # Windows keeps a file that is open.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = pathlib.Path(folder) / "mlflow.db"
        mlflow_store.client(f"sqlite:///{file}")
        with contextlib.closing(sqlite3.connect(file)) as made:
            return made.serialize()


def make(folder: pathlib.Path) -> str:
    """Makes a store in a folder and returns its address."""
    file = folder / "mlflow.db"
    file.write_bytes(_empty())
    return f"sqlite:///{file}"
