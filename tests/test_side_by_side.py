from __future__ import annotations

import math
import pathlib
import subprocess

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.errors import InputError
from donkey_rl.experiments import side_by_side
from donkey_rl.experiments.side_by_side import Side
from donkey_rl.metrics.race import COLUMNS, OPTIONAL, Race, RaceHeader

SIZE = (320, 240)


def drive(speed: float, seconds: float, before: float = 5.0, track: str = "circle") -> Race:
    """A race at one speed, from `before` u before the start line on."""
    time = np.arange(round(seconds * 20) + 1) * 0.05
    header = RaceHeader(
        track=track,
        track_length=100.0,
        nodes=50,
        start_line=0.0,
        start_line_progress=before,
        road_left=-5.0,
        road_right=5.0,
        laps=1,
    )
    columns = {name: np.zeros(len(time)) for name in COLUMNS if name not in OPTIONAL}
    columns |= {"time_s": time, "progress": speed * time, "speed": np.full(len(time), speed)}
    return Race(header, columns)


def plain(count: int, value: int) -> list[npt.NDArray[np.uint8]]:
    return [np.full((12, 16, 3), value, np.uint8)] * count


def test_the_gap_is_the_time_since_the_one_ahead_was_there() -> None:
    quick, slow = drive(10.0, 10.0), drive(8.0, 10.0)
    # After 5 s: 50 u and 40 u. The quick one was at 40 u after 4 s, a second ago.
    assert side_by_side.gap(quick, slow, 5.0) == pytest.approx((1.0, 10.0))
    assert side_by_side.gap(slow, quick, 5.0) == pytest.approx((-1.0, -10.0))
    assert side_by_side.gap(quick, quick, 5.0) == (0.0, 0.0)
    # After 10 s the quick one stands at 100 u; 12 s on, the slow one has still 80 u.
    assert side_by_side.gap(quick, slow, 12.0) == pytest.approx((4.0, 20.0))


def test_the_gap_is_measured_from_the_start_line() -> None:
    # Both have 10 u/s, but the first started 15 u before the line and the second 5 u: 10 u, which
    # is a second. Where the second one is at 0 s, the first one comes after 1 s.
    far, near = drive(10.0, 10.0, before=15.0), drive(10.0, 10.0, before=5.0)
    assert side_by_side.gap(far, near, 5.0) == pytest.approx((-1.0, -10.0))
    started = side_by_side.gap(far, near, 0.5)
    assert math.isnan(started.seconds)
    assert started.way == pytest.approx(-10.0)


def test_a_standing_car_does_not_divide_by_nothing() -> None:
    standing = drive(0.0, 2.0)
    moving = drive(4.0, 2.0)
    assert side_by_side.gap(moving, standing, 1.0) == pytest.approx((1.0, 4.0))


def test_two_races_are_shown_from_their_starts(tmp_path: pathlib.Path) -> None:
    # 0.2 s and 0.5 s; the picture stays 1.5 s: 2 s at 20 frames/s.
    left = Side("dark", drive(10.0, 0.2), plain(5, 40))
    right = Side("light", drive(20.0, 0.5), plain(11, 200))
    path = side_by_side.write(tmp_path / "both.mp4", left, right, SIZE)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo"]
    done = subprocess.run(
        [*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True, timeout=300
    )
    assert "640x270" in done.stderr.decode()
    shown = np.frombuffer(done.stdout, np.uint8).reshape(-1, 270, 640, 3)
    assert len(shown) == 40
    # Between the words, the bars and the strip below.
    np.testing.assert_allclose(shown[20, 60:180, 200:280], 40, atol=8)
    np.testing.assert_allclose(shown[20, 60:180, 520:600], 200, atol=8)
    # The one on the right is ahead from the first step on: its bar is on the right half.
    strip = shown[30, 260:266].astype(int)
    yellow = (strip[..., 0] - strip[..., 2]) > 80
    assert yellow[:, 320:].any()
    assert not yellow[:, :316].any()


def test_what_cannot_be_shown_beside_each_other(tmp_path: pathlib.Path) -> None:
    here = Side("here", drive(1.0, 0.2), plain(5, 0))
    there = Side("there", drive(1.0, 0.2, track="square"), plain(5, 0))
    short = Side("short", drive(1.0, 0.2), plain(3, 0))
    empty = Side("empty", drive(1.0, 0.2).cut(0), [])
    for other in (there, empty):
        with pytest.raises(InputError, match="two races on one track"):
            side_by_side.write(tmp_path / "both.mp4", here, other, SIZE)
    with pytest.raises(InputError, match="fewer than 4 of short"):
        side_by_side.write(tmp_path / "both.mp4", here, short, SIZE)
    assert list(tmp_path.iterdir()) == []
