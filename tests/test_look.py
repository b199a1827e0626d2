"""How a track looks: quads, wear, grain, shadows, sheen, cones, plants and hills."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import errors
from donkey_rl.envs.simulator import (
    ground,
    materials,
    panorama,
    plants,
    road_mesh,
    shadows,
    sheen,
    solids,
    texture,
    track,
)
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.path import FloatArray, Path
from donkey_rl.envs.simulator.scenery import (
    Hedge,
    Hill,
    Obstacle,
    Palm,
    Pose,
    StartGrid,
    Stripe,
    Sun,
)
from donkey_rl.envs.simulator.world import World


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ground of 7 cm a texel, soon painted."""
    monkeypatch.setattr(ground, "_MOST_TEXELS", 3e6)


ORIGIN = np.zeros(2)
EAST = Sun(math.radians(90.0), math.radians(45.0))


def plain(**changes: Any) -> track.Track:
    """A straight gray road of 120 u along +Z, from x = -5 to 5, without grain or sun."""
    base = track.load("generated_track")
    points = np.column_stack([np.zeros(241), 0.5 * np.arange(241)])
    colours: dict[str, tuple[int, int, int]] = dict(base.look.colours)
    colours |= {"road": (60, 60, 60), "road_grain": (60, 60, 60), "shoulder": (30, 120, 30)}
    colours |= {"ground": (30, 120, 30), "ground_grain": (30, 120, 30)}
    look: dict[str, Any] = {
        "colours": colours,
        "wear": (),
        "worn_lines": 0.0,
        "sheen": 0.0,
        "sun": None,
    }
    look |= changes.pop("look", {})
    fields: dict[str, Any] = {
        "nodes": points[::4],
        "path": Path(points, np.zeros(241), np.zeros(241), 0.5, closed=False),
        "road_left": -5.0,
        "road_right": 5.0,
        "stripes": (Stripe(-5.0, 5.0, "road"),),
        "obstacles": (),
        "barriers": (),
        "hedges": (),
        "palms": (),
        "grid": StartGrid(poses=(Pose(0.0, 0.0, 0.0),)),
        "start_line": 5.0,
        "start_line_drawn": False,
        "look": dataclasses.replace(base.look, **look),
    }
    return dataclasses.replace(base, **(fields | changes))


def seen(road: track.Track, x: float = 0.0, z: float = 20.0) -> npt.NDArray[np.int64]:
    """What a car at (x, z) sees that looks along +Z."""
    made = World(road, vehicles.load("donkey_2022"), CameraConfig(), 1)
    made.place(np.array([0]), [[x, z, 0.0, 0.0, 0.0, 0.0]])
    image = np.zeros((1, 120, 160, 3), dtype=np.uint8)
    made.render(image)
    return np.asarray(image[0], dtype=np.int64)


def shades(road: track.Track, points: FloatArray) -> FloatArray:
    """Brightness of the finest ground at points of which the road's materials alone matter."""
    baked = ground.bake(road)
    colours = np.zeros((materials.COUNT, 3))
    colours[materials.GROUND.index("road_grain")] = 255.0
    palette = materials.palette(colours) & 255
    column, row = ((points - [baked.origin_x, baked.origin_z]) / baked.size[0]).astype(int).T
    return np.asarray(palette[baked.texels[row * baked.columns[0] + column]], dtype=np.float64)


def test_quads_are_straight_between_nodes() -> None:
    road = track.load("generated_track")
    mesh = road_mesh.build(road, ORIGIN)
    for k in range(len(mesh.plane)):
        for ends, lateral in ((mesh.left, -7.2), (mesh.right, 2.8)):
            middle = 0.5 * (ends[k] + ends[k + 1])
            inward = 1e-6 * (mesh.left[k] + mesh.right[k] - 2.0 * ends[k])
            found, along = road_mesh.place(mesh, k, *(middle + inward))
            assert found == pytest.approx(lateral, abs=1e-4)
            assert along == pytest.approx((k + 0.5) * mesh.spacing, abs=1.5)
    # In the tightest bends a chord of 2 u lies 2^2 / (8 r) inside of the arc: some centimetres.
    chords = 0.5 * (mesh.left[:-1] + mesh.left[1:])
    assert np.abs(road.path.locate(chords)[1] + 7.2).max() > 0.04


