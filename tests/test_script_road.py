import json
import pathlib

import numpy as np
import pytest

from donkey_rl import errors
from donkey_rl.envs.simulator import script_road, track
from donkey_rl.envs.simulator.path import Curve

SQUARE = "S 6, DY 90, R 1, S 5, R 1, S 5, R 1, S 5"


def save(folder: pathlib.Path, **fields: object) -> str:
    file = folder / "scripted.json"
    file.write_text(json.dumps(fields))
    return str(file)


def test_nodes_by_hand() -> None:
    nodes = script_road.lay((1.0, 2.0), 2.0, "S 2, DY 90, R 1\nS 1, L 1, S 1")
    expected = [(1, 2), (1, 4), (1, 6), (3, 6), (5, 6), (5, 8)]
    assert nodes == pytest.approx(np.array(expected, dtype=float), abs=1e-9)


def test_turn_before_any_dy_is_the_simulators_default() -> None:
    nodes = script_road.lay((0.0, 0.0), 1.0, "S 1, L 1, S 1")
    assert np.degrees(np.arctan2(*(nodes[1] - nodes[0]))) == pytest.approx(0.0)
    assert np.degrees(np.arctan2(*(nodes[2] - nodes[1]))) == pytest.approx(-10.0)


def test_a_scripted_track_measures_cte_from_the_scripts_nodes(tmp_path: pathlib.Path) -> None:
    commands = ", ".join(["S 10, DY 10, R 9"] * 4)
    script = {"x": 0.0, "z": 0.0, "span": 2.0, "commands": commands}
    road = track.load(save(tmp_path, script=script, road={"left": -2.0, "right": 2.0}))
    laid = script_road.lay((0.0, 0.0), 2.0, commands)
    np.testing.assert_allclose(road.nodes, laid)
    assert np.median(np.abs(road.path.locate(laid)[1])) < 0.02
    assert road.path.points[0] == pytest.approx(laid[0])
    assert road.closed


def test_easing_keeps_bends_and_straights() -> None:
    angle = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
    ring = 10.0 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    assert np.hypot(*script_road.eased(ring).T) == pytest.approx(10.0, abs=0.05)
    line = np.stack([np.zeros(9), np.arange(9.0)], axis=1)
    np.testing.assert_allclose(script_road.eased(line), line)
    nodes = script_road.lay((0.0, 0.0), 2.0, ", ".join(["S 10, DY 10, R 9"] * 4))
    tightest = np.abs(Curve(nodes, closed=False).path().curvature[:120]).max()
    eased = np.abs(Curve(script_road.eased(nodes), closed=False).path().curvature[:120]).max()
    # The bends have a radius of 2 u / 10 degrees = 11.5 u.
    assert eased < tightest
    assert eased == pytest.approx(np.radians(10.0) / 2.0, rel=0.15)


def test_generated_track_is_the_simulators_script() -> None:
    road = track.load("generated_track")
    assert len(road.nodes) == 108
    spans = np.hypot(*np.diff(road.nodes, axis=0).T)
    assert spans == pytest.approx(2.0)
    # Its first straight leads to +Z from the start, and it is driven clockwise.
    assert road.nodes[10] - road.nodes[0] == pytest.approx([0.0, 20.0])
    assert np.degrees(road.path.curvature.sum() * road.path.spacing) == pytest.approx(360, abs=1)


@pytest.mark.parametrize(
    ("commands", "received"),
    [
        ("S 9, X 3, S 9", "'X 3'"),
        ("S 9, R 1.5, S 9", "'R 1.5'"),
        ("S 3", "3 nodes"),
        ("", "0 nodes"),
        ("S 999999", "999999 nodes"),
    ],
)
def test_bad_scripts_are_refused(tmp_path: pathlib.Path, commands: str, received: str) -> None:
    script = {"x": 0.0, "z": 0.0, "commands": commands}
    with pytest.raises(errors.TrackError, match=r"script\.commands") as error:
        track.load(save(tmp_path, script=script))
    assert received in str(error.value)


def test_a_script_and_waypoints_exclude_each_other(tmp_path: pathlib.Path) -> None:
    script = {"x": 0.0, "z": 0.0, "commands": SQUARE}
    points = [[0, 0], [0, 9]]
    with pytest.raises(errors.TrackError, match="waypoints and script"):
        track.load(save(tmp_path, script=script, waypoints=points))
