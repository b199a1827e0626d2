"""A driver's steering held against a recording: `evaluate --tub`."""

from __future__ import annotations

import contextlib
import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from donkey_rl import agreement_tables, cli
from donkey_rl.agents.driver import Driver
from donkey_rl.envs.recordings import formats
from donkey_rl.errors import InputError
from donkey_rl.experiments import drivers, tub_agreement
from donkey_rl.experiments.deployment import frames
from donkey_rl.metrics import agreement
from tests import small_drivers

ONE = np.zeros(600, np.int64)


def steering(count: int = 600) -> np.ndarray:
    return np.sin(np.arange(count) / 15.0) + 0.1 * np.random.default_rng(0).normal(size=count)


def test_equal_commands_agree() -> None:
    found = agreement.measure(steering(), steering(), ONE)
    assert found.frames == 600
    assert (found.correlation.value, found.rmse.value) == pytest.approx((1.0, 0.0), abs=1e-6)
    assert found.correlation.low == pytest.approx(1.0)
    assert (found.lag_frames.value, found.lag_frames.low, found.lag_frames.high) == (0, 0, 0)


def test_rmse_bias_and_correlation_are_those_of_the_formulas() -> None:
    random = np.random.default_rng(1)
    driver = 0.5 * steering() + 0.2 + 0.3 * random.normal(size=600)
    found = agreement.measure(steering(), driver, ONE)
    assert found.correlation.value == pytest.approx(np.corrcoef(steering(), driver)[0, 1])
    assert found.rmse.value == pytest.approx(np.sqrt(np.mean((driver - steering()) ** 2)))
    assert found.bias.value == pytest.approx(np.mean(driver - steering()))
    for interval in (found.correlation, found.rmse, found.bias):
        assert interval.low < interval.value < interval.high


@pytest.mark.parametrize("lag", [-7, 0, 12])
def test_a_lag_is_found_inside_drives_only(lag: int) -> None:
    # Three drives with a jump between them: across the jumps the lag is another one.
    drive = np.repeat([0, 1, 2], 200)
    reference = np.concatenate([np.roll(steering(), 60 * k)[:200] for k in range(3)])
    driver = np.full(600, np.nan)
    for k in range(3):
        part = reference[200 * k : 200 * (k + 1)]
        moved = np.full(200, np.nan)
        moved[max(lag, 0) : 200 + min(lag, 0)] = part[max(-lag, 0) : 200 - max(lag, 0)]
        driver[200 * k : 200 * (k + 1)] = moved
    found = agreement.measure(reference, driver, drive)
    assert found.lag_frames.value == lag
    assert found.lagged_correlation == pytest.approx(1.0)
    assert found.frames == 600 - 3 * abs(lag)


def test_intervals_are_wider_than_single_frames_would_make_them() -> None:
    driver = steering() + np.repeat(np.random.default_rng(2).normal(size=6), 100)
    blocks = agreement.measure(steering(), driver, ONE)
    frames = agreement.measure(steering(), driver, ONE, block=1)
    wide, narrow = (each.bias.high - each.bias.low for each in (blocks, frames))
    assert wide > 3 * narrow


def steered(recorded: np.ndarray, driver: np.ndarray) -> tub_agreement.Steering:
    """Returns how commands of one drive agree."""
    count = len(recorded)
    commands = tub_agreement._Commands(ONE[:count], np.arange(count), recorded, driver, driver)
    return tub_agreement._steering(commands, driver)


