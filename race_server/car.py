"""One car in a race: connects, waits, drives, brakes, and comes back.

One thread runs the loop of a car: it takes what the host says in its order, answers each frame,
and makes the connection anew whenever it is lost. Commands leave through the `Helm`, whose own
thread brakes if this one is stuck. People's orders come from other threads and brake at once.
"""

from __future__ import annotations

import base64
import dataclasses
import logging
import threading
import time

from donkey_rl.envs.link import reports
from donkey_rl.envs.link.frame import Frame
from donkey_rl.envs.link.race_link import RaceLink
from donkey_rl.envs.link.transport import Pauses
from donkey_rl.errors import DonkeyRLError, InputError, LinkError, LinkRefused
from donkey_rl.race_server import fitting, reporting
from donkey_rl.race_server.commanding import BRAKE
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.driving import Driving
from donkey_rl.race_server.first_contact import FirstContact
from donkey_rl.race_server.frame_gate import FrameGate
from donkey_rl.race_server.gauges import REST, Gauges
from donkey_rl.race_server.helm import Helm, Sent
from donkey_rl.race_server.interface import Board, Seat, Tape
from donkey_rl.race_server.journal import Journal
from donkey_rl.race_server.orders import ChangeDriver, Order
from donkey_rl.race_server.race_state import RaceState
from donkey_rl.race_server.status import CarStatus, Phase

LOGGER = logging.getLogger("donkey_rl.race_server")

_POLL_S = 0.05
_LONGEST_PAUSE_S = 1.0
_GONE_S = 1.0
"""Without frames for so long the host has taken the car away; the connection may be well."""

_LOOKS_S = 1.0
_SHOWN_S = 0.5
"""A status without frames is shown so often."""


