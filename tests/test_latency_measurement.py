"""How late commands are, as `donkey-rl doctor --latency-profile` measures it."""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from donkey_rl import cli
from donkey_rl.envs import latency_profile
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.errors import LinkTimeout
from donkey_rl.experiments import latency_measurement
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.race_server.rehearsal.link_conditions import LinkConditions
from donkey_rl.race_server.rehearsal.link_proxy import LinkProxy

INTERVAL_S = 0.05


class TimedLink:
    """A car behind a link of a known delay, by a clock of its own."""

    def __init__(self, way_s: Callable[[], float]) -> None:
        self.now, self._way_s = 100.0, way_s
        self._under_way: list[tuple[float, float]] = []
        self._coming: list[tuple[float, float]] = []
        self._made, self._shown = 100.0, 0.0
        self.silent_from, self.brakes = math.inf, list[float]()
        self.before_command: Callable[[float], None] = lambda now: None

    def perf_counter(self) -> float:
        return self.now

    def control(self, steering: float, throttle: float, brake: float) -> None:
        self.before_command(self.now)
        self.brakes.append(brake)
        latest = self._under_way[-1][0] if self._under_way else 0.0
        self._under_way.append((max(latest, self.now + self._way_s()), steering))

    def _make(self, until: float) -> None:
        """Makes the frames up to a time, each with the newest command that had come."""
        while self._made + INTERVAL_S <= until:
            self._made += INTERVAL_S
            while self._under_way and self._under_way[0][0] <= self._made:
                self._shown = self._under_way.pop(0)[1]
            if self._made < self.silent_from:
                latest = self._coming[-1][0] if self._coming else 0.0
                arrival = max(latest, self._made + self._way_s())
                # As seven digits come over the wire.
                self._coming.append((arrival, round(self._shown, 7)))

    def next_frame(self, timeout_s: float) -> Any:
        deadline = self.now + timeout_s
        self._make(deadline)
        if self._coming and self._coming[0][0] <= deadline:
            arrived, steering = self._coming.pop(0)
            self.now = max(self.now, arrived)
            return SimpleNamespace(telemetry=SimpleNamespace(steering=steering), arrived=arrived)
        self.now = deadline
        raise LinkTimeout(
            "nothing", host="h", port=1, scene=None, awaited="telemetry", remedy="Wait."
        )


def measured(link: TimedLink, monkeypatch: pytest.MonkeyPatch, seconds: float) -> Any:
    monkeypatch.setattr(latency_measurement, "time", link)
    with ProgressDisplay() as progress:
        return latency_measurement.measure(link, progress, seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize(("latency_ms", "jitter_ms"), [(160.0, 40.0), (60.0, 0.0), (410.0, 20.0)])
def test_delay_is_that_of_the_link_and_not_of_the_frames(
    monkeypatch: pytest.MonkeyPatch, latency_ms: float, jitter_ms: float
) -> None:
    random = np.random.default_rng(1)
    link = TimedLink(lambda: 0.0005 * (latency_ms + random.uniform(-jitter_ms, jitter_ms)))
    time_s, delay_ms = measured(link, monkeypatch, 20.0)
    # One for each frame but the first and last ones; order that is kept delays some.
    assert 360 <= len(delay_ms) <= 400
    assert (np.diff(time_s) > 0.0).all()
    assert np.mean(delay_ms) == pytest.approx(latency_ms, abs=5.0)
    # The jitter of both ways, and what 16 ms between two commands leave: 16 / sqrt(12).
    true = math.hypot(jitter_ms / math.sqrt(6.0), 16.0 / math.sqrt(12.0))
    # A link without jitter keeps in step with the commands, and leaves nothing.
    assert np.std(delay_ms) == pytest.approx(true, abs=5.0)
    assert set(link.brakes) == {1.0}


@pytest.mark.skipif(sys.platform == "win32", reason="sends Ctrl-C as a signal")
def test_ctrl_c_keeps_what_was_measured_and_a_pause_is_no_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = TimedLink(lambda: 0.02)
    pressed: list[float] = []

    def press_once(now: float) -> None:
        if now > 104.0 and not pressed:
            pressed.append(now)
            signal.raise_signal(signal.SIGINT)

    link.before_command = press_once
    time_s, delay_ms = measured(link, monkeypatch, 20.0)
    assert 3.7 < time_s[-1] < 4.1
    assert np.mean(delay_ms) == pytest.approx(40.0, abs=5.0)
    silent = TimedLink(lambda: 0.02)
    silent.silent_from = 103.0

    def speak(now: float) -> None:
        if now > 104.5:
            silent.silent_from = math.inf

    silent.before_command = speak
    time_s, _ = measured(silent, monkeypatch, 20.0)
    # Of 3 s before the pause and 15.5 s after it the longer stretch is kept.
    assert time_s[0] == 0.0
    assert 14.5 < time_s[-1] < 15.6
    lost = TimedLink(lambda: 0.02)
    lost.silent_from = 101.0
    with pytest.raises(LinkTimeout):
        measured(lost, monkeypatch, 20.0)


def test_doctor_measures_a_link_through_a_real_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # On a busy machine the longest piece without a gap is short.
    monkeypatch.setattr(latency_measurement, "MEASURED_S", 8.0)
    monkeypatch.setattr("donkey_rl.experiments.doctor.WATCHED_S", 0.5)
    monkeypatch.chdir(tmp_path)
    config = ServerConfig(track="generated_track", port=0, private_port=None)
    late = LinkConditions(latency_ms=160.0, jitter_ms=40.0)
    with background.running(config) as running, LinkProxy(running.port, late) as proxy:
        words = ("doctor", "--simulator", f"127.0.0.1:{proxy.port}", "--json")
        cli.main([*words, "--latency-profile", "link.csv"])
        findings = {
            each["check"]: each for each in json.loads(capsys.readouterr().out)["findings"]
        }
        assert cli.main([*words, "--latency-profile", "none/link.csv"]) == cli.BAD_INPUT
    assert findings["latency profile"]["ok"]
    assert "messages in link.csv" in findings["latency profile"]["found"]
    found = latency_profile.read("link.csv")
    assert len(found.time_s) >= 20
    # A busy machine is late itself, never early.
    assert 150.0 < np.median(found.delay_ms) < 1000.0
    capsys.readouterr()
    assert cli.main(["doctor", "--latency-profile", "link.csv"]) == cli.BAD_INPUT
    assert cli.main([*words[:3], "--latency-profile", "link.txt"]) == cli.BAD_INPUT
