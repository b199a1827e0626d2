"""A person drives: the loop of the car, its pace, and what is recorded of it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from donkey_rl.envs import simulators
from donkey_rl.envs.observing import Observation
from donkey_rl.envs.serving.clock import Pace
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping
from donkey_rl.experiments import race_recording
from donkey_rl.experiments.conditions import Conditions
from donkey_rl.experiments.interruption import Interruption
from donkey_rl.experiments.pilots import Actions, Flags, Pilot
from donkey_rl.experiments.racing import Field
from donkey_rl.experiments.recording import tape as tapes
from donkey_rl.experiments.recording.cockpit import Cockpit, Controls
from donkey_rl.experiments.recording.tape import Tape
from donkey_rl.metrics import laps as lap_times

HUMAN = "human"

OPEN_LAPS = 1
"""Laps that the header of a race names which goes over as many as will be driven."""

ABANDONED_S = 30.0
"""The session ends when the last page has been closed for so long (s)."""

ASLEEP_S = 2.0
"""A person who has sent nothing for so long (s) is no longer recorded."""

_ANSWER_S = 0.025
"""A simulator with a clock of its own gets the newest command after this time at the latest."""

_STILL_S = 0.2
"""A paused page is shown anew so often (s)."""

_BRAKES_FULLY = 1.0
"""Above this speed (u/s) the brake is what was asked for; it fades to nothing at rest."""

_LAPS_SHOWN = 8
_ALONE = np.ones(1, np.bool_)


class Person(Pilot):
    """Whoever is at the wheel of the page, as a pilot of one car."""

    def __init__(self, cockpit: Cockpit, field: Field) -> None:
        """Takes the page's commands.

        Args:
            cockpit: Where they come from.
            field: The car.
        """
        self._cockpit, self._field = cockpit, field
        self.begin(1)

    def drive(self, observation: Observation, driving: Flags) -> Actions:
        """Returns the action of the command in force, (1, 2); see `Pilot.drive`."""
        held = self._cockpit.held()
        self.missed = np.array([not held.answered])
        self.latency_ms = np.array([1000.0 * held.latency_s], np.float32)
        forward = float(self._field.batch.motion[0, physics.FORWARD])
        return action(held.controls, forward, self._field.config)[None]


def action(controls: Controls, forward: float, config: EnvironmentConfig) -> Actions:
    """Returns the action that steers and drives as a person wants, within the limits, (2,).

    The car is slowed down by its engine, so that a record's commands say all: in the simulator's
    protocol the brake is a third one.

    Args:
        controls: What the person does.
        forward: Speed along the car (u/s).
        config: The limits.

    >>> config = EnvironmentConfig(throttle_min=-1.0)
    >>> action(Controls(0.5, 0.3), 2.0, config)
    array([0.5, 0.3], dtype=float32)
    >>> action(Controls(brake=1.0), 2.0, config)
    array([ 0., -1.], dtype=float32)
    >>> bool(action(Controls(brake=1.0), 0.0, config)[1] == 0.0)
    True
    """
    throttle = controls.throttle
    if controls.brake > 0.0:
        throttle = -controls.brake * float(np.clip(forward / _BRAKES_FULLY, -1.0, 1.0))
    middle = 0.5 * (config.throttle_max + config.throttle_min)
    half = 0.5 * (config.throttle_max - config.throttle_min)
    wanted = [controls.steering / config.steer_limit, (throttle - middle) / half]
    return np.clip(np.array(wanted, np.float32), -1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Goal:
    """What ends a session by itself.

    Attributes:
        laps: Laps recorded from line to line, None for any number.
        seconds: Time recorded (s).
    """

    laps: int | None = None
    seconds: float = math.inf


class Session:
    """Lets a person drive one car, held to real time, until the goal or an end.

    Attributes:
        recorded_laps: Whole laps in what was recorded so far.
    """

    def __init__(
        self,
        field: Field,
        cockpit: Cockpit,
        tape: Tape,
        goal: Goal,
        announce: Callable[[str], None],
        told: Conditions | None = None,
    ) -> None:
        """Puts the car on its start.

        Args:
            field: The car, of one race.
            cockpit: The page's other end.
            tape: Takes what is recorded.
            goal: What ends the session.
            announce: Called with a line for each lap and each file.
            told: What the records say was changed on purpose.
        """
        self.recorded_laps = 0
        self._about = {"driver": HUMAN, "conditions": told or {}}
        self._field, self._cockpit, self._tape = field, cockpit, tape
        self._goal, self._announce = goal, announce
        self._pilot = Person(cockpit, field)
        self._remote = bool(simulators.parse(field.config.simulator))
        self._paused = False
        self._seed = field.seeds[0]
        self._best = math.inf
        self._faults: set[str] = set()
        self._whole = False
        self._laps: list[dict[str, Any]] = []
        self._pace = Pace(1.0, time.monotonic())
        if not self._remote:
            # Compiled kernels load when they are used for the first time.
            field.line_up([self._seed])
            field.step(self._pilot, field.batch.observation(), _ALONE)
        self._put_back()

    def run(self, interruption: Interruption) -> str:
        """Drives until there is a reason to end, which it returns in words.

        Args:
            interruption: Tells of Ctrl-C.

        Raises:
            LinkError: The simulator is lost.
            StorageError: Rows could not be written.
        """
        while True:
            reason = self._end(interruption)
            if reason:
                self._stop_recording()
                self._show(ended=reason)
                return reason
            for wish in self._cockpit.take_wishes():
                self._obey(wish)
            asleep = self._cockpit.silent_s > ASLEEP_S
            if asleep:
                self._stop_recording()
            if not self._remote and (self._paused or asleep):
                self._show()
                self._cockpit.wait_for_wish(time.monotonic() + _STILL_S)
                self._pace.restart(time.monotonic())
            else:
                self._step()

    def _end(self, interruption: Interruption) -> str:
        """Returns why to end now, empty for no reason."""
        if interruption.requested:
            return "Ctrl-C"
        if reached := self._reached():
            return reached
        if self._cockpit.alone_s >= ABANDONED_S:
            return f"the page has been closed for {ABANDONED_S:g} s"
        return ""

    def _reached(self) -> str:
        """Returns which goal is reached, empty for none."""
        goal = self._goal
        if goal.laps is not None and self.recorded_laps >= goal.laps:
            return f"{goal.laps} laps are recorded"
        if self._tape.seconds >= goal.seconds:
            return f"{goal.seconds / 60.0:g} minutes are recorded"
        return ""

    def _obey(self, wish: str) -> None:
        """Does what the person asked for beside steering."""
        if wish == "pause":
            self._paused = not self._paused and not self._remote
        elif wish == "record" and self._tape.running:
            self._stop_recording()
        elif wish == "record":
            if not self._field.batch.track.closed:
                # An open road is one lap, from its beginning.
                self._put_back()
            self._start_recording()
        elif wish == "reset":
            self._start_anew()

    def _start_anew(self) -> None:
        """Puts the car back; what is being recorded goes on in another file."""
        recording = self._tape.running
        self._stop_recording()
        self._put_back()
        if recording:
            self._start_recording()

    def _put_back(self) -> None:
        """Puts the car on its start, each time a little differently."""
        self._field.line_up([self._seed])
        self._started, self._seed = self._seed, self._seed + 1
        self._pilot.begin(1)
        self._observed = self._field.batch.observation()
        self._faults.clear()
        self._pace.restart(time.monotonic())
        self._look()
        self._show()

    def _start_recording(self) -> None:
        batch = self._field.batch
        # An open road is one lap.
        laps = (self._goal.laps or OPEN_LAPS) if batch.track.closed else 1
        header = self._field.headers(laps, [self._started], self._about)[0]
        self._tape.start(header)
        self._whole = not np.isfinite(batch.timer.elapsed[0])
        self._record()
        # The file's first write took a moment, which the car is not to make good for.
        self._pace.restart(time.monotonic())

    def _stop_recording(self) -> None:
        self._whole = False
        if self._tape.running:
            self._tape.stop()
            self._announce(f"Recorded: {self._tape.files[-1]}")

    def _step(self) -> None:
        """Drives the car on by one step, when it is due."""
        batch = self._field.batch
        if self._remote:
            self._cockpit.wait_for_answer(time.monotonic() + _ANSWER_S)
        else:
            time.sleep(max(0.0, self._pace.due - time.monotonic()))
        before = self._place()
        laps, was_timed = int(batch.timer.count[0]), bool(np.isfinite(batch.timer.elapsed[0]))
        moved = self._field.step(self._pilot, self._observed, _ALONE)
        self._observed = moved.observation
        after = self._place()
        for _ in range(round((after[2] - before[2]) / physics.TIME_STEP)):
            self._pace.step(time.monotonic())
        if moved.ending["connection"][0]:
            self._announce("The connection was lost and made anew: the race ends there.")
            self._start_anew()
            return
        self._look()
        self._record()
        if lap_times.jumped(*zip(before, after, strict=True))[0]:
            # Who cuts across beside the road has lost the lap, in the record as well.
            self._whole = False
        # What happens in the step of the crossing spoils the lap that it begins.
        if batch.timer.count[0] > laps:
            self._finish_lap()
        elif not was_timed and np.isfinite(batch.timer.elapsed[0]):
            self._begin_lap()
        self._note_faults()
        self._show()
        if moved.ending["road_end"][0] and not self._reached():
            self._start_anew()

    def _place(self) -> tuple[float, float, float]:
        """Returns progress (u), speed (u/s) and time (s)."""
        batch = self._field.batch
        progress, time_s = batch.sensed[0, [stepping.PROGRESS, stepping.TIME]]
        return float(progress), float(batch.speed[0]), float(time_s)

    def _begin_lap(self) -> None:
        self._faults.clear()
        self._whole = self._tape.running

    def _look(self) -> None:
        """Takes the picture of what the car sees."""
        image = np.asarray(self._observed["image"], np.uint8)[0]
        self._picture = race_recording.picture(self._field.batch.world, 0, image)

    def _record(self) -> None:
        if self._tape.running:
            self._tape.append(tapes.one(self._field.row(self._pilot)), self._picture)

    def _note_faults(self) -> None:
        """Remembers what spoils the lap under way."""
        batch = self._field.batch
        if batch.off_track[0]:
            self._faults.add("off the road")
        hit = batch.world.hit_names()[0]
        if hit != "none":
            self._faults.add(f"hit {hit}")

    def _finish_lap(self) -> None:
        timer = self._field.batch.timer
        time_s, clean = float(timer.last_time[0]), bool(timer.last_clean[0])
        recorded = self._whole and self._tape.running
        self.recorded_laps += recorded
        if clean:
            self._best = min(self._best, time_s)
        number = len(self._laps) + 1
        how = "clean" if clean else ", ".join(sorted(self._faults))
        lap = {"number": number, "time_s": time_s, "clean": clean, "how": how}
        self._laps.append(lap | {"recorded": recorded})
        kept = "recorded" if recorded else "not recorded"
        self._announce(f"Lap {number}: {time_s:.2f} s, {how}, {kept}.")
        self._begin_lap()

    def _show(self, ended: str = "") -> None:
        """Sends the page a frame with how things are."""
        batch, tape = self._field.batch, self._tape
        elapsed = float(batch.timer.elapsed[0])
        latency = float(self._pilot.latency_ms[0])
        state = {
            "track": batch.track.name,
            "speed": float(batch.speed[0]),
            "throttle": float(batch.commands[0, 1]),
            "steering": float(batch.commands[0, 0]),
            "cte": float(batch.sensed[0, stepping.CTE]),
            "off": bool(batch.off_track[0]),
            "lap": len(self._laps) + 1,
            "lap_s": elapsed if math.isfinite(elapsed) else None,
            "best_s": self._best if math.isfinite(self._best) else None,
            "spoiled": sorted(self._faults) if batch.timer.spoiled[0] else [],
            "laps": self._laps[-_LAPS_SHOWN:],
            "recording": tape.running,
            "recorded_s": tape.seconds,
            "recorded_laps": self.recorded_laps,
            "files": len(tape.files) + tape.running,
            "paused": self._paused,
            "can_pause": not self._remote,
            "latency_ms": latency if math.isfinite(latency) else None,
            "folder": str(tape.folder),
            "ended": ended,
        }
        self._cockpit.publish(self._picture, state)
