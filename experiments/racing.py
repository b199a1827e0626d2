"""Races: the one protocol that checks and evaluations share, in whichever simulator.

Each race is one car, alone on the track or among opponents, from the start grid, a little
displaced and turned by the race's seed. It ends with its laps, or when the car stands, drives
back, gets nowhere, or is lost far beside the road. Leaving the road, with one wheel already, or a
hit spoils the lap, not the race.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import donkey_rl
from donkey_rl.envs import simulators
from donkey_rl.envs.batch import Batch, Observation, Transition
from donkey_rl.envs.lap_timer import start_line_progress
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, starts, stepping, track
from donkey_rl.envs.simulator.interface import Simulator
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.starts import Start
from donkey_rl.envs.simulator.world import World
from donkey_rl.envs.tasks import TaskConfig, count_steps
from donkey_rl.envs.traffic import Traffic
from donkey_rl.errors import InputError
from donkey_rl.experiments import provenance
from donkey_rl.experiments.pilots import Act, Pilot
from donkey_rl.experiments.race_recording import RaceFiles, Recording
from donkey_rl.metrics.race import Race, RaceHeader

_PATIENCE_S = 20.0
_LEAST_GAIN = 20.0
"""A race is over when a car gains less way (u) than this in that time (s)."""

_MOST_FRAME_BYTES = 400_000_000
"""Frames kept of a race for its video: five minutes of the usual camera and more."""

_START_LATERAL = 0.15
_START_YAW = 4.0
_LOST = 3.0
"""Half road widths beside the road's middle at which a car is lost."""


_OWN = {
    "task": "",
    "randomisation": ", or change what is seen by --look or --robustness",
    "latency": ", or add some by --latency-ms",
    "simulator": ", or name one by --simulator",
    "track": ", or name one by --track",
}
"""Parts of an environment that races set themselves, and what to do instead."""


def check_settings(settings: Sequence[str], allowed: Sequence[str] = ()) -> None:
    """Refuses settings that races would not follow.

    Args:
        settings: Assignments `key=value`.
        allowed: Of those parts that races set by themselves, which count all the same.

    Raises:
        InputError: There is one.
    """
    for setting in settings:
        part = setting.partition("=")[0].strip().partition(".")[0]
        if part in _OWN and part not in allowed:
            raise InputError(
                f"Races have a {part} of their own. Received: --set {setting}. Leave it "
                f"out{_OWN[part]}."
            )


def race_environment(
    config: EnvironmentConfig, disturbance: Randomisation | None = None
) -> EnvironmentConfig:
    """Returns the environment of a race: a start near the grid slot, nominal looks and car.

    Args:
        config: Simulator, track, car and camera.
        disturbance: What else is drawn by the race's seed; its own starts do not count.
    """
    road = track.load(config.track)
    half_width = 0.5 * road.road_width
    middle = abs(road.road_middle)
    task = TaskConfig(
        whole_car=True,
        end_off_track=False,
        end_hit=False,
        max_cte=middle + _LOST * half_width,
        stuck_s=5.0,
        reverse_limit=20.0,
        time_limit_s=86_400.0,
    )
    start = {"start_lateral": _START_LATERAL, "start_yaw": _START_YAW}
    start |= {"start_anywhere": False, "start_speed": 0.0}
    drawn = (disturbance or Randomisation()).model_copy(update=start)
    # Who is passed stays behind until it is lapped.
    opponents = config.opponents.model_copy(update={"reach": None})
    changed = {"task": task, "randomisation": drawn, "opponents": opponents}
    return config.model_copy(update=changed)


