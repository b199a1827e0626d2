"""SFTP as fsspec has it, but only to hosts whose key is known."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import unquote, urlsplit

import paramiko  # type: ignore[import-untyped]
from fsspec.implementations.sftp import SFTPFileSystem  # type: ignore[import-untyped]

from donkey_rl.errors import StorageError

_PATIENCE_S = 15.0
_SILENCE_S = 60.0


class KnownHosts(SFTPFileSystem):  # type: ignore[misc]
    """Refuses a host that is not in `~/.ssh/known_hosts`.

    fsspec's own takes any key that a host shows, so that whoever sits on the way could pose as
    the store and read the password.
    """

    protocol = ("sftp", "ssh")
    cachable = False

    def _connect(self) -> None:
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys()
        self.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        waits = dict.fromkeys(("timeout", "banner_timeout", "auth_timeout"), _PATIENCE_S)
        self.client.connect(self.host, **(waits | self.ssh_kwargs))
        self._channels = threading.local()

    @property
    def ftp(self) -> paramiko.SFTPClient:
        """The calling thread's own channel: what one reads would else be another's answer."""
        found: paramiko.SFTPClient | None = getattr(self._channels, "ftp", None)
        if found is None:
            found = self._channels.ftp = self.client.open_sftp()
            found.get_channel().settimeout(_SILENCE_S)
        return found


def opened(address: str) -> tuple[Any, str]:
    """Returns the file system of an address, and the path in it.

    Raises:
        StorageError: The host is not known, or does not let us in.
    """
    parts = urlsplit(address)
    options: dict[str, Any] = {"username": unquote(parts.username) if parts.username else None}
    if parts.password:
        options["password"] = unquote(parts.password)
    if parts.port:
        options["port"] = parts.port
    host = parts.hostname or "localhost"
    name = f"{host}:{parts.port}" if parts.port else host
    try:
        files = KnownHosts(host, **options)
    except paramiko.AuthenticationException as error:
        raise StorageError(
            f"{name} refused user and password, or key. Check the user name, or add the key to "
            "the ssh agent."
        ) from error
    except paramiko.SSHException as error:
        if "known_hosts" not in str(error):
            raise
        raise StorageError(
            f"The key of {name} is not known. Connect once by ssh, which asks whether to trust "
            "it and writes it to ~/.ssh/known_hosts."
        ) from error
    return files, unquote(parts.path).rstrip("/")
