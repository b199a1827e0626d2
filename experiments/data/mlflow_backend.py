"""Stores among the artifacts of an MLflow server, over its own HTTP interface.

GET, PUT and a listing are all that such a server has: no renaming, so a file that was cut off on
its way may lie under its name. It is shorter than its manifest says and is sent again.
"""

from __future__ import annotations

import contextlib
import pathlib
import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from donkey_rl.errors import StorageError
from donkey_rl.experiments import mlflow_store
from donkey_rl.experiments.data import backends
from donkey_rl.experiments.data.backends import CHUNK, Backend

EXPERIMENT = "donkey-rl-data"
"""Experiment whose folder of artifacts is the store that `mlflow:` names."""

_SERVICE = "/api/2.0/mlflow-artifacts/artifacts"
_LARGEST_LISTING = 64 << 20
_PATIENCE_S = 15.0
_UPLOAD_S = 300.0
_PARTIAL, _NOT_FOUND = 206, 404


def located(address: str) -> str:
    """Returns where the artifacts of an address lie.

    Args:
        address: `mlflow:` for the run store's own, which get an experiment for themselves, or
            `mlflow-artifacts:`, which stays as it is.

    Raises:
        StorageError: The run store cannot be reached.
    """
    if address != backends.MLFLOW:
        return address
    client = mlflow_store.client()
    with mlflow_store.guard("The data store mlflow: could not be opened"):
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            path = mlflow_store.database_path(mlflow_store.tracking_uri())
            location = (
                (path.parent / mlflow_store.ARTIFACTS / EXPERIMENT).as_uri() if path else None
            )
            with contextlib.suppress(MlflowException):
                # Another process may be quicker.
                client.create_experiment(EXPERIMENT, location)
            found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        raise StorageError(f"The data store mlflow: has no experiment {EXPERIMENT}.")
    place = str(found.artifact_location)
    return unquote(urlsplit(place).path) if place.startswith("file:") else place


class MlflowBackend(Backend):
    """Artifacts behind an MLflow server."""

    def __init__(self, address: str) -> None:
        """Connects.

        Args:
            address: `mlflow-artifacts:/PATH` of the server that `MLFLOW_TRACKING_URI` names, or
                `mlflow-artifacts://HOST:PORT/PATH`.

        Raises:
            StorageError: It cannot be reached.
        """
        mlflow_store.set_environment()
        self._base, self._root = _resolved(address)
        # What is typed and what comes of it may both hold a password.
        place = f"mlflow-artifacts://{urlsplit(self._base).netloc}/{self._root}"
        self.shown = backends.without_password(place)
        self._listing("")

    def files(self, folder: str) -> dict[str, int]:
        """Returns the names of the files in a folder with their size (bytes)."""
        return {
            each["path"]: int(each.get("file_size") or 0)
            for each in self._listing(folder)
            if not each.get("is_dir")
        }

    def folders(self, folder: str) -> list[str]:
        """Returns the names of the folders in a folder."""
        return [each["path"] for each in self._listing(folder) if each.get("is_dir")]

    def size(self, path: str) -> int | None:
        """Returns the size of a file (bytes), None where there is none."""
        folder, _, name = path.rpartition("/")
        return self.files(folder).get(name)

    def chunks(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Yields the bytes of a file from `offset` on; a server may send those before as well."""
        with self._guard("cannot be read"):
            headers = {"Range": f"bytes={offset}-"} if offset else {}
            with self._request("GET", self._at(path), headers, stream=True) as answer:
                if answer.status_code == _NOT_FOUND:
                    raise FileNotFoundError(path)
                answer.raise_for_status()
                skip = 0 if answer.status_code == _PARTIAL else offset
                for chunk in answer.iter_content(CHUNK):
                    kept = chunk[skip:]
                    skip -= min(skip, len(chunk))
                    if kept:
                        yield kept

    def upload(self, source: pathlib.Path, path: str, sha256: str) -> None:
        """Stores a file, and reads it back."""
        with self._guard("cannot be written"):
            with (
                source.open("rb") as file,
                self._request("PUT", self._at(path), {}, data=file, timeout=_UPLOAD_S) as answer,
            ):
                answer.raise_for_status()
            self.check_arrival(source, path, sha256)

    def _listing(self, folder: str) -> list[dict[str, Any]]:
        import json

        path = posixpath.join(self._root, folder).strip("/")
        with self._guard("cannot be reached"):
            content = bytearray()
            query = f"?path={quote(path, safe='')}" if path else ""
            with self._request("GET", query, {}, stream=True) as answer:
                if answer.status_code == _NOT_FOUND:
                    return []
                answer.raise_for_status()
                for chunk in answer.iter_content(CHUNK):
                    content += chunk
                    if len(content) > _LARGEST_LISTING:
                        raise StorageError(f"{self.shown} lists more files than are read.")
            found = json.loads(content).get("files", [])
        for each in found:
            each["path"] = posixpath.basename(str(each["path"]).rstrip("/"))
        return sorted(found, key=lambda each: str(each["path"]))

    def _at(self, path: str) -> str:
        return "/" + quote(posixpath.join(self._root, path).strip("/"))

    def _request(
        self,
        method: str,
        endpoint: str,
        headers: dict[str, str],
        *,
        timeout: float = _PATIENCE_S,
        **rest: Any,
    ) -> Any:
        from mlflow.utils import credentials, rest_utils

        # They have no types. Who we are comes from MLflow's own variables and files.
        who: Any = credentials.get_default_host_creds
        send: Any = rest_utils.http_request
        return send(
            who(self._base),
            endpoint,
            method,
            max_retries=2,
            backoff_factor=1,
            extra_headers=headers,
            timeout=timeout,
            raise_on_status=False,
            **rest,
        )

    def _guard(self, what: str) -> contextlib.AbstractContextManager[None]:
        return backends.guard(self._base, f"The data store {self.shown} {what}")


def _resolved(address: str) -> tuple[str, str]:
    """Returns the server's address up to its artifacts, and the path among them."""
    parts = urlsplit(address)
    tracking = urlsplit(mlflow_store.tracking_uri())
    over_http = tracking.scheme in ("http", "https")
    if not parts.netloc and not over_http:
        raise StorageError(
            "mlflow-artifacts: needs the server's address. Write "
            "mlflow-artifacts://HOST:PORT/PATH, or set MLFLOW_TRACKING_URI."
        )
    same = parts.netloc in ("", tracking.netloc)
    prefix = tracking.path.rstrip("/") if over_http and same else ""
    scheme = tracking.scheme if over_http else "http"
    return f"{scheme}://{parts.netloc or tracking.netloc}{prefix}{_SERVICE}", parts.path.strip("/")