class _Patience:
    """Ends races that get nowhere: each 20 s must bring 20 u of new progress."""

    def __init__(self, races: int) -> None:
        self._reached = np.zeros(races)
        self._waited = np.zeros(races, dtype=np.int64)

    def is_over(self, best_progress: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Counts a step; returns which races have come to nothing."""
        gained = best_progress >= self._reached + _LEAST_GAIN
        self._reached = np.where(gained, best_progress, self._reached)
        self._waited = np.where(gained, 0, self._waited + 1)
        return self._waited >= count_steps(_PATIENCE_S)


def _keep(frames: list[npt.NDArray[np.uint8]] | None, image: npt.NDArray[np.uint8]) -> None:
    """Adds a frame while there is room for it."""
    if frames is not None and len(frames) * image.nbytes < _MOST_FRAME_BYTES:
        frames.append(image.copy())


class _Round(NamedTuple):
    """How the cars of a field drive one race each; see `Field.race`."""

    laps: int
    until_spoiled: bool
    about: Mapping[str, Any]
    frames: list[npt.NDArray[np.uint8]] | None
    show: Callable[[float], None]
    files: RaceFiles | None
    numbers: range


class Field:
    """The cars of some races that are driven at the same time, built once and raced often.

    The embedded simulator has a car for each race. Others have as many cars as there are
    simulators, and drive the races in rounds.
    """

    def __init__(
        self,
        config: EnvironmentConfig,
        races: int,
        *,
        seed: int,
        world: Simulator | None = None,
        disturbance: Randomisation | None = None,
    ) -> None:
        """Builds the cars.

        Args:
            config: Simulator, track, car and camera; task and randomisation are the race's own.
            races: Number of races.
            seed: Seed of the first race; each further race has the next one.
            world: Cars to race with that are there already; their own random streams and
                settings stay as they are.
            disturbance: Changes of light, camera or car that each race's seed draws, in the
                embedded simulator; the races start where they do without.

        Raises:
            LinkError: A simulator cannot be reached.
        """
        self.config = race_environment(config, disturbance)
        cars = len(world) if world else simulators.count(config.simulator) or races
        self.batch = Batch(self.config, cars, world=world)
        self.seeds = [seed + k for k in range(races)]
        self._lent = world is not None
        self._disturbed = disturbance is not None
        self._missed = self.batch.world.missed.copy()

    def close(self) -> None:
        """Gives up the cars."""
        self.batch.close()

    def race(
        self,
        act: Act | Pilot,
        laps: int,
        *,
        until_spoiled: bool = False,
        about: Mapping[str, Any] | None = None,
        frames: list[npt.NDArray[np.uint8]] | None = None,
        progress: Callable[[float], None] | None = None,
        files: RaceFiles | None = None,
    ) -> tuple[Race, ...]:
        """Drives all races from the same starts as ever; an open road is one lap.

        Args:
            act: The driver.
            laps: Laps of a race.
            until_spoiled: Whether a race ends with the first lap that cannot be clean any more.
            about: Further fields of the records' headers, such as the driver's hash.
            frames: Takes the camera images of the first race, one for each row, if given; of a
                very long race only the beginning.
            progress: Called with the share of the laps done by the car furthest behind.
            files: Where the races are written while they are driven, if they are to be.

        Returns:
            The record of each race.
        """
        pilot = act if isinstance(act, Pilot) else Pilot(act)
        laps = laps if self.batch.track.closed else 1
        cars, races = len(self.batch), len(self.seeds)
        found: list[Race] = []
        for first in range(0, races, cars):
            wanted = min(cars, races - first)

            def show(share: float, done: int = first, part: int = wanted) -> None:
                if progress is not None:
                    progress((done + share * part) / races)

            # Of the last round, cars without a race of their own drive along unrecorded.
            seeds = [self.seeds[min(first + k, races - 1)] for k in range(cars)]
            kept = frames if first == 0 else None
            numbers = range(first, first + wanted)
            plan = _Round(laps, until_spoiled, about or {}, kept, show, files, numbers)
            found += self._round(pilot, seeds, plan)[:wanted]
        return tuple(found)

    def _round(self, pilot: Pilot, seeds: list[int], plan: _Round) -> tuple[Race, ...]:
        """Drives one race with each car."""
        batch, laps, frames = self.batch, plan.laps, plan.frames
        self.line_up(seeds)
        pilot.begin(len(batch))
        patience = _Patience(len(batch))
        driving = np.ones(len(batch), dtype=np.bool_)
        observed = batch.observation()
        self._missed = batch.world.missed.copy()
        headers = self.headers(laps, seeds, plan.about)
        with Recording(headers, plan.files, plan.numbers) as recording:

            def record(cars: npt.NDArray[np.bool_]) -> None:
                seen = np.asarray(observed["image"], np.uint8)
                if recording.append(self.row(pilot), cars, batch.world, seen)[0]:
                    _keep(frames, seen[0])

            while driving.any():
                record(driving)
                moved = self.step(pilot, observed, driving)
                observed = moved.observation
                finished = batch.timer.count >= laps
                gave_up = patience.is_over(batch.best_progress)
                over = finished | moved.terminated | moved.truncated | gave_up | pilot.lost
                if plan.until_spoiled:
                    over |= batch.timer.spoiled
                ended = driving & over
                if ended.any():
                    record(ended)
                driving &= ~ended
                plan.show(float(np.where(driving, batch.timer.count, laps).min()) / laps)
            return recording.races()

    def line_up(self, seeds: list[int]) -> None:
        """Puts each car on the start of its race.

        Args:
            seeds: Of the races, one for each car.
        """
        batch, cars = self.batch, np.arange(len(self.batch))
        if not self._lent:
            batch.seed(seeds)
            batch.reset(cars, self._undisturbed_starts(seeds) if self._disturbed else None)
            return
        if batch.link is not None:
            batch.link.seed(seeds)
        # Lent cars would start as their owner's episodes do, and go on from the race's seeds.
        streams = [np.random.default_rng([own, 0]) for own in seeds]
        slots = np.zeros(len(cars), dtype=np.int64)
        batch.reset(cars, starts.draw_all(self.config.randomisation, batch.track, slots, streams))

    def _undisturbed_starts(self, seeds: list[int]) -> Start:
        """Returns the starts without the disturbance, whose draws would shift theirs."""
        nominal = race_environment(self.config).randomisation
        batch = self.batch
        world = World(
            batch.track, batch.vehicle, self.config.camera, len(seeds), randomise=nominal
        )
        world.seed(seeds)
        world.reset(np.arange(len(seeds)))
        sensed = world.cars.sensed
        turn = sensed[:, stepping.HEADING_ERROR]
        arc, lateral = sensed[:, stepping.ARC], sensed[:, stepping.LATERAL]
        return Start(arc, lateral, turn, np.zeros(len(seeds)))

    def step(
        self, pilot: Pilot, observed: Observation, driving: npt.NDArray[np.bool_]
    ) -> Transition:
        """Lets a pilot drive all cars on by one step, of which `row` then tells.

        Args:
            pilot: Who drives.
            observed: What the cars see.
            driving: Cars that still race, shape (cars,).
        """
        self._missed = self.batch.world.missed.copy()
        return self.batch.step(pilot.drive(observed, driving))

    def headers(
        self, laps: int, seeds: Sequence[int], about: Mapping[str, Any]
    ) -> list[RaceHeader]:
        """Returns what the records say of races that begin where the cars are now.

        Args:
            laps: Laps of a race.
            seeds: Of the races, one for each car.
            about: Further fields, such as the driver's hash, or fields in place of these.
        """
        road, arcs = self.batch.track, self.batch.sensed[:, stepping.ARC]
        first = start_line_progress(road.start_line, arcs, road.length, road.closed)
        own, world = not simulators.parse(self.config.simulator), self.batch.world
        fields = {
            "track": road.name,
            "track_digest": road.digest,
            "track_length": road.length,
            "closed": road.closed,
            "nodes": len(road.nodes),
            "start_line": road.start_line,
            "road_left": road.road_left,
            "road_right": road.road_right,
            "min_lap_s": road.min_lap_s,
            "laps": laps,
            "vehicle": self.config.vehicle,
            "simulator": self.config.simulator,
            "simulator_version": donkey_rl.__version__ if own else "",
            "version": donkey_rl.__version__,
            "versions": provenance.versions(),
            "camera": self.config.camera.model_dump(),
            "opponents": world.names if isinstance(world, Traffic) else (),
            **about,
        }
        return [
            RaceHeader(start_line_progress=float(first[i]), seed=seeds[i], **fields)
            for i in range(len(self.batch))
        ]

    def row(self, pilot: Pilot) -> dict[str, Any]:
        """Returns each column of the records as it is now, of shape (cars,).

        Args:
            pilot: Who has driven the last step.
        """
        batch = self.batch
        taken = 1000.0 * batch.world.latency
        known = ~np.isnan(pilot.latency_ms)
        latency_ms = np.where(known, pilot.latency_ms, taken)
        if batch.link is not None:
            latency_ms = batch.link.delay_ms + np.nan_to_num(latency_ms)
        motion, sensed = batch.motion, batch.sensed
        names = np.array(batch.world.hit_names(), dtype=object)
        return {
            "time_s": sensed[:, stepping.TIME],
            "x": motion[:, physics.X],
            "z": motion[:, physics.Z],
            "yaw": motion[:, physics.YAW],
            "speed": batch.speed,
            "steering": batch.commands[:, 0],
            "throttle": batch.commands[:, 1],
            "progress": sensed[:, stepping.PROGRESS],
            "lateral": sensed[:, stepping.LATERAL],
            "cte": sensed[:, stepping.CTE],
            "node": batch.world.cars.node,
            "off_track": batch.off_track,
            "hit": np.where(names == "none", "", names),
            "lap": batch.timer.count,
            "latency_ms": latency_ms,
            "missed": pilot.missed | (batch.world.missed > self._missed),
            **(batch.world.around() if isinstance(batch.world, Traffic) else {}),
        }