def test_the_place_on_the_quads_does_not_depend_on_where_the_search_starts() -> None:
    road = track.load("generated_track")
    mesh = road_mesh.build(road, ORIGIN)
    for s in np.linspace(10.0, 190.0, 60):
        point = road.path.beside(s, -2.0)
        k = int(s / mesh.spacing)
        results = [road_mesh.place(mesh, start, *point) for start in (k - 2, k, k + 2)]
        np.testing.assert_allclose(results, results[1:2] * 3, atol=1e-9)
        assert results[0][0] == pytest.approx(-2.0, abs=0.35)


def test_the_far_ends_of_every_level_are_plain_ground() -> None:
    # The last texel of a coarse level reaches beyond the field of offsets that it is painted by.
    baked = ground.bake(track.load("generated_track"))
    colours = np.zeros((materials.COUNT, 3))
    for name in ("ground", "ground_grain"):
        colours[materials.GROUND.index(name)] = 255.0
    earth = (materials.palette(colours) & 255) == 255
    for level in range(ground.LEVELS):
        rows, columns = int(baked.rows[level]), int(baked.columns[level])
        texels = baked.texels[baked.start[level] :][: rows * columns].reshape(rows, columns)
        assert earth[texels[[0, -1]]].all()
        assert earth[texels[:, [0, -1]]].all()


def test_wear_brightens_the_road_by_lateral_offset() -> None:
    road = plain(look={"wear": ((-4.0, 0.0), (4.0, 1.0)), "grain": 0.0})
    for lateral, share in ((-4.5, 0.0), (0.0, 0.5), (2.0, 0.75), (4.5, 1.0)):
        points = np.column_stack([np.full(60, lateral), np.linspace(10.0, 100.0, 60)])
        assert shades(road, points).mean() == pytest.approx(255.0 * share, abs=18.0)


def test_grain_has_its_deviation_and_fades_with_distance() -> None:
    made = texture.grain(5, 64, ((0.05, 0.05, 1.0),))
    fine, coarse = texture.level(made, 1.0 / 32.0), texture.level(made, 1.0 / 8.0)
    assert fine.shape == (64, 64)
    assert fine.mean() == pytest.approx(0.0, abs=1e-5)
    assert fine.std() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(coarse, fine.reshape(16, 4, 16, 4).mean(axis=(1, 3)), atol=1e-6)
    assert texture.level(made, 100.0).shape == (1, 1)
    # Smoothed along one axis alone, it is streaky.
    streaks = texture.level(texture.grain(5, 64, ((0.5, 0.02, 1.0),)), 1.0 / 32.0)
    assert np.abs(np.diff(streaks, axis=0)).mean() < 0.2 * np.abs(np.diff(streaks, axis=1)).mean()


def test_worn_lines_are_no_longer_straight_but_stay_where_they_are() -> None:
    stripes = (Stripe(-5.0, 5.0, "road"), Stripe(-0.2, 0.2, "edge_line"))
    sharp = seen(plain(stripes=stripes))
    worn = seen(plain(stripes=stripes, look={"worn_lines": 1.0}))
    middles = []
    for image in (sharp, worn):
        white = np.clip(image[70:, :, 2] - 60, 0, None)
        middles.append((white * np.arange(160)).sum(axis=1) / white.sum(axis=1))
    assert np.abs(middles[0] - 79.5).max() < 0.6
    # The edges wander by 3.5 cm, which is 1.6 pixels at the lower end of the picture.
    assert 0.3 < np.abs(middles[1] - middles[0]).max() < 6.0
    assert abs((middles[1] - middles[0]).mean()) < 3.0


@pytest.mark.parametrize("shape", ["cone", "box"])
def test_a_shadow_falls_away_from_the_sun(shape: Any) -> None:
    thing = Obstacle("a", shape, 0.0, 50.0, 0.0, 1.0, 1.0, 2.0, (0, 0, 0))
    # The sun in the east at 45 degrees: 2 u of shadow to the west.
    outline = shadows.outline(thing, EAST)
    reach = 2.0 + (0.1 if shape == "cone" else 0.5)
    assert outline[:, 0].min() == pytest.approx(-reach, abs=1e-6)
    assert outline[:, 0].max() == pytest.approx(0.625 if shape == "cone" else 0.5, abs=1e-6)
    assert np.abs(outline[:, 1] - 50.0).max() < 0.63
    road = plain(obstacles=(thing,), look={"grain": 0.0, "wear": ((0.0, 1.0),)})
    lit = dataclasses.replace(road, look=dataclasses.replace(road.look, sun=EAST))
    points = np.array([[-1.2, 50.0], [1.2, 50.0], [-1.2, 52.0]])
    assert (shades(road, points) == 255.0).all()
    dark = shades(lit, points)
    assert dark[0] < 130.0
    assert (dark[1:] == 255.0).all()


