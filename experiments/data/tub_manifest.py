"""The manifest of a donkeycar tub of version 2: five lines of JSON beside the records.

```
["cam/image_array", "user/angle", ...]          inputs: the keys that the car recorded
["image_array", "float", ...]                   types: one for each of them
{"location": "garage"}                          metadata of the person who recorded
{"created_at": ..., "sessions": {...}}          metadata of the tub
{"paths": [...], "current_index": 25, "max_len": 1000, "deleted_indexes": [3, 4]}
```

The format is that of donkeycar 5 (`donkeycar/parts/datastore_v2.py` there, MIT licence).
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import reprlib
from collections.abc import Collection, Mapping
from typing import Any

from donkey_rl.envs.recordings import tub as recorded_tub
from donkey_rl.errors import InputError

FILE = "manifest.json"
HEADER_KEY = "donkey_rl/race/"
"""Begins the names in a tub's metadata under which the headers of exported races lie."""

IMAGES = "images"
IMAGE_KEY = "cam/image_array"
IMAGE_TYPES = ("image_array", "gray16_array")
CATALOG_LENGTH = 1000
"""Records in a catalog, donkeycar's default."""

MAX_BYTES = recorded_tub.MAX_FILE_BYTES
_LONGEST_CATALOG = 1_000_000
_SESSION = re.compile(r"(.*)_([0-9]{1,9})")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a tub says of itself.

    Attributes:
        inputs: The keys that its records may have.
        types: donkeycar's type of each, such as `image_array` or `float`.
        metadata: What the person who recorded wrote down.
        about: What donkeycar keeps of the tub: when it was made, its sessions.
        catalogs: Names of the files with the records, in order.
        current_index: The number that the next record gets.
        length: Records in a catalog.
        deleted: Numbers of the records that were deleted.
    """

    inputs: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    catalogs: tuple[str, ...] = ()
    current_index: int = 0
    length: int = CATALOG_LENGTH
    deleted: frozenset[int] = frozenset()

    @property
    def image_keys(self) -> tuple[str, ...]:
        """The keys of a record that name a file among its images."""
        found = [k for k, t in zip(self.inputs, self.types, strict=True) if t in IMAGE_TYPES]
        return tuple(dict.fromkeys((IMAGE_KEY, *found)))

    def dump(self) -> str:
        """Returns the five lines."""
        index = {
            "paths": list(self.catalogs),
            "current_index": self.current_index,
            "max_len": self.length,
            "deleted_indexes": sorted(self.deleted),
        }
        parts = (list(self.inputs), list(self.types), self.metadata, self.about, index)
        return "".join(json.dumps(part) + "\n" for part in parts)

    def kept(self) -> dict[str, Any]:
        """Returns what a race that was imported from the tub carries of it, as JSON."""
        return {
            "inputs": list(self.inputs),
            "types": list(self.types),
            "metadata": self.metadata,
            "about": self.about,
            "length": self.length,
        }

    def of(self, wanted: Collection[str]) -> Manifest:
        """Returns what it says but for other sessions than those wanted, as far as it names any.

        A tub of which more is recorded says the same of the sessions that it had.
        """
        everything = sessions(self.about)
        kept = [name for name in everything if name in wanted]
        if kept == everything:
            return self
        others = {f"{HEADER_KEY}{name}" for name in everything if name not in wanted}
        return dataclasses.replace(
            self,
            about={**self.about, "sessions": numbered_sessions(kept)},
            metadata={key: value for key, value in self.metadata.items() if key not in others},
        )

    def joined(self, other: Manifest) -> Manifest:
        """Returns this with the sessions that another part of the same tub names besides."""
        named = dict.fromkeys([*sessions(self.about), *sessions(other.about)])
        if len(named) == len(sessions(self.about)):
            return self
        return dataclasses.replace(
            self,
            about={**self.about, "sessions": numbered_sessions([*named])},
            metadata={**other.metadata, **self.metadata},
        )

    @property
    def common(self) -> dict[str, Any]:
        """What it says of the tub as a whole, its sessions left out, as JSON."""
        about = {key: value for key, value in self.about.items() if key != "sessions"}
        headers = tuple(f"{HEADER_KEY}{name}" for name in sessions(self.about))
        metadata = {key: value for key, value in self.metadata.items() if key not in headers}
        return self.kept() | {"about": about, "metadata": metadata}

    @classmethod
    def restored(cls, kept: object) -> Manifest:
        """Returns the manifest of which `kept` is left, without catalogs.

        Raises:
            ValueError: It is not what `kept` returns.
        """
        if not isinstance(kept, dict):
            raise ValueError(f"expected what a tub says of itself. Received: {_short(kept)}")
        lines = [kept.get(k) for k in ("inputs", "types", "metadata", "about")]
        index = {"current_index": 0, "max_len": kept.get("length")}
        return _manifest([*lines, index | {"paths": [], "deleted_indexes": []}])


def sessions(about: Mapping[str, Any]) -> list[str]:
    """Returns the names of a tub's sessions, `26-11-28_0` and so on."""
    kept = about.get("sessions")
    names = kept.get("all_full_ids") if isinstance(kept, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def numbered_sessions(names: list[str]) -> dict[str, Any]:
    """Returns what donkeycar keeps of sessions, so that the next one gets the next number."""
    numbers = [int(match[2]) for name in names if (match := _SESSION.fullmatch(name))]
    last = max(numbers, default=0)
    full = next((n for n in names if n.endswith(f"_{last}")), f"00-00-00_{last}")
    return {"all_full_ids": list(names), "last_id": last, "last_full_id": full}


def read(folder: pathlib.Path) -> tuple[Manifest, str]:
    """Reads the manifest of a tub, or makes one of the catalogs on disk.

    Args:
        folder: Of the tub.

    Returns:
        The manifest, and what is wrong with the one on disk, empty for nothing.

    Raises:
        InputError: It cannot be read or is too large, or there are no catalogs.
    """
    on_disk = tuple(recorded_tub.numbered(folder, recorded_tub.CATALOG))
    if not on_disk and recorded_tub.is_v1(folder):
        raise InputError(
            f"{folder}: expected a donkeycar tub of version 2. Received: one of version 1. "
            "Convert it with donkeycar's convert_to_tub_v2.py, or learn from it as it is: "
            "--set imitation.data=FOLDER."
        )
    if not on_disk:
        raise InputError(
            f"{folder}: expected a donkeycar tub of version 2: {FILE}, catalog_0.catalog and "
            f"{IMAGES}/. Received: a folder without catalogs. Name the folder that holds them "
            "(a car's is called data)."
        )
    try:
        return _manifest(_values(folder / FILE)), ""
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        flaw = (
            f"{FILE} is broken ({error}): the catalogs on disk are read in order, and no record "
            "counts as deleted"
        )
        return Manifest(catalogs=on_disk), flaw


def _values(file: pathlib.Path) -> list[Any]:
    """Returns what the lines of a manifest hold.

    Raises:
        ValueError: A line is no JSON, or the file is missing.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ValueError("it is missing") from error
    except OSError as error:
        raise InputError(
            f"{file}: expected a readable file. Received: {error.strerror or error}. "
            "Check its permissions."
        ) from error
    if len(content) > MAX_BYTES:
        raise InputError(
            f"{file}: expected at most {MAX_BYTES // 2**20} MiB. Received: more. "
            "Name the folder of a tub."
        )
    values = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is no JSON: {_short(line)}") from error
    return values


def _manifest(values: list[Any]) -> Manifest:
    """Builds a manifest of the values of its lines.

    Raises:
        ValueError: They are not those of a manifest.
    """
    if len(values) != 5:
        raise ValueError(f"expected 5 lines, received {len(values)}")
    inputs, types, metadata, about, index = values
    for line, names in ((1, inputs), (2, types)):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"line {line} is no list of names: {_short(names)}")
    for line, part in ((3, metadata), (4, about), (5, index)):
        if not isinstance(part, dict):
            raise ValueError(f"line {line} is no object: {_short(part)}")
    if len(inputs) != len(types):
        raise ValueError(f"it has {len(inputs)} inputs and {len(types)} types")
    paths, deleted = index.get("paths"), index.get("deleted_indexes")
    count, length = index.get("current_index"), index.get("max_len")
    if not isinstance(paths, list) or not all(_is_catalog(name) for name in paths):
        raise ValueError(f"line 5 lists other files than catalog_<n>.catalog: {_short(paths)}")
    if not isinstance(deleted, list) or not all(type(number) is int for number in deleted):
        raise ValueError(f"deleted_indexes is no list of numbers: {_short(deleted)}")
    if type(count) is not int or not 0 <= count < 2**53:
        raise ValueError(f"current_index is no number of a record: {_short(count)}")
    if type(length) is not int or not 0 < length <= _LONGEST_CATALOG:
        raise ValueError(f"max_len is no length of a catalog: {_short(length)}")
    return Manifest(
        inputs=tuple(inputs),
        types=tuple(types),
        metadata=metadata,
        about=about,
        catalogs=tuple(dict.fromkeys(paths)),
        current_index=count,
        length=length,
        deleted=frozenset(deleted),
    )


def _is_catalog(name: object) -> bool:
    """Whether this names a catalog; by the pattern, it cannot lie outside the folder."""
    return isinstance(name, str) and recorded_tub.CATALOG.fullmatch(name) is not None


def _short(value: object) -> str:
    return reprlib.repr(value)
