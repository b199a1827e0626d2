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
