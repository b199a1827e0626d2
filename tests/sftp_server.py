"""A real SFTP server on loopback that serves one folder to one user, by paramiko."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import paramiko

USER, PASSWORD = "ann", "s3cret-w0rd"


class _Door(paramiko.ServerInterface):  # type: ignore[misc]
    """Lets one user in."""

    def check_auth_password(self, username: str, password: str) -> int:
        fits = (username, password) == (USER, PASSWORD)
        return int(paramiko.AUTH_SUCCESSFUL if fits else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


class _Handle(paramiko.SFTPHandle):  # type: ignore[misc]
    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class _Folder(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """Files below a folder."""

    def __init__(self, server: _Door, root: pathlib.Path) -> None:
        super().__init__(server)
        self._root = root

    def _at(self, path: str) -> str:
        return str(self._root) + self.canonicalize(path)

    def _done(self, act: Any, *paths: str) -> int:
        try:
            act(*map(self._at, paths))
        except OSError as error:
            return int(paramiko.SFTPServer.convert_errno(error.errno))
        return int(paramiko.SFTP_OK)

    def list_folder(self, path: str) -> Any:
        try:
            found = []
            for name in os.listdir(self._at(path)):
                file = os.path.join(self._at(path), name)
                found.append(paramiko.SFTPAttributes.from_stat(os.stat(file), name))
            return found
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(os.stat(self._at(path)))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:
        try:
            descriptor = os.open(self._at(path), flags, 0o644)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        file = os.fdopen(descriptor, "rb" if flags & 3 == os.O_RDONLY else "rb+")
        handle = _Handle(flags)
        handle.readfile = handle.writefile = file
        return handle

    def remove(self, path: str) -> int:
        return self._done(os.remove, path)

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        return self._done(os.replace, oldpath, newpath)

    def mkdir(self, path: str, attr: Any) -> int:
        return self._done(os.mkdir, path)


@contextlib.contextmanager
def serving(root: pathlib.Path) -> Iterator[tuple[int, paramiko.PKey]]:
    """Serves a folder; yields the port, and the host's key."""
    key = paramiko.RSAKey.generate(2048)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        ended = threading.Event()
        transports: list[paramiko.Transport] = []

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                transport = paramiko.Transport(connection)
                transport.add_server_key(key)
                transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Folder, root)
                transports.append(transport)
                with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                    transport.start_server(server=_Door())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], key
        finally:
            ended.set()
            thread.join()
            for transport in transports:
                transport.close()
