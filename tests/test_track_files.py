"""Track files: the format, and one clear line for everything that is wrong with one."""

from __future__ import annotations

import json
import math
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from donkey_rl import errors
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import scenery, stepping, track
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.randomisation import Randomisation

DOCS = pathlib.Path(__file__).parents[1] / "docs" / "tracks.md"
BOX = {"name": "b", "shape": "box", "x": 0, "z": 0, "width": 1, "height": 1, "colour": [0, 0, 0]}
DASHED = {"start": -1, "end": 1, "material": "centre_line", "dash": [2, 2]}


def circle(radius: float = 20.0, count: int = 24) -> list[list[float]]:
    """Waypoints of a circle around the origin, clockwise from its westernmost point."""
    angles = 2.0 * np.pi * np.arange(count) / count
    return [[-radius * math.cos(a), radius * math.sin(a)] for a in angles]


def figure_of_eight() -> list[list[float]]:
    """Waypoints that cross their own way once, from one side to the other."""
    bend = [[20.0 * math.sin(a), 20.0 * (1.0 - math.cos(a))] for a in np.linspace(0.0, 4.7, 12)]
    return [[-40.0, 0.0], [-20.0, 0.0], *bend, [-20.0, 5.0], [-20.0, -20.0]]


def save(folder: pathlib.Path, **fields: Any) -> str:
    """Writes a track file: a circle unless told otherwise."""
    file = folder / "mine.json"
    file.write_text(json.dumps({"waypoints": circle(), **fields}))
    return str(file)


