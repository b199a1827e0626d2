"""The page that a person drives by, over its WebSocket: no browser needed."""

from __future__ import annotations

import contextlib
import json
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

from donkey_rl import pictured_json
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.experiments.interruption import Interruption
from donkey_rl.experiments.racing import Field
from donkey_rl.experiments.recording import cockpit as cockpits
from donkey_rl.experiments.recording import messages, person, server
from donkey_rl.experiments.recording.cockpit import Cockpit, Controls
from donkey_rl.experiments.recording.person import Goal, Session
from donkey_rl.experiments.recording.server import PageServer
from donkey_rl.experiments.recording.tape import Tape
from donkey_rl.metrics import race_file
from donkey_rl.metrics.race import Race
from tests.embedded_source import EmbeddedSource

CONFIG = EnvironmentConfig(camera=CameraConfig(img_w=32, img_h=24), throttle_min=-1.0)
DEADLINE_S = 60.0


class Driven:
    """A session that runs in a thread of its own, with its page."""

    def __init__(self, folder: pathlib.Path, goal: Goal, field: Field | None = None) -> None:
        self.lines: list[str] = []
        self.ended = ""
        self.cockpit = Cockpit()
        self.tape = Tape(folder, frames=True)
        self.field = field or Field(CONFIG, 1, seed=3)
        self.interruption = Interruption()
        self.session = Session(self.field, self.cockpit, self.tape, goal, self.lines.append)
        self.page = PageServer(self.cockpit, "127.0.0.1", 0)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.ended = self.session.run(self.interruption)

    @property
    def port(self) -> int:
        return self.page.access.port

    def connect(self, **headers: str) -> ClientConnection:
        origin = headers.pop("origin", f"http://127.0.0.1:{self.port}")
        return connect(
            f"ws://127.0.0.1:{self.port}/drive",
            additional_headers={"Origin": origin},
            compression=None,
            max_size=1 << 20,
            open_timeout=DEADLINE_S,
        )

    def stop(self) -> None:
        self.interruption.requested = True
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def driven(
    folder: pathlib.Path,
    goal: Goal | None = None,
    field: Field | None = None,
    asleep_s: float = DEADLINE_S,
) -> Iterator[Driven]:
    made = Driven(folder, goal or Goal(), field)
    with (
        pytest.MonkeyPatch.context() as patched,
        contextlib.closing(made.field),
        made.tape,
        made.page,
    ):
        # Who is held up for a while is not asleep.
        patched.setattr(person, "ASLEEP_S", asleep_s)
        made.thread.start()
        try:
            yield made
        finally:
            made.stop()


def say(link: ClientConnection, **values: Any) -> None:
    link.send(json.dumps(values))


def state_of(link: ClientConnection) -> dict[str, Any]:
    content = link.recv(timeout=DEADLINE_S)
    assert isinstance(content, bytes)
    text, picture = pictured_json.parted(content)
    assert picture.startswith(b"\xff\xd8")
    state: dict[str, Any] = json.loads(text)
    return state


