"""From a new connection to a car that sends the wanted pictures, and back to its start."""

from __future__ import annotations

import math
import time

from donkey_rl.envs.link import commands, images, reports, setup_messages
from donkey_rl.envs.link.inbox import Arrival
from donkey_rl.envs.link.session import Session
from donkey_rl.errors import MessageError, UnknownNameError

_SHOWN_SCENES = 30
_REST = 0.05
"""Speed below which a car of 2022 is at rest; older ones report eight times as much."""

_NEAR = 0.125
"""Distance from the start within which such a car is at its start."""

_OLD_SCALE = 8.0

_ANSWER_S = 0.5
"""Within this time a simulator in lock-step answers; in real time something comes sooner."""

CAR_OF_A_RACE = "the race host's car"
"""What is awaited where a race host has been told who takes part."""


def enter(session: Session) -> None:
    """Goes through menu, race host or running scene until the car sends the wanted pictures.

    Raises:
        UnknownNameError: The simulator does not know the scene.
        LinkError: It does not answer, or not as it should.
    """
    config = session.config
    report = session.inbox.take_answer(
        (reports.SceneSelectionReady, reports.CarLoaded, reports.NeedCarConfig, reports.Telemetry),
        config.answer_timeout_s,
        "scene_selection_ready, car_loaded or need_car_config",
        patient=False,
    )
    if isinstance(report, reports.SceneSelectionReady):
        load_scene(session)
        report = session.inbox.take_answer(
            (reports.CarLoaded, reports.NeedCarConfig),
            config.load_timeout_s,
            "car_loaded",
            patient=True,
        )
    if isinstance(report, reports.NeedCarConfig):
        introduce(session)
        session.inbox.take_answer(
            (reports.CarLoaded,), config.race_timeout_s, CAR_OF_A_RACE, patient=True
        )
    session.inbox.take_calls()
    _configure(session)


def attend(session: Session) -> bool:
    """Answers `car_loaded` and `need_car_config` that came meanwhile: all is configured again.

    Returns:
        Whether there is a new car; it stands with its brake on.

    Raises:
        LinkError: The simulator does not answer.
    """
    calls = session.inbox.take_calls()
    if any(isinstance(call, reports.NeedCarConfig) for call in calls):
        introduce(session)
    is_new = any(isinstance(call, reports.CarLoaded) for call in calls)
    if is_new:
        _configure(session)
    return is_new


def load_scene(session: Session) -> None:
    """Has the menu load the wanted scene; `car_loaded` follows once it is there.

    Raises:
        UnknownNameError: The simulator does not know the scene.
        LinkError: It does not answer, or no scene is wanted.
    """
    session.send(commands.GetSceneNames())
    names = session.inbox.take_answer(
        (reports.SceneNames,), session.config.answer_timeout_s, "scene_names", patient=False
    ).names
    session.scene_names = names
    scene = session.config.scene
    if scene is None:
        raise session.peer.foreign(
            "The simulator stands in its menu",
            "a loaded scene",
            "Name the scene to load (--track, or --set link.scene=NAME beside a track file), one "
            f"of: {', '.join(names[:_SHOWN_SCENES])}.",
        )
    if scene not in names:
        raise UnknownNameError("scene", scene, names)
    session.send(commands.LoadScene(scene))


def introduce(session: Session) -> None:
    """Tells a race host who drives what, before there is a car.

    Raises:
        LinkError: The connection failed.
    """
    session.send(setup_messages.racer_info(session.config, session.guid))
    for command in setup_messages.sensors(session.config):
        session.send(command)


def mount(session: Session) -> int:
    """Brakes and mounts everything on the car; returns how many messages had come before.

    Raises:
        LinkError: The connection failed.
    """
    session.brake()
    number = 0
    for command in setup_messages.sensors(session.config):
        number = session.numbered(command)
    return number


def _configure(session: Session) -> None:
    _await_size(session, mount(session))