def test_example_of_the_documentation(tmp_path: pathlib.Path) -> None:
    block = re.search(r"```json\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    assert len(json.loads(block[1])["waypoints"]) == 12
    file = tmp_path / "peanut.json"
    file.write_text(block[1])
    road = track.load(str(file))
    assert road.name == "peanut"
    assert (road.road_left, road.road_right) == (-3.5, 3.5)
    assert (road.grid.slot(0).x, road.grid.slot(0).z) == (0.0, -12.0)
    # Clockwise: at the southernmost point it leads to the west.
    assert np.degrees(road.grid.slot(0).yaw) == pytest.approx(-90.0, abs=5.0)
    assert road.start_line == pytest.approx(3.0, abs=0.01)
    assert not road.start_line_drawn
    assert track.load(f"{file}:mirror").name == "peanut:mirror"


def test_own_track_with_everything(tmp_path: pathlib.Path) -> None:
    road = track.load(
        save(
            tmp_path,
            name="ring",
            source_nodes=50,
            road={"left": -2.0, "right": 2.0, "friction": 0.5},
            stripes=[{"start": -0.1, "end": 0.1, "material": "centre_line", "dash": [2, 1]}],
            obstacles=[
                {
                    "name": "crate",
                    "shape": "box",
                    "x": 1,
                    "z": 2,
                    "yaw_deg": 90,
                    "width": 3,
                    "height": 1,
                    "colour": [1, 2, 3],
                }
            ],
            barriers=[
                {"name": "fence", "margin": 5.0},
                {"name": "rail", "offset": 2.5},
                {"name": "post", "points": [[0, 0], [1, 0]], "height": 2.0},
            ],
            start_line={"x": 0.0, "z": 21.0},
            look={"colours": {"road": [9, 9, 9]}, "scenery": "room"},
        )
    )
    assert road.name == "ring"
    assert len(road.nodes) == 50
    assert road.road_friction == 0.5
    assert road.stripes == (scenery.Stripe(-0.1, 0.1, "centre_line", (2.0, 1.0)),)
    crate = road.obstacles[0]
    assert crate.solid
    np.testing.assert_allclose([crate.length, crate.yaw], [3.0, 0.5 * math.pi])
    # Half the diagonal of a square of 3 u: 1.5 * sqrt(2).
    assert crate.radius == pytest.approx(2.1213, abs=1e-4)
    assert [barrier.name for barrier in road.barriers] == ["fence", "rail", "rail", "post"]
    np.testing.assert_allclose(road.barriers[0].points.max(axis=0), [25.0, 25.0], atol=0.05)
    radii = [np.linalg.norm(barrier.points, axis=1) for barrier in road.barriers[1:3]]
    np.testing.assert_allclose(radii[0], 22.5, atol=0.05)
    np.testing.assert_allclose(radii[1], 17.5, atol=0.05)
    # The line is drawn at the northernmost point, a quarter of the lap from the first waypoint.
    assert road.start_line == pytest.approx(0.25 * road.length, abs=0.05)
    assert road.start_line_drawn
    assert road.look.colours["road"] == (9, 9, 9)
    assert set(road.look.colours) == set(scenery.MATERIALS)


def test_an_obstacle_without_a_colour_is_orange(tmp_path: pathlib.Path) -> None:
    plain = {name: value for name, value in BOX.items() if name != "colour"}
    (found,) = track.load(save(tmp_path, obstacles=[plain])).obstacles
    assert found.colour == (224, 100, 40)


def test_unknown_scene_names_the_nearest() -> None:
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'generated_track'") as info:
        track.load("generated_trakc")
    assert info.value.nearest == "generated_track"
    with pytest.raises(errors.UnknownNameError, match="Unknown track 'warehous'"):
        track.load("warehous:mirror")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"waypoint": []}, r"'waypoint': expected a known field.*Did you mean 'waypoints'"),
        ({"road": {"lefd": -3}}, r"'road.lefd'.*Did you mean 'left'"),
        (
            {"stripes": [{"start": 0, "end": 1, "material": "road", "dashes": [1, 1]}]},
            r"'stripes\[0\].dashes'.*Did you mean 'dash'",
        ),
        ({"grid": {"poses": [{"x": 0, "z": 0}]}}, r"'grid.poses\[0\].yaw_deg'.*Add the field"),
        ({"grid": {"poses": [{"y": 0}]}}, r"'grid.poses\[0\]"),
        ({"waypoints": circle(count=7)}, r"'waypoints': expected at least 8 points.*7 points"),
        (
            {"waypoints": [*circle(), [float("nan"), 0.0]]},
            r"'waypoints\[24\]\[0\]': expected a finite number. Received: nan",
        ),
        ({"waypoints": [[0, 0, 0]]}, r"'waypoints\[0\]'"),
        ({"waypoints": [[0, 30000.0]]}, r"'waypoints\[0\]\[1\]'.*Received: 30000"),
        (
            {"waypoints": [*circle()[:5], circle()[4], *circle()[5:]]},
            r"'waypoints\[4\]': expected a point other than waypoints\[5\].*Remove one",
        ),
        (
            {"waypoints": [*circle(), circle()[0]]},
            r"'waypoints\[24\]'.*Remove the last: the road is closed without it",
        ),
        (
            {"random_road": {"x": 0, "z": 0}},
            r"'waypoints': expected one of.*Received: waypoints and",
        ),
        ({"waypoints": None}, r"Received: neither"),
        ({"road": {"left": 3.0, "right": -7.0}}, r"'road': expected left < right.*left=3"),
        ({"road": {"left": -0.7, "right": 0.7}}, r"at least 1.5 u apart"),
        ({"road": {"left": -3.0, "right": 28.0}}, r"'road.right': expected no bend.*narrower"),
        ({"barriers": [{"name": "w"}]}, r"'barriers\[0\]': expected exactly one.*none"),
        (
            {"barriers": [{"name": "w", "margin": 2, "offset": 9}]},
            r"'barriers\[0\]'.*offset, margin",
        ),
        ({"barriers": [{"name": "w", "offset": 4}]}, r"'barriers\[0\].offset': expected at le"),
        (
            {"stripes": [{"start": 1, "end": -1, "material": "road"}]},
            r"'stripes\[0\]': expected start < end",
        ),
        ({"stripes": [{"start": 0, "end": 1, "material": "rode"}]}, r"stripes\[0\].material"),
        ({"look": {"colours": {"road": [0, 0, 256]}}}, r"look.colours.road\[2\].*Received: 256"),
        ({"look": {"colours": {"rode": [0, 0, 0]}}}, r"look.colours.rode"),
        ({"stripes": []}, r"'stripes': expected at least 1 entry. Received: 0. .*leave out"),
        (
            {"stripes": [{"start": -1e9, "end": 1, "material": "road"}]},
            r"'stripes\[0\].start': expected greater than or equal to -100. Received: -1000000000",
        ),
        (
            {"stripes": [DASHED, {**DASHED, "dash": [2, 2]}, {**DASHED, "dash": [1, 3]}]},
            r"'stripes\[2\].dash': expected the pattern of stripes\[0\], \[2.0, 2.0\].*"
            r"Received: \[1.0, 3.0\]. Give all dashed stripes the same",
        ),
        ({"stripes": [{**DASHED, "dash": [1e9, 1]}]}, r"'stripes\[0\].dash\[0\]'.*equal to 200"),
        ({"road": {"left": -1e9}}, r"'road.left': expected greater than or equal to -30"),
        ({"road": {"right": 31}}, r"'road.right': expected less than or equal to 30"),
        ({"barriers": [{"name": "w", "margin": 1e7}]}, r"'barriers\[0\].margin'.*equal to 200"),
        ({"barriers": [{"name": "w", "offset": 1e7}]}, r"'barriers\[0\].offset'.*equal to 200"),
        (
            {"barriers": [{"name": "w", "margin": 9, "height": 1e9}]},
            r"'barriers\[0\].height'.*equal to 200. Received: 1000000000",
        ),
        (
            {"barriers": [{"name": "w", "points": [[0, 0], [1, 0], [1, 0], [2, 0]]}]},
            r"'barriers\[0\].points\[2\]': expected a point 0.01 to 1000 u from the one before. "
            r"Received: \[1.0, 0.0\] and \[1.0, 0.0\]. Remove one",
        ),
        (
            {"barriers": [{"name": "w", "points": [[0, 0], [0, 1001]]}]},
            r"'barriers\[0\].points\[1\]'.*Add points between",
        ),
        (
            {"barriers": [{"name": "w", "points": [[0, 900], [0, 1100]]}]},
            r"'barriers\[0\].points\[1\]': expected a place within 1000 u.* is 1080.0 u from it",
        ),
        (
            {"barriers": [{"name": "w", "points": [[0, 0]]}]},
            r"expected at least 2 entries.*: 1. A",
        ),
        ({"barriers": [{"name": "w", "margin": 1}] * 33}, r"at most 32 entries.*: 33. Remove"),
        ({"obstacles": [{**BOX, "width": 1e6}]}, r"'obstacles\[0\].width'.*equal to 200"),
        ({"obstacles": [{**BOX, "length": 0}]}, r"'obstacles\[0\].length'.*greater than 0"),
        ({"obstacles": [{**BOX, "x": 1e6}]}, r"'obstacles\[0\].x'.*equal to 20000"),
        ({"obstacles": [{**BOX, "x": 1500}]}, r"'obstacles\[0\]': expected a place within 1000 u"),
        ({"obstacles": [{**BOX, "yaw_deg": 1e9}]}, r"'obstacles\[0\].yaw_deg'.*equal to 360"),
        (
            {"grid": {"poses": [{"x": 1e6, "z": 0, "yaw_deg": 0}]}},
            r"'grid.poses\[0\].x'.*equal to 20000. Received: 1000000",
        ),
        (
            {"grid": {"poses": [{"x": 60, "z": 0, "yaw_deg": 0}]}},
            r"'grid.poses\[0\]': expected a place within 30 u of the path. Received: \[60, 0\], "
            r"which is 40.0 u from it. Move it",
        ),
        ({"grid": {"row_spacing": 1e9}}, r"'grid.row_spacing'.*equal to 200"),
        ({"start_line": {"x": 0, "z": 60}}, r"'start_line': expected a place within 30 u"),
        (
            {"waypoints": None, "random_road": {"x": 0, "z": 0, "span": 1e4}},
            r"'random_road.span': expected less than or equal to 200. Received: 10000",
        ),
        (
            {"waypoints": None, "random_road": {"x": 0, "z": 0, "span": 100}},
            r"'random_road.span': expected a road of at most 25000 u. Received: 99900 u from 1000",
        ),
        (
            {"waypoints": circle(radius=5000, count=100)},
            r"'waypoints': expected a road of 10 to 25000 u. Received: 31415.9 u",
        ),
        ({"waypoints": circle(radius=1)}, r"a road of 10 to 25000 u. Received: 6.28"),
        (
            {"waypoints": [[x, 0] for x in (0, 10, 20, 30, 40, 30, 20, 10)]},
            r"'waypoints': expected a line that leads on.*by 180 degrees on the spot near \[39",
        ),
        (
            {"closed": False, "waypoints": [[x, 0] for x in (0, 10, 20, 30, 40, 30, 20, 10, 0)]},
            r"'waypoints': expected a line that leads on.*by 180 degrees on the spot",
        ),
        (
            {"closed": False, "waypoints": figure_of_eight()},
            r"'road.left': expected an edge more than 1 u from the centre of any other part",
        ),
        (
            {
                "closed": False,
                "waypoints": [[5 * k, 0] for k in range(9)],
                "start_line": {"x": 39.5, "z": 0},
            },
            r"'start_line': expected a start line 1 u or more before the end of an open road. "
            r"Received: one at 39.5 u of 40.0 u",
        ),
        ({"name": "a\nb"}, r"'name'"),
        ({"way\npoints": 1}, r"'way\\npoints': expected a known field.*Did you mean 'waypoints'"),
        ({"x" * 5000: 1}, r"mine.json: field 'x{5,20}\.\.\.x{5,20}': expected a known field"),
        ({"waypoints": 10**4000}, r"'waypoints': expected.*Received: 9?1?0+\.\.\.0+. See"),
        ({"format": 2}, r"'format': expected 1. Received: 2"),
        ({"min_lap_s": "soon"}, r"'min_lap_s'.*Received: 'soon'"),
    ],
)
def test_wrong_files_are_refused(
    tmp_path: pathlib.Path, fields: dict[str, Any], expected: str
) -> None:
    with pytest.raises(errors.TrackError, match=expected) as info:
        track.load(save(tmp_path, **fields))
    assert str(info.value).startswith(str(tmp_path / "mine.json"))
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 500 + len(str(tmp_path))


