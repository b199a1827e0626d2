"""Tubs become races and races tubs, and nothing is lost either way."""

from __future__ import annotations

import contextlib
import itertools
import json
import pathlib
import tempfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from donkey_rl.envs.recordings import formats
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.errors import InputError
from donkey_rl.experiments import recorded_drives
from donkey_rl.experiments.data import tub_export, tub_import
from donkey_rl.experiments.data.tub import Tub
from donkey_rl.experiments.data.tub_races import Origin
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics import race_file, registry
from donkey_rl.metrics.race import COLUMNS, Race, columns_of
from tests import small_tubs
from tests.race_columns import assert_same


def imported(tub: pathlib.Path, out: pathlib.Path, **options: Any) -> tub_import.Imported:
    with ProgressDisplay() as progress:
        return tub_import.write(Tub(tub), out, progress, **options)


def races_of(tub: pathlib.Path, out: pathlib.Path) -> list[pathlib.Path]:
    return [pathlib.Path(file) for file in imported(tub, out).files]


def test_a_tub_comes_back_byte_for_byte(tmp_path: pathlib.Path) -> None:
    records = [small_tubs.record(k) for k in range(25)]
    # Keys that nobody knows, an image of another kind, a second session, a pause.
    records[7] |= {"my/list": [1, 2.5], "my/text": "Grüße", "my/flag": True, "my/none": None}
    records[8]["cam/depth"] = "8_depth.png"
    for k in range(12, 25):
        records[k] |= {"_session_id": "26-11-28_1", "_timestamp_ms": 1_800_000_000_000 + 50 * k}
    for k in range(20, 25):
        records[k]["_timestamp_ms"] += 10_000
    inputs = {**small_tubs.INPUTS, "cam/depth": "gray16_array", "my/list": "list"}
    tub = small_tubs.write(
        tmp_path / "tub",
        records,
        inputs=inputs,
        deleted=[0, 3, 4, 24],
        metadata={"where": "club", "battery": float("nan")},
    )
    from PIL import Image

    Image.fromarray(np.arange(192, dtype=np.uint16).reshape(12, 16)).save(
        tub / "images" / "8_depth.png"
    )
    result = imported(tub, tmp_path / "races")
    # 0, 3, 4 and 24 are deleted; session 1 stands still between 19 and 20.
    assert [len(Race.load(file)) for file in result.files] == [9, 8, 4]
    assert (result.records, result.rows, result.deleted, result.left_out) == (25, 21, 4, 0)
    files = [pathlib.Path(file) for file in reversed(result.files)]
    written = tub_export.write(files, tmp_path / "back")
    assert small_tubs.contents(tmp_path / "back") == small_tubs.contents(tub)
    assert (written.records, written.deleted, written.images) == (25, 4, 26)
    assert not written.renumbered
    lengths = json.loads((tmp_path / "back" / "catalog_1.catalog_manifest").read_text())
    was = json.loads((tub / "catalog_1.catalog_manifest").read_text())
    assert lengths | {"created_at": 0} == was | {"created_at": 0}


def test_the_commands_of_a_record_stand_in_the_row_after_it(tmp_path: pathlib.Path) -> None:
    angles = [0.1, -0.2, 0.3, 2.0, 0.5]
    records = [
        small_tubs.record(k, **{"user/angle": angle, "_timestamp_ms": 1000 + 40 * k})
        for k, angle in enumerate(angles)
    ]
    tub = small_tubs.write(tmp_path / "tub", records)
    (file,) = races_of(tub, tmp_path / "races")
    race = Race.load(file)
    # What led to the first image is not known; a command beyond 1 counts as 1.
    assert race["steering"] == pytest.approx([0.0, 0.1, -0.2, 0.3, 1.0])
    assert race["time_s"] == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16])
    assert race.header.time_step == pytest.approx(0.04)
    images = [(tub / "images" / r["cam/image_array"]).read_bytes() for r in records]
    assert list(race_file.frames(file)) == images
    # To learn from it, each image has the command that was given on seeing it again.
    (recording,) = formats.read(file)
    assert recording.steering[:-1] == pytest.approx([0.1, -0.2, 0.3, 1.0])
    assert np.isnan(recording.steering[-1])
    # Nobody recorded where the car was and how fast: no metric says anything of it.
    assert np.isnan(recording.speed).all()
    assert np.isnan(recording.position[:, [0, 2]]).all()
    assert {"x", "speed", "progress"} <= race.header.unknown
    assert all(np.isnan(value) for value in registry.score(race).values())


