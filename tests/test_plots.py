from __future__ import annotations

import math
import pathlib
import sys

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from donkey_rl.envs.simulator import track
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import figures, plots
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import limits
from donkey_rl.metrics.limits import OptimalLine
from donkey_rl.metrics.race import COLUMNS, Race, RaceHeader

LENGTH = 200.0
RADIUS = LENGTH / (2 * math.pi)
VERMILION = (0xD5, 0x5E, 0x00)


def circle(radius: float) -> npt.NDArray[np.float64]:
    """A circle from (0, radius) on, clockwise from above: to +x first."""
    angle = 2 * np.pi * np.arange(200) / 200
    return radius * np.stack([np.sin(angle), np.cos(angle)], axis=1)


LINES = plots.TrackLines(circle(RADIUS), circle(RADIUS + 5), circle(RADIUS - 5))


def drive(seconds: float, off: slice = slice(0, 0)) -> Race:
    time = np.arange(round(seconds * 20)) * 0.05
    way = 16.0 * time
    header = RaceHeader(
        track="circle",
        track_length=LENGTH,
        nodes=100,
        start_line=0.0,
        start_line_progress=0.0,
        road_left=-5.0,
        road_right=5.0,
        vehicle="donkey_2022",
    )
    columns: dict[str, object] = {name: np.zeros(len(time)) for name in COLUMNS}
    off_track = np.zeros(len(time), np.bool_)
    off_track[off] = True
    columns |= {
        "time_s": time,
        "progress": way,
        "x": RADIUS * np.sin(way / RADIUS),
        "z": RADIUS * np.cos(way / RADIUS),
        "speed": 16.0 + np.sin(time),
        "node": np.floor(way / 2) % 100,
        "hit": np.full(len(time), ""),
        "off_track": off_track,
    }
    return Race(header, columns)


def share_of(path: pathlib.Path, colour: tuple[int, int, int]) -> float:
    """How much of a picture is about this colour."""
    pixels = np.asarray(Image.open(path).convert("RGB"), np.int16)
    near = np.abs(pixels - np.array(colour)).max(axis=2) < 30
    return float(near.mean())


