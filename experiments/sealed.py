"""Folders that tell by themselves whether they are whole: a manifest with every file's hash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from donkey_rl import formatting
from donkey_rl.agents import folders
from donkey_rl.configuration import Config
from donkey_rl.errors import InputError

MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 10_000_000


class Entry(Config):
    """One file.

    Attributes:
        size: Bytes.
        sha256: Of its contents.
    """

    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(cls, path: Path) -> Entry:
        """Describes a file."""
        return cls(size=path.stat().st_size, sha256=folders.sha256(path))

    def check(self, path: Path) -> None:
        """Compares a file with its entry.

        Raises:
            DamagedError: When it is missing or another.
        """
        size = path.stat().st_size if path.is_file() and not path.is_symlink() else -1
        if size != self.size or folders.sha256(path) != self.sha256:
            received = "no file" if size < 0 else f"{size} bytes, or other ones"
            raise DamagedError(f"'{path}' should hold {self.size} bytes and holds {received}")


class Manifest(Config):
    """All of `manifest.json`.

    Attributes:
        format: Version of the folder.
        facts: What the folder says of itself.
        files: Files by their path inside the folder, with `/`.
    """

    format: Literal[1] = 1
    facts: dict[str, Any]
    files: dict[str, Entry]


class DamagedError(InputError):
    """A folder that is not what was written."""


def write(folder: Path, fill: Callable[[Path], None], say: Callable[[], dict[str, Any]]) -> None:
    """Writes a folder, which appears whole or not at all; one of that name stays until then.

    Args:
        folder: What to write.
        fill: Writes the files into an empty folder.
        say: Returns what the folder is to say of itself, asked for after the files.

    Raises:
        StorageError: When the disk is full or the place cannot be written.
    """
    with folders.replaced(folder) as draft:
        fill(draft)
        files = [path for path in sorted(draft.rglob("*")) if path.is_file()]
        manifest = Manifest(
            facts=say(),
            files={path.relative_to(draft).as_posix(): Entry.of(path) for path in files},
        )
        (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        for path in (*draft.rglob("*"), draft):
            folders.synchronise(path)
    with folders.writing(folder):
        folders.synchronise(folder.parent)


def read(folder: Path) -> Mapping[str, Any]:
    """Checks every file of a folder that `write` wrote, and returns its facts.

    Raises:
        DamagedError: When something is missing or was changed.
    """
    manifest = _manifest(folder)
    for name, entry in manifest.files.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            raise DamagedError(f"'{folder}' names a file outside it: '{name}'")
        entry.check(file)
    return manifest.facts


def facts(folder: Path) -> Mapping[str, Any]:
    """Returns the facts of a folder without a look at its files.

    Raises:
        DamagedError: When its manifest is missing or is none.
    """
    return _manifest(folder).facts


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise DamagedError(f"'{path}' is larger than {_LARGEST_MANIFEST:,} bytes")
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError) as error:
        raise DamagedError(f"'{path}' cannot be read: {formatting.reason(error)}") from error