def test_asphalt_shines_far_away_and_towards_the_sun() -> None:
    shining = sheen.build(plain(look={"sheen": 1.0, "sun": EAST}))
    north, east = (0.0, 1.0), (1.0, 0.0)
    gains = [sheen.gain(shining, 1.6, ahead, *north) for ahead in (1.0, 4.0, 10.0, 40.0)]
    assert sorted(gains) == gains
    assert gains[-1] > gains[0] + 60.0
    assert sheen.gain(shining, 1.6, 1.0, *east) > gains[0] + 30.0
    assert sheen.gain(sheen.build(plain()), 1.6, 40.0, *east) == 0.0
    index = {name: k for k, name in enumerate(materials.GROUND)}
    colours = np.full((materials.COUNT, 3), 100.0)
    colours[index["road_grain"]] = (250.0, 100.0, 0.0)
    base = materials.palette(colours)
    palette = base.copy()
    sheen.shine(palette, base, shining, 60.0, np.array([1.0, 0.5, 0.0]))

    def change(first: str, second: str, share: float) -> list[int]:
        at = materials.byte(index[first], index[second], share)
        return [int(palette[at] >> k & 255) - int(base[at] >> k & 255) for k in (0, 8, 16)]

    assert change("road", "ground", 1.0) == [0, 0, 0]
    assert change("road", "road_grain", 0.0) == [60, 30, 0]
    assert change("road", "road_grain", 1.0) == [5, 30, 0]
    assert change("road", "edge_line", 0.5) == [30, 15, 0]
    assert change("road", "edge_line", 1.0) == [0, 0, 0]


def test_a_cone_is_bright_on_the_side_of_the_sun() -> None:
    cone = Obstacle("cone", "cone", 0.0, 25.0, 0.0, 1.6, 1.6, 3.0, (200, 100, 100))
    empty = seen(plain())
    for azimuth, side in ((90.0, 1.0), (-90.0, -1.0)):
        sun = Sun(math.radians(azimuth), math.radians(20.0))
        image = seen(plain(obstacles=(cone,), look={"sun": sun}))
        cut = slice(48, 60)
        body = (image[cut] != empty[cut]).any(axis=2) & (image[cut, :, 0] > image[cut, :, 1] + 20)
        columns = np.flatnonzero(body.all(axis=0))
        assert len(columns) > 8
        red = image[cut, :, 0].mean(axis=0)[columns]
        third = len(red) // 3
        assert side * (red[-third:].mean() - red[:third].mean()) > 40.0


def test_a_cone_that_touches_the_camera_does_not_break_the_picture() -> None:
    cone = Obstacle("cone", "cone", 0.2, 22.0, 0.0, 1.9, 1.9, 3.6, (200, 100, 100))
    road, empty = plain(obstacles=(cone,)), plain()
    for z in np.arange(18.0, 23.0, 0.1):
        image = seen(road, z=z)
        hidden = (image != seen(empty, z=z)).any(axis=2)
        # 3.4 u away it fills a part of the picture, never what is far from its red.
        assert hidden.any() == (image[..., 0] > image[..., 1] + 20).any()
    assert not hidden.any()


def test_a_hedge_hides_what_is_behind_it_and_stops_nobody() -> None:
    hedge = Hedge(np.array([[-12.0, 30.0], [12.0, 30.0]]), 1.2)
    image, empty = seen(plain(hedges=(hedge,))), seen(plain())
    changed = (image != empty).any(axis=2)
    # 9.45 u ahead of the camera, 1.645 u above the ground: its foot is in row 54, the shortest
    # blades (0.86 u) reach row 49. It is wider than the picture.
    assert changed[50:54].mean() > 0.9
    assert not changed[56:].any()
    assert not changed[:44].any()
    assert (image[52, :, 1] > image[52, :, 0]).all()
    assert len(solids.build(plain(hedges=(hedge,))).x) == 0
    # Too far away to be worth drawing.
    assert (seen(plain(hedges=(hedge,)), z=-10.0) == seen(plain(), z=-10.0)).all()


