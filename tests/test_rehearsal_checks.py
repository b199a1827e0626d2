"""The checks of a rehearsal find every broken rule in what was seen, and nothing else."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from donkey_rl.race_server.rehearsal import checks, faults, record_checks
from donkey_rl.race_server.rehearsal.checks import Violation
from donkey_rl.race_server.rehearsal.faults import Fault, Injected
from donkey_rl.race_server.rehearsal.record_checks import FrameLine
from donkey_rl.race_server.rehearsal.sightings import (
    CommandSeen,
    EventSeen,
    FrameSeen,
    HeldUp,
    Kind,
    Sightings,
)

STEP_S = 0.05
BRAKE = (0.0, 0.0, 1.0)
DRIVE = (0.1, 0.5, 0.0)


def event(at: float, kind: Kind, detail: str = "", link: int = 0) -> EventSeen:
    return EventSeen(at, link, kind, detail)


def drive(
    seen: Sightings,
    begin: float,
    end: float,
    *,
    command: tuple[float, float, float] = DRIVE,
    speed: float = 5.0,
    link: int = 0,
) -> None:
    """Frames, and commands right after them."""
    for k in range(round((end - begin) / STEP_S)):
        at = begin + k * STEP_S
        seen.frames.append(FrameSeen(at, link, at, speed))
        seen.commands.append(CommandSeen(at + 0.005, link, *command))


def evening() -> Sightings:
    """Practice: waiting for a second, GO by hand, driving until 30 s."""
    seen = Sightings()
    seen.events += [
        event(0.0, "stage", "practice"),
        event(0.0, "opened"),
        event(0.1, "car_loaded"),
    ]
    drive(seen, 0.2, 1.0, command=BRAKE, speed=0.0)
    seen.events.append(event(1.0, "go", link=-1))
    drive(seen, 1.0, 30.0)
    return seen


def all_of(seen: Sightings, *injected: Injected) -> list[Violation]:
    return [
        *checks.uncommanded(seen),
        *checks.unbraked(seen),
        *checks.late_returns(checks.returns(seen, injected)),
        *checks.misdeeds(injected),
    ]


def injected(at: float, until: float, kind: faults.FaultKind = "silence") -> Injected:
    return Injected(Fault(kind, until - at), at, until)


def without_frames(seen: Sightings, begin: float, end: float, braked_s: float) -> None:
    """Frames stop; the car is braked so long after the last one, and again every 100 ms."""
    seen.frames = [each for each in seen.frames if not begin <= each.at < end]
    kept = [each for each in seen.commands if not begin <= each.at < end]
    braked = max(each.at for each in seen.frames if each.at < begin) + braked_s
    beats = [braked + 0.1 * k for k in range(round((end - braked) / 0.1))]
    made = [CommandSeen(at, 0, *BRAKE) for at in beats]
    seen.commands = sorted([*kept, *made], key=lambda each: each.at)


def test_an_evening_as_it_should_be_breaks_no_rule() -> None:
    seen = evening()
    without_frames(seen, 10.0, 12.0, braked_s=0.15)
    assert all_of(seen, injected(10.0, 12.0)) == []
    (back,) = checks.returns(seen, [injected(10.0, 12.0)])
    assert back.how == "moving"
    assert back.back_s == pytest.approx(0.05, abs=0.06)


@pytest.mark.parametrize("command", [(0.0, 0.1, 0.0), (0.3, 0.0, 1.0), (0.0, -0.2, 0.0)])
def test_a_command_before_go_is_found(command: tuple[float, float, float]) -> None:
    seen = evening()
    seen.commands[4] = CommandSeen(seen.commands[4].at, 0, *command)
    (found,) = all_of(seen)
    assert found.rule == "nothing moves before GO"
    assert found.at == seen.commands[4].at


def test_many_commands_in_a_row_are_one_violation() -> None:
    seen = evening()
    seen.events = [each for each in seen.events if each.kind != "go"]
    (found,) = checks.uncommanded(seen)
    assert found.text.startswith(f"{round(29.0 / STEP_S)} commands")


@pytest.mark.parametrize(
    ("kind", "stage", "ends"),
    [
        ("race_stop", "practice", True),
        ("host down", "practice", True),
        ("DQ", "practice", False),
        ("closed", "practice", False),
        ("DQ", "stage_1_race", True),
        ("closed", "qualifying", True),
        ("car_loaded", "qualifying", True),
    ],
)
def test_what_ends_go(kind: Kind, stage: str, ends: bool) -> None:
    seen = evening()
    seen.events += [event(14.0, "stage", stage), event(15.0, kind)]
    found = checks.uncommanded(seen)
    assert bool(found) == ends
    if ends:
        # Commands that were under way are not meant.
        assert found[0].at == pytest.approx(15.0 + checks.BRAKE_S, abs=STEP_S)
    # It is said again.
    seen.events.append(event(15.1, "race_start"))
    assert checks.uncommanded(seen) == []


def test_a_car_that_is_braked_too_late_is_found() -> None:
    seen = evening()
    without_frames(seen, 10.0, 12.0, braked_s=0.35)
    (found,) = all_of(seen)
    assert found.rule == "braked 200 ms after the last frame"
    # An observer that was late itself cannot tell.
    seen.held_up.append(HeldUp(10.2, 0.4))
    assert all_of(seen) == []


def test_a_car_that_lets_go_of_the_brake_in_the_dark_is_found() -> None:
    seen = evening()
    without_frames(seen, 10.0, 12.0, braked_s=0.15)
    k = next(k for k, each in enumerate(seen.commands) if each.at > 11.0)
    seen.commands[k] = CommandSeen(seen.commands[k].at, 0, *DRIVE)
    assert [each.rule for each in all_of(seen)] == ["braked 200 ms after the last frame"]


def test_frames_that_cannot_be_used_are_none() -> None:
    seen = evening()
    seen.frames = [
        dataclasses.replace(each, whole=not 10.0 <= each.at < 11.0) for each in seen.frames
    ]
    assert [each.rule for each in all_of(seen)] == ["braked 200 ms after the last frame"]


def test_a_connection_without_a_whole_frame_has_nothing_to_brake_for() -> None:
    seen = evening()
    seen.events += [event(31.0, "opened", link=1), event(32.0, "closed", link=1)]
    seen.frames.append(dataclasses.replace(seen.frames[-1], at=31.5, link=1, whole=False))
    assert checks.unbraked(seen) == []


def test_a_car_without_connection_cannot_brake() -> None:
    seen = evening()
    seen.frames = [each for each in seen.frames if each.at < 10.0]
    seen.commands = [each for each in seen.commands if each.at < 10.0]
    seen.events.append(event(10.1, "closed"))
    assert checks.unbraked(seen) == []


def test_a_car_that_does_not_come_back_is_found() -> None:
    seen = evening()
    fault = injected(10.0, 12.0)
    without_frames(seen, 10.0, 12.0, braked_s=0.15)
    stands = [
        dataclasses.replace(each, speed=0.0) if 12.0 <= each.at < 18.0 else each
        for each in seen.frames
    ]
    seen.frames = stands
    (found,) = all_of(seen, fault)
    assert found.rule == "back within 5 s"
    assert "6.0 s" in found.text
    (named,) = checks.with_causes([found], [fault])
    assert named.after == "silence (2.0 s)"


def test_a_car_that_may_not_move_must_be_connected() -> None:
    seen = evening()
    seen.events.append(event(14.0, "race_stop"))
    seen.events.append(event(14.0, "stage", "pre_event"))
    seen.frames = [each for each in seen.frames if each.at < 14.0]
    kept = [each for each in seen.commands if each.at < 14.0]
    seen.commands = [*kept, CommandSeen(14.05, 0, *BRAKE)]
    seen.events.append(event(20.0, "closed"))
    fault = injected(20.0, 20.0, "connection reset")
    (found,) = all_of(seen, fault)
    assert found.text == "did not connect"
    seen.events += [event(21.0, "opened", link=1), event(21.5, "racer_info", link=1)]
    assert all_of(seen, fault) == []
    (back,) = checks.returns(seen, [fault])
    assert (back.how, back.back_s) == ("connected", 1.5)


def test_after_race_start_the_time_counts_from_it() -> None:
    seen = evening()
    seen.events += [event(14.0, "stage", "stage_1_race"), event(14.0, "closed")]
    seen.frames = [each for each in seen.frames if each.at < 14.0]
    seen.commands = [each for each in seen.commands if each.at < 14.0]
    seen.events += [event(15.0, "opened", link=1), event(15.2, "racer_info", link=1)]
    drive(seen, 16.0, 24.0, command=BRAKE, speed=0.0, link=1)
    seen.events.append(event(24.0, "race_start", link=1))
    drive(seen, 24.0, 30.0, link=1)
    fault = injected(14.0, 14.5, "host killed")
    assert all_of(seen, fault) == []
    (back,) = checks.returns(seen, [fault])
    assert back.how == "moving"
    assert back.back_s == pytest.approx(0.05, abs=0.06)


def test_what_a_fault_did_beside_the_link_is_a_violation() -> None:
    hammered = dataclasses.replace(injected(5.0, 6.0, "page hammered"), problem="it opened")
    assert [each.text for each in all_of(evening(), hammered)] == ["it opened"]


def recorded(seen: Sightings) -> tuple[list[FrameLine], list[CommandSeen]]:
    """What a record holds of it."""
    frames = [FrameLine(each.at + 0.001, each.time_s, 0) for each in seen.frames]
    return frames, [dataclasses.replace(each, at=each.at - 0.001) for each in seen.commands]


def test_a_whole_record_misses_nothing() -> None:
    seen = evening()
    frames, commands = recorded(seen)
    assert record_checks.lost_frames(seen, frames, 40.0) == []
    assert record_checks.lost_commands(seen.commands, commands) == []


def test_a_frame_that_is_not_recorded_is_found_unless_it_was_skipped() -> None:
    seen = evening()
    frames, _ = recorded(seen)
    del frames[100:102]
    (found,) = record_checks.lost_frames(seen, frames, 40.0)
    assert found.text.startswith("2 frames")
    frames[100] = dataclasses.replace(frames[100], skipped=2)
    assert record_checks.lost_frames(seen, frames, 40.0) == []


def test_a_record_that_ends_early_is_found() -> None:
    seen = evening()
    frames, _ = recorded(seen)
    (found,) = record_checks.lost_frames(seen, frames[:-40], 40.0)
    assert found.text == "the last 40 frames of a link"
    assert record_checks.lost_frames(seen, [], 40.0)


def test_a_command_that_is_not_recorded_is_found() -> None:
    seen = evening()
    _, commands = recorded(seen)
    k = next(k for k, each in enumerate(commands) if each.moves)
    seen.commands[k] = dataclasses.replace(seen.commands[k], throttle=0.123)
    (found,) = record_checks.lost_commands(seen.commands, commands)
    assert "0.123" in found.text


def test_faults_are_drawn_from_their_seed_and_of_every_kind() -> None:
    drawn = faults.draw(40, 7)
    assert drawn == faults.draw(40, 7) != faults.draw(40, 8)
    assert {each.kind for each in drawn[:10]} == set(faults.KINDS)
    silences = [each.seconds for each in faults.draw(2000, 1) if each.kind == "silence"]
    assert 1.0 <= min(silences) < 1.5
    assert 25.0 < max(silences) <= 30.0


def test_a_full_disk_is_drawn_where_the_system_can_make_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert faults.possible() == faults.KINDS
    monkeypatch.setattr(sys, "platform", "darwin")
    drawn = faults.draw(40, 7, faults.possible())
    assert {each.kind for each in drawn} == set(faults.KINDS) - {"full disk"}