def drive(
    link: ClientConnection, wanted: Any, steering: float = 0.0, throttle: float = 0.3
) -> Any:
    """Answers every frame until a state is as wanted, which is returned."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        state = state_of(link)
        pedals = {"steering": steering, "throttle": throttle, "brake": 0.0}
        say(link, do="drive", seen=state["n"], **pedals)
        if wanted(state):
            return state
    raise TimeoutError("The state did not become as wanted.")


def record(link: ClientConnection) -> None:
    """Begins to record, as somebody at the wheel: who has said nothing yet is not recorded."""
    drive(link, lambda state: True, throttle=0.0)
    say(link, do="record")


def test_a_person_drives_over_the_socket_and_the_race_holds_the_commands(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it commands holds however late the next command is.
    monkeypatch.setattr(cockpits, "FRESH_S", 60.0)
    quick: list[bool] = []

    def enough(state: Any) -> bool:
        quick.append((state["latency_ms"] or 1e9) < 50.0)
        return bool(state["recorded_s"] >= 1.5 and sum(quick) > 20)

    with driven(tmp_path) as made, made.connect() as link:
        drive(link, lambda state: state["driving"], throttle=0.0)
        began = time.monotonic()
        say(link, do="record")
        drive(link, lambda state: state["recording"], throttle=0.0)
        drive(link, enough, steering=0.125, throttle=0.25)
        # The embedded simulator is held to real time.
        assert time.monotonic() - began > 1.1
        say(link, do="record")
        drive(link, lambda state: not state["recording"])
    (file,) = made.tape.files
    race = Race.load(file)
    assert race.header.driver == "human"
    assert race["time_s"][0] == 0.0
    driven_rows = race["throttle"] == np.float32(0.25)
    assert driven_rows.sum() > 15
    assert (race["steering"][driven_rows] == 0.125).all()
    assert race["speed"][-1] > 1.0
    assert race["progress"][-1] - race["progress"][0] > 1.0
    assert len([frame for frame in race_file.frames(file) if frame]) == len(race)
    answered = race["latency_ms"][~race["missed"] & driven_rows]
    # A busy machine is late now and then.
    assert np.sort(answered)[10] < 60.0
    assert any(line.startswith("Recorded: ") for line in made.lines)


def test_a_silent_page_brakes_the_car_and_ends_the_race(tmp_path: pathlib.Path) -> None:
    with driven(tmp_path, asleep_s=5.0) as made, made.connect() as link:
        record(link)

        def is_fast(state: Any) -> bool:
            return bool(state["recording"] and state["speed"] > 2.0 and state["throttle"] > 0.0)

        fast = drive(link, is_fast)
        assert fast["throttle"] == pytest.approx(0.3)
        # The page still looks, but it says nothing any more.
        end = time.monotonic() + DEADLINE_S
        throttles = []
        state = fast
        while state["recording"] and time.monotonic() < end:
            state = state_of(link)
            throttles.append(state["throttle"])
            say(link, do="look", seen=state["n"])
        assert not state["recording"]
        assert min(throttles) < -0.5
        assert state["speed"] < 0.5
    assert len(made.tape.files) == 1


def test_a_page_that_is_loaded_again_ends_no_race(tmp_path: pathlib.Path) -> None:
    with driven(tmp_path) as made:
        with made.connect() as link:
            record(link)
            drive(link, lambda state: state["recording"] and state["speed"] > 2.0)
        closed, ends = made.cockpit.shown.number, time.monotonic() + DEADLINE_S
        while made.cockpit.shown.number < closed + 3:
            assert time.monotonic() < ends
            time.sleep(0.01)
        with made.connect() as link:
            again = drive(link, lambda state: state["driving"] and state["speed"] > 0.5)
            assert again["recording"]
            # Nobody held the wheel meanwhile.
            assert again["recorded_s"] > 0.0
    (file,) = made.tape.files
    assert Race.load(file)["throttle"].min() < -0.5


def test_reset_goes_on_recording_in_another_file(tmp_path: pathlib.Path) -> None:
    with driven(tmp_path) as made, made.connect() as link:
        record(link)
        drive(link, lambda state: state["recording"] and state["speed"] > 1.0)
        say(link, do="reset")
        drive(link, lambda state: state["files"] == 2 and state["speed"] > 0.5)
        say(link, do="pause")
        paused = drive(link, lambda state: state["paused"])
        still = drive(link, lambda state: state["n"] > paused["n"] + 1)
        assert still["recorded_s"] == paused["recorded_s"]
        say(link, do="pause")
        drive(link, lambda state: state["recorded_s"] > paused["recorded_s"])
    assert [path.name for path in made.tape.files] == ["race_00.parquet", "race_01.parquet"]
    first, second = (Race.load(path) for path in made.tape.files)
    assert first.header.seed + 1 == second.header.seed
    assert second["speed"][0] == 0.0


def test_the_goal_ends_the_session_and_a_closed_page_lets_go(tmp_path: pathlib.Path) -> None:
    with driven(tmp_path, Goal(seconds=0.5)) as made:
        with made.connect() as link:
            record(link)
            last = drive(link, lambda state: state["ended"])
            assert "minutes are recorded" in last["ended"]
        made.thread.join(DEADLINE_S)
        assert made.ended == last["ended"]
    assert Race.load(made.tape.files[0]).duration_s >= 0.5


def test_one_page_drives_and_another_takes_over_when_it_leaves(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SILENT_S", 600.0)
    with driven(tmp_path) as made, made.connect() as first, made.connect() as other:
        state = drive(other, lambda state: True)
        assert not state["driving"]
        assert not state["free"]
        # A viewer's commands and wishes are none.
        say(other, do="record")
        state = drive(first, lambda state: state["speed"] > 0.5)
        assert state["driving"]
        assert not state["recording"]
        first.close()
        drive(other, lambda state: state["free"])
        say(other, do="take")
        assert drive(other, lambda state: state["driving"])["driving"]


def test_the_wheel_of_a_page_that_says_nothing_more_is_free(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after the loss of its network: the connection stays, and nothing comes.
    monkeypatch.setattr(server, "_SILENT_S", 0.5)
    with driven(tmp_path) as made, made.connect() as first, made.connect() as other:
        assert drive(first, lambda state: state["speed"] > 0.5)["driving"]
        assert drive(other, lambda state: state["free"])["free"]
        say(other, do="take")
        assert drive(other, lambda state: state["driving"])["driving"]
        # It looks on when it is back; a page that is opened now does so as well.
        assert not drive(first, lambda state: not state["driving"])["driving"]
        # Whoever opens the page while nobody says anything drives at once.
        time.sleep(0.6)
        with made.connect() as third:
            assert drive(third, lambda state: state["driving"])["driving"]


def test_another_simulator_keeps_its_own_time(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"simulator": "10.0.0.7:9091"})
    world = RemoteWorld(config, [EmbeddedSource(config)])
    world.missed[:] = 3  # of an earlier drive
    field = Field(config, 1, seed=3, world=world)
    monkeypatch.setattr(person, "_ANSWER_S", 1.0)
    with driven(tmp_path, field=field) as made, made.connect() as link:
        record(link)
        drive(link, lambda state: state["recording"] and state["speed"] > 1.0)
        say(link, do="pause")
        state = drive(link, lambda state: state["recorded_s"] > 2.0)
        assert not state["paused"]
        assert not state["can_pause"]
    race = Race.load(made.tape.files[0])
    assert race.header.simulator == "10.0.0.7:9091"
    assert race["missed"].mean() < 0.5
    assert race["progress"][-1] > 1.0


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"do": "drive", "steering": 2, "throttle": 0, "brake": 0, "seen": 1}',
        '{"do": "drive", "steering": NaN, "throttle": 0, "brake": 0, "seen": 1}',
        '{"do": "drive", "steering": 0, "throttle": 1e999, "brake": 0, "seen": 1}',
        '{"do": "drive", "steering": "0", "throttle": 0, "brake": 0, "seen": 1}',
        '{"do": "drive", "steering": 0, "throttle": 0, "brake": 0, "seen": -1}',
        '{"do": "quit"}',
        "[" * 400,
        " " * (messages.MOST_BYTES + 1),
    ],
)
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        messages.read(text)


def test_commands_age() -> None:
    now = [0.0]
    cockpit = Cockpit(clock=lambda: now[0])
    cockpit.publish(b"", {})
    now[0] = 0.02
    cockpit.command(Controls(0.5, 0.5), seen=1)
    assert cockpit.held() == cockpits.Held(Controls(0.5, 0.5), 0.02, True)
    # Another frame that is not answered yet: the command stays, as old as what it had seen.
    cockpit.publish(b"", {})
    now[0] = 0.07
    assert cockpit.held() == cockpits.Held(Controls(0.5, 0.5), 0.07, False)
    now[0] = 0.02 + cockpits.FRESH_S + 0.001
    assert cockpit.held().controls == cockpits.BRAKING


def test_a_slow_page_gets_the_newest_frame_and_no_queue(tmp_path: pathlib.Path) -> None:
    with driven(tmp_path) as made, made.connect() as driver, made.connect() as slow:
        # It says nothing: so many are sent, and no more.
        for _ in range(server._IN_FLIGHT):
            last = state_of(slow)["n"]
        drive(driver, lambda state: state["n"] > last + 20)
        with pytest.raises(TimeoutError):
            slow.recv(timeout=0.2)
        say(slow, do="look", seen=last)
        assert state_of(slow)["n"] > last + 20
