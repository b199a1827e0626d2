"""The addresses of storages. They may hold passwords: only `shown` of one is ever shown."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path

import sqlalchemy

from donkey_rl.errors import InputError

JOURNAL_SUFFIXES = (".journal", ".log")
FOLDER = "sweeps"
"""Where the journals of studies are, below the folder where a sweep is started."""

KNOWN = (
    "Expected the path of a journal such as sweeps/NAME.journal, journal:///PATH, "
    "sqlite:///PATH or postgresql://USER@HOST/DATABASE."
)
_HIDDEN = "***"
_SECRETS = ("password", "sslpassword")
"""What of a PostgreSQL address may hold a password behind its question mark."""


def shown(url: str) -> str:
    """Returns an address without its password, as `optuna-dashboard` takes it.

    >>> shown("postgresql://anna:secret@server/sweeps")
    'postgresql+psycopg://anna:***@server/sweeps'
    >>> shown("journal:///home/anna/sac.journal")
    '/home/anna/sac.journal'
    """
    path = journal_path(url)
    if path is not None:
        return str(path)
    try:
        address = postgresql(url) if scheme(url) == "postgresql" else parsed(url)
    except InputError:
        # Nobody can say where in it a password would be.
        before = f"{scheme(url)}://" if "://" in url else ""
        return before + _HIDDEN if before or "@" in url else url
    hidden = {key: _HIDDEN for key in address.query if key in _SECRETS}
    written = address.update_query_dict(hidden).render_as_string(hide_password=True)
    return written.replace(urllib.parse.quote(_HIDDEN), _HIDDEN)


def default(study: str) -> str:
    """Returns where a study is kept if no storage is named: a journal in the current folder.

    >>> default("first try")
    'sweeps/first try.journal'

    Raises:
        InputError: The name cannot be that of a file.
    """
    if not study or study.startswith(".") or re.search(r'[/\\:*?"<>|\x00-\x1f]', study):
        raise InputError(
            "A study is named by what can be the name of a file: no slash, colon or star. "
            f"Received: '{study}'."
        )
    return f"{FOLDER}/{study}{JOURNAL_SUFFIXES[0]}"


def scrubbed(text: str, url: sqlalchemy.URL) -> str:
    """Returns the first line of what a library says, without the passwords of an address."""
    line = text.strip().splitlines()[0] if text.strip() else "no reason given"
    secrets = [url.password, *(url.query.get(key) for key in _SECRETS)]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            for form in (secret, urllib.parse.quote(secret, safe="")):
                line = line.replace(form, _HIDDEN)
    return line.rstrip(".")


def scheme(url: str) -> str:
    """Returns what stands before ``://``, without the driver; empty where there is none."""
    before = url.partition("://")[0] if "://" in url else ""
    dialect = before.partition("+")[0].lower()
    return "postgresql" if dialect == "postgres" else dialect


def journal_path(url: str) -> Path | None:
    """Returns the file of a journal's address, None for another address."""
    if scheme(url) == "journal":
        path = url.partition("://")[2]
        # journal:///C:/folder/x.journal
        path = path[1:] if re.match(r"/[A-Za-z]:", path) else path
        if not path or path.endswith("/"):
            raise InputError(f"{KNOWN} Received: '{url}', which names no file.")
        return Path(path)
    return Path(url) if "://" not in url and url.endswith(JOURNAL_SUFFIXES) else None


def parsed(url: str) -> sqlalchemy.URL:
    """Takes the address of a database apart.

    Raises:
        InputError: It is none.
    """
    try:
        return sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # What SQLAlchemy says quotes the address with its password.
        raise InputError(
            f"{KNOWN} Received: '{scheme(url)}://' and what cannot be read."
        ) from None


def postgresql(url: str) -> sqlalchemy.URL:
    """Takes the address of a PostgreSQL server apart, for psycopg 3 unless it names a driver.

    Raises:
        InputError: It is none.
    """
    address = parsed(url)
    if "+" not in address.drivername:
        address = address.set(drivername="postgresql+psycopg")
    return address
