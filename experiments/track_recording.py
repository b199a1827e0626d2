"""Track files from a simulator that runs: what `donkey-rl tracks record` does."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pydantic
from pydantic import Field

from donkey_rl import moving
from donkey_rl.configuration import Config
from donkey_rl.envs import simulators, survey
from donkey_rl.envs.link_source import open_link
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator.road_shape import MIN_ROAD_WIDTH
from donkey_rl.envs.survey import Survey
from donkey_rl.errors import ConfigurationError, StorageError, TrackError
from donkey_rl.experiments.progress import ProgressDisplay

_EVENED = (0.0, 1.0, 1.5, 2.0)
"""A kink, such as where a path closes, is evened over these distances (u) one after the other."""

_NARROWEST = 1.0
_NARROWER = 0.5
"""Half widths (u) at which a road that cannot be built is tried again."""


class TrackRecordingRequest(Config):
    """What `donkey-rl tracks record` is asked.

    Attributes:
        simulator: Where, as in `--simulator`.
        name: Of the new track.
        out: The file; by default the name with `.json`, in the current folder.
        scene: What to load where the simulator stands in its menu.
        left: Lateral offset of the road's left edge (u), which no simulator tells.
        right: The same of the right edge.
        drive: Whether to drive a lap even where nodes are answered.
    """

    simulator: str
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    out: pathlib.Path | None = None
    scene: str | None = None
    left: float = Field(default=-5.0, ge=-30.0, le=30.0)
    right: float = Field(default=5.0, ge=-30.0, le=30.0)
    drive: bool = False

    @pydantic.model_validator(mode="after")
    def _road_has_width(self) -> Self:
        if self.left >= self.right:
            raise ValueError(
                f"--left is the road's left edge and lies below --right, received {self.left:g} "
                f"and {self.right:g}; swap them"
            )
        if self.right - self.left < MIN_ROAD_WIDTH:
            raise ValueError(
                f"a road is {MIN_ROAD_WIDTH:g} u wide at least, received {self.left:g} and "
                f"{self.right:g}; give --left and --right farther apart"
            )
        return self


class TrackRecordingResult(Config):
    """What `donkey-rl tracks record` reports.

    Attributes:
        file: The track file.
        method: `nodes` asked for, or a driven `lap`.
        points: Points of the line.
        length_u: Its length.
        closed: Whether it is a circuit.
        road_left_u: Lateral offset of the left edge, `road_right_u` of the right one.
        notes: What a person should know of it.
    """

    track: str
    file: str
    method: str
    points: int
    length_u: float
    closed: bool
    road_left_u: float
    road_right_u: float
    notes: tuple[str, ...]


def record(request: TrackRecordingRequest, progress: ProgressDisplay) -> TrackRecordingResult:
    """Finds the centre line of the loaded track and writes a track file.

    Raises:
        InputError: Bad options, or a simulator without positions.
        LinkError: The simulator failed.
        StorageError: The file exists already or cannot be written.
    """
    places = simulators.parse(request.simulator)
    if len(places) != 1:
        raise ConfigurationError(
            "A track is recorded from one other simulator: --simulator HOST:PORT. "
            f"Received: '{request.simulator}'."
        )
    file = request.out or pathlib.Path(f"{request.name}.json")
    if file.suffix != ".json":
        raise ConfigurationError(f"A track file ends in .json. Received: '{file}'.")
    if file.exists():
        raise StorageError(f"The file {file} exists already. Choose another --name or --out.")
    with _written(file):
        moving.check_place(file)
    with (
        open_link(places[0], scene=request.scene) as link,
        progress.phase("recording the track", None, "points") as phase,
    ):
        found = survey.survey(link, lambda done, _: phase.update(done), drive=request.drive)
    fields, notes = _buildable(found, request)
    with _written(file):
        moving.write(file, json.dumps(fields, indent=1) + "\n")
    built = track.load(str(file))
    return TrackRecordingResult(
        track=request.name,
        file=str(file),
        method=found.method,
        points=len(found.points),
        length_u=round(built.length, 1),
        closed=built.closed,
        road_left_u=built.road_left,
        road_right_u=built.road_right,
        notes=notes,
    )


@contextlib.contextmanager
def _written(file: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"Cannot write {file}: {error.strerror or error}.") from error


def _fields(found: Survey, request: TrackRecordingRequest) -> dict[str, Any]:
    """Returns the fields of a track file."""
    x, z, yaw = found.start
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    how = {"nodes": "its nodes", "lap": "one driven lap"}[found.method]
    fields: dict[str, Any] = {
        "format": 1,
        "name": request.name,
        "source": f"recorded from a simulator on {today}, from {how}",
        "waypoints": [[round(float(p), 3), round(float(q), 3)] for p, q in found.points],
        "road": {"left": request.left, "right": request.right},
        "grid": {"poses": [_pose(x, z, yaw)]},
    }
    if not found.closed:
        fields["closed"] = False
    nodes = found.nodes or 0
    if nodes >= 8:
        fields["source_nodes"] = nodes
    near = np.hypot(*(found.points - np.array([x, z])).T).min()
    if near > 25.0:
        # A start far off the line cannot be part of it: cars then start on its first point.
        del fields["grid"]
    return fields


def _pose(x: float, z: float, yaw: float) -> dict[str, float]:
    degrees = (math.degrees(yaw) + 180.0) % 360.0 - 180.0
    return {"x": round(x, 3), "z": round(z, 3), "yaw_deg": round(degrees, 2)}


def _buildable(
    found: Survey, request: TrackRecordingRequest
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Makes a road of the line: evened where it kinks, then narrower where bends are tight.

    Raises:
        TrackError: No road can be built of it.
    """
    left, right = request.left, request.right
    # Edges come nearer to the line that was driven, or to that of them which is nearest to it.
    middle = min(max(0.0, left), right)
    refusal: TrackError | None = None
    while refusal is None or right - left >= 2.0 * _NARROWEST:
        for reach in _EVENED:
            points = found.points if reach == 0.0 else survey.evened(found, reach)
            fields = _fields(found._replace(points=points), request)
            for crosses in (False, True):
                wanted = {**fields, "road": {"left": left, "right": right}}
                if crosses:
                    wanted["crosses_itself"] = True
                refusal = _refusal(wanted)
                if refusal is None:
                    return wanted, _notes(request, left, right, crosses)
        left, right = min(left + _NARROWER, middle), max(right - _NARROWER, middle)
    raise TrackError(f"No road can be built of the recorded line. {refusal}") from refusal


def _refusal(fields: dict[str, Any]) -> TrackError | None:
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as folder:
        file = pathlib.Path(folder) / f"{fields['name']}.json"
        file.write_text(json.dumps(fields), encoding="utf-8")
        try:
            track.load(str(file))
        except TrackError as error:
            return error
    return None


def _notes(
    request: TrackRecordingRequest, left: float, right: float, crosses: bool
) -> tuple[str, ...]:
    notes = [
        f"The road is taken to reach from {left:g} to {right:g} u beside the line: no simulator "
        "tells. Correct it by --left and --right."
    ]
    if (left, right) != (request.left, request.right):
        notes.append("It is narrower than asked for, or its edges would fold back in a bend.")
    if crosses:
        notes.append("The road crosses itself, or two stretches lie side by side.")
    return tuple(notes)
