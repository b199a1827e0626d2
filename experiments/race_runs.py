"""Races at a host as runs in MLflow: scored, with their record, a plot and a video.

The record comes first: it lies in its folder whether a store answers or not, and `log` makes one
run of it however often it is called.
"""

from __future__ import annotations

import array
import os
import pathlib
import statistics
import tempfile
from typing import Any

import numpy as np
import pydantic

from donkey_rl.configuration import Config
from donkey_rl.errors import StorageError
from donkey_rl.experiments import config as configs
from donkey_rl.experiments import race_drives, race_pictures, race_recording, stored_runs, tracking
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.race_drives import Drive
from donkey_rl.experiments.stored_runs import StoredRun
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import registry
from donkey_rl.race_server.record import reader
from donkey_rl.race_server.record.losses import Losses
from donkey_rl.race_server.record.reader import Line, Record

KIND = "race"
"""Tag `kind` of these runs: they hold no driver."""

RECORD_TAG = "donkey_rl.record"
"""Tag that says which record a run is of."""

FOLDER = "race"
"""Folder inside the run."""

_RESULT, _PLOT, _VIDEO = "result.json", "race.png", "race.mp4"
_LINES = "record/lines"
_OWN_FAULTS = {"watchdog": "frames stopped", "seat": "driver", "recovery": "stuck"}
"""Why commands were sent that nobody wanted, and what is counted for each time it begins."""


class DriveResult(Config):
    """One drive from GO to its end; times in s.

    Attributes:
        file: Its race record inside the run's folder.
        began_s: When it began, since the record did.
        seconds: How long it took.
        driver: Who was in the seat when it began.
        laps_s: Its laps, as the host timed them.
        disqualified: Why the host disqualified the car, empty where it did not.
        finished: Whether the host ended it.
        scores: The metrics that can be told of it, by name.
    """

    file: str
    began_s: float
    seconds: float
    driver: str
    laps_s: tuple[float, ...]
    disqualified: str
    finished: bool
    scores: dict[str, float]


class RaceResult(Config):
    """What became of a record.

    Attributes:
        run_id: The run that it is logged in.
        record: Its folder.
        scene: Track that was raced, empty where ``race.yaml`` does not say.
        host: Race host, as HOST:PORT.
        racer: Who raced.
        drives: Each drive, in order.
        laps: Laps of all of them.
        best_lap_s: The best lap of all, None without one (s).
        disqualified: How often the host disqualified the car.
        disconnects: How often the connection was lost.
        faults: What else went wrong, and how often it began.
        frames: Frames that came.
        latency_ms: From a frame's arrival to its command, padding included: `p50`, `p95`, `p99`;
            empty without a command of a driver.
        round_trip_ms: From a command to the frame that shows it, as last measured.
        lines: Lines of the record.
        missing: Lines that are not there.
        problems: What cannot be read of it.
    """

    run_id: str = ""
    record: str
    scene: str
    host: str
    racer: str
    drives: tuple[DriveResult, ...]
    laps: int
    best_lap_s: float | None
    disqualified: int
    disconnects: int
    faults: dict[str, int]
    frames: int
    latency_ms: dict[str, float]
    round_trip_ms: float | None
    lines: int
    missing: int
    problems: tuple[str, ...] = pydantic.Field(default=())


def log(folder: str | pathlib.Path, progress: ProgressDisplay) -> str:
    """Logs a record as `log_result` does; returns the run's id."""
    return log_result(folder, progress).run_id


