"""What a race was: the header of its record, and how older versions of it are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

import pydantic

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError

FORMAT: Literal[2] = 2
"""Version of the record: a reader refuses a newer one."""

OLDEST_FORMAT = 1

UNKNOWN = "unknown"
"""Name among the conditions: the columns, and fields of the header, that nobody knows."""

_LONGEST = 1e9
"""No way is longer (u): what is reckoned with it must stay within the range of numbers."""


class Crossing(Config):
    """The start line was crossed, as a race host told.

    Attributes:
        time_s: When it was told (s), by the race's own time.
        lap_s: Time of the lap that ended there (s); 0 where none did, and the clock starts.
    """

    time_s: float = pydantic.Field(ge=0)
    lap_s: float = pydantic.Field(ge=0)


class HostTiming(Config):
    """What a race host decided about a race; it counts, whatever the rows say.

    Attributes:
        crossings: Of the start line, in order.
        disqualified: Why the host disqualified the car, empty where it did not.
        finished: Whether the race went on until its end: the host's in a race, in practice that
            of whoever wanted no more.
    """

    crossings: tuple[Crossing, ...] = ()
    disqualified: Literal["", "missed checkpoint", "out of bounds"] = ""
    finished: bool = False


class RaceHeader(Config):
    """What a race was: enough to time its laps and to drive it again.

    The car's arc length along the path is ``start_line - start_line_progress + progress``, modulo
    ``track_length`` on a closed path. What is not known is empty.
    """

    format: Literal[2] = pydantic.Field(FORMAT, description="Version of the record.")
    track: str = pydantic.Field(description="Name of the track.")
    track_digest: str = pydantic.Field("", description="SHA-256 of the track's geometry.")
    track_length: float = pydantic.Field(ge=1, le=_LONGEST, description="Length of the path (u).")
    closed: bool = pydantic.Field(True, description="Whether the path's end meets its beginning.")
    nodes: int = pydantic.Field(ge=2, lt=1 << 31, description="Number of nodes of the path.")
    start_line: float = pydantic.Field(
        ge=0, le=_LONGEST, description="Arc length of the start line (u)."
    )
    start_line_progress: float = pydantic.Field(
        ge=0,
        le=_LONGEST,
        description="Value of `progress` where the car first meets the start line (u).",
    )
    road_left: float = pydantic.Field(description="Lateral offset of the road's left edge (u).")
    road_right: float = pydantic.Field(description="Lateral offset of the right edge (u).")
    min_lap_s: float = pydantic.Field(
        10.0, ge=0, description="Crossings sooner after the last one do not count (s)."
    )
    laps: int = pydantic.Field(3, ge=1, le=1_000_000, description="Laps that the race goes over.")
    vehicle: str = pydantic.Field("", description="Name of the car, which is its generation.")
    seed: int = pydantic.Field(0, ge=0, description="Seed of the race's start and world.")
    conditions: dict[str, float | int | str] = pydantic.Field(
        default_factory=dict,
        description="What was changed on purpose, such as `latency_ms`, the latency added between "
        "frame and command; empty for nothing.",
    )
    driver: str = pydantic.Field("", description="What drove: a run, `pursuit`, a file's class.")
    driver_hash: str = pydantic.Field("", description="SHA-256 over the driver's files.")
    run_id: str = pydantic.Field("", description="Run that the driver comes from.")
    simulator: str = pydantic.Field(
        "embedded", description="The simulator driven: `embedded`, or its address or program."
    )
    simulator_version: str = pydantic.Field("", description="Its version, where it tells one.")
    version: str = pydantic.Field("", description="Version of this package.")
    versions: dict[str, str] = pydantic.Field(
        default_factory=dict,
        description="Versions of Python and of the packages that a drive depends on.",
    )
    time_step: float = pydantic.Field(0.05, gt=0, description="Mean time between rows (s).")
    camera: dict[str, float | int | str] = pydantic.Field(
        default_factory=dict, description="The camera's configuration."
    )
    units: Literal["u"] = pydantic.Field("u", description="Unit of length: Unity units.")
    opponents: tuple[Annotated[str, pydantic.Field(min_length=1, max_length=64)], ...] = (
        pydantic.Field(
            (),
            max_length=64,
            description="Names of the other cars on the road, as `hit` has them.",
        )
    )
    timing: HostTiming | None = pydantic.Field(
        None,
        description="Laps and disqualification as a race host told them, where one did.",
    )

    @pydantic.model_validator(mode="after")
    def _has_a_lap(self) -> Self:
        if self.lap_length < 1.0:
            raise ValueError(
                "an open road's start line must lie 1 u or more before its end, got start_line="
                f"{self.start_line} of track_length={self.track_length}"
            )
        return self

    @pydantic.model_serializer(mode="wrap")
    def _without_rarities(self, dump: Callable[[RaceHeader], dict[str, Any]]) -> dict[str, Any]:
        """Leaves out what few races have, so that older versions read all others."""
        fields = dump(self)
        if self.timing is None:
            fields.pop("timing", None)
        if not self.opponents:
            fields.pop("opponents", None)
        return fields

    @property
    def unknown(self) -> frozenset[str]:
        """Columns that nobody recorded, which hold 0, and fields of the header made up for one."""
        return frozenset(str(self.conditions.get(UNKNOWN, "")).split())

    @property
    def lap_length(self) -> float:
        """Length of a lap along the path (u): to the path's end where it is open."""
        return self.track_length if self.closed else self.track_length - self.start_line


def read_header(text: bytes | str) -> RaceHeader:
    """Reads the JSON of a header, of this format or of an older one.

    Raises:
        InputError: It is none, or of a newer format.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The race header must be JSON. Received: {error}.") from error
    if not isinstance(fields, dict):
        raise InputError(f"The race header must be a JSON object. Received: {type(fields)}.")
    found = fields.get("format")
    if isinstance(found, bool) or not isinstance(found, int) or found < OLDEST_FORMAT:
        raise InputError(
            f"The race header must name its format, {OLDEST_FORMAT} to {FORMAT}. "
            f"Received: {found!r}. Record the race again."
        )
    if found > FORMAT:
        raise InputError(
            f"The race record is of format {found}, and this version of donkey-rl reads formats "
            f"{OLDEST_FORMAT} to {FORMAT}. Update donkey-rl."
        )
    try:
        return RaceHeader.model_validate(_upgraded(fields) if found < FORMAT else fields)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "header"
        raise InputError(
            f"The race header is not of format {found}: '{field}': {first['msg']}. "
            "Record the race again, or use the version of donkey-rl that wrote it."
        ) from error


def _upgraded(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of format 1 as those of this format.

    Records of format 1 said `embedded` whatever simulator was driven, so theirs is not known.
    """
    return {**fields, "format": FORMAT, "simulator": ""}
