"""What the display of progress writes, and how seldom."""

from __future__ import annotations

import io

import pytest

from donkey_rl.experiments import progress
from donkey_rl.experiments.progress import ProgressDisplay


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and counts how often it is written to."""

    writes = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def test_lines_come_every_ten_seconds_with_speed_fields_and_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay(stream, clock) as display, display.phase("training", 10_000) as phase:
        for second in range(1, 26):
            clock.now = 100.0 + second
            phase.update(100 * second, best_lap_s=21.444 if second > 15 else None, laps=3)
    # 1,000 of 10,000 after 10 s are 100/s, so 9,000 take 90 s more; after 20 s 8,000 take 80 s.
    assert stream.getvalue().splitlines() == [
        "training: 1,000/10,000 steps, 100/s, laps 3, 1:30 left",
        "training: 2,000/10,000 steps, 100/s, best lap 21.44 s, laps 3, 1:20 left",
        "training: 2,500/10,000 steps, 100/s, best lap 21.44 s, laps 3, 0:25 taken",
    ]


def test_speed_is_that_of_the_last_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay(stream, clock).phase("training", 10_000) as phase:
        for done in (100, 200, 1200):
            clock.now += 10.0
            phase.update(done)
    # The third line sees 1,000 steps in its 10 s: 100/s, and 8,800 left.
    assert "100/s, 1:28 left" in stream.getvalue().splitlines()[2]


def test_total_may_be_unknown() -> None:
    stream, clock = io.StringIO(), Clock()
    with ProgressDisplay(stream, clock).phase("racing", None, unit="laps") as phase:
        clock.now += 20.0
        phase.update(4)
    assert stream.getvalue().splitlines()[0] == "racing: 4 laps, 0.2/s"


def test_terminal_is_drawn_at_most_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Clock()
    with ProgressDisplay(stream, clock) as display, display.phase("training", 10_000) as phase:
        assert display.is_interactive
        phase.update(0)
        before = stream.writes
        for step in range(1, 10_001):
            clock.now = 100.0 + step / 10_000
            phase.update(step)
        during = stream.writes - before
    # One second of updates: ten drawings, of a few writes each.
    assert 9 <= during <= 40
    assert "10,000/10,000 steps" in stream.getvalue()


def test_inner_phase_leaves_the_outer_one_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Clock()
    with ProgressDisplay(stream, clock) as display, display.phase("training", 10) as outer:
        with display.phase("racing", 3) as inner:
            inner.update(3)
        clock.now += 1.0
        before = stream.tell()
        outer.update(7)
        drawn = stream.getvalue()[before:]
    assert "training" in drawn
    assert "racing" not in drawn


def test_error_inside_a_phase_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with (
        pytest.raises(KeyboardInterrupt),
        ProgressDisplay(stream) as display,
        display.phase("training", 10),
    ):
        raise KeyboardInterrupt
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert stream.getvalue().count(hide) == stream.getvalue().count(show) == 1


def test_message_is_one_plain_line_however_long() -> None:
    stream = io.StringIO()
    text = "encoder [bold] " + "x" * 300
    ProgressDisplay(stream).message(text)
    assert stream.getvalue() == text + "\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599, "59:59"), (7322, "2:02:02")]
)
def test_duration(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text
