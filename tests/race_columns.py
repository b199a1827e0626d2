"""Columns and header of a race that nobody drove."""

from __future__ import annotations

import json

import numpy as np

from donkey_rl.metrics.race import COLUMNS, Race, RaceHeader

HEADER = RaceHeader(
    track="generated_track",
    track_length=200.0,
    nodes=100,
    start_line=5.0,
    start_line_progress=2.0,
    road_left=-7.0,
    road_right=3.0,
)
CAMERA = {"img_w": 160, "fov": 80.0, "kind": "rgb"}


def header(**changes: object) -> RaceHeader:
    return RaceHeader.model_validate(HEADER.model_dump() | {"camera": CAMERA} | changes)


def altered(**changes: object) -> bytes:
    return json.dumps(header().model_dump(mode="json") | changes).encode()


def columns(rows: int = 4, **changes: object) -> dict[str, object]:
    values: dict[str, object] = {name: np.zeros(rows) for name in COLUMNS}
    values["time_s"] = np.arange(rows) * 0.05
    values["hit"] = np.full(rows, "")
    return values | changes


def assert_same(one: Race, other: Race) -> None:
    """Whether two races are alike in header and columns."""
    assert one.header == other.header
    for name in COLUMNS:
        assert one[name].dtype.kind == other[name].dtype.kind, name
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
