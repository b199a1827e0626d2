"""Race evenings over TCP: drivers who know nothing but the protocol."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from donkey_rl import cli, configuration
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.errors import ConfigurationError
from tests.plain_client import PlainClient

LOGGER = logging.getLogger("donkey_rl.serving")
PATIENCE_S = 600.0
BODY = {"body_style": "f1", "body_r": "1", "body_g": "2", "body_b": "3"}

LIDAR = {
    "degAngDown": "25", "degAngDelta": "-1", "numSweepsLevels": "64", "maxRange": "50",
    "noise": "0", "offset_x": "0", "offset_y": "0", "offset_z": "0", "rot_x": "0",
}  # fmt: skip

SPEEDS = {"A": 5.5, "B": 5.0, "C": 4.5, "D": 4.0}
"""What the drivers hold (u/s); the car of 2021 reports speeds in u/s."""


def served(results: Path, *, track: str = "waveshare", **rules: Any) -> ServerConfig:
    settings = {"results": results, "extended_telemetry": True} | rules
    values = {
        "port": 0, "private_port": None, "generation": 2021, "track": track, "time_scale": 16.0,
        "race": settings,
    }  # fmt: skip
    return configuration.validate(ServerConfig, values)


def introduce(client: PlainClient, name: str) -> None:
    assert client.read() == {"msg_type": "need_car_config"}
    client.camera(img_w="16", img_h="16")
    who = {"bio": "-", "country": "UK", "guid": f"secret of {name}"}
    client.send("racer_info", racer_name=name, car_name=name, **who)
    client.send("car_config", car_name=name, **BODY)


class Driver:
    """Follows the path by its cross-track error until the evening is over."""

    def __init__(self, port: int, name: str) -> None:
        self.client = PlainClient(port)
        self.name = name
        self.laps: list[float] = []
        self.starts = 0
        self.error = 0.0

    def drive(self, over: threading.Event) -> None:
        while not over.is_set():
            # Between the runs there is no car, and nothing comes.
            with contextlib.suppress(TimeoutError):
                self.follow(self.client.read(timeout_s=0.5))
        # What was said before the end is on its way still.
        with contextlib.suppress(TimeoutError):
            while True:
                self.follow(self.client.read(timeout_s=0.5))

    def follow(self, message: dict[str, Any]) -> None:
        match message.get("msg_type"):
            case "telemetry":
                error = message["cte"]
                steering = -0.5 * error - 3.0 * (error - self.error)
                self.error = error
                throttle = 0.5 if message["speed"] < SPEEDS[self.name] else 0.0
                self.client.drive(max(-1.0, min(1.0, steering)), throttle)
            case "race_start":
                self.starts += 1
            case "cross_start":
                lap = float(message["lap_time"])
                self.laps += [lap] if lap else []


class FinalOrder(logging.Handler):
    """Sets an event when the final order is announced."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.announced = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "The final order: " in record.getMessage():
            self.announced.set()


@pytest.fixture
def over() -> Iterator[threading.Event]:
    handler = FinalOrder()
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    yield handler.announced
    LOGGER.setLevel(level)
    LOGGER.removeHandler(handler)


def test_an_evening_of_four_from_practice_to_the_final_order(
    tmp_path: Path, over: threading.Event
) -> None:
    config = served(
        tmp_path / "evening.json",
        practice_s=0.0, min_competitors=4, qualifying_ends_early=True, qualifying_go_s=0.0,
        waiting=0.0, lets_race_s=0.0, ready_s=0.1, set_s=0.1, race_laps=1, min_race_s=0.0,
    )  # fmt: skip
    with background.running(config) as server, contextlib.ExitStack() as stack:
        drivers = [Driver(server.port, name) for name in SPEEDS]
        for driver in drivers:
            stack.enter_context(driver.client)
            introduce(driver.client, driver.name)
        pool = stack.enter_context(futures.ThreadPoolExecutor(len(drivers)))
        stack.callback(over.set)
        driving = [pool.submit(driver.drive, over) for driver in drivers]
        assert over.wait(PATIENCE_S)
        for each in driving:
            each.result()
    evening = json.loads((tmp_path / "evening.json").read_text(encoding="utf-8"))
    who = {each["identity"]: each["name"] for each in evening["competitors"]}
    assert evening["stage"] == "complete"
    assert sorted(who[each] for each in evening["standings"]) == list("ABCD")
    # Stage 1: first against last, second against third. Ladder: two semifinals and the final.
    order = evening["qualified"]
    assert [heat["racers"] for heat in evening["heats"][:2]] == [
        [order[0], order[3]],
        [order[1], order[2]],
    ]
    assert [heat["round"] for heat in evening["heats"]] == [0, 0, 1, 1, 2]
    assert evening["heats"][-1]["winner"] == evening["standings"][0]
    # What the drivers were told is what was written, lap by lap.
    for driver in drivers:
        identity = next(each for each, name in who.items() if name == driver.name)
        runs = [
            *next(each for each in evening["competitors"] if each["name"] == driver.name)[
                "attempts"
            ],
            *(
                run[identity]
                for heat in evening["heats"]
                for run in heat["runs"]
                if identity in run
            ),
        ]
        assert driver.starts == len(runs)
        written = [lap for run in runs for lap in run["laps_s"]]
        assert driver.laps == pytest.approx(written, rel=1e-5)
        # 65.8 u at the speed that was held at most.
        assert min(written) > 65.8 / (SPEEDS[driver.name] * 1.2)