def test_telemetry_of_the_simulator_is_taken(tmp_path: pathlib.Path) -> None:
    told = {"pos/pos_x": 1.0, "pos/pos_y": 0.1, "pos/pos_z": 2.0, "pos/speed": 0.5, "pos/cte": 0.3}
    tub = small_tubs.write(tmp_path / "tub", [small_tubs.record(k, **told) for k in range(3)])
    (race,) = tub_import.races(tub, Origin("Ann", "donkey_2022", "generated_track"))
    # The car of 2022 divides position and speed by 8, never the cross-track error.
    assert [race[n][0] for n in ("x", "z", "speed", "cte")] == pytest.approx([8, 16, 4, 0.3])
    assert race.header.unknown.isdisjoint({"x", "z", "speed", "cte"})
    assert (race.header.driver, race.header.track) == ("Ann", "generated_track")
    with pytest.raises(InputError, match="Did you mean 'donkey_2022'"):
        list(tub_import.races(tub, Origin(vehicle="donkey_2002")))


def test_a_race_comes_back_the_same(tmp_path: pathlib.Path) -> None:
    files = [
        small_tubs.save(small_tubs.race(12, 0), tmp_path / "a.parquet"),
        small_tubs.save(small_tubs.race(7, 1, laps=5), tmp_path / "b.parquet"),
    ]
    written = tub_export.write(files, tmp_path / "tub")
    assert (written.records, written.races, written.deleted) == (19, 2, 0)
    back = races_of(tmp_path / "tub", tmp_path / "races")
    for file, again in zip(files, back, strict=True):
        assert_same(Race.load(again), Race.load(file))
        assert list(race_file.frames(again)) == list(race_file.frames(file))
    # And once more round: the tub is the same, byte for byte.
    tub_export.write(back, tmp_path / "tub2")
    assert small_tubs.contents(tmp_path / "tub2") == small_tubs.contents(tmp_path / "tub")


def test_what_a_race_says_of_opponents_comes_back(tmp_path: pathlib.Path) -> None:
    alone = small_tubs.race(9)
    header = alone.header.model_copy(update={"opponents": ("rival_1",)})
    random = np.random.default_rng(0)
    more: dict[str, Any] = {
        name: random.integers(0, 2, 9).astype(kind)
        for name, (kind, _) in columns_of(header).items()
        if name not in COLUMNS
    }
    assert more
    race = Race(header, {name: alone[name] for name in COLUMNS} | more)
    race.save(tmp_path / "a.parquet")
    tub_export.write([tmp_path / "a.parquet"], tmp_path / "tub")
    (back,) = races_of(tmp_path / "tub", tmp_path / "races")
    again = Race.load(back)
    assert_same(again, race)
    for name in more:
        np.testing.assert_array_equal(again[name], race[name], err_msg=name)


def test_a_race_without_pictures_comes_back_too(tmp_path: pathlib.Path) -> None:
    race = small_tubs.race(5)
    written = tub_export.write([race.save(tmp_path / "a.parquet")], tmp_path / "tub")
    assert written.images == 0
    assert written.notes == ("a.parquet holds no pictures: donkeycar learns from images.",)
    (back,) = races_of(tmp_path / "tub", tmp_path / "races")
    assert_same(Race.load(back), race)


def test_records_deleted_in_donkeycar_leave_the_race(tmp_path: pathlib.Path) -> None:
    race = small_tubs.race(10)
    tub_export.write([small_tubs.save(race, tmp_path / "a.parquet")], tmp_path / "tub")
    file = tmp_path / "tub" / "manifest.json"
    file.write_text(file.read_text().replace('"deleted_indexes": []', '"deleted_indexes": [2, 3]'))
    (back,) = races_of(tmp_path / "tub", tmp_path / "races")
    expected = {name: np.delete(race[name], [2, 3]) for name in COLUMNS}
    assert_same(Race.load(back), Race(race.header, expected))


