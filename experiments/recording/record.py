"""Recording races: by a person at a page, or by any driver as fast as the machine goes."""

from __future__ import annotations

import contextlib
import datetime
import math
import pathlib
import webbrowser
from collections.abc import Callable
from typing import Any, Self

import pydantic
from pydantic import Field as Setting

from donkey_rl import configuration, shell
from donkey_rl.configuration import Config
from donkey_rl.envs import simulators
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import stepping
from donkey_rl.errors import DonkeyRLError, DriverError, InputError, StorageError
from donkey_rl.experiments import conditions, dashboard, drivers, pilots, racing, rivals
from donkey_rl.experiments.data.dataset import SHORT
from donkey_rl.experiments.data.manifest import Note
from donkey_rl.experiments.data.store import Store
from donkey_rl.experiments.drivers import Entrant
from donkey_rl.experiments.foreign_driver import ForeignPilot
from donkey_rl.experiments.interruption import Interruption
from donkey_rl.experiments.pilots import Timed
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.race_recording import RaceFiles
from donkey_rl.experiments.racing import Field
from donkey_rl.experiments.recording import tape as tapes
from donkey_rl.experiments.recording.cockpit import Cockpit
from donkey_rl.experiments.recording.person import HUMAN, OPEN_LAPS, Goal, Session
from donkey_rl.experiments.recording.server import PageServer
from donkey_rl.experiments.recording.tape import RecordedRace, Tape
from donkey_rl.metrics import race_parts

PLACE = pathlib.Path("recordings")
"""Folder of recordings, below the one where they are made."""

PORT = 8887
"""The one of donkeycar's own page."""

_USUAL_LAPS = 3
_MOST_LAPS = 1_000_000
"""Of a race that ends by its time."""


class RecordRequest(Config):
    """What to record.

    Attributes:
        driver: `human`, or what drives as in `drivers.load`.
        track: Scene name or track file, None for the driver's own.
        simulator: As in `EnvironmentConfig`.
        laps: Laps of each race; of a person all laps recorded.
        minutes: Time of each race; of a person all that is recorded (min).
        races: Races of a driver.
        seed: Of the first race's start.
        noise: Deviation of what is added to a driver's actions, so that it shows its ways back.
        settings: Changes of car, camera or limits, `key=value`.
        out: The folder, None for a new one below `PLACE`.
        frames: Whether the pictures are kept.
        host: Address that the page is served on.
        port: Its port, 0 for a free one.
        browser: Whether to open it.
    """

    driver: str = HUMAN
    track: str | None = None
    simulator: str = simulators.EMBEDDED
    laps: int | None = Setting(default=None, ge=1, le=_MOST_LAPS)
    minutes: float | None = Setting(default=None, gt=0, le=1440)
    races: int = Setting(default=1, ge=1, le=256)
    seed: int = Setting(default=0, ge=0, lt=2**31)
    noise: float = Setting(default=0.0, ge=0, le=1)
    settings: tuple[str, ...] = ()
    out: pathlib.Path | None = None
    frames: bool = True
    host: str = "127.0.0.1"
    port: int = Setting(default=PORT, ge=0, le=simulators.HIGHEST_PORT)
    browser: bool = True

    @pydantic.model_validator(mode="after")
    def _what_a_person_is_not_told(self) -> Self:
        if self.driver == HUMAN and self.noise:
            raise ValueError(
                f"a person's commands are left as they are: leave --noise out, "
                f"received {self.noise}"
            )
        if self.driver == HUMAN and self.races != 1:
            raise ValueError(
                "a person drives as many races as they like: leave --races out, "
                f"received {self.races}"
            )
        return self


class RecordResult(Config):
    """What was recorded.

    Attributes:
        driver: Who drove.
        track: What was driven on.
        vehicle: The car.
        simulator: Where.
        folder: Where the races lie.
        frames: Whether with pictures.
        ended: Why it ended.
        seconds: Time recorded (s).
        laps: Laps from line to line in it.
        clean_laps: Those that nothing spoiled.
        best_lap_s: Time of the best of these (s), None without one.
        races: Each race.
        failures: What went wrong with a driver of a file.
        data_set: `NAME@VERSION` that they were pushed to, None for none.
    """

    driver: str
    track: str
    vehicle: str
    simulator: str
    folder: str
    frames: bool
    ended: str
    seconds: float
    laps: int
    clean_laps: int
    best_lap_s: float | None
    races: tuple[RecordedRace, ...]
    failures: tuple[str, ...] = ()
    data_set: str | None = None


