"""Tubs of version 2 as donkeycar writes them, with small images, and races with pictures."""

from __future__ import annotations

import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from donkey_rl.metrics.race import COLUMNS, Race
from donkey_rl.metrics.race_header import RaceHeader
from donkey_rl.metrics.race_writer import RaceWriter

BEGAN_MS = 1_795_860_112_750
SESSION = "26-11-28_0"
INPUTS = {
    "cam/image_array": "image_array",
    "user/angle": "float",
    "user/throttle": "float",
    "user/mode": "str",
}


def jpeg(shade: int = 0, size: tuple[int, int] = (16, 12)) -> bytes:
    """Returns a small JPEG file; each shade has another content."""
    content = io.BytesIO()
    Image.new("RGB", size, (shade % 256, 40, shade // 256 % 256)).save(content, "JPEG")
    return content.getvalue()


def record(number: int, **fields: Any) -> dict[str, Any]:
    """Returns a record at 20 Hz; `fields` with None are left out."""
    usual = {
        "_index": number,
        "_session_id": SESSION,
        "_timestamp_ms": BEGAN_MS + 50 * number,
        "cam/image_array": f"{number}_cam_image_array_.jpg",
        "user/angle": round(0.9 * np.sin(number), 6),
        "user/throttle": 0.25,
        "user/mode": "user",
    }
    return {key: value for key, value in (usual | fields).items() if value is not None}


def write(
    folder: pathlib.Path,
    records: Sequence[Mapping[str, Any] | str],
    *,
    inputs: Mapping[str, str] = INPUTS,
    deleted: Sequence[int] = (),
    length: int = 10,
    metadata: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a tub with an image for each record that names one; texts are written as they are."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number, each in enumerate(records):
        lines.append(each if isinstance(each, str) else json.dumps(each, sort_keys=True) + "\n")
        name = None if isinstance(each, str) else each.get("cam/image_array")
        if isinstance(name, str) and "/" not in name and "\\" not in name:
            (folder / "images" / name).write_bytes(jpeg(number))
    paths = []
    for first in range(0, max(len(lines), 1), length):
        part = lines[first : first + length]
        paths.append(f"catalog_{len(paths)}.catalog")
        (folder / paths[-1]).write_text("".join(part))
        told = {
            "created_at": BEGAN_MS / 1000.0,
            "line_lengths": [len(line) for line in part],
            "path": f"{paths[-1]}_manifest",
            "start_index": first,
        }
        (folder / f"{paths[-1]}_manifest").write_text(json.dumps(told, sort_keys=True) + "\n")
    sessions = {"all_full_ids": [SESSION], "last_id": 0, "last_full_id": SESSION}
    parts = (
        list(inputs),
        list(inputs.values()),
        dict(metadata or {}),
        {"created_at": BEGAN_MS / 1000.0, "sessions": sessions},
        {
            "paths": paths,
            "current_index": len(lines),
            "max_len": length,
            "deleted_indexes": sorted(deleted),
        },
    )
    (folder / "manifest.json").write_text("".join(json.dumps(part) + "\n" for part in parts))
    return folder


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Returns what a tub holds by name, without the times at which catalogs were made."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".catalog_manifest"
    }


def race(rows: int = 12, seed: int = 0, **header: Any) -> Race:
    """Returns a race with every column filled."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        name: random.uniform(-1.0, 1.0, rows).astype(kind)
        for name, (kind, _) in COLUMNS.items()
        if np.dtype(kind).kind == "f"
    }
    columns |= {
        "time_s": np.cumsum(random.uniform(0.04, 0.06, rows)),
        "node": random.integers(0, 50, rows),
        "lap": random.integers(0, 3, rows),
        "off_track": random.random(rows) < 0.2,
        "reset": random.random(rows) < 0.1,
        "missed": random.random(rows) < 0.1,
        "hit": random.choice(["", "cone", "Wände"], rows),
        "latency_ms": np.where(random.random(rows) < 0.3, np.nan, random.uniform(1, 90, rows)),
    }
    about: dict[str, Any] = {
        "track": "generated_track", "track_length": 120.0, "nodes": 60, "start_line": 3.0,
        "start_line_progress": 2.0, "road_left": -2.0, "road_right": 2.0,
        "vehicle": "donkey_2022", "seed": seed, "driver": "pursuit",
        "camera": {"img_w": 16, "img_h": 12},
    }  # fmt: skip
    return Race(RaceHeader(**about | header), columns)


def save(driven: Race, path: pathlib.Path, *, lacking: int = 5) -> pathlib.Path:
    """Writes a race as a recorder does, with a picture in each row but every `lacking`-th."""
    with RaceWriter(path, driven.header, frames=True) as writer:
        for row in range(len(driven)):
            values = {name: driven[name][row] for name in COLUMNS}
            writer.append(values, jpeg(row) if (row + 1) % lacking else None)
    return path