def _await_size(session: Session, number: int) -> None:
    """Waits for a picture of the wanted size; those before `cam_config` counts have others."""
    wanted = session.config.camera.shape
    deadline = time.perf_counter() + session.config.answer_timeout_s
    complaint = ""
    while True:
        arrival = session.next_telemetry(number, deadline, "telemetry")
        if arrival is None:
            break
        number = arrival.number
        try:
            shape = images.decode(arrival.telemetry.image).shape
        except MessageError as error:
            session.inbox.note_dropped("telemetry: image")
            complaint = f"Its pictures cannot be used: {error}"
        else:
            if shape == wanted:
                return
            complaint = wrong_size(shape, wanted)
    if complaint:
        raise session.peer.foreign(
            complaint, "telemetry", "Update the simulator: it ignores cam_config."
        )
    waited = session.config.answer_timeout_s
    raise session.peer.late(f"No telemetry came within {waited:g} s", "telemetry")


def wrong_size(shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Returns what is wrong with a picture of another size.

    >>> wrong_size((240, 320, 3), (120, 160, 3))
    'Its pictures have 320 x 240 pixels, 160 x 120 were asked for'
    """
    found = f"Its pictures have {shape[1]} x {shape[0]} pixels"
    return f"{found}, {wanted[1]} x {wanted[0]} were asked for"


def reset(session: Session) -> Arrival:
    """Puts the car back to its start, and returns the first telemetry from there.

    Brake, reset and brake are sent in this order, each answered by a frame or followed by a
    pause. What is returned came at least two messages and one round trip after the reset, with
    the car at rest, at its start where positions are sent, and touching nothing: no message that
    was under way can be taken for it. A simulator in lock-step answers each of the three with
    one message, of which the last is returned.

    Raises:
        LinkTimeout: No such telemetry comes.
        LinkError: The connection failed.
    """
    inbox = session.inbox
    spacing = session.config.config_spacing_s
    # Servers of 2022 take what comes together apart; the frame awaited is pause enough.
    spaced = None if not inbox.is_of_2022 else False
    # In lock-step a late answer would be taken for that to the next command.
    patience = max(spacing, _ANSWER_S) if inbox.is_of_2022 else spacing
    deadline = time.perf_counter() + session.config.reset_timeout_s
    awaited = "telemetry after reset_car"
    inbox.wait_telemetry(session.brake(), patience, awaited)
    sent_at = session.numbered(commands.ResetCar(), spaced=spaced)
    earliest = time.perf_counter() + inbox.shortest_round_trip()
    inbox.wait_telemetry(sent_at, patience, awaited)
    session.brake()
    number = sent_at + 1
    inbox.wait_telemetry(number, patience, awaited)
    seen = "no telemetry"
    while True:
        arrival = session.next_telemetry(number, deadline, awaited)
        if arrival is None:
            raise session.peer.late(
                f"The car is not at rest on its start {session.config.reset_timeout_s:g} s "
                f"after reset_car; last seen: {seen}",
                awaited,
                "See whether something keeps it from there; a training or evaluation waits longer "
                f"with --set link.reset_timeout_s={2 * session.config.reset_timeout_s:g}.",
            )
        number = arrival.number
        if arrival.arrived >= earliest and is_at_start(arrival.telemetry, inbox.spawn):
            return arrival._replace(hits=(), skipped=0)
        told = arrival.telemetry
        seen = f"speed {told.speed:.3g}, place {told.position}, hit '{told.hit}'"


def is_at_start(told: reports.Telemetry, spawn: reports.Vector | None) -> bool:
    """Whether a car is at rest, touches nothing, and is at its start where that is known.

    Args:
        told: What it senses.
        spawn: Its start in the same units, if known; the height does not count.
    """
    scale = 1.0 if told.is_of_2022 else _OLD_SCALE
    if abs(told.speed) > _REST * scale or told.hit != "none":
        return False
    if spawn is None or told.position is None:
        return True
    gap = math.hypot(told.position[0] - spawn[0], told.position[2] - spawn[2])
    return gap <= _NEAR * scale
