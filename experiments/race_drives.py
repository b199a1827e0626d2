"""The drives of a record, each from GO to its end, as race records that metrics read.

A drive ends with the host's `race_stop`, with a disqualification, with the end of GO (a stop of
our own; in a race also a lost connection), or where the host's clock runs back. Where GO comes
back with a lost connection, as in practice, the first row after it is a `reset`.
"""

from __future__ import annotations

import array
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import donkey_rl
from donkey_rl.envs.link.reports import Telemetry
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.sources import Place, Sight
from donkey_rl.errors import ConfigurationError, InputError, MessageError, UnknownNameError
from donkey_rl.experiments.pilots import Pilot
from donkey_rl.experiments.racing import Field
from donkey_rl.metrics.race import COLUMNS, Race, RaceHeader
from donkey_rl.metrics.race_header import UNKNOWN, Crossing, HostTiming
from donkey_rl.race_server.race_figures import LEAST_LAP_S
from donkey_rl.race_server.record import lines
from donkey_rl.race_server.record.reader import Line, Picture, Record

HEAT_LAPS = 3
"""Laps of a heat; what a drive that its host did not end was to go over is not told."""

DRIVING = frozenset({"driver", "launch", "recovery"})
"""Why a command was sent that answers a frame."""

_NOT_SENT = ("x", "z", "progress", "lateral", "cte", "node", "off_track")
"""Columns for which a race host sends nothing."""

_FEWEST_ROWS = 2


@dataclasses.dataclass(frozen=True)
class Drive:
    """One drive.

    Attributes:
        race: Its record.
        pictures: Where the picture of each row is, None where it was not kept.
        noted_s: When each row was noted, seconds since the record began, shape (rows,).
    """

    race: Race
    pictures: tuple[Picture | None, ...]
    noted_s: npt.NDArray[np.float64]

    def moment_s(self, time_s: float) -> float:
        """Returns when it was by the record (s) at a time of the race (s)."""
        return float(np.interp(time_s, self.race["time_s"], self.noted_s))


@dataclasses.dataclass
class _Rows:
    """What is gathered of a drive.

    Attributes:
        driver: Who was in the seat then.
        touches: Crossings by touches of the line, for a host that holds no races.
        finished: Whether it went on until its end, see `HostTiming`.
    """

    driver: str
    noted_s: array.array[float] = dataclasses.field(default_factory=lambda: array.array("d"))
    told: list[Telemetry] = dataclasses.field(default_factory=list)
    resets: list[bool] = dataclasses.field(default_factory=list)
    latency_ms: array.array[float] = dataclasses.field(default_factory=lambda: array.array("d"))
    missed: list[bool] = dataclasses.field(default_factory=list)
    pictures: list[Picture | None] = dataclasses.field(default_factory=list)
    crossings: list[Crossing] = dataclasses.field(default_factory=list)
    touches: list[Crossing] = dataclasses.field(default_factory=list)
    touched_s: float | None = None
    touched_line: object = None
    disqualified: str = ""
    finished: bool = False

    def touch(self, stamp_s: object, line: object) -> None:
        """A line was touched, as the host stamps it (s); as `LapFigures.touch` counts laps."""
        first = line if self.touched_line is None else self.touched_line
        if not isinstance(stamp_s, int | float) or not 0.0 <= stamp_s < 1e9 or line != first:
            return
        self.touched_line = first
        since = None if self.touched_s is None else stamp_s - self.touched_s
        if since is None or since >= LEAST_LAP_S:
            self.touched_s = float(stamp_s)
            self.touches.append(Crossing(time_s=self.time_s, lap_s=since or 0.0))

    @property
    def time_s(self) -> float:
        """Simulation time from the first row to the last (s)."""
        return self.told[-1].time - self.told[0].time if self.told else 0.0


def drives(record: Record) -> Iterator[Drive]:
    """Yields the drives of a record, in order; those of a single frame are left out.

    Raises:
        StorageError: The record cannot be read.
    """
    reader, number, began_s = _Reader(record), 0, math.nan
    for line in record.lines():
        began_s = line.time_s if math.isnan(began_s) else began_s
        for rows in reader.take(line):
            yield _drive(record, rows, number, began_s)
            number += 1
    for rows in reader.close():
        yield _drive(record, rows, number, began_s)


