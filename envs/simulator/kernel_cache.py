"""Where compiled kernels are kept, when neither the package nor the user's home can be written."""

from __future__ import annotations

import getpass
import hashlib
import os
import pathlib
import stat
import sys
import tempfile

VARIABLE = "NUMBA_CACHE_DIR"


def prepare(package: pathlib.Path) -> None:
    """Names a folder below the temporary one where Numba would find none, and refuse to compile.

    A cluster may hold home and environment read-only. To be called before Numba is imported.

    Args:
        package: Folder of modules with kernels.
    """
    if os.environ.get(VARIABLE) or any(map(_can_be_made, (package / "__pycache__", _of_user()))):
        return
    os.environ[VARIABLE] = str(_private(pathlib.Path(tempfile.gettempdir()), _digest(package)))


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
    """Returns what the sources come to.

    Numba looks at a kernel's own file alone, not at those of what it calls.
    """
    found = hashlib.sha256()
    for source in sorted(package.glob("*.py")):
        found.update(source.name.encode() + source.read_bytes())
    return found.hexdigest()[:12]


def _private(place: pathlib.Path, digest: str) -> pathlib.Path:
    """Makes a folder that nobody else can write to, since Numba unpickles what lies in it."""
    try:
        folder = place / f"donkey-rl-kernels-{getpass.getuser()}-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and (
            sys.platform == "win32"
            or (found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077)
        ):
            return folder
    except (OSError, KeyError):
        pass
    return pathlib.Path(tempfile.mkdtemp(prefix="donkey-rl-kernels-", dir=place))