def test_files_that_are_no_tracks_are_refused(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "broken.json"
    with pytest.raises(errors.TrackError, match=r"readable track file. Received: No such file"):
        track.load(str(file))
    file.write_text('{"waypoints": [\n[1, 2],,')
    with pytest.raises(errors.TrackError, match=r"expected JSON.*at line 2, column 8"):
        track.load(str(file))
    file.write_text("[[1, 2], [3, 4]]")
    with pytest.raises(errors.TrackError, match=r"JSON object with a field 'waypoints'.*list"):
        track.load(str(file))
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(errors.TrackError, match="not UTF-8 text"):
        track.load(str(file))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"waypoints": ' + "9" * 5000 + "}", r"expected JSON. Received: a whole number with th"),
        ('{"waypoints": ' + "[" * 200_000, r"expected JSON. Received: lists or objects nested"),
        ('{"waypoints": ' + "[" * 900 + "]" * 900 + "}", r"'waypoints\[0\]\[0\]': expected"),
        (" " * 5_000_001, r"at most 5,000,000 bytes. Received: more. .*leave out points"),
        ('{"name": "\\ud800"}', r"'name': expected a valid string"),
        ("", r"expected JSON.*at line 1, column 1"),
    ],
    ids=["digits", "nested", "nested less", "large", "surrogate", "empty"],
)
def test_texts_beyond_reason_are_refused(tmp_path: pathlib.Path, text: str, expected: str) -> None:
    file = tmp_path / "odd.json"
    file.write_text(text)
    with pytest.raises(errors.TrackError, match=expected) as info:
        track.load(str(file))
    assert str(info.value).startswith(str(file))
    assert len(str(info.value)) < 300 + len(str(file))