def record(
    request: RecordRequest, progress: ProgressDisplay, announce: Callable[[str], None]
) -> RecordResult:
    """Records until the goal, Ctrl-C, or until the person's page is closed.

    Args:
        request: What to record.
        progress: Shows how far a driver is.
        announce: Called with the address of a person's page.

    Raises:
        InputError: A mistake in the request, or another recording runs in the folder.
        LinkError: The simulator cannot be reached or is lost; what was driven is kept.
        StorageError: Something could not be written.
    """
    folder = request.out or _new_folder(request)
    drive = _by_hand if request.driver == HUMAN else _by_driver
    with tapes.occupied(folder):
        for left in tapes.unfinished(folder):
            progress.message(
                f"{left} is of a recording that was killed. donkey-rl record "
                f"{shell.quoted('--recover', str(folder))} makes a file of it."
            )
        return drive(request, folder, progress, announce)


def recover(folder: pathlib.Path) -> tuple[RecordedRace, ...]:
    """Makes files of the races that a killed recording has left in a folder.

    Raises:
        InputError: There is none, or one holds nothing whole; the others are finished. Or the
            recording still runs.
        StorageError: One cannot be written.
    """
    left = tapes.unfinished(folder)
    if not left:
        raise InputError(
            f"{folder} holds no race that was left unfinished (race_NN.parquet.parts). Check "
            "the path."
        )
    finished, damaged = [], []
    with tapes.occupied(folder):
        for each in left:
            try:
                finished.append(race_parts.finish(each))
            except InputError as error:
                damaged.append(str(error))
    if damaged:
        raise InputError(f"{len(finished)} of {len(left)} races were finished. {damaged[0]}")
    return tapes.summary(finished)


def push(
    result: RecordResult, store: Store, name: str, note: Note, progress: ProgressDisplay
) -> RecordResult:
    """Adds what was recorded to a data set.

    Args:
        result: What was recorded.
        store: Where the data set lies.
        name: Of the set.
        note: Who, and what for.
        progress: Shows how far it is.

    Raises:
        StorageError: The store cannot be written; it says what to type later.
    """
    if not result.races:
        return result
    try:
        report = store.push(
            [pathlib.Path(each.file) for each in result.races], name, note, progress
        )
    except DonkeyRLError as error:
        words = ("data", "push", result.folder, "--name", name, "--store", store.shown)
        raise StorageError(
            f"{error} The races are kept in {result.folder}. Later: donkey-rl "
            f"{shell.quoted(*words)}."
        ) from error
    return result.model_copy(update={"data_set": f"{report.name}@{report.version[:SHORT]}"})


def _new_folder(request: RecordRequest) -> pathlib.Path:
    began = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = pathlib.PurePath(request.driver.replace(":", "-")).name
    return PLACE / f"{began}-{name}"


def _environment(request: RecordRequest, own: EnvironmentConfig) -> EnvironmentConfig:
    racing.check_settings(request.settings, allowed=("latency", "simulator", "track"))
    changes = {"simulator": request.simulator}
    if request.track is not None:
        changes["track"] = request.track
    changed = configuration.validate(EnvironmentConfig, own.model_dump() | changes)
    return configuration.with_settings(changed, request.settings)


