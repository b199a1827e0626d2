"""What a run logs, one entry for each call, as lines of a file.

A line is the CRC-32 of its JSON as eight hexadecimal digits, a space, and the JSON. So a line that
was cut off by a crash or changed on the disk is told from one that is whole.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Literal

import pydantic
from pydantic import Field

from donkey_rl import formatting
from donkey_rl.configuration import Config
from donkey_rl.errors import StoreAwayError
from donkey_rl.experiments.sealed import DamagedError, Entry

LONGEST = 16_000_000
"""Bytes of a line at most: a hundred parameters of MLflow's length take 4 million."""

Status = Literal["RUNNING", "FINISHED", "KILLED", "FAILED"]


class Metrics(Config):
    """One point of some curves.

    Attributes:
        time_ms: When it was logged, milliseconds since 1970.
        step: Environment steps.
        values: Value by name; never NaN, but infinite values are known to MLflow.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    kind: Literal["metrics"] = "metrics"
    time_ms: int
    step: int
    values: dict[str, float]


class Params(Config):
    """Settings by flat key."""

    kind: Literal["params"] = "params"
    values: dict[str, str]


class Tags(Config):
    """Tags by key."""

    kind: Literal["tags"] = "tags"
    values: dict[str, str]


class Files(Config):
    """A file or folder to be copied into the run.

    Attributes:
        place: Where it lies, below the folder that the entry belongs to.
        checks: Size and SHA-256 of each file, by its path below `place`; `.` is a file itself.
        folder: Folder inside the run; its root when None.
    """

    kind: Literal["files"] = "files"
    place: str
    checks: dict[str, Entry]
    folder: str | None = None


class DriverModel(Config):
    """A driver folder to be stored as the run's model.

    Attributes:
        place: As in `Files`.
        checks: As in `Files`.
        mark: A word of its own, by which a model that was already begun is found again.
        signature: MLflow's signature of it, as its `ModelSignature.to_dict` returns it.
    """

    kind: Literal["driver"] = "driver"
    place: str
    checks: dict[str, Entry]
    mark: str = Field(pattern="^[0-9a-f]{32}$")
    signature: dict[str, Any]


class Input(Config):
    """A data set that the run learned from.

    Attributes:
        name: Its name.
        source: Where it lies; without a password.
        digest: What tells one content from another, 36 characters at most.
        context: What it was used for.
    """

    kind: Literal["input"] = "input"
    name: str = Field(min_length=1, max_length=500)
    source: str = Field(min_length=1)
    digest: str = Field(min_length=1, max_length=36)
    context: str = Field(min_length=1, max_length=255)


class State(Config):
    """The run's status.

    Attributes:
        status: As in MLflow.
        time_ms: When, milliseconds since 1970.
    """

    kind: Literal["state"] = "state"
    status: Status
    time_ms: int


AnyEntry = Metrics | Params | Tags | Files | DriverModel | Input | State
_KINDS: dict[str, type[AnyEntry]] = {
    "metrics": Metrics,
    "params": Params,
    "tags": Tags,
    "files": Files,
    "driver": DriverModel,
    "input": Input,
    "state": State,
}


def line(entry: AnyEntry) -> bytes:
    """Returns the line of an entry, its end included."""
    # Not pydantic's own JSON, which has no infinite numbers.
    text = json.dumps(entry.model_dump(mode="python"), separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def entry_of(content: bytes) -> AnyEntry:
    """Reads a line.

    Raises:
        DamagedError: It is not what `line` returned.
        StoreAwayError: It is whole, and of a version that this one does not read.
    """
    check, _, text = content.rstrip(b"\n").partition(b" ")
    if not content.endswith(b"\n") or check != b"%08x" % zlib.crc32(text):
        raise DamagedError("a line was cut off or changed")
    try:
        data = json.loads(text)
        return _KINDS[data["kind"]].model_validate(data)
    except (ValueError, TypeError, KeyError) as error:
        raise StoreAwayError(
            "What was kept is of another version of donkey-rl, which this one does not read "
            f"({formatting.reason(error)}): use the newer one."
        ) from error
