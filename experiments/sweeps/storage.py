"""Where a study is kept.

| address | kept in | workers |
|---|---|---|
| ``sweeps/NAME.journal``, ``journal:///PATH`` | a file (Optuna's journal) | of one machine |
| ``postgresql://USER@HOST/DATABASE`` | a PostgreSQL server | of many machines |
| ``sqlite:///PATH`` | an SQLite file | one |
"""

from __future__ import annotations

from donkey_rl.errors import InputError
from donkey_rl.experiments.sweeps import addresses, journal, relational
from donkey_rl.experiments.sweeps.addresses import default, shown
from donkey_rl.experiments.sweeps.shared_storage import Say, SharedStorage

__all__ = ["SharedStorage", "default", "open_storage", "shown"]


def open_storage(url: str, say: Say = lambda line: None, *, workers: int = 1) -> SharedStorage:
    """Opens a storage, and makes it where there is none.

    Args:
        url: Its address, see the table above.
        say: Told when the storage is away and when it is back.
        workers: How many workers are to share it.

    Raises:
        InputError: It is no such address, the server knows no such user, password or database,
            or SQLite is to serve more than one worker.
        StorageError: It cannot be reached, read or written.
    """
    path = addresses.journal_path(url)
    if path is not None:
        return journal.open_journal(path)
    scheme = addresses.scheme(url)
    if scheme == "sqlite":
        if workers > 1:
            raise InputError(
                f"SQLite takes one worker, received: {workers}. It lets one process write at a "
                "time, and the others fail when they have waited too long. Leave --storage out "
                "for a journal file, or name a PostgreSQL server."
            )
        return relational.open_sqlite(addresses.parsed(url), say)
    if scheme == "postgresql":
        return relational.open_postgresql(addresses.postgresql(url), say)
    raise InputError(f"{addresses.KNOWN} Received: '{shown(url)}'.")
