"""What docs/race_record.md says of the record is what the code does."""

from __future__ import annotations

import io
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image

from donkey_rl.metrics import race_parts
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, RIVALS, RaceHeader
from donkey_rl.metrics.race_writer import RaceWriter
from tests.race_columns import HEADER

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "race_record.md"
TEXT = PAGE.read_text(encoding="utf-8")


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_table_of_columns_is_that_of_the_code() -> None:
    shown = re.findall(r"^\| `(\w+)` \| (\w+) \|", section("Columns"), flags=re.MULTILINE)
    kinds = {
        name: "string" if kind is np.str_ else np.dtype(kind).name
        for name, (kind, _) in (COLUMNS | RIVALS).items()
    }
    assert dict(shown) == kinds
    assert [name for name, _ in shown] == list(COLUMNS | RIVALS)
    (words,) = re.findall(r"^(.*) may be left out\.$", TEXT, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", words)) == set(OPTIONAL)


def test_the_table_of_the_header_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("Header"), flags=re.MULTILINE)
    shown = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(shown) == sorted(RaceHeader.model_fields)
    (number,) = re.findall(r"version of the record: (\d+)", TEXT)
    assert int(number) == RaceHeader.model_fields["format"].default


def test_the_examples_run(tmp_path: pathlib.Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (160, 120)).save(picture, "JPEG")
    header = HEADER.model_copy(update={"track": "warren"})
    still = {name: 0.0 for name in COLUMNS if name not in OPTIONAL}
    with RaceWriter(tmp_path / "race.parquet", header, frames=True) as writer:
        writer.append(still, picture.getvalue())
    # A race that was not finished, as its one part.
    left = tmp_path / "race_00.parquet.parts"
    left.mkdir()
    (left / race_parts.HEADER).write_text(header.model_dump_json(), encoding="utf-8")
    shutil.copy(writer.path, left / race_parts.part_name(0))
    examples = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert len(examples) == 4
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(examples)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warren 0" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["100", "(160, 120)"]
    assert not left.exists()