class _Reader:
    """Follows the lines of a record and cuts the drives out of them."""

    def __init__(self, record: Record) -> None:
        """Begins before GO."""
        self._driver = next((driver.name for driver in record.header.drivers), "")
        self._go = self._racing = False
        self._rows: _Rows | None = None
        self._lost = self._told = False
        self._answered: float | None = None

    def take(self, line: Line) -> Iterator[_Rows]:
        """Takes the next line; yields the drive that ends with it."""
        fields = line.fields
        match line.kind:
            case "phase":
                before, self._go = self._go, fields.get("go") is True
                # In practice GO comes back with the connection, where it was lost.
                away = not self._racing and fields.get("phase") in ("connecting", "waiting")
                if (before or self._rows is not None) and not self._go and not away:
                    yield from self.close()
            case "driver":
                self._driver = str(fields.get("name", ""))[:200]
            case "link":
                self._lost |= fields.get("state") == "lost"
            case "command":
                self._command(fields)
            case "frame" if self._go and not fields.get("refused"):
                yield from self._frame(line)
            case "event":
                yield from self._event(fields)

    def close(self) -> Iterator[_Rows]:
        """Yields the drive under way, if there is one."""
        rows, self._rows = self._rows, None
        self._lost, self._answered = False, None
        if rows is not None and not self._told:
            rows.crossings = rows.touches
        if rows is not None and not self._racing and not rows.disqualified:
            # In practice nobody counts laps: it ends when we want no more.
            rows.finished = True
        if rows is not None and len(rows.told) >= _FEWEST_ROWS:
            yield rows

    def _command(self, fields: Mapping[str, Any]) -> None:
        took = fields.get("took_ms")
        why = str(fields.get("why"))
        if why in DRIVING and isinstance(took, int | float) and 0 <= took < 1e9:
            self._answered = float(took)

    def _frame(self, line: Line) -> Iterator[_Rows]:
        try:
            told = lines.telemetry(line.fields)
        except MessageError:
            return
        rows = self._rows
        if rows is not None and told.time < rows.told[-1].time:
            yield from self.close()
            rows = None
        elif rows is not None and told.time == rows.told[-1].time:
            return
        if rows is None:
            rows = self._rows = _Rows(driver=self._driver)
        first = not rows.told
        rows.resets.append(self._lost and not first)
        rows.touched_s = None if self._lost else rows.touched_s
        rows.latency_ms.append(math.nan if self._answered is None or first else self._answered)
        rows.missed.append(self._answered is None and not first)
        rows.noted_s.append(line.time_s)
        rows.told.append(told)
        rows.pictures.append(line.picture)
        self._lost, self._answered = False, None

    def _event(self, fields: Mapping[str, Any]) -> Iterator[_Rows]:
        rows, name = self._rows, fields.get("name")
        starts = name == "race_start"
        if starts or name == "race_stop" or (name == "car_loaded" and self._racing):
            if rows is not None:
                rows.finished = name == "race_stop"
            yield from self.close()
            self._racing, rows = starts, None
        # A host of races tells of touches as well, and counts laps by its own rules.
        self._told |= name == "cross_start"
        if rows is None:
            return
        match name:
            case "cross_start":
                lap = fields.get("lap_time")
                if isinstance(lap, int | float) and 0.0 <= lap < 1e6:
                    rows.crossings.append(Crossing(time_s=rows.time_s, lap_s=float(lap)))
            case "collision_with_starting_line":
                rows.touch(fields.get("time_stamp"), fields.get("index", 0))
            case "DQ":
                missed = fields.get("missed_cp", True)
                rows.disqualified = "missed checkpoint" if missed else "out of bounds"
                yield from self.close()


def _drive(record: Record, rows: _Rows, number: int, began_s: float) -> Drive:
    """Returns what was gathered as a race."""
    name = _vehicle(record, rows.told[0])
    header, columns = _in_part(record, rows, name)
    place = _placed(record, rows, name)
    if place is not None:
        more, known = place
        header, columns = header | more, columns | known
        header["conditions"] = {k: v for k, v in header["conditions"].items() if k != UNKNOWN}
    drivers = {each.name: each for each in record.header.drivers}
    driver = drivers.get(rows.driver)
    laps = [crossing for crossing in rows.crossings if crossing.lap_s]
    race = Race(
        RaceHeader(
            **header,
            laps=len(laps) if rows.finished and laps else HEAT_LAPS,
            vehicle=name,
            seed=number,
            driver=rows.driver,
            driver_hash=driver.hash if driver else "",
            run_id=driver.run_id if driver else "",
            simulator=host_of(record),
            version=donkey_rl.__version__,
            versions=record.header.versions,
            camera=_plain(record.header.camera),
            time_step=rows.time_s / (len(rows.told) - 1),
            timing=HostTiming.model_validate(
                {
                    "crossings": rows.crossings,
                    "disqualified": rows.disqualified,
                    "finished": rows.finished,
                }
            ),
        ),
        columns,
    )
    return Drive(race, tuple(rows.pictures), np.array(rows.noted_s) - began_s)


def host_of(record: Record) -> str:
    """Returns the race host as HOST:PORT."""
    return f"{record.header.race.get('host', '')}:{record.header.race.get('port', '')}"


def scene_of(record: Record) -> str:
    """Returns the track that was raced by its name, empty where ``race.yaml`` does not say."""
    return str(record.header.race.get("scene") or "")


