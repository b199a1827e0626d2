"""Tubs that grow: what was imported before is the same race again."""

from __future__ import annotations

import json
import pathlib

import pytest

from donkey_rl.experiments.data import tub_export, tub_import
from donkey_rl.experiments.data.store import open_store
from donkey_rl.experiments.data.tub import Tub
from tests import small_tubs
from tests.data_sets import push, quiet


def recorded(folder: pathlib.Path, sessions: int, deleted: tuple[int, ...]) -> pathlib.Path:
    """Writes a tub of some sessions of six records, as donkeycar would have it by then."""
    names = [f"26-11-28_{number}" for number in range(sessions)]
    records = [
        small_tubs.record(
            6 * number + k,
            _session_id=name,
            _timestamp_ms=small_tubs.BEGAN_MS + 60_000 * number + 50 * k,
        )
        for number, name in enumerate(names)
        for k in range(6)
    ]
    gone = [place for place in deleted if place < len(records)]
    metadata = {"location": "garage"}
    tub = small_tubs.write(folder, records, deleted=gone, metadata=metadata)
    lines = (tub / "manifest.json").read_text().splitlines()
    about = json.loads(lines[3])
    about["sessions"] = {"all_full_ids": names, "last_id": sessions - 1, "last_full_id": names[-1]}
    lines[3] = json.dumps(about)
    (tub / "manifest.json").write_text("\n".join(lines) + "\n")
    return tub


@pytest.mark.parametrize("deleted", [(), (0, 5, 6, 11, 13)])
def test_a_tub_that_has_grown_brings_its_new_drives_alone(
    deleted: tuple[int, ...], tmp_path: pathlib.Path
) -> None:
    store = open_store(str(tmp_path / "store"))
    for sessions in (1, 2, 4):
        tub = recorded(tmp_path / f"{sessions}" / "data", sessions, deleted)
        out = tmp_path / f"{sessions}" / "races"
        imported = tub_import.write(Tub(tub), out, quiet())
        assert imported.races == sessions
        assert push(store, out).races == sessions
    pulled = store.pull("evenings", tmp_path / "pulled", quiet())
    tub_export.write(pulled.races, tmp_path / "again")
    assert small_tubs.contents(tmp_path / "again") == small_tubs.contents(tub)


def test_pictures_of_another_kind_than_jpeg_are_told(tmp_path: pathlib.Path) -> None:
    tub = small_tubs.write(tmp_path / "data", [small_tubs.record(k) for k in range(5)])
    from PIL import Image

    Image.new("RGB", (16, 12)).save(tub / "images" / "3_cam_image_array_.jpg", "PNG")
    imported = tub_import.write(Tub(tub), tmp_path / "races", quiet())
    assert (imported.rows, imported.frames) == (5, 4)
    assert "1 image of another kind than JPEG" in " ".join(imported.notes)


def test_a_session_that_made_no_drive_stays_with_the_drive_before(tmp_path: pathlib.Path) -> None:
    """All its records are deleted; the next session must not take them over."""
    store = open_store(str(tmp_path / "store"))
    for sessions, drives in ((2, 1), (3, 2), (4, 3)):
        tub = recorded(tmp_path / f"{sessions}" / "data", sessions, tuple(range(6, 12)))
        out = tmp_path / f"{sessions}" / "races"
        assert tub_import.write(Tub(tub), out, quiet()).races == drives
        assert push(store, out).races == drives


def test_a_slow_session_splits_no_earlier_one(tmp_path: pathlib.Path) -> None:
    def drives(sessions: int) -> int:
        # The first has a pause of 2.4 s between its halves; the second is recorded at 1 Hz.
        ways = [(50, 2_400), (1_000, 0)]
        records = []
        for number, (step_ms, pause_ms) in enumerate(ways[:sessions]):
            for k in range(40):
                late = step_ms * k + pause_ms * (k >= 20)
                records.append(
                    small_tubs.record(
                        40 * number + k,
                        _session_id=f"26-11-28_{number}",
                        _timestamp_ms=small_tubs.BEGAN_MS + 600_000 * number + late,
                    )
                )
        tub = small_tubs.write(tmp_path / f"{sessions}", records)
        return len(list(tub_import.races(tub)))

    first = drives(1)
    assert drives(2) == first + 1
