"""Several cars of one team, and the command that races them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from donkey_rl import cli, cli_race
from donkey_rl.errors import ConfigurationError, DriverError, LinkProtocolError, StoreAwayError
from donkey_rl.experiments import race_bench
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.race_server import garage, team
from donkey_rl.race_server.config import DriveConfig, RaceConfig
from donkey_rl.race_server.record import reader
from donkey_rl.race_server.status import CarStatus
from tests.frame_host import FrameHost
from tests.race_cars import FakeSeat, settings


class Seated(FakeSeat):
    hash = "0" * 64


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """What ends a team stays ignored: a command ends after that, this process does not."""
    ends = [each for each in signal.Signals if each.name in ("SIGTERM", "SIGHUP")]
    before = {each: signal.getsignal(each) for each in ends}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture(autouse=True)
def seats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garage, "open_seat", lambda wanted, kept, fit: Seated())


def test_two_cars_race_with_records_of_their_own_until_they_are_told_to_end(
    tmp_path: Path,
) -> None:
    started: list[team.Started] = []
    said: list[str] = []
    with FrameHost() as one, FrameHost() as other, team.until_told() as ended:
        configs = [
            settings(host.port, records=tmp_path, drive=DriveConfig(port=0, allow=()))
            for host in (one, other)
        ]

        def end() -> None:
            hosts, limit = (one, other), time.monotonic() + 60.0
            while min(len(host.moves()) for host in hosts) < 15 and time.monotonic() < limit:
                time.sleep(0.05)
            # As a container gets it.
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=end).start()
        results = team.race(
            configs, started.append, ended=ended, log=lambda car, level, text: said.append(car)
        )
        assert ended.is_set()
        for host in (one, other):
            assert host.moves()
            # The last word is the brake.
            deadline = time.monotonic() + 60.0
            while host.controls()[-1][3] != 1.0 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert host.controls()[-1][1:] == (0.0, 0.0, 1.0)
    assert [each.car for each in results] == ["donkey-rl", "donkey-rl 2"]
    assert len(set(started[0].drive_ports)) == 2
    assert set(said) == {"donkey-rl", "donkey-rl 2"}
    for result, folder in zip(results, started[0].records, strict=True):
        record = reader.read(folder)
        assert record.ended
        assert not record.missing
        # What came while the camera was being configured is counted and not looked at.
        assert result.frames >= record.kinds["frame"] > 10
        assert b"a-guid" not in b"".join(path.read_bytes() for path in folder.iterdir())


def test_what_is_no_simulator_ends_the_race_with_its_error(tmp_path: Path) -> None:
    with FrameHost(greeting=()) as host:
        over = threading.Event()

        def flood() -> None:
            while not over.wait(0.02):
                host.send_bytes(b'}{"a":1}\n' * 200)

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            with pytest.raises(LinkProtocolError, match="DonkeyCar simulator"):
                team.race(
                    [settings(host.port, records=tmp_path)],
                    lambda started: None,
                    ended=threading.Event(),
                    minutes=0.5,
                )
        finally:
            over.set()
            flooding.join()


def old(host: FrameHost) -> None:
    """Has a host report as those of 2021 do: without angles, the rotation as a quaternion."""
    host.changed |= {"pitch": None, "gyro_w": 1.0}


def test_a_car_that_does_not_fit_is_out_and_the_others_race_on(tmp_path: Path) -> None:
    said: list[tuple[str, str, str]] = []
    shown: list[tuple[str, str, int]] = []
    ended = threading.Event()

    def watch(status: CarStatus) -> None:
        shown.append((status.car, status.phase, status.frames))
        out = [k for k, (car, phase, _) in enumerate(shown) if (car, phase) == ("a", "out")]
        later = [frames for car, _, frames in shown[out[0] :] if car == "b"] if out else []
        if later and later[-1] >= later[0] + 10:
            ended.set()

    with FrameHost() as misfit, FrameHost() as host:
        old(misfit)
        first, second = team.race(
            [
                settings(misfit.port, records=tmp_path, car_name="a"),
                settings(host.port, records=tmp_path, car_name="b"),
            ],
            lambda started: None,
            ended=ended,
            minutes=1.0,
            log=lambda car, level, text: said.append((car, level, text)),
            watch=watch,
        )
        assert ended.is_set()
        assert misfit.moves() == []
        assert host.moves()
    ((car, text),) = [(car, text) for car, level, text in said if level == "error"]
    assert (car, first.is_input, second.failure) == ("a", True, "")
    assert text == f"{first.failure} This car is out of the race."
    assert "vehicle=donkey_2021" in first.failure


def test_a_team_of_which_no_car_fits_ends_with_each_told_once(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    with FrameHost() as one, FrameHost() as other:
        old(one)
        old(other)
        with pytest.raises(DriverError, match="vehicle=donkey_2021") as caught:
            team.race(
                [settings(host.port, records=tmp_path) for host in (one, other)],
                lambda started: None,
                ended=threading.Event(),
                minutes=1.0,
                log=lambda car, level, text: said.append((level, text)),
            )
    errors = [text for level, text in said if level == "error"]
    assert len(errors) == 1
    ports = [str(host.port) for host in (one, other)]
    assert [port in str(caught.value) for port in ports] != [port in errors[0] for port in ports]


def test_a_terminal_that_takes_nothing_holds_up_no_car(tmp_path: Path) -> None:
    over, ended = threading.Event(), threading.Event()
    with FrameHost() as host:

        def end() -> None:
            while not host.moves() and not over.is_set():
                time.sleep(0.05)
            ended.set()

        threading.Thread(target=end).start()
        try:
            (raced,) = team.race(
                [settings(host.port, records=tmp_path)],
                lambda started: None,
                ended=ended,
                minutes=1.0,
                log=lambda car, level, text: bool(over.wait(30.0)),
            )
        finally:
            over.set()
        assert raced.frames > 0
        assert host.moves()


def test_a_team_has_a_car() -> None:
    with pytest.raises(ConfigurationError, match="one car at least"):
        team.race([], lambda started: None, ended=threading.Event())


def test_cars_of_a_team_are_several_competitors() -> None:
    twice = [RaceConfig(guid="same", page=None)] * 2
    with pytest.raises(ConfigurationError, match="a guid each"):
        team.race(twice, lambda started: None, ended=threading.Event())


def test_a_mistake_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("watchdg: {}\n")
    words = ["race", "--config", str(tmp_path / "b.yaml")]
    with pytest.raises(ConfigurationError, match=r"b\.yaml': Unknown setting 'watchdg'"):
        CliRunner().invoke(cli.app, words, catch_exceptions=False)


def result(**changed: Any) -> team.CarResult:
    values: dict[str, Any] = {
        "car": "a", "driver": "d", "laps": 3, "best_lap_s": 18.5, "disconnects": 1, "frames": 100,
        "latency_ms": {"p50": 2.0, "p95": 4.0, "p99": 8.0}, "faults": {}, "record": Path("r"),
    }  # fmt: skip
    return team.CarResult(**values | changed)


@pytest.fixture
def raced(monkeypatch: pytest.MonkeyPatch) -> list[RaceConfig]:
    """What the command has raced with; two cars have different results."""
    configs: list[RaceConfig] = []

    def race(
        wanted: list[RaceConfig], minutes: float | None, progress: ProgressDisplay
    ) -> tuple[team.CarResult, ...]:
        configs.extend(wanted)
        second = {"car": "b", "best_lap_s": None, "laps": 0, "latency_ms": {}}
        return (result(), result(**second))[: len(wanted)]

    monkeypatch.setattr(cli_race, "_race", race)
    monkeypatch.setattr(cli_race, "_log", lambda records, progress: {Path("r"): "a-run"})
    return configs


def ask(*words: str) -> dict[str, Any]:
    found = CliRunner().invoke(cli.app, ["race", *words, "--json"], catch_exceptions=False)
    assert found.exit_code == 0
    return dict(json.loads(found.stdout))


def test_the_command_has_its_own_way_over_the_file(
    raced: list[RaceConfig], tmp_path: Path
) -> None:
    file = tmp_path / "race.yaml"
    file.write_text("host: a.example\nport: 1\ndriver: old\nguid: g\npage: {port: 0}\n")
    told = ask(
        *("--config", str(file), "--run", "3f2a", "--port", "2", "--hosted", "--no-page"),
        *("--set", "limits.throttle_max=0.5"),
    )
    wanted = (told["laps"], told["best_lap_s"], told["frames"], told["run_id"])
    assert wanted == (3, 18.5, 100, "a-run")
    assert told["latency_ms"] == {"p50": 2.0, "p95": 4.0, "p99": 8.0}
    (config,) = raced
    assert (config.host, config.port, config.driver) == ("a.example", 2, "3f2a")
    assert (config.start, config.page, config.limits.throttle_max) == ("drive", None, 0.5)
    assert config.drive == DriveConfig()


@pytest.mark.parametrize(("is_input", "code"), [(True, 2), (False, 1)])
def test_a_car_that_was_out_is_told_by_the_exit_code(
    is_input: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = result(car="b", frames=0, latency_ms={}, failure="It fits not.", is_input=is_input)
    monkeypatch.setattr(cli_race, "_race", lambda wanted, minutes, progress: (result(), gone))
    monkeypatch.setattr(cli_race, "_log", lambda records, progress: {})
    found = CliRunner().invoke(cli.app, ["race", "--json"], catch_exceptions=False)
    assert found.exit_code == code
    told = json.loads(found.stdout)
    assert [each["failure"] for each in told["cars"]] == ["", "It fits not."]
    found = CliRunner().invoke(cli.app, ["race"], catch_exceptions=False)
    assert found.exit_code == code
    assert "out of the race" in found.stdout.splitlines()[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("race --config a.yaml rehearse", "--config before 'rehearse'"),
        ("race --no-page --set port=1 log races/one", "--set, --no-page before 'log'"),
        ("race --json log races/one", "donkey-rl race log --json"),
    ],
)
def test_options_before_another_command_are_refused_and_not_ignored(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words.split()) == 2
    assert said in capsys.readouterr().err


def test_several_files_are_several_cars(raced: list[RaceConfig], tmp_path: Path) -> None:
    words = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"car_name: {name}\n")
        words += ["--config", str(tmp_path / f"{name}.yaml")]
    told = ask(*words)
    assert [each.car_name for each in raced] == ["a", "b"]
    assert (told["laps"], told["best_lap_s"], told["disconnects"]) == (3, 18.5, 2)
    assert told["latency_ms"]["p99"] == 8.0
    assert [each["car"] for each in told["cars"]] == ["a", "b"]


@pytest.mark.parametrize("away", [True, False])
def test_a_race_that_cannot_be_stored_now_says_how_it_is_later(
    away: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def log(folder: Path, progress: object) -> str:
        raise StoreAwayError("The run store does not answer.")

    kept: Any = types.SimpleNamespace(log=log) if away else None
    monkeypatch.setitem(sys.modules, "donkey_rl.experiments.race_runs", kept)
    monkeypatch.setattr("donkey_rl.experiments.race_runs", kept, raising=False)
    if not away:
        monkeypatch.delattr("donkey_rl.experiments.race_runs")
    assert cli_race._log([Path("races/one")], ProgressDisplay()) == {}
    told = capsys.readouterr().err
    assert "donkey-rl race log races/one" in told
    assert ("does not answer" in told) is away


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--run", "a", "--driver", "b"), "not both"),
        (("--config", "nowhere.yaml"), "donkey-rl race init"),
        (("--set", "racer_name=a{b"), "without braces"),
        (("--set", "watchdog.frames=1"), "watchdog.frame_s"),
    ],
)
def test_mistakes_are_said_before_anything_is_connected(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["race", *words]) == 2
    assert said in capsys.readouterr().err


def test_growth_is_that_per_hour_behind_the_warm_up() -> None:
    samples = [
        race_bench._Sample(60.0 * k, 100.0 if k < 10 else 200.0 + 0.1 * k, 14.0, 20.0)
        for k in range(41)
    ]
    found = race_bench.grown(samples)
    assert found["growth_per_h"] == {"memory_mb": 6.0, "threads": 0.0, "files": 0.0}
    assert found["begin"]["memory_mb"] == 201.0
    assert found["end"] == {"memory_mb": 204.0, "threads": 14.0, "files": 20.0}


def test_a_second_interrupt_says_how_to_store_the_race_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def log(folder: Path, progress: ProgressDisplay) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("donkey_rl.experiments.race_runs.log", log)
    with pytest.raises(KeyboardInterrupt):
        cli_race._log([Path("races/one")], ProgressDisplay())
    assert "donkey-rl race log races/one." in capsys.readouterr().err
