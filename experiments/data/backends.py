"""Where the files of a store lie: what a place for them has to be able to do.

A backend knows files by their path below the store, with `/`. None of them needs locks or
overwriting: what is written once under a name is not written again with other bytes.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
import pathlib
import re
import tempfile
from collections.abc import Iterator
from urllib.parse import unquote

from donkey_rl.errors import DonkeyRLError, InputError, StorageError

MLFLOW = "mlflow:"
CHUNK = 1 << 20


class Backend(abc.ABC):
    """A place for the files of a store.

    Attributes:
        shown: Its address, without passwords.
    """

    shown: str

    @abc.abstractmethod
    def files(self, folder: str) -> dict[str, int]:
        """Returns the names of the files in a folder with their size (bytes); none, no files."""

    @abc.abstractmethod
    def folders(self, folder: str) -> list[str]:
        """Returns the names of the folders in a folder."""

    @abc.abstractmethod
    def size(self, path: str) -> int | None:
        """Returns the size of a file (bytes), None where there is none."""

    @abc.abstractmethod
    def chunks(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """Yields the bytes of a file from `offset` on.

        Raises:
            FileNotFoundError: There is none.
        """

    @abc.abstractmethod
    def upload(self, source: pathlib.Path, path: str, sha256: str) -> None:
        """Stores a file; what was stored is read back before it counts.

        Args:
            source: The file.
            path: Where it is to be.
            sha256: What its bytes must come to.

        Raises:
            TransferError: Other bytes arrived.
        """

    def check_arrival(self, source: pathlib.Path, path: str, sha256: str) -> None:
        """Reads back what was sent.

        Args:
            source: What was sent.
            path: Where it lies now.
            sha256: What its bytes must come to.

        Raises:
            TransferError: Other bytes lie there.
        """
        arrived = hashlib.sha256()
        for chunk in self.chunks(path):
            arrived.update(chunk)
        if arrived.hexdigest() != sha256:
            raise TransferError(
                f"{source} did not arrive in {self.shown} as it was sent: it was changed "
                "meanwhile, or the way there damages it. Push it again."
            )

    def read(self, path: str, limit: int) -> bytes:
        """Returns a small file.

        Raises:
            FileNotFoundError: There is none.
            InputError: It is larger than `limit` bytes.
        """
        content = bytearray()
        for chunk in self.chunks(path):
            content += chunk
            if len(content) > limit:
                raise InputError(f"{path} has more than {limit} bytes")
        return bytes(content)

    def write(self, path: str, content: bytes) -> None:
        """Stores a small file."""
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "content"
            source.write_bytes(content)
            self.upload(source, path, hashlib.sha256(content).hexdigest())


class TransferError(StorageError):
    """Bytes did not arrive as they were sent."""


def without_password(address: str) -> str:
    """Returns an address that can be shown: `***` for a password, no query.

    >>> without_password("sftp://ann:secret@host:22/data?key=1")
    'sftp://ann:***@host:22/data'
    >>> without_password("sftp://ann:se/cret@host/data"), without_password("sftp://h:22/a@b")
    ('sftp://ann:***@host/data', 'sftp://h:22/a@b')
    """
    head, scheme, rest = address.partition("://")
    if not scheme:
        return address
    account, at, kept = _split_account(rest)
    name, colon, _ = account.partition(":")
    return f"{head}://{name}{':***' if colon else ''}{at}{re.split(r'[?#]', kept)[0]}"


def _split_account(rest: str) -> tuple[str, str, str]:
    """Returns who, `@` and where of an address; the account alone may hold a `/`."""
    place, slash, path = rest.partition("/")
    account, at, host = place.rpartition("@")
    if at or "@" not in path or place.rpartition(":")[2].isdecimal() or ":" not in place:
        return account, at, f"{host}{slash}{path}"
    # A password with a `/` that is not written as %2F.
    return rest.rpartition("@")


@contextlib.contextmanager
def guard(address: str, what: str) -> Iterator[None]:
    """Turns whatever a place's own software raises into one line without passwords.

    Args:
        address: The place, as it was given.
        what: What failed, as the beginning of a sentence.

    Raises:
        StorageError: For every error that is not this package's own, nor a missing file.
    """
    try:
        yield
    except (DonkeyRLError, FileNotFoundError):
        raise
    # Each of fsspec's many implementations has its own tree of errors.
    except Exception as error:
        lines = str(getattr(error, "strerror", None) or error).strip().splitlines()
        silent = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        reason = (lines[0] if lines else silent).rstrip(".")
        secret = _password(address)
        if secret:
            for form in {secret, unquote(secret)}:
                reason = reason.replace(form, "***")
        reason = reason.replace(address, without_password(address))
        raise StorageError(f"{what}: {reason}.") from _quiet(error, secret)


def _password(address: str) -> str | None:
    account = _split_account(address.partition("://")[2])[0]
    return account.partition(":")[2] or None


def _quiet(error: Exception, secret: str | None) -> Exception | None:
    """Returns an error that may be shown as the cause: none that knows a password."""
    return None if secret else error