def test_a_closed_hedge_is_seen_from_outside_alone() -> None:
    corners = np.array([[-3.0, 30.0], [3.0, 30.0], [3.0, 36.0], [-3.0, 36.0], [-3.0, 30.0]])
    empty = seen(plain())
    for points in (corners, corners[::-1].copy()):
        closed = plain(hedges=(Hedge(points, 1.2),))
        assert (seen(closed) != empty).any()
        assert (seen(closed, z=32.0) == seen(plain(), z=32.0)).all()


def test_a_palm_stands_at_its_place() -> None:
    empty = seen(plain())
    changed = (seen(plain(palms=(Palm(6.0, 40.0, 8.0),))) != empty).any(axis=2)
    columns = np.flatnonzero(changed.any(axis=0))
    # 6 u right and 19.4 u ahead of the camera: column 80 + 60 * 6 / 19.2; +-4 u wide at most.
    assert 80 < columns.min() < 98.8 < columns.max() < 113
    assert changed[:40].any()
    assert not changed[60:].any()
    assert len(plants.build(plain(palms=(Palm(0.0, 1.0, 2.0),))).x) == 1


def test_a_mirror_image_mirrors_everything() -> None:
    road = track.load("generated_track")
    mirror = road.mirrored()
    assert mirror.look.sun
    assert road.look.sun
    assert mirror.look.sun.azimuth == -road.look.sun.azimuth
    assert mirror.look.wear[0] == (-road.look.wear[-1][0], road.look.wear[-1][1])
    assert mirror.look.hills[3].azimuth == -road.look.hills[3].azimuth
    assert [palm.x for palm in mirror.palms] == [-palm.x for palm in road.palms]
    for hedge, image in zip(road.hedges, mirror.hedges, strict=True):
        np.testing.assert_array_equal(image.points, hedge.points * [-1.0, 1.0])
    assert (panorama.bake(mirror) == panorama.bake(road)[:, ::-1]).all()
    assert mirror.mirrored().look == road.look


def test_hills_stand_where_the_track_says() -> None:
    hill = Hill(math.radians(90.0), math.radians(10.0), math.radians(12.0))
    sky = panorama.bake(plain(look={"hills": (hill,)}))
    colours = np.zeros((materials.COUNT, 3))
    for name in ("far", "far_dark"):
        colours[materials.SURROUNDINGS.index(name)] = 255.0
    hilly = (materials.palette(colours)[sky] & 255) > 200
    # Row 20 is at 10.25 degrees, column 256 of 1024 at 90 degrees.
    assert hilly[20, 250:262].all()
    assert not hilly[20, :200].any()
    assert not hilly[27:].any()


def test_wear_must_be_given_from_left_to_right(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "mine.json"
    turn = 2.0 * np.pi * np.arange(24) / 24
    fields = {"waypoints": np.column_stack([-20 * np.cos(turn), 20 * np.sin(turn)]).tolist()}
    file.write_text(json.dumps(fields | {"look": {"wear": [[0, 0.5], [0, 0.2]]}}))
    with pytest.raises(errors.TrackError, match=r"look\.wear\[1\].*left to right"):
        track.load(str(file))
    more = {
        "road": {"left": -4, "right": 4, "quads": True},
        "hedges": [{"points": [[0, 0], [5, 5]]}],
        "palms": [{"x": 1, "z": 2}],
        "look": {"wear": [[-1, 0.5], [0, 0.2]], "sun": {}, "hills_deg": [[90, 10, 5]]},
    }
    file.write_text(json.dumps(fields | more | {"note": "longer, so that it is read again"}))
    road = track.load(str(file))
    assert road.quads
    assert road.hedges[0].height == 1.2
    assert road.palms == (Palm(1.0, 2.0, 8.0),)
    assert road.look.sun == Sun(math.radians(150.0), math.radians(50.0))
    assert road.look.hills[0].elevation == pytest.approx(math.radians(5.0))