def test_what_is_exported_reads_as_a_recording(tmp_path: pathlib.Path) -> None:
    race = small_tubs.race(12)
    tub_export.write([small_tubs.save(race, tmp_path / "a.parquet")], tmp_path / "tub")
    (recording,) = formats.read(tmp_path / "tub")
    # The command for an image is the one that led to the next.
    assert recording.steering[:-1] == pytest.approx(race["steering"][1:])
    assert recording.speed == pytest.approx(race["speed"] / 8.0)
    assert recording.position[:, 0] == pytest.approx(race["x"] / 8.0)
    assert recording.cte == pytest.approx(race["cte"])
    assert sum(frame is not None for frame in recording.frames) == 10


def test_race_tub_and_imported_race_teach_the_same(tmp_path: pathlib.Path) -> None:
    drawn = small_tubs.race(12)
    calm = {"reset": np.zeros(12, bool), "missed": np.zeros(12, bool)}
    race = Race(drawn.header, {**drawn.columns, **calm})
    (tmp_path / "rec").mkdir()
    file = small_tubs.save(race, tmp_path / "rec" / "a.parquet", lacking=100)
    tub_export.write([file], tmp_path / "tub")
    races_of(tmp_path / "tub", tmp_path / "back")
    config = EnvironmentConfig(camera=CameraConfig(img_w=32, img_h=24), vehicle="donkey_2022")
    lessons = []
    for place in ("rec", "tub", "back"):
        (drive,) = recorded_drives.read(tmp_path / place, config)
        # A twelfth image has no command of its own: in a tub it repeats the last.
        assert len(drive) == (12 if place == "tub" else 11)
        seen, wanted = drive.observations(np.arange(11))
        assert seen["image"].shape == (11, 24, 32, 3)
        lessons.append(seen | {"wanted": wanted})
    race_lesson, tub_lesson, back_lesson = lessons
    # donkeycar has no key for the heading: of a tub the yaw rate is reckoned from the commands.
    assert np.any(tub_lesson.pop("imu") != race_lesson["imu"])
    np.testing.assert_allclose(race_lesson.pop("imu"), back_lesson.pop("imu"), rtol=1e-6)
    for other in (tub_lesson, back_lesson):
        for name, values in race_lesson.items():
            np.testing.assert_allclose(values, other[name], rtol=1e-6, err_msg=name)


def test_several_tubs_and_races_make_one(tmp_path: pathlib.Path) -> None:
    one = small_tubs.write(
        tmp_path / "one", [small_tubs.record(k) for k in range(12)], deleted=[11]
    )
    other = small_tubs.write(
        tmp_path / "other",
        [small_tubs.record(k, **{"my/key": k}) for k in range(3)],
        inputs={**small_tubs.INPUTS, "my/key": "int"},
        metadata={"where": "club"},
    )
    race = small_tubs.save(small_tubs.race(4), tmp_path / "race.parquet")
    files = [*races_of(one, tmp_path / "1"), race, *races_of(other, tmp_path / "2")]
    written = tub_export.write(files, tmp_path / "all")
    assert written.renumbered
    found = list(Tub(tmp_path / "all").records())
    assert [record.fields["_index"] for record in found] == list(range(19))
    assert [record.fields["_index"] for record in found if record.deleted] == [11]
    # Three sessions stay three, also where two tubs have one name for theirs.
    assert len({record.session for record in found}) == 3
    assert [record.fields.get("my/key") for record in found[-3:]] == [0, 1, 2]
    for record in found[:12]:
        (file,) = record.images.values()
        own = one / "images" / f"{record.fields['_index']}_cam_image_array_.jpg"
        assert file.read_bytes() == own.read_bytes()
    back = races_of(tmp_path / "all", tmp_path / "back")
    assert_same(Race.load(back[1]), Race.load(race))


