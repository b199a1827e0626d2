"""The manifest of a driver folder, by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from donkey_rl.agents import manifest
from donkey_rl.errors import DriverError


def written(folder: Path, tracks: list[str]) -> Path:
    """Writes a manifest without files."""
    content: dict[str, Any] = {
        "format": manifest.FORMAT,
        "hash": "0" * 64,
        "created": "2024-01-01T00:00:00Z",
        "encoder": "lane",
        "observation": {
            "image_shape": [120, 160, 3],
            "history": 3,
            "scaling": {},
        },
        "description": {
            "agent": "sac",
            "vehicle": "donkey_2022",
            "tracks": tracks,
            "simulator": "embedded",
            "camera": {},
        },
        "versions": {},
        "files": {},
    }
    (folder / manifest.FILE_NAME).write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_manifest_names_the_tracks(tmp_path: Path) -> None:
    found = manifest.read(written(tmp_path, ["warehouse", "warren"]))
    assert found.description.tracks == ("warehouse", "warren")


def test_a_manifest_without_a_track_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"description\.tracks: .*at least 1"):
        manifest.read(written(tmp_path, []))


@pytest.mark.parametrize("latency_ms", [(0.0, 0.0), (80.0, 160.0)])
def test_a_latency_is_written_only_where_there_is_one(
    tmp_path: Path, latency_ms: tuple[float, float]
) -> None:
    found = manifest.read(written(tmp_path, ["warren"]))
    assert found.description.latency_ms == (0.0, 0.0)
    about = found.description.model_copy(update={"latency_ms": latency_ms})
    manifest.write(tmp_path, found.model_copy(update={"description": about}))
    assert manifest.read(tmp_path).description.latency_ms == latency_ms
    # Versions that know no latency refuse a folder that names one, and read all others.
    assert ("latency_ms" in (tmp_path / manifest.FILE_NAME).read_text()) == any(latency_ms)


@pytest.mark.parametrize("latency_ms", [[-1.0, 0.0], [20.0, 10.0], [0.0, 1e9], [5.0]])
def test_a_latency_that_is_none_is_refused(tmp_path: Path, latency_ms: list[float]) -> None:
    path = written(tmp_path, ["warren"]) / manifest.FILE_NAME
    content = json.loads(path.read_text())
    content["description"]["latency_ms"] = latency_ms
    path.write_text(json.dumps(content))
    with pytest.raises(DriverError, match=r"description\.latency_ms"):
        manifest.read(tmp_path)