def log_result(folder: str | pathlib.Path, progress: ProgressDisplay) -> RaceResult:
    """Scores a record and logs it as a run; of a record that is logged already, that is the run.

    Args:
        folder: The folder that a race has written.
        progress: Shows how far it is.

    Raises:
        InputError: The folder holds no record.
        StoreAwayError: The run store does not answer; the record stays as it is.
        StorageError: Something cannot be read or written.
    """
    folder = pathlib.Path(folder)
    record = reader.read(folder)
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as temporary:
        place = pathlib.Path(temporary) / FOLDER
        place.mkdir()
        raced: list[Drive] = []
        with progress.phase("scoring the race", None, "drives") as phase:
            for drive in race_drives.drives(record):
                drive.race.save(place / race_recording.file_name(len(raced)))
                raced.append(drive)
                phase.update(len(raced))
            result = _result(record, raced)
        try:
            stored = _stored(record)
            if stored is not None and _is_whole(stored, record):
                return result.model_copy(update={"run_id": stored.id})
            run = _open(record, result, stored)
        except StorageError as error:
            raise type(error)(
                f"{error} The record of the race stays in {folder}: log it later with "
                f"`donkey-rl race log {folder}`."
            ) from error
        result = result.model_copy(update={"run_id": run.id})
        with run:
            _draw(result, raced, place, progress)
            _store(record, result, place, run)
    return result


def _result(record: Record, raced: list[Drive]) -> RaceResult:
    """Returns what is reported of a record, before anything is stored."""
    drives = tuple(_drive_result(number, drive) for number, drive in enumerate(raced))
    laps = [lap for drive in drives for lap in drive.laps_s]
    evening = _Evening()
    for line in record.lines():
        evening.take(line)
    race = record.header.race
    return RaceResult(
        record=str(record.folder),
        scene=race_drives.scene_of(record),
        host=race_drives.host_of(record),
        racer=str(race.get("racer_name", "")),
        drives=drives,
        laps=len(laps),
        best_lap_s=min(laps, default=None),
        disqualified=evening.disqualified,
        disconnects=evening.losses.count,
        faults=evening.faults,
        frames=record.kinds.get("frame", 0),
        latency_ms=evening.latency_ms(),
        round_trip_ms=evening.round_trip_ms,
        lines=record.count,
        missing=sum(len(each) for each in record.missing),
        problems=record.problems,
    )


def _drive_result(number: int, drive: Drive) -> DriveResult:
    race, timing = drive.race, drive.race.header.timing
    scores = registry.score(race)
    return DriveResult(
        file=race_recording.file_name(number),
        began_s=round(float(drive.noted_s[0]), 3),
        seconds=round(race.duration_s, 3),
        driver=race.header.driver,
        laps_s=tuple(lap.time_s for lap in lap_times.laps(race)),
        disqualified=timing.disqualified if timing is not None else "",
        finished=timing is not None and timing.finished,
        scores={name: value for name, value in scores.items() if np.isfinite(value)},
    )


