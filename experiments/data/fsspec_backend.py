"""Stores in folders and behind addresses that fsspec knows: S3, SFTP and the like."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import fsspec  # type: ignore[import-untyped]

from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments.data import backends
from donkey_rl.experiments.data.backends import CHUNK, Backend

INCOMING = "incoming"

_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "obs"})
"""An object appears there whole or not at all, and renaming one would send it again."""

_PATIENCE_S = 15.0
"""Time in which a host has to answer."""

_EXTRAS = {"s3": "s3", "s3a": "s3", "sftp": "sftp", "ssh": "sftp"}


class FsspecBackend(Backend):
    """A folder of any file system that fsspec knows."""

    def __init__(self, address: str) -> None:
        """Connects.

        Args:
            address: A path, or a URL.

        Raises:
            InputError: fsspec does not know it, or what it needs is not installed.
            StorageError: It cannot be reached.
        """
        self.shown = backends.without_password(address)
        self._address = address
        self._made: set[str] = set()
        self._lock = threading.Lock()
        with self._guard("cannot be reached"):
            self._files, self._root = _opened(address, self.shown)
        self._renames = not _OBJECT_STORES.intersection(_protocols(self._files))

    def files(self, folder: str) -> dict[str, int]:
        """Returns the names of the files in a folder with their size (bytes)."""
        return {
            name: int(each["size"] or 0)
            for name, each in self._listed(folder)
            if each["type"] == "file"
        }

    def folders(self, folder: str) -> list[str]:
        """Returns the names of the folders in a folder."""
        return [name for name, each in self._listed(folder) if each["type"] == "directory"]

    def size(self, path: str) -> int | None:
        """Returns the size of a file (bytes), None where there is none."""
        try:
            with self._guard("cannot be read"):
                found = self._files.info(self._at(path))
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def chunks(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Yields the bytes of a file from `offset` on."""
        with self._guard("cannot be read"), self._files.open(self._at(path), "rb") as file:
            file.seek(offset)
            # Over SFTP each piece would else wait for the answer to the one before.
            if hasattr(file, "prefetch"):
                file.prefetch(max_concurrent_requests=64)
            while chunk := file.read(CHUNK):
                yield chunk

    def upload(self, source: pathlib.Path, path: str, sha256: str) -> None:
        """Stores a file: under another name first, where the file system can rename."""
        sent = f"{INCOMING}/{sha256}.{uuid.uuid4().hex}" if self._renames else path
        with self._guard("cannot be written"):
            try:
                if self._renames:
                    self._make_folder(sent)
                self._files.put_file(str(source), self._at(sent))
                self.check_arrival(source, sent, sha256)
                if sent != path:
                    self._make_folder(path)
                    self._files.mv(self._at(sent), self._at(path))
            except BaseException:
                if sent != path:
                    with contextlib.suppress(Exception):
                        self._files.rm_file(self._at(sent))
                raise

    def _listed(self, folder: str) -> list[tuple[str, Any]]:
        with self._guard("cannot be read"):
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._at(folder), detail=True)
            except FileNotFoundError:
                return []
        names = ((each["name"].rstrip("/").rpartition("/")[2], each) for each in found)
        return sorted(names, key=lambda pair: pair[0])

    def _make_folder(self, path: str) -> None:
        folder = self._at(path).rpartition("/")[0]
        with self._lock:
            if folder not in self._made:
                self._files.makedirs(folder, exist_ok=True)
                self._made.add(folder)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if self._root else path

    def _guard(self, what: str) -> contextlib.AbstractContextManager[None]:
        return backends.guard(self._address, f"The data store {self.shown} {what}")


def _opened(address: str, shown: str) -> tuple[Any, str]:
    """Returns a file system and the path of the store in it."""
    scheme = address.partition("://")[0] if "://" in address else "file"
    try:
        if scheme in ("sftp", "ssh"):
            from donkey_rl.experiments.data import sftp

            return sftp.opened(address)
        options: dict[str, Any] = {}
        if scheme in ("s3", "s3a"):
            waits = {"connect_timeout": _PATIENCE_S, "retries": {"max_attempts": 3}}
            options = {"config_kwargs": waits}
        files, path = fsspec.core.url_to_fs(address, **options)
        if scheme in ("s3", "s3a"):
            _check_bucket(files, path.partition("/")[0])
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = f'pip install "donkey-rl[{extra}]"' if extra else f"{error}".rstrip(".")
        raise InputError(f"{shown} needs a package that is not installed. {remedy}.") from error
    except ValueError as error:
        raise InputError(
            f"A data store is a folder or an address that fsspec knows, such as s3://, sftp:// "
            f"or mlflow:. Received: '{shown}'."
        ) from error
    return files, path.rstrip("/")


def _check_bucket(files: Any, bucket: str) -> None:
    """Asks for a bucket: to s3fs one that is not there, or out of reach, is an empty one.

    Raises:
        StorageError: There is none.
    """
    try:
        files.call_s3("head_bucket", Bucket=bucket)
    except FileNotFoundError as error:
        raise StorageError(
            f"There is no bucket '{bucket}'. Check its name, or make it first."
        ) from error


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)
