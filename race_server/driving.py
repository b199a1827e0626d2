"""What a car that may move does with a frame: its driver's command, a launch, or a way out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from donkey_rl.envs import observing
from donkey_rl.envs.link.frame import Frame
from donkey_rl.race_server.commanding import BRAKE, Bounds, Command, Launch
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.helm import Why
from donkey_rl.race_server.interface import Answer, Seat
from donkey_rl.race_server.journal import Journal
from donkey_rl.race_server.pacing import Pacing
from donkey_rl.race_server.recovery import Recovery

_LEAST_STEERING = 0.05


class Decision(NamedTuple):
    """What to do with a frame.

    Attributes:
        command: What to send.
        why: Whose it is.
        reset: Whether to have the car put back as well.
        changed: Whether a spare has taken the seat.
    """

    command: Command
    why: Why
    reset: bool = False
    changed: bool = False


class Driving:
    """Answers the frames of one car between GO and the end.

    Attributes:
        pacing: How long commands wait.
        recovery: Whether the car gets anywhere.
    """

    def __init__(self, config: RaceConfig, seat: Seat, journal: Journal) -> None:
        """Takes over a driver.

        Args:
            config: Bounds, launch, recovery.
            seat: Who drives.
            journal: Told of what goes wrong.
        """
        self._config = config
        self._seat = seat
        self._journal = journal
        self._launch = Launch(config.launch)
        self.recovery = Recovery(config.recovery)
        self.sit_down()

    def sit_down(self) -> None:
        """Another driver is in the seat."""
        description = self._seat.description
        self._bounds = Bounds(description, self._config.limits)
        self.pacing = Pacing(description.latency_ms, self._config.latency_ms)
        self._stalls = 0
        self._steering = 0.0
        self.forget()

    def forget(self) -> None:
        """What was sent before is of no matter: a driver begins as it did in training."""
        self._sent = np.zeros(2 * self._seat.observation.history, np.float32)

    def begin(self, time_s: float, *, held: bool) -> None:
        """GO was said.

        Args:
            time_s: When, simulation time.
            held: Whether the host may hold the car still.
        """
        self.forget()
        self._launch.begin(time_s)
        self.recovery.begin(time_s, held=held)

    def remember(self, command: Command) -> None:
        """A command is on its way: drivers see their last ones as they were sent."""
        self._sent = np.concatenate([self._sent[2:], self._bounds.action(command)])

    def answer(self, frame: Frame, *, may_reset: bool) -> Decision:
        """Decides what to do with a frame.

        Args:
            frame: What the car sees.
            may_reset: Whether `reset_car` may be sent.
        """
        told = frame.telemetry
        speed = abs(told.speed)
        manoeuvre = self.recovery.advance(told.time, speed, may_reset=may_reset)
        if manoeuvre == "reset":
            self.forget()
            return Decision(BRAKE, "recovery", reset=True)
        if manoeuvre == "reverse":
            return Decision(self._way_back(), "recovery")
        seen = observing.observed_by(told, frame.image, self._sent)
        answer = self._seat.act(seen, self._config.watchdog.action_s)
        if answer.action is None or not np.isfinite(answer.action).all():
            return self._stall(answer)
        self._stalls = 0
        command = self._bounds.command(answer.action)
        self._steering = command.steering
        push = self._launch.throttle(told.time, speed)
        if push is None:
            return Decision(command, "driver")
        return Decision(self._bounds.limited(command._replace(throttle=push)), "launch")

    def _way_back(self) -> Command:
        """Returns the command backwards, wheels turned the other way."""
        turned = abs(self._steering) > _LEAST_STEERING
        steering = -float(np.sign(self._steering)) if turned else 0.0
        limit = self._config.limits.steering_max
        return Command(limit * steering, -self._config.recovery.throttle)

    def _stall(self, answer: Answer) -> Decision:
        """The driver has given nothing of use: brake, and after a while take another one."""
        self._journal.fault("driver", f"{self._seat.name}: {answer.fault or 'not finite'}")
        self._stalls += 1
        if self._stalls < self._config.watchdog.stalls:
            return Decision(BRAKE, "seat")
        self.recovery.rest()
        failed, self._stalls = self._seat.name, 0
        if not self._seat.change_to_spare():
            return Decision(BRAKE, "seat")
        self._journal.fault("driver changed", f"{failed} has failed: {self._seat.name} drives")
        return Decision(BRAKE, "seat", changed=True)