def _plain(values: Mapping[str, Any]) -> dict[str, float | int | str]:
    plain = {k: v for k, v in values.items() if isinstance(v, float | int | str)}
    return {k: v for k, v in plain.items() if isinstance(v, str) or abs(v) < 1e300}


def _vehicle(record: Record, told: Telemetry) -> str:
    """Returns the car's generation, by what it reports where the record does not say."""
    try:
        return vehicles.load(record.header.vehicle).name
    except UnknownNameError:
        return "donkey_2022" if told.is_of_2022 else "donkey_2021"


def _road(record: Record) -> Track | None:
    """Returns the track that was raced, if it is a scene that is known here."""
    scene = scene_of(record)
    if ".json" in scene:
        # Somebody else's record names no files here, with or without a variant.
        return None
    try:
        return tracks.load(scene)
    except InputError:
        return None


def _in_part(
    record: Record, rows: _Rows, vehicle: str
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Returns header and columns as far as every race host tells them."""
    count, told = len(rows.told), rows.told
    scale = vehicles.load(vehicle).report_scale
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.zeros(count, kind) for name, (kind, _) in COLUMNS.items()
    }
    time_s = np.array([each.time for each in told]) - told[0].time
    ends = [crossing.time_s for crossing in rows.crossings if crossing.lap_s]
    columns |= {
        "time_s": time_s,
        "speed": np.array([abs(each.speed) * scale for each in told]),
        "steering": np.array([each.steering for each in told]).clip(-1.0, 1.0),
        "throttle": np.array([each.throttle for each in told]).clip(-1.0, 1.0),
        "hit": np.array(["" if each.hit == "none" else each.hit for each in told]),
        "lap": np.searchsorted(ends, time_s, side="left").astype(np.int32),
        "reset": np.array(rows.resets),
        "latency_ms": np.array(rows.latency_ms),
        "missed": np.array(rows.missed),
    }
    unknown = list(_NOT_SENT)
    angles = [each.angles for each in told if each.angles is not None]
    if len(angles) == count:
        turned = np.radians([each[1] for each in angles])
        columns["yaw"] = np.arctan2(np.sin(turned), np.cos(turned))
    else:
        unknown.append("yaw")
    road = _road(record)
    if road is None:
        unknown.append("track_length")
    header = {
        "track": road.name if road is not None else scene_of(record),
        "track_digest": road.digest if road is not None else "",
        "track_length": road.length if road is not None else 1.0,
        "closed": road.closed if road is not None else True,
        "nodes": len(road.nodes) if road is not None else 2,
        "start_line": road.start_line if road is not None else 0.0,
        "start_line_progress": 0.0,
        "road_left": road.road_left if road is not None else 0.0,
        "road_right": road.road_right if road is not None else 0.0,
        "min_lap_s": road.min_lap_s if road is not None else 10.0,
        "conditions": {"timed_by": "race host", UNKNOWN: " ".join(unknown)},
    }
    return header, columns


class _Recorded:
    """A `Source` that says again what was recorded."""

    def __init__(self, rows: _Rows, shape: tuple[int, int, int]) -> None:
        self._image = np.zeros(shape, np.uint8)
        self._told = iter(zip(rows.told, rows.resets, strict=True))

    def reset(self, place: Place | None = None) -> Sight:
        return self.receive()

    def send(self, steering: float, throttle: float, brake: float = 0.0) -> None:
        """Nothing takes it."""

    def receive(self) -> Sight:
        told, restarted = next(self._told)
        return Sight(told, self._image, restarted=restarted)

    def close(self) -> None:
        """Holds nothing."""


_FROM_PLACE = ("x", "z", "yaw", "progress", "lateral", "cte", "node", "off_track")


def _placed(
    record: Record, rows: _Rows, vehicle: str
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
    """Returns what follows from the places of a car, None where its host has not sent them all.

    The rules are those of any other simulator, `donkey_rl.envs.remote`.
    """
    if any(told.position is None for told in rows.told) or _road(record) is None:
        return None
    camera = CameraConfig(img_w=16, img_h=16)
    config = EnvironmentConfig(track=scene_of(record), vehicle=vehicle, camera=camera)
    world = RemoteWorld(config, [_Recorded(rows, camera.shape)])
    # Nobody puts this car elsewhere.
    world.places_refused = True
    field = Field(config, 1, seed=0, world=world)
    pilot = Pilot(lambda observation: np.zeros((1, 2), np.float32))
    try:
        field.line_up([0])
    except ConfigurationError:
        # Another track than its scene's, or another car.
        return None
    pilot.begin(1)
    (header,) = field.headers(1, [0], {})
    found: dict[str, list[Any]] = {name: [] for name in _FROM_PLACE}
    for row in range(len(rows.told)):
        if row:
            field.batch.step(np.zeros((1, 2)))
        now = field.row(pilot)
        for name, values in found.items():
            values.append(now[name][0])
    columns = {name: np.array(values) for name, values in found.items()}
    return {"start_line_progress": header.start_line_progress}, columns