class Car:
    """A competitor at a race host.

    Attributes:
        name: In its team.
        failure: Why the car is out: driver, host or scene do not fit, which only the first
            connection can show. None otherwise.
    """

    def __init__(
        self, config: RaceConfig, seat: Seat, tape: Tape, board: Board, *, name: str = ""
    ) -> None:
        """Prepares a car; `run` connects it.

        Args:
            config: Where to race, as whom.
            seat: Who drives.
            tape: Who records.
            board: Who shows.
            name: In its team; by default the car's.
        """
        self.name = name or config.car_name
        self.failure: DonkeyRLError | None = None
        self._config = config
        self._seat = seat
        self._journal = Journal(self.name, tape, board)
        self._link = RaceLink(fitting.link_config(config, seat.description))
        self._helm = Helm(config.watchdog, self._link.control, self._left)
        self._driving = Driving(config, seat, self._journal)
        self._state = RaceState(config.start)
        self._gauges = Gauges()
        self._gate = FrameGate()
        self._pauses = Pauses(longest_s=_LONGEST_PAUSE_S)
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._next_driver = ""
        self._contact = FirstContact()
        self._connected = self._configured = self._heard = False
        self._early = self._unfit = self._stalled = False
        self._run = self._halts = 0
        self._looked = self._shown = 0.0

    def run(self) -> None:
        """Races until `end`; whatever happens is counted, shown, and answered by braking.

        A car that is out is shown as such until then.
        """
        self._helm.begin()
        attempt = 0
        try:
            while not self._ended.is_set() and self.failure is None:
                self._heard, frames = False, self._gauges.frames
                self._show(None)
                self._visit()
                # Nobody who hangs up each time is asked twenty times a second.
                attempt = 0 if self._gauges.frames > frames else attempt + 1
                self._show(None)
                self._ended.wait(self._pauses.before(attempt))
        finally:
            self._helm.end()
            self._look_after(at_once=True)
            self._link.close()
            self._journal.note("link", {"state": "lost", "reason": "the race has ended"})
        while not self._ended.wait(_SHOWN_S):
            self._show(None)

    def end(self) -> None:
        """Has `run` brake the car and return; any thread may call it, also before `run`."""
        self._ended.set()
        with self._lock:
            self._permit()

    def _permit(self) -> None:
        """Lets the car move or brakes it, as things stand; with the lock held."""
        self._helm.permit(self._state.may_move and not self._ended.is_set())

    def order(self, order: Order) -> None:
        """Follows an order, at once as far as it brakes; any thread may give it."""
        with self._lock:
            changed = self._state.follow(order, time.perf_counter())
            self._permit()
            if isinstance(order, ChangeDriver):
                self._next_driver = order.name if order.name in self._seat.names else ""
                if not self._next_driver:
                    self._journal.fault("order", f"there is no driver '{order.name}'")
        if changed:
            self._journal.note("order", reporting.order_fields(order))
            self._journal.say("info", reporting.order_text(order))

    def _visit(self) -> None:
        """Connects, and races until the connection is lost."""
        self._gate = FrameGate()
        self._configured = self._early = False
        try:
            self._link.open()
            self._connected = self._contact.is_reached = True
            self._journal.note("link", {"state": "connected", "reason": ""})
            while not self._ended.is_set():
                self._turn()
        except DonkeyRLError as error:
            self._lose(error)
        except Exception as error:
            LOGGER.exception("%s: an error of this program; it connects anew.", self.name)
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        """The connection is lost, or was never made."""
        with self._lock:
            self._state.lose(self._gate.clock)
            # Brakes where the connection is well and something else has failed.
            self._permit()
        self._void_go()
        self._helm.detach()
        self._link.close()
        # Something in between may take connections for a host that is gone.
        was_there, self._connected = self._connected and self._heard, False
        if self._ended.is_set():
            return
        if was_there:
            self._gauges.disconnects += 1
        self.failure = self._contact.judge(error, time.perf_counter())
        if was_there or not self._contact.is_refused_again:
            self._journal.note("link", {"state": "lost", "reason": str(error)})
            # Whoever runs the car tells why it is out.
            if self.failure is None:
                text = reporting.loss_text(error, has_raced=self._contact.has_seen)
                kind = "no host" if isinstance(error, LinkRefused) else "connection lost"
                self._journal.fault(kind, text)

    def _void_go(self) -> None:
        """Tells of a GO that has come to nothing while there was no car to follow it."""
        with self._lock:
            if void := self._state.void_go(time.perf_counter()):
                self._journal.fault(*reporting.void_fault(void))

    def _turn(self) -> None:
        """Takes what has come, and answers it."""
        for report in self._link.reports():
            self._hear(report)
        self._change_driver()
        frame = self._link.poll(_POLL_S)
        if frame is None:
            self._go_without()
        elif not self._configured:
            # `car_loaded` may have come with it; a scene that ran before us need not say it.
            if self._early:
                self._hear(reports.CarLoaded())
            self._early = True
        else:
            try:
                self._take(frame)
            except (LinkError, InputError):
                raise
            except Exception as error:
                LOGGER.exception("%s: an error of this program; the car brakes.", self.name)
                self._journal.fault("program", f"{type(error).__name__}: {error}")
                self._helm.steer(BRAKE, "seat", frame.number, frame.arrived)
        self._look_after()

    def _hear(self, report: reports.Report) -> None:
        """Follows what the host says."""
        self._heard = True
        with self._lock:
            self._state.hear(report)
            self._permit()
        fields = reporting.event_fields(report)
        self._journal.note("event", fields)
        self._journal.say("info", reporting.event_text(fields))
        match report:
            case reports.SceneSelectionReady():
                self._helm.detach()
                if self._config.scene:
                    self._link.load_scene()
                else:
                    self._journal.say("warning", reporting.MENU_TEXT)
            case reports.NeedCarConfig():
                self._helm.detach()
                self._link.introduce()
            case reports.CarLoaded():
                self._helm.detach()
                self._gauges.laps.begin_run()
                self._link.configure()
                self._configured = True
            case reports.CrossStart(lap_s):
                self._gauges.laps.cross(lap_s, self._gauges.time_s)
            case reports.StartingLine(line, stamp_s):
                self._gauges.laps.touch(stamp_s, self._gauges.time_s, line)
            case reports.RaceStop():
                self._gauges.laps.end_run()

    def _take(self, frame: Frame) -> None:
        """Answers a frame."""
        told = frame.telemetry
        refused = self._gate.refuse(told, frame.arrived)
        picture = base64.b64decode(told.image)
        self._journal.note("frame", reporting.frame_fields(frame, refused), picture)
        self._heard = True
        self._gauges.frames += 1 + frame.skipped
        if refused:
            self._journal.fault(
                f"frame: {refused}", f"frame {frame.number} is left out: {refused}"
            )
            return
        self._gauges.frame_at = frame.arrived
        self._gauges.time_s, self._gauges.speed = told.time, abs(told.speed)
        self._check_generation(frame)
        may_move = self._find_car(frame)
        if may_move and not self._unfit:
            self._drive(frame)
        else:
            self._helm.steer(BRAKE, "waiting", frame.number, frame.arrived)
        self._show(picture)

    def _check_generation(self, frame: Frame) -> None:
        """Says that a host does not fit: at its first frame ever that ends the race.

        Raises:
            DriverError: It does not, and nothing was driven yet.
        """
        self._unfit = not fitting.fits(self._seat.description, frame.telemetry)
        if self._unfit:
            error = fitting.misfit(self._config, self._seat.description, frame.telemetry)
            if not self._contact.has_seen:
                raise error
            self._journal.fault("generation", str(error))
        self._contact.has_seen = True

    def _find_car(self, frame: Frame) -> bool:
        """Takes the car over that a frame shows; returns whether it may move."""
        with self._lock:
            found = not self._state.has_car or not self._helm.is_attached
            if found:
                self._void_go()
                self._state.see(frame.telemetry.time, frame.arrived)
                self._helm.attach()
            elif self._helm.halts > self._halts:
                self._journal.fault("frames stopped", "frames had stopped: the car was braked")
            self._halts = self._helm.halts
            self._permit()
            if self._state.runs != self._run:
                self._run = self._state.runs
                self._driving.begin(frame.telemetry.time, held=self._state.by != "host")
            return self._state.may_move

    def _drive(self, frame: Frame) -> None:
        may_reset = self._state.may_reset(self._config.recovery.reset)
        decision = self._driving.answer(frame, may_reset=may_reset)
        hold_s = self._driving.pacing.hold_s if decision.command != BRAKE else 0.0
        accepted = self._helm.steer(
            decision.command, decision.why, frame.number, frame.arrived, hold_s
        )
        self._driving.remember(accepted)
        self._stalled = decision.why == "seat"
        if decision.reset:
            self._journal.fault("reset", "the car was stuck, and is put back on its start")
            self._link.reset_car()
        if decision.changed:
            self._sit_down("the one before has failed")

    def _left(self, sent: Sent) -> None:
        """A command has left; called with the helm's lock held."""
        if sent.why == "driver" and sent.decided_s is not None:
            self._gauges.latencies.note(sent.decided_s)
        self._journal.note("command", reporting.command_fields(sent))

    def _go_without(self) -> None:
        """No frame has come."""
        self._void_go()
        now = time.perf_counter()
        # Not before the watchdog has braked, or was held up: who has no car is sent nothing.
        gone = now - (self._gauges.frame_at or 0.0) > _GONE_S + self._config.watchdog.frame_s
        if gone and self._helm.is_attached:
            with self._lock:
                self._state.miss_frames()
                self._permit()
            self._helm.detach()
            self._halts = self._helm.halts
        if now - self._shown > _SHOWN_S:
            self._show(None)

    def _change_driver(self) -> None:
        """Lets another driver take the seat, once the car stands and may not move."""
        with self._lock:
            name = self._next_driver
            if not name or (self._state.has_car and (self._state.go or self._gauges.speed > REST)):
                return
            self._next_driver = ""
        try:
            self._seat.change(name)
        except Exception as error:
            self._journal.fault("driver change", f"{name} cannot drive: {error}")
        else:
            self._sit_down("as ordered")

    def _sit_down(self, reason: str) -> None:
        """Another driver is in the seat: its camera is mounted where it has another one."""
        self._driving.sit_down()
        self._journal.note("driver", {"name": self._seat.name, "reason": reason})
        self._journal.say("info", f"{self._seat.name} drives: {reason}.")
        wanted = fitting.link_config(self._config, self._seat.description)
        if wanted.camera == self._link.config.camera:
            return
        if self._configured:
            self._helm.detach()
            self._link.configure(wanted)
        else:
            self._link.config = wanted

    def _look_after(self, *, at_once: bool = False) -> None:
        """Looks at link and record now and then."""
        now = time.perf_counter()
        if now - self._looked < _LOOKS_S and not at_once:
            return
        self._looked = now
        figures = self._link.statistics()
        with self._lock:
            self._gauges.look(figures, self._driving.pacing, self._seat, self._journal)
        self._journal.note("link", {"state": "figures", **dataclasses.asdict(figures)})

    def _show(self, picture: bytes | None) -> None:
        self._shown = time.perf_counter()
        self._journal.show(self.status, picture)

    def _trouble(self) -> str:
        """Returns why a car that may move does not, empty if it does."""
        if self._unfit:
            return "the host is of another generation than the driver"
        if self._helm.is_halted:
            return "no frames come"
        return "the driver gives no answer" if self._stalled else ""

    @property
    def laps(self) -> int:
        """Laps since the start, those of all runs."""
        return self._gauges.laps.count

    @property
    def status(self) -> CarStatus:
        """How the car is doing; any thread may ask."""
        with self._lock:
            host = f"{self._config.host}:{self._config.port}"
            phase: tuple[Phase, str] = ("connecting", f"to {host}")
            if self.failure is not None:
                phase = ("out", str(self.failure))
            elif self._connected:
                is_reversing = self._driving.recovery.is_reversing
                phase = self._gauges.phase(self._state, self._trouble(), is_reversing)
            return self._gauges.status(
                (self.name, host),
                phase,
                self._state,
                (self._seat, self._next_driver),
                self._helm.last,
                self._journal,
            )