def test_a_lidar_that_would_hold_up_the_others_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, LOGGER.name)
    config = served(tmp_path / "evening.json")
    with background.running(config) as server, PlainClient(server.port) as racer:
        introduce(racer, "A")
        racer.until("car_loaded")
        racer.send("lidar_config", **(LIDAR | {"degPerSweepInc": "0.5"}))
        racer.send("lidar_config", **(LIDAR | {"degPerSweepInc": "5"}))
        assert len(racer.telemetry_with("lidar")["lidar"]) <= 5000
    assert "at most 5000 beams" in caplog.text


def test_who_stands_in_practice_is_disqualified_and_put_back(tmp_path: Path) -> None:
    config = served(tmp_path / "evening.json", extended_telemetry=False)
    with background.running(config) as server, PlainClient(server.port) as racer:
        introduce(racer, "A")
        racer.until("car_loaded")
        first = racer.telemetry()
        assert not {"cte", "pos_x", "vel_x"} & set(first)
        assert racer.until("DQ") == {"msg_type": "DQ", "missed_cp": True}
        # The countdown of 10 s, and again, in simulation time.
        assert racer.telemetry()["time"] - first["time"] == pytest.approx(10.0, abs=0.2)
        racer.until("DQ")
        assert racer.telemetry()["time"] - first["time"] == pytest.approx(20.0, abs=0.2)


def test_an_evening_goes_on_after_the_server_and_racers_are_known_again(tmp_path: Path) -> None:
    results = tmp_path / "evening.json"
    for resume in (False, True):
        config = served(results, resume=resume)
        with background.running(config) as server, PlainClient(server.port) as racer:
            introduce(racer, "A")
            racer.until("car_loaded")
    evening = json.loads(results.read_text(encoding="utf-8"))
    assert [each["name"] for each in evening["competitors"]] == ["A"]
    assert "secret" not in results.read_text(encoding="utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["evening.json"]


def test_a_race_on_an_open_road_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    config = served(tmp_path / "evening.json", track="generated_road")
    with (
        pytest.raises(ConfigurationError, match="leads back to its start"),
        background.running(config),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_rule_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"race\.race_laps.*greater than or equal to 1"):
        served(tmp_path / "evening.json", race_laps=0)
    with pytest.raises(ConfigurationError, match=r"race\.race_lap.*race\.race_laps"):
        served(tmp_path / "evening.json", race_lap=2)


def test_the_command_shows_the_course_of_the_race(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("practice_s: 60\n", encoding="utf-8")
    words = ("sim", "--rules", "rules.yaml", "--track", "waveshare")
    command = [sys.executable, "-m", "donkey_rl", *words, "--port", "0", "--private-port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.endswith("Race: Practice.\n"):
                break
        process.send_signal(signal.SIGINT)
        lines += process.stderr.readlines()
        assert process.wait(PATIENCE_S) == 0, lines
    evening = json.loads((tmp_path / "race_results.json").read_text(encoding="utf-8"))
    assert evening["rules"]["practice_s"] == 60


def test_the_command_wants_a_track_for_a_race(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sim", "--race", "--port", "0", "--private-port", "0"]) == 2
    assert "A race needs a track from the start" in capsys.readouterr().err
