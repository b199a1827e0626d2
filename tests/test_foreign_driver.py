"""A stranger's driver: its own process, the clock of a race, and all the ways to fail."""

from __future__ import annotations

import math
import pathlib
import textwrap
import time

import numpy as np
import pytest
from gymnasium import spaces

from donkey_rl.errors import DriverError
from donkey_rl.experiments import foreign_driver
from donkey_rl.experiments.foreign_driver import ForeignPilot

SPACE = spaces.Dict(
    {
        "image": spaces.Box(0, 255, (2, 3, 3), np.uint8),
        "speed": spaces.Box(0.0, 100.0, (1,), np.float32),
        "last_actions": spaces.Box(-1.0, 1.0, (4,), np.float32),
    }
)
STANDING = np.array([0.0, -1.0], np.float32)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other tests answers too."""
    monkeypatch.setattr(foreign_driver, "SILENCE_S", 60.0)


DRIVERS = """
    import os
    import sys
    import time

    import numpy as np

    class Echo:
        def __init__(self):
            self.steps = 0

        def reset(self):
            self.steps = 0

        def act(self, observation):
            print("what it prints is nobody's business")
            self.steps += 1
            image, last = observation["image"], observation["last_actions"]
            assert image.shape == (2, 3, 3) and image.dtype == np.uint8
            return image[1, 2, 0] / 100.0, float(observation["speed"][0]) + last[3]

    class Counts(Echo):
        def act(self, observation):
            super().act(observation)
            return self.steps / 10.0, 0.0

    class Raises(Echo):
        def act(self, observation):
            if observation["speed"][0] > 0.5:
                return 1 / 0
            return 0.0, 0.0

    class Exits(Echo):
        def act(self, observation):
            sys.exit("enough")

    class NaN(Echo):
        def act(self, observation):
            return float("nan"), 0.0

    class Three(Echo):
        def act(self, observation):
            return np.zeros(3)

    class Text(Echo):
        def act(self, observation):
            return "left"

    class Dies(Echo):
        def act(self, observation):
            print("\\x1b[2J good\\tbye", flush=True)
            os._exit(3)

    class Hangs(Echo):
        def act(self, observation):
            while observation["speed"][0] > 0.5:
                time.sleep(1.0)
            return 0.0, 0.0

    class Eats(Echo):
        def act(self, observation):
            self.much = np.ones(9 * 2**30, np.uint8)
            return 0.0, 0.0

    class Sleeps(Echo):
        def act(self, observation):
            self.steps += 1
            if self.steps == 2:
                time.sleep(0.3)
            return self.steps / 10.0, 0.0

    class Forges(Echo):
        content = b"abc"

        def act(self, observation):
            frame = sys._getframe()
            while "answers" not in frame.f_locals:
                frame = frame.f_back
            size = len(self.content).to_bytes(4, "little")
            frame.f_locals["answers"].write(size + b"a" + self.content)
            return 0.0, 0.0

    class ForgesNaN(Forges):
        content = np.array([np.nan, 0.0]).tobytes()

    class Refuses:
        def __init__(self):
            raise ValueError("no weights")

    class Idle:
        pass

    def factory():
        return Echo()
