"""Where compiled kernels are kept, when not beside the code.

Numba looks at a kernel's own file alone, not at those of what it calls. Beside the code stale
kernels are deleted; elsewhere, where several versions may share a folder, each has its own.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import pathlib
import stat
import sys
import tempfile

VARIABLE = "NUMBA_CACHE_DIR"

_PREFIX = "donkey-rl-kernels-"


def prepare(package: pathlib.Path) -> None:
    """Names a folder for these sources, where Numba does not keep kernels beside them.

    It is below the one that the user names, or of the user's home, or the temporary one: a cluster
    may hold home and environment read-only. To be called before Numba is imported.

    Args:
        package: Folder of modules with kernels.
    """
    named = os.environ.get(VARIABLE)
    if not named and _can_be_made(package / "__pycache__"):
        return
    folder = _PREFIX + _digest(package)
    if named:
        place = pathlib.Path(named)
        # A process that this one starts has this folder's name already.
        os.environ[VARIABLE] = named if place.name == folder else str(place / folder)
    elif _can_be_made(_of_user()):
        os.environ[VARIABLE] = str(_of_user() / folder)
    else:
        os.environ[VARIABLE] = str(_private(pathlib.Path(tempfile.gettempdir()), folder))


def _of_user() -> pathlib.Path:
    """Returns where Numba keeps what it may not keep beside the code."""
    home = pathlib.Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        return pathlib.Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "numba"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "numba"
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "numba"


def _can_be_made(folder: pathlib.Path) -> bool:
    # Of a home that may not be looked into, pathlib's would raise.
    there = next(each for each in (folder, *folder.parents) if os.path.exists(each))
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)


def _digest(package: pathlib.Path) -> str:
    """Returns what the sources come to."""
    found = hashlib.sha256()
    for source in sorted(package.glob("*.py")):
        found.update(source.name.encode() + source.read_bytes())
    return found.hexdigest()[:12]


def _private(place: pathlib.Path, name: str) -> pathlib.Path:
    """Makes a folder that nobody else can write to, since Numba unpickles what lies in it."""
    try:
        folder = place / f"{name}-{getpass.getuser()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and (
            sys.platform == "win32"
            or (found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077)
        ):
            return folder
    except (OSError, KeyError, ImportError):
        pass
    return pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