class _Evening:
    """Counts what happened over a whole record.

    Attributes:
        disqualified: How often the host disqualified the car.
        losses: Of the connection.
        faults: What else went wrong, and how often it began.
        round_trip_ms: As last measured.
    """

    def __init__(self) -> None:
        """Begins with nothing."""
        self.disqualified = 0
        self.faults: dict[str, int] = {}
        self.round_trip_ms: float | None = None
        self._latencies: array.array[float] = array.array("f")
        self.losses = Losses()
        self._why = ""

    def take(self, line: Line) -> None:
        """Takes the next line."""
        fields = line.fields
        match line.kind:
            case "event":
                self.disqualified += fields.get("name") == "DQ"
            case "command":
                self._command(str(fields.get("why", "")), fields.get("took_ms"))
            case "link":
                self._link(fields)
            case "frame" if fields.get("refused"):
                self._count("refused frames")

    def latency_ms(self) -> dict[str, float]:
        """Returns percentiles of the driver's latency (ms), empty where it is not known."""
        if not self._latencies:
            return {}
        found = np.percentile(np.frombuffer(self._latencies, np.float32), (50, 95, 99))
        names = ("p50", "p95", "p99")
        return {name: round(float(value), 3) for name, value in zip(names, found, strict=True)}

    def _command(self, why: str, took: object) -> None:
        if why != self._why and why in _OWN_FAULTS:
            self._count(_OWN_FAULTS[why])
        self._why = why
        if why == "driver" and isinstance(took, int | float) and 0 <= took < 1e9:
            self._latencies.append(float(took))

    def _link(self, fields: Any) -> None:
        if fields.get("state") == "figures":
            trip = fields.get("round_trip_s")
            if isinstance(trip, int | float) and abs(trip) < 1e9:
                self.round_trip_ms = round(1000.0 * trip, 2)
        self.losses.take(fields)

    def _count(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1


def _stored(record: Record) -> StoredRun | None:
    """Returns the run of a record, None where there is none yet.

    Raises:
        StorageError: The store cannot be read.
    """
    condition = f"tags.`{RECORD_TAG}` = '{record.header.id}'"
    return next(iter(stored_runs.search(condition, 1)), None)


def _is_whole(stored: StoredRun, record: Record) -> bool:
    """Whether a run holds all of a record."""
    return stored.status == "FINISHED" and stored.metrics.get(_LINES) == record.count


def _open(record: Record, result: RaceResult, stored: StoredRun | None) -> Run:
    """Returns the run to log a record into: a new one, or that which was begun.

    Raises:
        StorageError: The store cannot be used.
    """
    params = configs.flat(record.header.race)
    if stored is not None:
        run = tracking.reopen(stored.id)
        run.log_params(params)
        return run
    driver = result.drives[0].driver if result.drives else ""
    known = {each.name: each for each in record.header.drivers}
    who = known.get(driver) or next(iter(record.header.drivers), None)
    tags = {
        "kind": KIND,
        RECORD_TAG: record.header.id,
        "host": result.host,
        "racer": result.racer,
        "car": record.header.car,
        "track": result.scene,
        "vehicle": record.header.vehicle,
        "driver": who.name if who is not None else driver,
        "driver_hash": who.hash if who is not None else "",
        "trained_by": who.run_id if who is not None else "",
        "began": record.header.began.isoformat(timespec="seconds"),
    }
    name = " ".join(("race", result.scene or result.host, result.racer)).rstrip()
    return tracking.start(name, params=params, tags={k: v for k, v in tags.items() if v})


def _draw(
    result: RaceResult, raced: list[Drive], place: pathlib.Path, progress: ProgressDisplay
) -> None:
    """Writes plot and video into a folder."""
    if not raced:
        return
    title = " · ".join(word for word in (result.scene, result.racer, result.host) if word)
    race_pictures.over_time(raced, place / _PLOT, title)
    seconds = min(sum(drive.race.duration_s for drive in raced), race_pictures.MOST_S)
    with progress.phase("writing the video", round(seconds), "s") as phase:
        race_pictures.film(raced, place / _VIDEO, lambda done: phase.update(round(done)))


def _store(record: Record, result: RaceResult, place: pathlib.Path, run: Run) -> None:
    """Logs figures and files."""
    for step, drive in enumerate(result.drives):
        run.log_metrics({f"drive/{name}": value for name, value in drive.scores.items()}, step)
    laps = [lap for drive in result.drives for lap in drive.laps_s]
    for step, lap_s in enumerate(laps):
        run.log_metrics({"race/lap_s": lap_s}, step)
    figures: dict[str, float | None] = {
        "race/drives": len(result.drives),
        "race/laps": result.laps,
        "race/best_lap_s": result.best_lap_s,
        "race/mean_lap_s": statistics.fmean(laps) if laps else None,
        "race/disqualified": result.disqualified,
        "race/disconnects": result.disconnects,
        "race/frames": result.frames,
        "race/round_trip_ms": result.round_trip_ms,
        "record/missing": result.missing,
    }
    figures |= {f"race/latency_{name}_ms": value for name, value in result.latency_ms.items()}
    figures |= {f"fault/{name.replace(' ', '_')}": n for name, n in result.faults.items()}
    run.log_metrics({name: value for name, value in figures.items() if value is not None}, 0)
    (place / _RESULT).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    run.log_artifact(place)
    # Also of `race log .`.
    name = pathlib.Path(os.path.abspath(record.folder)).name or "record"
    for part in record.parts:
        run.log_artifact(part, f"{FOLDER}/{name}")
    # Last: a run without it is logged anew.
    run.log_metrics({_LINES: float(record.count)}, 0)