"""


def line(text: str) -> int:
    """Returns the number of the line of `DRIVERS` that holds a text."""
    return 1 + next(k for k, each in enumerate(DRIVERS.splitlines()) if text in each)


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "theirs.py"
    path.write_text(textwrap.dedent(DRIVERS))
    return path


def seen(speeds: list[float]) -> dict[str, np.ndarray]:
    """What cars see: their number in one pixel, and a speed each."""
    image = np.zeros((len(speeds), 2, 3, 3), np.uint8)
    image[:, 1, 2, 0] = 10 * np.arange(len(speeds))
    last = np.tile(np.float32([0.0, 0.0, 0.0, 0.25]), (len(speeds), 1))
    return {
        "image": image,
        "speed": np.array(speeds, np.float32)[:, None],
        "imu": np.zeros((len(speeds), 6), np.float32),
        "last_actions": last,
    }


def all_drive(cars: int) -> np.ndarray:
    return np.ones(cars, np.bool_)


@pytest.mark.parametrize("name", ["Echo", "factory"])
def test_each_car_has_a_driver_of_its_own_that_sees_its_frame(
    file: pathlib.Path, name: str
) -> None:
    with ForeignPilot(file, name, SPACE, STANDING) as pilot:
        pilot.begin(2)
        actions = pilot.drive(seen([0.5, 0.125]), all_drive(2))
        # Pixel / 100: 0 and 10 / 100; speed + 0.25.
        np.testing.assert_allclose(actions, [[0.0, 0.75], [0.1, 0.375]])
        assert pilot.failures == []
        assert not pilot.lost.any()
        assert (pilot.latency_ms > 0.0).all()


def test_a_car_that_has_finished_is_asked_no_more_and_a_race_resets_the_drivers(
    file: pathlib.Path,
) -> None:
    with ForeignPilot(file, "Counts", SPACE, STANDING, limit_s=60.0) as pilot:
        pilot.begin(2)
        pilot.drive(seen([0.0, 0.0]), all_drive(2))
        actions = pilot.drive(seen([0.0, 0.0]), np.array([True, False]))
        np.testing.assert_allclose(actions[:, 0], [0.2, 0.1])
        pilot.begin(2)
        actions = pilot.drive(seen([0.0, 0.0]), all_drive(2))
        np.testing.assert_allclose(actions[:, 0], [0.1, 0.1])


def test_commands_are_cut_to_the_range(file: pathlib.Path) -> None:
    with ForeignPilot(file, "Echo", SPACE, STANDING) as pilot:
        pilot.begin(1)
        assert pilot.drive(seen([9.0]), all_drive(1)).tolist() == [[0.0, 1.0]]


def test_a_late_answer_comes_into_force_as_late_and_frames_are_missed(
    file: pathlib.Path,
) -> None:
    with ForeignPilot(file, "Sleeps", SPACE, STANDING, limit_s=0.1) as pilot:
        pilot.begin(1)
        assert pilot.drive(seen([0.0]), all_drive(1))[0, 0] == pytest.approx(0.1)
        steering = [pilot.drive(seen([0.0]), all_drive(1))[0, 0]]
        # 0.3 s and a little: three deadlines of 0.1 s have passed, more on a busy machine.
        late = math.ceil(float(pilot.latency_ms[0]) / 100.0) - 1
        assert late >= 3
        missed = [bool(pilot.missed[0])]
        for _ in range(late):
            steering.append(pilot.drive(seen([0.0]), all_drive(1))[0, 0])
            missed.append(bool(pilot.missed[0]))
        np.testing.assert_allclose(steering, [0.1] * late + [0.2])
        assert missed == [True] * late + [False]
        # The frames in between were never shown: the next answer is the third, late as well on a
        # busy machine.
        action = pilot.drive(seen([0.0]), all_drive(1))
        for _ in range(math.ceil(float(pilot.latency_ms[0]) / 100.0) - 1):
            action = pilot.drive(seen([0.0]), all_drive(1))
        assert action[0, 0] == pytest.approx(0.3)


def test_time_in_which_this_process_stood_still_is_not_the_drivers(file: pathlib.Path) -> None:
    with ForeignPilot(file, "Echo", SPACE, STANDING) as pilot:
        pilot.begin(1)
        held = pilot._process
        assert held is not None
        held._deadline = time.monotonic() + 60.0
        with held._turning:
            held._turned -= 100.0  # As after Ctrl-Z.
        held.turn()
        assert held.stood_s == pytest.approx(100.0, abs=20.0)
        assert held._deadline - time.monotonic() == pytest.approx(160.0, abs=20.0)
        assert held.alive


def test_where_the_simulator_does_not_wait_nothing_is_held_back(file: pathlib.Path) -> None:
    with ForeignPilot(file, "Sleeps", SPACE, STANDING, limit_s=0.1, waits=False) as pilot:
        pilot.begin(1)
        found = [pilot.drive(seen([0.0]), all_drive(1))[0, 0] for _ in range(3)]
        np.testing.assert_allclose(found, [0.1, 0.2, 0.3])
        assert not pilot.missed.any()


def test_one_race_is_lost_and_the_others_go_on(file: pathlib.Path) -> None:
    with ForeignPilot(file, "Raises", SPACE, STANDING) as pilot:
        pilot.begin(2)
        pilot.drive(seen([0.0, 0.0]), all_drive(2))
        pilot.drive(seen([0.0, 1.0]), all_drive(2))
        assert pilot.lost.tolist() == [False, True]
        (failure,) = pilot.failures
        assert (failure.race, failure.step) == (1, 1)
        what = f"act() raised ZeroDivisionError: division by zero (line {line('1 / 0')})"
        assert failure.reason == what
        pilot.begin(2)
        pilot.drive(seen([1.0, 0.0]), all_drive(2))
        # The third race in all, number 2, in its first step.
        assert pilot.failures[1][:2] == (2, 0)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Exits", f"act() raised SystemExit: enough (line {line('enough')})"),
        ("NaN", "act() must return finite numbers. Received: [nan, 0.0]"),
        ("Three", "two numbers. Received: an array of shape (3,)"),
        ("Text", "two numbers. Received: 'left'"),
        ("Forges", "its process sent what is no answer, and was ended"),
        ("ForgesNaN", "its process sent what is no answer, and was ended"),
        ("Dies", "its process ended with exit code 3; its last words: [2J good bye"),
    ],
)
def test_what_a_driver_does_wrong_is_said(file: pathlib.Path, name: str, reason: str) -> None:
    with ForeignPilot(file, name, SPACE, STANDING) as pilot:
        pilot.begin(2)
        actions = pilot.drive(seen([0.0, 0.0]), all_drive(2))
        assert pilot.lost.all()
        assert all(reason in failure.reason for failure in pilot.failures)
        assert [failure.race for failure in pilot.failures] == [0, 1]
        # The command before stays in force, here the one of a car that stands.
        np.testing.assert_array_equal(actions, [STANDING, STANDING])
        # The next races begin anew, in another process if need be.
        pilot.begin(2)
        assert not pilot.lost.any()
        pilot.drive(seen([0.0, 0.0]), all_drive(2))
        assert [failure.race for failure in pilot.failures] == [0, 1, 2, 3]


def test_a_silent_driver_is_ended_and_its_races_are_lost(
    file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_driver, "SILENCE_S", 2.0)
    with ForeignPilot(file, "Hangs", SPACE, STANDING) as pilot:
        pilot.begin(3)
        pilot.drive(seen([0.0] * 3), all_drive(3))
        pilot.drive(seen([0.0, 1.0, 0.0]), np.array([True, True, True]))
        assert pilot.lost[1:].all()
        assert {failure.reason for failure in pilot.failures} == {"no answer within 2 s"}


@pytest.mark.skipif("sys.platform != 'linux'")
def test_memory_has_a_limit(file: pathlib.Path) -> None:
    with ForeignPilot(file, "Eats", SPACE, STANDING) as pilot:
        pilot.begin(1)
        pilot.drive(seen([0.0]), all_drive(1))
        assert "act() raised MemoryError" in pilot.failures[0].reason


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        (DRIVERS, "Ehco", "no class or function 'Ehco' but Echo."),
        ("class One: pass\ndef two(): pass\n", "x", "no class or function 'x' but One, two."),
        (
            DRIVERS,
            "Refuses",
            rf"Refuses\(\) raised ValueError: no weights \(line {line('no weights')}\)",
        ),
        (DRIVERS, "Idle", r"Idle\(\) gave a Idle without a method act\(observation\)"),
        ("import nothing_here", "X", "importing it raised ModuleNotFoundError: No module named"),
        ("\ndef f(:", "X", r"importing it raised SyntaxError: .* \(line 2\)"),
    ],
)
def test_a_file_that_has_no_driver_is_named(
    tmp_path: pathlib.Path, source: str, name: str, message: str
) -> None:
    path = tmp_path / "theirs.py"
    path.write_text(textwrap.dedent(source))
    pilot = ForeignPilot(path, name, SPACE, STANDING)
    with pilot, pytest.raises(DriverError, match=message) as caught:
        pilot.begin(1)
    assert f"{path}:{name}" in str(caught.value)
