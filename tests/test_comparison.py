"""Recordings of the embedded simulator held against itself: figures, and reasons for none."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from typing import Any

import numpy as np
import pytest

from donkey_rl.envs.simulator import track as tracks
from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments.config import TrainingConfig
from tests import comparisons
from tests import synthetic_recordings as synthetic
from tests.comparisons import CAR, compare, drive, painted
from tests.synthetic_recordings import Recorder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def both(place: pathlib.Path) -> pathlib.Path:
    return comparisons.write_both(place / "both")


@pytest.fixture(scope="module")
def blind(place: pathlib.Path) -> pathlib.Path:
    return synthetic.write_csv(drive(), place / "blind")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainingConfig]:
    return comparisons.stub_training(monkeypatch)


# What is reported.


def test_one_recording_with_frames_and_one_without(both: pathlib.Path) -> None:
    result = compare(both)
    assert (result["track"], result["vehicle"], result["scale"]) == ("generated_track", CAR, 1.0)
    assert result["recording"] == str(both)
    cte, motion, picture = result["geometry"]["cte"], result["motion"], result["picture"]
    assert cte["correlation"] > 0.999
    assert cte["mean_difference"] < 0.01
    assert result["geometry"]["progress"]["correlation"] > 0.99
    assert motion["speed_error_1s"] < 0.01
    assert motion["position_error_1s"] < 0.05
    assert motion["position_error_05s"] < motion["position_error_2s"] < 0.1
    assert picture["horizon_px"] < 0.5
    assert picture["centre_line_px"] < 0.6
    assert picture["edge_line_px"] < 0.6
    # The drive's own camera: 90 degrees, 15 down.
    assert result["camera"]["fov"] == pytest.approx(90.0, abs=2.0)
    assert result["camera"]["rot_x"] == pytest.approx(15.0, abs=1.0)
    assert result["reading"]["lateral_offset"]["correlation"] is None
    assert result["not_measurable"] == {"reading": "not asked for"}
    blind, filmed_ = result["recordings"]
    assert (blind["name"], blind["frames"], blind["records"]) == ("blind", 0, 181)
    assert blind["picture"]["reason"] == "no record has a frame"
    assert (filmed_["name"], filmed_["frames"], filmed_["samples"]) == ("filmed", 221, 221)
    assert filmed_["seconds"] == pytest.approx(11.0)
    assert result["sheet"] is None


def test_the_keys_that_others_rely_on(blind: pathlib.Path) -> None:
    result = compare(blind)
    assert set(result["geometry"]["cte"]) == {"correlation", "mean_difference"}
    assert {"speed_error_1s", "position_error_1s"} <= set(result["motion"])
    assert result["picture"] == dict.fromkeys(("horizon_px", "centre_line_px", "edge_line_px"))
    assert {"correlation", "rmse", "lag_s"} <= set(result["reading"]["lateral_offset"])
    assert set(result["reading"]["heading"]) == {"correlation", "rmse"}
    assert result["camera"] is None
    assert result["not_measurable"]["picture"] == "no record has a frame"


def test_the_worst_of_several_recordings_counts(place: pathlib.Path) -> None:
    """Beside a good one: a cte that is off by 0.3 u, and commands of another drive."""
    folder = place / "several"
    good = drive(12.0)
    synthetic.write_csv(good, folder, name="good")
    synthetic.write_csv(dataclasses.replace(good, cte=good.cte + 0.3), folder, name="shifted")
    wrong = dataclasses.replace(good, command=np.roll(good.command, 70, axis=0))
    synthetic.write_csv(wrong, folder, name="wrong")
    result = compare(folder)
    assert result["geometry"]["cte"]["mean_difference"] == pytest.approx(0.3, abs=0.01)
    parts = {each["name"]: each for each in result["recordings"]}
    assert parts["good"]["geometry"]["cte"]["mean_difference"] < 0.01
    after_a_second = {name: each["motion"]["errors"][1] for name, each in parts.items()}
    assert after_a_second["wrong"]["seconds"] == 1.0
    worst = after_a_second["wrong"]["position_median"]
    assert worst > 10.0 * after_a_second["good"]["position_median"]
    assert result["motion"]["position_error_1s"] == worst
    correlations = [each["geometry"]["cte"]["correlation"] for each in parts.values()]
    assert result["geometry"]["cte"]["correlation"] == min(correlations)


def test_notes_of_the_reading_are_kept(place: pathlib.Path) -> None:
    folder = synthetic.write_csv(drive(), place / "clockless", Recorder(missing=("time_s",)))
    (only,) = compare(folder)["recordings"]
    assert any("No time was recorded" in note for note in only["notes"])


# Which track, which car.


@pytest.mark.parametrize("vehicle", ["donkey_2021", "donkey_2022"])
@pytest.mark.parametrize("track", ["generated_track", "warehouse"])
def test_track_unit_and_car_are_found(place: pathlib.Path, track: str, vehicle: str) -> None:
    """The car of 2022 divides positions and speed by 8."""
    truth = drive(track=track, vehicle=vehicle)
    folder = synthetic.write_csv(truth, place / f"{track}-{vehicle}")
    result = compare(folder, vehicle=None)
    assert (result["track"], result["vehicle"]) == (track, vehicle)
    assert result["scale"] == (8.0 if vehicle == "donkey_2022" else 1.0)
    assert result["geometry"]["cte"]["correlation"] > 0.999
    assert result["motion"]["position_error_1s"] < 0.1
    (only,) = result["recordings"]
    scaled = [note for note in only["notes"] if "multiplied by 8" in note]
    assert len(scaled) == (1 if vehicle == "donkey_2022" else 0)


def test_the_wrong_car_moves_otherwise(blind: pathlib.Path) -> None:
    wrong, right = (
        compare(blind, vehicle=name)["motion"]["position_error_1s"]
        for name in ("donkey_2022", CAR)
    )
    assert wrong > 3.0 * right


def test_another_track_than_the_named_one(both: pathlib.Path) -> None:
    result = compare(both, track="warehouse", read_frames=True)
    assert result["track"] is None
    assert set(result["not_measurable"]) == {"geometry", "picture", "reading"}
    for reason in result["not_measurable"].values():
        assert reason.startswith("the positions do not lie on 'warehouse'")
    assert result["geometry"]["cte"] == {"correlation": None, "mean_difference": None}
    assert result["picture"]["horizon_px"] is None
    # The car moves as it does on any road.
    assert result["motion"]["position_error_1s"] < 0.05


def test_a_drive_on_no_track(place: pathlib.Path) -> None:
    away = drive().motion + np.array([3000.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    folder = synthetic.write_csv(dataclasses.replace(drive(), motion=away), place / "away")
    result = compare(folder)
    assert result["track"] is None
    assert result["not_measurable"]["geometry"].startswith("the positions do not lie on any track")


def test_a_track_that_does_not_fit_tells_no_unit(place: pathlib.Path) -> None:
    """Eightfold the places come near the named track, but not onto it."""
    truth = drive(vehicle="donkey_2022")
    result = compare(synthetic.write_csv(truth, place / "misnamed"), track="mountain_track")
    (only,) = result["recordings"]
    assert (result["track"], result["scale"]) == (None, 1.0)
    assert [note for note in only["notes"] if "multiplied" in note] == []


def test_a_track_file_is_driven_on_and_trained_on(
    place: pathlib.Path, trained: list[TrainingConfig]
) -> None:
    scene = pathlib.Path(tracks.__file__).parent / "tracks" / "generated_track.json"
    file = place / "my_own.json"
    file.write_text(scene.read_text())
    folder = synthetic.write_csv(painted((48, 64)), place / "own")
    result = compare(folder, track=str(file), read_frames=True)
    assert result["track"] == tracks.load(str(file)).name
    assert [config.track for config in trained] == [str(file)]
    assert result["geometry"]["cte"]["correlation"] > 0.99


# Recorders.


@pytest.mark.parametrize("form", ["csv", "tub_v1", "tub_v2"])
def test_each_format_says_the_same(place: pathlib.Path, form: str) -> None:
    write = getattr(synthetic, f"write_{form}")
    result = compare(write(drive(), place / form))
    assert result["track"] == "generated_track"
    assert result["geometry"]["cte"]["correlation"] > 0.999
    assert result["motion"]["position_error_1s"] < 0.1


@pytest.mark.parametrize(
    "recorder",
    [
        Recorder(stale=2),
        Recorder(interval=0.05, clock_rate=1.2),
        Recorder(interval=0.02),
        Recorder(missing=("speed",)),
    ],
    ids=["stale", "clock", "repeated", "no-speed"],
)
def test_what_recorders_do_is_mended(place: pathlib.Path, recorder: Recorder) -> None:
    folder = synthetic.write_csv(drive(12.0), pathlib.Path(tempfile.mkdtemp(dir=place)), recorder)
    result = compare(folder)
    assert result["geometry"]["cte"]["correlation"] > 0.97
    assert result["geometry"]["cte"]["mean_difference"] < 0.03
    assert result["motion"]["speed_error_1s"] < 0.05
    assert result["motion"]["position_error_1s"] < 0.4


def test_commands_ahead_of_their_effect_are_found(place: pathlib.Path) -> None:
    """Four messages of 0.05 s; the drive is long enough to tell."""
    folder = synthetic.write_csv(drive(20.0, delay=4), place / "delayed")
    (only,) = compare(folder)["recordings"]
    assert only["motion"]["control_delay_s"] == pytest.approx(0.2, abs=0.06)
    assert only["motion"]["errors"][1]["position_median"] < 0.1


def test_gaps_break_the_drive(place: pathlib.Path) -> None:
    whole = drive(20.0)
    kept = [*range(170), *range(230, len(whole))]
    result = compare(synthetic.write_csv(whole.part(kept), place / "gap"))
    (only,) = result["recordings"]
    # 170 and 171 messages of 0.05 s; the 3 s between them are not driven.
    assert only["seconds"] == pytest.approx(17.0, abs=0.2)
    assert only["geometry"]["cte"]["correlation"] > 0.999
    assert result["motion"]["position_error_1s"] < 0.05


# Poor recordings: never an error, always a reason.


def test_without_positions(place: pathlib.Path, trained: list[TrainingConfig]) -> None:
    missing = Recorder(missing=("pos_x", "pos_y", "pos_z"))
    result = compare(
        synthetic.write_csv(painted((48, 64)), place / "placeless", missing),
        read_frames=True,
        vehicle=None,
    )
    assert result["track"] is None
    reasons = result["not_measurable"]
    for part in ("geometry", "picture", "reading"):
        assert reasons[part] == "no record has a position"
    assert reasons["motion"].startswith("no unbroken drive")
    assert (result["vehicle"], result["scale"]) == (TrainingConfig().vehicle, 1.0)
    assert trained == []


@pytest.mark.parametrize("known", ["time", "commands"])
def test_numbers_that_are_none(place: pathlib.Path, known: str) -> None:
    folder = place / f"only_{known}"
    folder.mkdir()
    commands = "0.1,0.2" if known == "commands" else "nan,NaN"
    lines = [",".join(synthetic.COLUMNS)]
    lines += [f"{i},,{0.05 * i:.2f}" + ",nan" * 5 + f",{commands}" for i in range(60)]
    (folder / "nan.csv").write_text("\n".join(lines))
    if known == "time":
        with pytest.raises(InputError, match="expected records"):
            compare(folder)
        return
    result = compare(folder, vehicle=None)
    assert result["track"] is None
    assert set(result["not_measurable"]) == {"geometry", "motion", "picture", "reading"}


def test_three_records(place: pathlib.Path, trained: list[TrainingConfig]) -> None:
    folder = synthetic.write_csv(painted((48, 64), count=3), place / "three")
    result = compare(folder, read_frames=True, vehicle=None)
    assert result["track"] == "generated_track"
    reasons = result["not_measurable"]
    assert reasons["geometry"] == "3 fresh positions, at least 10 needed"
    assert reasons["picture"] == "at least 8 records with a camera frame are needed, there are 3"
    assert reasons["reading"] == "3 frames with a position, at least 20 needed"
    assert "motion" in reasons
    assert trained == []


def test_a_car_that_stands(place: pathlib.Path, trained: list[TrainingConfig]) -> None:
    moving = painted((48, 64))
    still = dataclasses.replace(
        moving,
        motion=np.tile(moving.motion[0] * [1, 1, 1, 0, 0, 0], (len(moving), 1)),
        cte=np.tile(moving.cte[0], len(moving)),
        command=np.zeros((len(moving), 2)),
    )
    result = compare(synthetic.write_csv(still, place / "still"), read_frames=True, vehicle=None)
    assert set(result["not_measurable"]) == {"geometry", "motion", "picture", "reading"}
    assert None not in result["not_measurable"].values()
    assert trained == []


def test_without_commands(place: pathlib.Path) -> None:
    missing = Recorder(missing=("steering", "throttle"))
    result = compare(synthetic.write_csv(drive(), place / "commandless", missing), vehicle=None)
    assert "commands unknown" in result["not_measurable"]["motion"]
    assert result["motion"]["speed_error_1s"] is None
    assert result["geometry"]["cte"]["correlation"] > 0.999


def test_a_cte_that_never_changes(place: pathlib.Path) -> None:
    steady = dataclasses.replace(drive(), cte=np.full(len(drive()), 0.25))
    result = compare(synthetic.write_csv(steady, place / "steady"))
    assert result["geometry"]["cte"]["correlation"] is None
    assert result["geometry"]["cte"]["mean_difference"] > 0.0
    assert "hardly changes" in result["not_measurable"]["geometry"]


# Wrong requests.


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        ({"track": "generated_trak"}, UnknownNameError, "Did you mean 'generated_track'?"),
        ({"vehicle": "donkey_2012"}, UnknownNameError, "Did you mean 'donkey_20"),
        ({"recording": pathlib.Path("nowhere")}, InputError, "nowhere: expected a folder"),
    ],
)
def test_wrong_requests_are_refused(
    blind: pathlib.Path, asked: dict[str, Any], kind: type[InputError], message: str
) -> None:
    with pytest.raises(kind, match=message.replace("?", r"\?")):
        compare(**{"recording": blind, **asked})