def test_tubs_that_say_the_same_of_themselves_stay_apart(tmp_path: pathlib.Path) -> None:
    files = []
    for name, angle in (("one", 0.25), ("two", -0.25)):
        records = [small_tubs.record(k, **{"user/angle": angle}) for k in range(4)]
        tub = small_tubs.write(tmp_path / name, records)
        (tub / "manifest.json").write_text("broken")
        files += races_of(tub, tmp_path / "races")
    tub_export.write(files, tmp_path / "both")
    angles = [record.fields["user/angle"] for record in Tub(tmp_path / "both").records()]
    assert angles == [0.25] * 4 + [-0.25] * 4


def test_a_part_of_a_tub_is_numbered_anew(tmp_path: pathlib.Path) -> None:
    # donkeycar finds a deleted record by where it stands.
    records = [small_tubs.record(k) for k in range(10)]
    for record in records[5:]:
        record["_session_id"] = "26-11-28_1"
    tub = small_tubs.write(tmp_path / "tub", records, deleted=[7])
    _, second = races_of(tub, tmp_path / "races")
    written = tub_export.write([second], tmp_path / "part")
    assert (written.records, written.deleted, written.renumbered) == (5, 1, True)
    found = list(Tub(tmp_path / "part").records())
    assert [record.fields["_index"] for record in found] == [0, 1, 2, 3, 4]
    assert [record.deleted for record in found] == [False, False, True, False, False]


def test_the_same_tub_makes_the_same_files(tmp_path: pathlib.Path) -> None:
    tub = small_tubs.write(tmp_path / "tub", [small_tubs.record(k) for k in range(5)])
    (one,), (other,) = races_of(tub, tmp_path / "1"), races_of(tub, tmp_path / "2")
    assert one.read_bytes() == other.read_bytes()


NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
VALUES = st.one_of(
    NUMBERS, st.integers(-(2**40), 2**40), st.text(max_size=8), st.booleans(),
    st.lists(NUMBERS, max_size=3),
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {
        "user/angle": st.floats(-1.5, 1.5),
        "_timestamp_ms": st.sampled_from([50, 50, 50, 49, 0, 3000, -200]),
    },
    optional={
        "user/mode": st.sampled_from(["user", "local", "local_angle"]),
        "pilot/angle": st.floats(-1, 1),
        "_session_id": st.sampled_from(["26-11-28_0", "26-11-28_1"]),
        "my/key": VALUES,
        "your/key": VALUES,
    },
)


@settings(max_examples=40, deadline=None)
@given(
    fields=st.lists(FIELDS, min_size=1, max_size=9),
    deleted=st.sets(st.integers(0, 8)),
    length=st.integers(1, 5),
)
def test_any_tub_comes_back(fields: list[dict[str, Any]], deleted: set[int], length: int) -> None:
    times = itertools.accumulate((own["_timestamp_ms"] for own in fields), initial=10**12)
    records = [
        small_tubs.record(k, **own | {"_timestamp_ms": time})
        for k, (own, time) in enumerate(zip(fields, times, strict=False))
    ]
    deleted &= set(range(len(records)))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tub = small_tubs.write(folder / "tub", records, deleted=sorted(deleted), length=length)
        usable = [
            k for k, r in enumerate(records)
            if k not in deleted and (r["user/mode"] == "user" or "pilot/angle" in r)
            and (r["user/mode"] != "local")
        ]  # fmt: skip
        if len(usable) < 2:
            with pytest.raises(InputError, match="expected two records in a row"):
                imported(tub, folder / "races")
            return
        with contextlib.suppress(InputError):
            files = races_of(tub, folder / "races")
            assert 1 < sum(len(Race.load(file)) for file in files) <= len(usable)
            tub_export.write(files, folder / "back")
            assert small_tubs.contents(folder / "back") == small_tubs.contents(tub)
            return
        # None of them follows another after an ordinary step.
        for one, two in itertools.pairwise(usable):
            assert not (
                two == one + 1
                and records[one].get("_session_id") == records[two].get("_session_id")
                and fields[one]["_timestamp_ms"] == 50
            )


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_any_race_comes_back(rows: int, seed: int) -> None:
    race = small_tubs.race(rows, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tub_export.write([race.save(folder / "a.parquet")], folder / "tub")
        (back,) = tub_import.races(folder / "tub")
        assert_same(back, race)