def test_the_trajectory_is_drawn_in_colours_of_speed(tmp_path: pathlib.Path) -> None:
    path = plots.trajectory(drive(30.0), LINES, tmp_path / "new" / "trajectory.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500
    yellow, violet = (253, 231, 37), (68, 1, 84)  # the ends of viridis
    assert share_of(path, yellow) > 1e-3
    assert share_of(path, violet) > 1e-3
    assert share_of(path, VERMILION) == 0.0


def test_the_optimal_line_lies_over_the_road(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append(figure))
    inside = circle(RADIUS - 3)
    best = OptimalLine(*inside.T, np.full(200, 12.0), np.arange(200.0), 16.0)
    plots.trajectory(drive(30.0), LINES, tmp_path / "with.png", best)
    plots.trajectory(drive(30.0), LINES, tmp_path / "without.png")
    with_line, without = (figure.axes[0] for figure in drawn)
    (line,) = (line for line in with_line.lines if line.get_label() == "optimal")
    # A lap ends where it began: the first of 200 points once more.
    points = np.asarray(line.get_xydata())
    np.testing.assert_allclose(points, np.vstack([inside, inside[:1]]))
    assert "optimal" not in [line.get_label() for line in without.lines]


def test_the_optimal_speed_is_drawn_where_no_lap_was(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.append(figure))
    way = np.arange(200.0)
    best = OptimalLine(way, way, 15.0 + way / 200, way, 12.5)
    plots.speed_profile(drive(5.0), tmp_path / "speed.png", best)
    upper, lower = drawn[0].axes
    (line,) = upper.lines
    np.testing.assert_array_equal(line.get_xydata(), np.stack([best.distance, best.speed], axis=1))
    assert upper.get_title() == "no lap was driven"
    assert not lower.lines


def test_the_optimal_line_is_that_of_the_road_driven() -> None:
    road = track.load("generated_track")
    known = drive(1.0).header.model_copy(
        update={
            "track": road.name,
            "track_length": road.length,
            "road_left": road.road_left,
            "road_right": road.road_right,
            "vehicle": "donkey_2021",
        }
    )
    columns = drive(1.0).columns
    best = plots.optimal(Race(known, columns))
    assert best is not None
    assert best.lap_s == limits.lap_s(known)
    # It keeps to the road: none of its points is farther from the path than the farther edge.
    away = [road.path.points - point for point in np.stack([best.x, best.z], axis=1)]
    nearest = [float(np.hypot(*each.T).min()) for each in away]
    assert max(nearest) < max(-road.road_left, road.road_right)
    for changed in ({"vehicle": ""}, {"track_length": 150.0}, {"track": "club"}):
        assert plots.optimal(Race(known.model_copy(update=changed), columns)) is None


def test_off_track_rows_are_marked_where_they_happened(tmp_path: pathlib.Path) -> None:
    path = plots.trajectory(drive(10.0, slice(100, 120)), LINES, tmp_path / "trajectory.png")
    assert share_of(path, VERMILION) > 1e-4


def test_a_race_of_one_row_can_be_drawn(tmp_path: pathlib.Path) -> None:
    for seconds in (0.0, 0.05, 0.1):
        assert plots.trajectory(drive(seconds), LINES, tmp_path / "a.png").stat().st_size > 0
        assert plots.speed_profile(drive(seconds), tmp_path / "b.png").stat().st_size > 0


def test_the_start_line_crosses_the_road_at_its_arc_length() -> None:
    # A quarter of the circle on, at +x: from 5 u outside the path to 5 u inside.
    left, right = LINES.across(LENGTH / 4)
    np.testing.assert_allclose(left, [RADIUS + 5, 0.0], atol=0.05)
    np.testing.assert_allclose(right, [RADIUS - 5, 0.0], atol=0.05)


def test_an_open_track_is_not_joined_at_its_ends() -> None:
    half = slice(0, 101)
    lines = plots.TrackLines(LINES.centre[half], LINES.left[half], LINES.right[half], closed=False)
    assert len(lines.joined(lines.left)) == 101
    assert len(LINES.joined(LINES.left)) == 201
    np.testing.assert_allclose(lines.across(10 * LENGTH)[0], LINES.left[100])


def test_a_lap_is_measured_from_the_line_that_began_it() -> None:
    # 16 u/s: the lines at 0, 200 and 400 u are crossed at 0, 12.5 and 25 s.
    race = drive(26.0)
    _, second = lap_times.laps(race)
    way, rows = plots.along(race, second)
    np.testing.assert_allclose(race["time_s"][rows][[0, -1]], [12.5, 25.0])
    np.testing.assert_allclose(way, 16.0 * (race["time_s"][rows] - 12.5), atol=1e-9)


def test_lines_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match=r"one shape \(n, 2\)"):
        plots.TrackLines(LINES.centre, LINES.left[:-1], LINES.right)


def test_each_lap_has_its_curve(tmp_path: pathlib.Path) -> None:
    two = plots.speed_profile(drive(26.0), tmp_path / "two.png")
    none = plots.speed_profile(drive(5.0), tmp_path / "none.png")
    blue, orange = (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)
    assert share_of(two, blue) > 1e-4
    assert share_of(two, orange) > 1e-4
    assert share_of(none, blue) == share_of(none, orange) == 0.0


def test_an_unwritable_folder_is_one_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"The plot .* could not be written"):
        plots.speed_profile(drive(1.0), tmp_path / "file" / "speed.png")


def test_plots_leave_no_window_system_behind(tmp_path: pathlib.Path) -> None:
    # Another test of this process may have imported pyplot before.
    before = sys.modules.pop("matplotlib.pyplot", None)
    plots.speed_profile(drive(1.0), tmp_path / "speed.png")
    assert "matplotlib.pyplot" not in sys.modules
    if before is not None:
        sys.modules["matplotlib.pyplot"] = before
