"""Tubs as donkeycar's own reader and writer take them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from donkey_rl.experiments.data import tub_export, tub_import
from donkey_rl.experiments.data.tub import Tub
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.metrics import race_file
from donkey_rl.metrics.race import Race
from tests import donkeycar_tub, small_tubs

PLACE = pathlib.Path(os.environ.get("DONKEYCAR", pathlib.Path(sys.prefix) / "donkeycar"))
"""Where donkeycar was installed without what it depends on, which pins an old TensorFlow."""

pytestmark = pytest.mark.skipif(
    not (PLACE / "donkeycar" / "parts" / "tub_v2.py").is_file() and "CI" not in os.environ,
    reason=f"donkeycar is not in {PLACE}: make install puts it there",
)


def donkeycar(verb: str, tub: pathlib.Path) -> Any:
    """Lets donkeycar read or write a tub in a process of its own."""
    done = subprocess.run(
        [sys.executable, donkeycar_tub.__file__, verb, str(tub)],
        env=os.environ | {"PYTHONPATH": str(PLACE), "LOGLEVEL": "WARNING"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pixels(content: bytes) -> str:
    """Returns the hash of an image as donkeycar opens it."""
    with Image.open(io.BytesIO(content)) as image:
        return hashlib.sha256(np.array(image, np.uint8).tobytes()).hexdigest()


def races_of(tub: pathlib.Path, out: pathlib.Path) -> list[pathlib.Path]:
    with ProgressDisplay() as progress:
        result = tub_import.write(Tub(tub), out, progress)
    assert result.left_out == 0
    return [pathlib.Path(file) for file in result.files]


def test_what_donkeycar_writes_comes_back_to_donkeycar(tmp_path: pathlib.Path) -> None:
    donkeycar("write", tmp_path / "tub")
    files = races_of(tmp_path / "tub", tmp_path / "races")
    steering = np.concatenate([Race.load(file)["steering"] for file in files])
    assert len(steering) == donkeycar_tub.RECORDS - 3
    tub_export.write(files, tmp_path / "back")
    assert small_tubs.contents(tmp_path / "back") == small_tubs.contents(tmp_path / "tub")
    before, after = donkeycar("read", tmp_path / "tub"), donkeycar("read", tmp_path / "back")
    assert after == before
    assert (after["length"], after["deleted"], after["next"]) == (20, [2, 3, 12], 23)
    assert after["records"][2]["my/list"] == [4, "ä"]


def test_donkeycar_reads_races(tmp_path: pathlib.Path) -> None:
    race = small_tubs.race(12)
    file = small_tubs.save(race, tmp_path / "a.parquet")
    other = small_tubs.save(small_tubs.race(5, 1), tmp_path / "b.parquet")
    tub_export.write([file, other], tmp_path / "tub")
    read = donkeycar("read", tmp_path / "tub")
    assert (read["length"], read["deleted"], len(read["records"])) == (17, [], 17)
    assert (
        dict(zip(read["inputs"], read["types"], strict=True))["cam/image_array"] == "image_array"
    )
    assert len(read["sessions"]["all_full_ids"]) == 2
    angles = [record["user/angle"] for record in read["records"][:12]]
    assert angles == [*race["steering"][1:].tolist(), race["steering"][-1].item()]
    pictures = [each for each in (*race_file.frames(file), *race_file.frames(other)) if each]
    assert read["images"] == [pixels(picture) for picture in pictures]


def test_donkeycar_goes_on_with_a_tub_that_we_wrote(tmp_path: pathlib.Path) -> None:
    race = small_tubs.race(6)
    tub_export.write([small_tubs.save(race, tmp_path / "a.parquet")], tmp_path / "tub")
    donkeycar("append", tmp_path / "tub")
    read = donkeycar("read", tmp_path / "tub")
    assert (read["length"], read["deleted"], read["next"]) == (6, [0], 7)
    (added,) = (record for record in read["records"] if record["_index"] == 6)
    one, two = read["sessions"]["all_full_ids"]
    assert (added["_session_id"], read["sessions"]["last_full_id"]) == (two, two)
    # The race without its first row; the record that was added has no image.
    with ProgressDisplay() as progress:
        result = tub_import.write(Tub(tmp_path / "tub"), tmp_path / "races", progress)
    (back,) = result.files
    assert Race.load(back)["x"].tolist() == race["x"][1:].tolist()
    assert result.notes[0].startswith("1 of 7 records has no image")
    assert one != two