def test_a_script_that_turns_back_on_the_spot_is_refused(tmp_path: pathlib.Path) -> None:
    script = {"x": 0, "z": 0, "span": 5, "commands": "DY 180, R 40"}
    with pytest.raises(errors.TrackError, match=r"'script.commands': expected nodes that lie .*"):
        track.load(save(tmp_path, waypoints=None, script=script))


@pytest.mark.parametrize("name", ["a\0.json", "a" * 5000 + ".json"])
def test_paths_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(errors.TrackError, match=r"expected a readable track file.*Check the path"):
        track.load(name)


def test_byte_order_mark_is_read_over(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"waypoints": circle()}), encoding="utf-8-sig")
    assert track.load(str(file)).closed


def eight(count: int = 40) -> list[list[float]]:
    """Waypoints of a figure of eight."""
    angles = 2.0 * np.pi * np.arange(count) / count
    return [[40.0 * math.sin(a), 20.0 * math.sin(2.0 * a)] for a in angles]


def test_road_that_crosses_itself_must_say_so(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.TrackError, match=r'another part near \[.*"crosses_itself": true'):
        track.load(save(tmp_path, waypoints=eight()))
    road = track.load(save(tmp_path, waypoints=eight(), crosses_itself=True))
    assert road.path.curvature.sum() * road.path.spacing == pytest.approx(0.0, abs=0.05)