def _by_hand(
    request: RecordRequest,
    folder: pathlib.Path,
    progress: ProgressDisplay,
    announce: Callable[[str], None],
) -> RecordResult:
    """Lets a person drive."""
    # Both pedals, and backwards: a person gets stuck.
    config = _environment(request, EnvironmentConfig(throttle_min=-1.0))
    if (simulators.count(config.simulator) or 1) != 1:
        raise InputError(
            f"A person drives one car. Received: simulator={config.simulator}. Name one of them."
        )
    goal = Goal(request.laps, math.inf if request.minutes is None else 60.0 * request.minutes)
    cockpit = Cockpit()
    with (
        contextlib.closing(Field(config, 1, seed=request.seed)) as field,
        Tape(folder, frames=request.frames) as tape,
        PageServer(cockpit, request.host, request.port) as server,
        Interruption() as interruption,
    ):
        with progress.phase("preparing the car", 1, "car") as phase:
            rivals.seat(field.batch)
            told = conditions.of(config.latency, request.settings, config)
            session = Session(field, cockpit, tape, goal, progress.message, told)
            phase.update(1)
        announce(server.access.url)
        if request.browser and dashboard.has_screen():
            webbrowser.open(server.access.url)
        ended = session.run(interruption)
        server.say_goodbye()
    return _result(request, config, folder, tape.files, HUMAN, ended)


def _by_driver(
    request: RecordRequest,
    folder: pathlib.Path,
    progress: ProgressDisplay,
    announce: Callable[[str], None],
) -> RecordResult:
    """Lets a driver race, as fast as the machine goes, or a simulator's own clock."""
    entrant = drivers.load(request.driver)
    config = _environment(request, entrant.environment)
    first = tapes.next_number(folder)
    files = RaceFiles(folder, request.frames, first)
    ended = "the races are over"
    failures: tuple[str, ...] = ()
    try:
        failures = _race(request, entrant, config, files, progress)
    except KeyboardInterrupt:
        ended = "Ctrl-C"
    paths = [path for k in range(request.races) if (path := files.path(k)).is_file()]
    result = _result(request, config, folder, paths, entrant.name, ended)
    return result.model_copy(update={"failures": failures})


def _race(
    request: RecordRequest,
    entrant: Entrant,
    config: EnvironmentConfig,
    files: RaceFiles,
    progress: ProgressDisplay,
) -> tuple[str, ...]:
    """Drives the races; returns what went wrong with a driver of a file."""
    limit = math.inf if request.minutes is None else 60.0 * request.minutes
    laps = request.laps or (_USUAL_LAPS if request.minutes is None else _MOST_LAPS)
    about: dict[str, Any] = {
        "driver": entrant.name, "driver_hash": entrant.hash, "run_id": entrant.run_id,
    }  # fmt: skip
    told = conditions.of(config.latency, request.settings, config)
    about["conditions"] = told | ({"noise": request.noise} if request.noise else {})
    if request.laps is None and request.minutes is not None:
        about["laps"] = OPEN_LAPS
    with (
        Interruption() as interruption,
        contextlib.closing(rivals.field(entrant, config, request.races, request.seed)) as field,
        entrant.pilot(field) as pilot,
        progress.phase(f"recording {entrant.name}", 100, "%") as phase,
    ):
        driving = pilots.noisy(pilot, request.noise, request.seed)
        timed = Timed(driving, limit, lambda: field.batch.sensed[:, stepping.TIME])

        def show(share: float) -> None:
            phase.update(round(100 * max(share, timed.share)))
            interruption.check()

        races = field.race(timed, laps, about=about, progress=show, files=files)
    failed = pilot.failures if isinstance(pilot, ForeignPilot) else []
    lines = tuple(f"race {each.race}: {each.reason}" for each in failed if each.race < len(races))
    if failed and len(lines) == len(races) and all(each.step == 0 for each in failed):
        raise DriverError(f"Nothing was driven: {'; '.join(lines)}. Mend the driver.")
    return lines


def _result(
    request: RecordRequest,
    config: EnvironmentConfig,
    folder: pathlib.Path,
    paths: list[pathlib.Path],
    driver: str,
    ended: str,
) -> RecordResult:
    races = tapes.summary(paths)
    laps = [lap for race in races for lap in race.laps]
    return RecordResult(
        driver=driver,
        track=config.track,
        vehicle=config.vehicle,
        simulator=config.simulator,
        folder=str(folder),
        frames=request.frames,
        ended=ended,
        seconds=sum(race.seconds for race in races),
        laps=len(laps),
        clean_laps=sum(lap.clean for lap in laps),
        best_lap_s=min((lap.time_s for lap in laps if lap.clean), default=None),
        races=races,
    )