def test_what_cannot_be_said_is_no_number() -> None:
    still = agreement.measure(steering(), np.full(600, 0.3), ONE)
    assert math.isnan(still.correlation.value)
    assert math.isnan(still.lag_frames.value)
    assert still.rmse.value > 0
    short = agreement.measure(steering(50), steering(50), ONE[:50])
    assert math.isnan(short.correlation.low)
    told = steered(steering(), np.full(600, 0.3))
    assert (told.correlation, told.lag_frames, told.lagged_correlation) == (None, None, None)
    assert told.rmse is not None
    assert agreement_tables._figure(told.model_dump(), "correlation") == "-"
    told = steered(steering(50), steering(50))
    assert told.intervals["correlation"] == (None, None)
    assert agreement_tables._figure(told.model_dump(), "correlation") == "1.00"
    with pytest.raises(InputError, match="a frame with both commands"):
        agreement.measure(np.full(5, np.nan), np.zeros(5), ONE[:5])
    with pytest.raises(InputError, match="of one length"):
        agreement.measure(steering(), np.zeros(5), ONE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("agreement")
    small_drivers.lane().save(folder / "driver")
    tub = small_drivers.tub(folder / "tub", 30, gap=20)
    (tub / "images" / "7_cam_image_array_.jpg").write_bytes(b"no image")
    return folder


def told(place: pathlib.Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    arguments = ["evaluate", str(place / "driver"), "--tub", str(place / "tub"), *words, "--json"]
    assert cli.main(arguments) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_a_driver_is_asked_about_every_image(
    place: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = told(place, capsys, "--out", str(place / "plot.png"))
    # Thirty records in two drives, and one without an image.
    assert (result["frames"], result["drives"]) == (29, 2)
    assert result["assumed"]["speed"] == "2 throughout"
    assert (place / "plot.png").read_bytes()[:4] == b"\x89PNG"
    # The same by hand, in one call: its last actions are the person's.
    (recording,) = formats.read(place / "tub")
    known, images = recording.images(np.arange(30))
    actions = np.stack([recording.steering / 0.9, (recording.throttle - 0.2) / 0.4], axis=1).clip(
        -1, 1
    )
    last = np.zeros((30, 4), np.float32)
    for k in range(30):
        for back in (1, 2):
            begins = 0 if k < 20 else 20
            if k - back >= begins:
                last[k, 4 - 2 * back : 6 - 2 * back] = actions[k - back]
    before = np.concatenate([[0.0], recording.steering[:-1]])
    before[20] = 0.0
    imu = np.zeros((30, 6), np.float32)
    driver = Driver.load(place / "driver")
    drive = tub_agreement.recorded_drives.read(
        place / "tub", tub_agreement.drivers.environment_of(driver), 2.0
    )[0]
    np.testing.assert_allclose(drive.last_actions, last, atol=1e-6)
    assert np.sign(drive.yaw_rate).tolist() == np.sign(before).tolist()
    imu[:, 4] = drive.yaw_rate
    small = images.reshape(len(known), 60, 2, 80, 2, 3).mean(axis=(2, 4))
    seen = {
        "image": (small + 0.5).astype(np.uint8),
        "speed": np.full((29, 1), 2.0, np.float32),
        "imu": imu[known],
        "last_actions": last[known],
    }
    expected = np.corrcoef(0.9 * driver.act(seen)[:, 0], recording.steering[known])[0, 1]
    assert result["steering"]["correlation"] == pytest.approx(expected, abs=2e-3)
    assert set(result["steering"]) >= {"correlation", "rmse", "lag_frames"}
    # A few images at a time give the same figures, and its own last actions go on from part to
    # part.
    monkeypatch.setattr(tub_agreement, "_AT_ONCE", 4)
    again = told(place, capsys)
    for key in ("steering", "steering_by_own_actions"):
        assert again[key]["correlation"] == pytest.approx(result[key]["correlation"], abs=1e-3)
    own, copied = result["steering_by_own_actions"], result["steering_unchanged"]
    assert own["rmse"] != result["steering"]["rmse"]
    same = np.abs(recording.steering - np.roll(recording.steering, 1))
    kept = np.setdiff1d(np.arange(30), [0, 20])
    assert copied["rmse"] == pytest.approx(np.sqrt(np.mean(same[kept] ** 2)), abs=1e-3)


def test_a_speed_that_is_named_is_taken(
    place: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow, fast = (told(place, capsys, "--speed", speed) for speed in ("0.5", "6"))
    assert slow["assumed"]["speed"] == "0.5 throughout"
    assert slow["steering"]["rmse"] != fast["steering"]["rmse"]
    words = ["evaluate", str(place / "driver"), "--tub", str(place / "tub")]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert "by own actions" in printed
    assert "Assumed: speed 2 throughout." in printed


def test_what_a_recording_without_speeds_shows_of_an_export(
    place: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(place / "driver"), "--tub", str(place / "tub"), "--out"]
    assert cli.main([*words, str(place / "car"), "--to", "donkeycar", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    changed = [each for each in models if each["change"] is not None]
    assert changed
    assert not any(each["is_same_driver"] for each in changed)
    with short_recordings(5):
        few = [*words, str(place / "few"), "--to", "litert", "--quantise", "8bit"]
        assert cli.main(few) == cli.BAD_INPUT
    assert "at least 20 with all that the driver reads. Received: 5" in capsys.readouterr().err


@contextlib.contextmanager
def short_recordings(count: int) -> Iterator[None]:
    """Recordings are as short as that."""
    recorded = frames.recorded
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "recorded", lambda *each: recorded(*each).taken(slice(count)))
        yield


def test_commands_of_which_none_is_known_are_told_as_such() -> None:
    recorded = np.array([0.1, 0.2, 0.3])
    assert steered(recorded, recorded + 0.1).rmse == pytest.approx(0.1)
    unknown = steered(recorded, np.full(3, np.nan))
    assert (unknown.rmse, unknown.intervals["rmse"]) == (None, (None, None))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pursuit", "--tub", "tub"], "a network, which can be asked about a picture"),
        (
            ["driver", "--tub", "tub", "--robustness"],
            "races nothing. Received: --robustness",
        ),
        (["driver", "--out", "a.png"], "Received: --out as well"),
        (["driver", "--tub", "tub", "--out", "a.jpg"], "The plot is a .png file"),
        (["driver", "--tub", "nothing"], "there is nothing at 'nothing'"),
        (["driver", "--tub", "driver"], "expected a recording"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str],
    message: str,
    place: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert cli.main(["evaluate", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_speeds_are_read_in_the_unit_of_the_drivers_own_car() -> None:
    driver = small_drivers.lane()
    entrant = drivers.of_run(driver, drivers.environment_of(driver), "3f2a")
    assert isinstance(entrant, drivers.LearnedEntrant)
    assert entrant.units_of("donkey_2022") == 1.0
    assert entrant.units_of("donkey_2020") == pytest.approx(0.125)
    seen = {"speed": np.array([[8.0]]), "imu": np.arange(6.0)[None]}
    found = drivers.in_units(0.125, seen)
    assert found["speed"].tolist() == [[1.0]]
    assert found["imu"][0].tolist() == [0.0, 0.125, 0.25, 3.0, 4.0, 5.0]