def test_parallel_stretches_must_not_share_their_road(tmp_path: pathlib.Path) -> None:
    # A dog bone: its sides are 8 u apart in the middle, at z = 4 and -4, driven clockwise. Right
    # edges at 3.5 u leave 1 u of ground between the roads, those at 7.5 u reach within 0.5 u of
    # the other centre line. The bends at its ends are wide enough for that.
    angles = 2.0 * np.pi * np.arange(60) / 60
    bone = [
        [60.0 * math.sin(a), math.cos(a) * (4.0 + 20.0 * math.sin(a) ** 2)]
        for a in angles.tolist()
    ]
    assert track.load(save(tmp_path, waypoints=bone, road={"left": -3.5, "right": 3.5})).closed
    with pytest.raises(errors.TrackError, match=r"'road.right': expected an edge more than 1 u"):
        track.load(save(tmp_path, waypoints=bone, road={"left": -3.5, "right": 7.5}))


def test_mirror_moves_what_stands_beside_the_road(tmp_path: pathlib.Path) -> None:
    crate = {"name": "crate", "shape": "box", "x": 1, "z": 2, "yaw_deg": 30, "width": 1}
    file = save(
        tmp_path,
        obstacles=[{**crate, "height": 1, "colour": [1, 2, 3]}],
        barriers=[{"name": "wall", "points": [[3, 4], [5, 6]]}],
        grid={"poses": [{"x": -20, "z": 1, "yaw_deg": 10}]},
    )
    mirror = track.load(f"{file}:mirror")
    box, pose = mirror.obstacles[0], mirror.grid.slot(0)
    np.testing.assert_allclose([box.x, box.z, np.degrees(box.yaw)], [-1.0, 2.0, -30.0])
    np.testing.assert_allclose([pose.x, pose.z, np.degrees(pose.yaw)], [20.0, 1.0, -10.0])
    np.testing.assert_allclose(mirror.barriers[0].points, [[-3.0, 4.0], [-5.0, 6.0]])


def test_a_random_road_is_known_by_its_number() -> None:
    assert track.load("generated_road:3").name == "generated_road:3"
    assert track.load("generated_road:3:mirror").name == "generated_road:3:mirror"
    np.testing.assert_array_equal(
        track.load("generated_road").nodes, track.load("generated_road:0").nodes
    )
    with pytest.raises(errors.TrackError, match="Only a random road takes a number"):
        track.load("warehouse:3")


def test_an_open_road_may_be_short(tmp_path: pathlib.Path) -> None:
    file = save(tmp_path, closed=False, waypoints=[[3.0 * k, 0.0] for k in range(9)])
    for anywhere in (False, True):
        drawn = Randomisation(start_anywhere=anywhere, start_lateral=0.1)
        camera = CameraConfig(img_w=16, img_h=16)
        config = EnvironmentConfig(track=file, randomisation=drawn, camera=camera)
        batch = Batch(config, 3, seed=1)
        assert batch.sensed[:, stepping.ARC].max() < 24.0
