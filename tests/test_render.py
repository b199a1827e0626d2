"""What the cameras see: lines, things and cars where projection says, calm at a distance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl.envs.simulator import ground, physics, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.path import Path
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.scenery import Barrier, Obstacle, Pose, StartGrid, Stripe
from donkey_rl.envs.simulator.world import World

Image = npt.NDArray[np.uint8]
RED = (210, 20, 20)


def scene(
    stripes: Sequence[Stripe] | None = None,
    obstacles: Sequence[Obstacle] = (),
    barriers: Sequence[Barrier] = (),
    heading: float = 0.0,
) -> track.Track:
    """A straight road of 120 u from x = -5 to 5 that leads along `heading` from the origin."""
    base = track.load("generated_track")
    way = 0.5 * np.arange(241)
    points = np.column_stack([way * math.sin(heading), way * math.cos(heading)])
    road = (
        Stripe(-5.0, 5.0, "road"),
        Stripe(-3.2, -2.8, "edge_line"),
        Stripe(2.8, 3.2, "edge_line"),
    )
    colours = base.look.colours | {
        "road": (60, 60, 60), "road_grain": (60, 60, 60), "edge_line": (250, 250, 250),
        "ground": (30, 120, 30), "ground_grain": (30, 120, 30),
    }  # fmt: skip
    return dataclasses.replace(
        base,
        nodes=points[::4],
        path=Path(points, np.full(241, heading), np.zeros(241), 0.5, closed=False),
        road_left=-5.0,
        road_right=5.0,
        stripes=tuple(stripes or road),
        obstacles=tuple(obstacles),
        barriers=tuple(barriers),
        grid=StartGrid(poses=(Pose(0.0, 0.0, heading),)),
        look=dataclasses.replace(base.look, colours=colours, worn_lines=0.0, sheen=0.0),
        start_line=5.0,
        start_line_drawn=False,
    )


@pytest.fixture(scope="module")
def plain() -> track.Track:
    return scene()


def world(road: track.Track, count: int = 1, **arguments: Any) -> World:
    settings = {
        key: arguments.pop(key) for key in list(arguments) if key in CameraConfig.model_fields
    }
    camera = CameraConfig(**settings)
    return World(road, vehicles.load("donkey_2022"), camera, count, **arguments)


def look(made: World, *poses: tuple[float, float, float]) -> Image:
    """Puts cars at (x, z, yaw) and returns what they see, shape (k, h, w, 3)."""
    for i, pose in enumerate(poses):
        made.cars.motion[i, :3] = pose
    image = np.zeros((len(made), *made.camera.shape), dtype=np.uint8)
    made.render(image)
    return image


def projected(
    right: float, ahead: float, up: float = 0.0, *, config: CameraConfig | None = None
) -> tuple[float, float]:
    """Column and row of a point seen from the car's origin, by the pinhole's formula."""
    config = config or CameraConfig()
    focal = config.img_h / 2.0 / math.tan(math.radians(config.fov) / 2.0)
    pitch = math.radians(config.rot_x)
    forward, rise = ahead - config.offset_z, up - config.offset_y - 0.525
    depth = forward * math.cos(pitch) - rise * math.sin(pitch)
    height = forward * math.sin(pitch) + rise * math.cos(pitch)
    column = config.img_w / 2.0 + focal * (right - config.offset_x) / depth
    return column, config.img_h / 2.0 - focal * height / depth


def middle_of_line(row: npt.NDArray[Any], low: float, high: float) -> float:
    """Middle of what is bright between two columns of one image row."""
    columns = np.arange(len(row))
    bright = np.clip(row[:, 1].astype(float) - 60.0, 0.0, None)
    bright[(columns < low) | (columns > high)] = 0.0
    assert bright.max() > 60.0
    return float((bright * (columns + 0.5)).sum() / bright.sum())


@pytest.mark.parametrize("settings", [{}, {"fov": 70.0, "rot_x": 8.0}, {"offset_x": 0.4},
                                      {"img_w": 320, "img_h": 240, "offset_y": 2.0}])  # fmt: skip
@pytest.mark.parametrize("ahead", [4.0, 7.0, 12.0])
def test_a_painted_line_appears_where_projection_says(
    plain: track.Track, settings: dict[str, Any], ahead: float
) -> None:
    config = CameraConfig(**settings)
    image = look(world(plain, **settings), (0.0, 20.0, 0.0))[0]
    for side in (-3.0, 3.0):
        _, height = projected(side, ahead, config=config)
        row = int(height)
        # The distance that the row's centre sees, from the projection turned round.
        near, far = ahead * 0.7, ahead * 1.4
        for _ in range(60):
            mean = 0.5 * (near + far)
            near, far = (
                (mean, far) if projected(0, mean, config=config)[1] > row + 0.5 else (near, mean)
            )
        column, _ = projected(side, near, config=config)
        if 3 < column < config.img_w - 3:
            reach = 6.0 * config.img_w / 160.0
            found = middle_of_line(image[row], column - reach, column + reach)
            assert found == pytest.approx(column, abs=0.8)


@pytest.mark.parametrize("yaw", [0.5, 2.0, -2.5, 4.0])
def test_the_image_depends_on_the_pose_relative_to_the_road_alone(yaw: float) -> None:
    # The same road laid in another direction: the ground looks the same but for its texels.
    straight = look(world(scene()), (1.0, 20.0, 0.1))[0]
    sin_yaw, cos_yaw = math.sin(yaw), math.cos(yaw)
    place = (cos_yaw + 20.0 * sin_yaw, 20.0 * cos_yaw - sin_yaw, yaw + 0.1)
    turned = look(world(scene(heading=yaw)), place)[0]
    gap = np.abs(straight[50:].astype(float) - turned[50:]).mean()
    assert gap < 6.0
    assert np.abs(straight[50:].astype(float) - turned[50:, ::-1]).mean() > 2.0 * gap


def test_ground_below_the_horizon_and_sky_above(plain: track.Track) -> None:
    image = look(world(plain), (0.0, 20.0, 0.0))[0].astype(int)
    # Horizon between rows 43 and 44 (43.92). The grass is (30, 120, 30), the asphalt gray.
    red, green, blue = (image[70:, :, k] for k in range(3))
    asphalt = (red == 60) & (green == 60) & (blue == 60)
    assert asphalt.mean() > 0.5
    sky = image[0]
    assert (sky[:, 2] > sky[:, 0]).mean() > 0.9
    # Beside the road: the point 20 u right and 20 u ahead.
    column, row = projected(20.0, 20.0)
    assert tuple(image[int(row), int(column)]) == pytest.approx((30, 120, 30), abs=12)


def test_the_edge_of_the_road_is_where_grass_begins(plain: track.Track) -> None:
    image = look(world(plain), (0.0, 20.0, 0.0))[0].astype(int)
    _, height = projected(5.0, 7.0)
    row = int(height)
    is_grass = image[row, :, 1] > image[row, :, 0] + 40
    first = int(np.flatnonzero(is_grass & (np.arange(160) > 80))[0])
    depth_at_row = 0.5
    for ahead in np.arange(5.0, 9.0, 0.01):
        if projected(0.0, ahead)[1] <= row + 0.5:
            depth_at_row = ahead
            break
    assert first == pytest.approx(projected(5.0, depth_at_row)[0], abs=1.5)


def test_gray_is_the_luminance_in_all_three_channels(plain: track.Track) -> None:
    colour = look(world(plain), (0.0, 20.0, 0.0))[0].astype(float)
    gray = look(world(plain, img_d=1), (0.0, 20.0, 0.0))[0]
    assert (gray[..., 0] == gray[..., 1]).all()
    assert (gray[..., 0] == gray[..., 2]).all()
    expected = np.floor(colour @ [0.2126, 0.7152, 0.0722] + 1e-9)
    assert np.abs(gray[..., 0] - expected).max() <= 1


def test_fish_eye_takes_its_pixels_from_the_plain_image(plain: track.Track) -> None:
    flat = look(world(plain), (0.0, 20.0, 0.0))[0]
    bent = look(world(plain, fish_eye_x=1.0, fish_eye_y=0.5), (0.0, 20.0, 0.0))[0]
    # By hand in test_camera: row 30, column 120 comes from row 39, column 115.
    assert (bent[30, 120] == flat[39, 115]).all()
    assert (bent[60, 80] == flat[60, 80]).all()
    assert (bent != flat).any()


@pytest.mark.parametrize(("width", "height"), [(16, 16), (512, 512), (16, 512), (37, 101)])
def test_every_size_is_drawn_in_full(plain: track.Track, width: int, height: int) -> None:
    made = world(plain, img_w=width, img_h=height)
    made.cars.motion[0, :3] = (0.0, 20.0, 0.0)
    image = np.full((1, height, width, 3), 1, dtype=np.uint8)
    made.render(image)
    untouched = (image == 1).all(axis=3)
    assert untouched.mean() < 0.001


def test_another_car_is_seen_in_the_same_group_only(plain: track.Track) -> None:
    poses = ((0.0, 20.0, 0.0), (0.0, 27.0, 0.0))
    alone = look(world(plain), poses[0])[0]
    apart = look(world(plain, 2), *poses)
    together = look(world(plain, 2, groups=[0, 0]), *poses)
    assert (apart[0] == alone).all()
    changed = (together[0] != alone).any(axis=2)
    # A car 1 u wide (its wheels 1.3 u), 0.95 u high, its rear 6.125 u ahead.
    left, bottom = projected(-0.65, 6.125)
    right, _ = projected(0.65, 6.125)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert columns[0] == pytest.approx(left, abs=1.5)
    assert columns[-1] == pytest.approx(right - 1.0, abs=1.5)
    assert rows[-1] == pytest.approx(bottom - 1.0, abs=1.5)
    assert rows[0] == pytest.approx(projected(0.0, 6.5, 0.95)[1], abs=3.0)
    # The car ahead does not see the one behind it.
    assert (together[1] == apart[1]).all()


@pytest.mark.parametrize("x", [-2.0, 0.5, 2.5])
def test_a_cone_is_seen_at_its_place(plain: track.Track, x: float) -> None:
    cone = Obstacle("cone (1)", "cone", x, 28.0, 0.0, 0.8, 0.8, 1.0, RED)
    image = look(world(scene(obstacles=[cone])), (0.0, 20.0, 0.0))[0].astype(int)
    empty = look(world(plain), (0.0, 20.0, 0.0))[0].astype(int)
    changed = (image != empty).any(axis=2)
    reddish = image[..., 0] > image[..., 1] + 60
    assert (reddish & changed).sum() > 10
    columns = np.flatnonzero(changed.any(axis=0))
    rows = np.flatnonzero(changed.any(axis=1))
    # Its foot is 1.25 times its width.
    left, bottom = projected(x - 0.5, 8.0)
    right, _ = projected(x + 0.5, 8.0)
    assert columns[0] == pytest.approx(left, abs=1.5)
    assert columns[-1] == pytest.approx(right - 1.0, abs=1.5)
    assert rows[-1] == pytest.approx(bottom - 1.0, abs=1.5)
    assert rows[0] == pytest.approx(projected(x, 8.0, 1.0)[1], abs=1.5)


def test_a_wall_hides_what_is_behind_it() -> None:
    wall = Barrier("wall", np.array([[-30.0, 30.0], [30.0, 30.0]]), 3.0, (20, 20, 200))
    behind = Obstacle("cone (1)", "cone", 0.0, 33.0, 0.0, 0.8, 0.8, 1.0, RED)
    image = look(world(scene(obstacles=[behind], barriers=[wall])), (0.0, 20.0, 0.0))[0].astype(
        int
    )
    # From its foot 10 u ahead to its top, which is above the camera's height.
    foot, top = projected(0.0, 10.0)[1], projected(0.0, 10.0, 3.0)[1]
    column = image[:, 80]
    blue = column[:, 2] > column[:, 0] + 60
    assert blue[math.ceil(top) + 1 : int(foot) - 1].all()
    assert not blue[int(foot) + 2 :].any()
    assert not (image[..., 0] > image[..., 1] + 60)[20:].any()


def test_the_near_thing_is_drawn_over_the_far_one() -> None:
    near = Obstacle("a", "box", 0.0, 26.0, 0.0, 1.0, 1.0, 1.0, (250, 20, 20))
    far = Obstacle("b", "box", 0.0, 32.0, 0.0, 1.0, 1.0, 1.0, (20, 20, 250))
    seen = []
    for order in ((near, far), (far, near)):
        seen.append(look(world(scene(obstacles=order)), (0.0, 20.0, 0.0))[0])
    assert (seen[0] == seen[1]).all()
    column, row = projected(0.0, 5.5, 0.5)
    pixel = seen[0][int(row), int(column)].astype(int)
    assert pixel[0] > pixel[2] + 60


def far_flicker(made: World) -> float:
    """How much the far road changes from frame to frame while a car drifts a little.

    The rows between 25 and 60 u ahead. A pixel there is 0.4 to 1 u wide, and the car moves by
    0.02 u to the side and turns by 0.001 rad a frame: less than a tenth of a pixel.
    """
    top, bottom = math.ceil(projected(0.0, 60.0)[1]), int(projected(0.0, 25.0)[1]) + 1
    drift = ((0.02 * k, 20.0 + 0.1 * k, 0.001 * k) for k in range(20))
    frames = [look(made, pose)[0, top:bottom] for pose in drift]
    return float(np.abs(np.diff(np.array(frames, dtype=float), axis=0)).mean())


def test_lane_lines_do_not_flicker_at_a_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    thin = [
        Stripe(-5.0, 5.0, "road"),
        *(Stripe(x - 0.06, x + 0.06, "edge_line") for x in (-4.0, -2.0, 0.0, 2.0, 4.0)),
    ]
    calm = far_flicker(world(scene(thin)))
    # The same ground without its coarser levels: one sample of the finest texel.
    made = world(scene(thin))
    finest = made._scene.ground
    flat = finest._replace(size=np.where(np.arange(len(finest.size)) > 0, 1e9, finest.size))
    monkeypatch.setattr(made, "_scene", made._scene._replace(ground=flat))
    assert calm < 0.4 * far_flicker(made)
    assert calm < 0.5


def test_a_line_fades_with_distance_into_the_mean_of_line_and_road() -> None:
    # 12 cm of white every 60 cm: seen from afar a fifth white: 60 + 0.2 * 190 = 98.
    fence = [Stripe(-5.0, 5.0, "road")]
    fence += [Stripe(x, x + 0.12, "edge_line") for x in np.arange(-4.8, 4.7, 0.6)]
    baked = ground.bake(scene(fence))
    level = int(np.flatnonzero(baked.size >= 0.5)[0])
    image = look(world(scene(fence)), (0.0, 20.0, 0.0))[0].astype(float)
    row = int(projected(0.0, 45.0)[1])
    left, right = projected(-4.0, 45.0)[0], projected(4.0, 45.0)[0]
    assert image[row, int(left) : int(right), 1].mean() == pytest.approx(98.0, abs=20.0)
    assert baked.size[level] >= 0.5


def test_levels_of_the_ground_agree_on_average(plain: track.Track) -> None:
    made = world(plain)
    baked, palette = made._scene.ground, made._looks.ground[0]
    means = []
    for k in range(ground.LEVELS):
        part = baked.texels[baked.start[k] : baked.start[k] + baked.columns[k] * baked.rows[k]]
        packed = palette[part]
        means.append([(packed >> shift & 255).mean() for shift in (0, 8, 16)])
    assert np.ptp(np.array(means), axis=0).max() < 4.0


def test_noise_has_its_deviation_and_changes_every_frame(plain: track.Track) -> None:
    clean = look(world(plain), (0.0, 20.0, 0.0))[0].astype(float)
    made = world(plain, randomise=Randomisation(noise=20.0), seed=4)
    made._looks.noise[:] = 10.0
    noisy = look(made, (0.0, 20.0, 0.0))[0].astype(float)
    # Where nothing is cut off at 0 or 255.
    inside = (clean > 60) & (clean < 195)
    gap = (noisy - clean)[inside]
    assert gap.std() == pytest.approx(10.0, rel=0.1)
    assert abs(gap.mean()) < 1.0
    assert (look(made, (0.0, 20.0, 0.0))[0] == noisy).all()
    made.cars.ticks[:] += 1
    assert (look(made, (0.0, 20.0, 0.0))[0] != noisy).any()


def test_a_blur_softens_edges_and_keeps_brightness(plain: track.Track) -> None:
    clean = look(world(plain), (0.0, 20.0, 0.0))[0].astype(float)
    made = world(plain)
    made._looks.blur[:] = 1.0
    soft = look(made, (0.0, 20.0, 0.0))[0].astype(float)
    inner = (slice(1, -1), slice(1, -1))
    assert soft[inner].mean() == pytest.approx(clean[inner].mean(), abs=1.0)
    assert np.abs(np.diff(soft, axis=1)).mean() < 0.9 * np.abs(np.diff(clean, axis=1)).mean()
    # Weight 1: a pixel becomes the mean of its four neighbours, rounded down.
    r, c = 80, 60
    around = clean[r - 1, c] + clean[r + 1, c] + clean[r, c - 1] + clean[r, c + 1]
    assert soft[r, c] == pytest.approx(np.floor(around / 4.0), abs=1.0)


@pytest.mark.parametrize("name", track.names())
def test_a_scene_shows_a_road_below_and_surroundings_above(name: str) -> None:
    made = world(track.load(name), img_w=80, img_h=60)
    image = np.zeros((1, 60, 80, 3), dtype=np.uint8)
    made.render(image)
    road = np.array(made.track.look.colours["road"], dtype=float)
    grain = np.array(made.track.look.colours["road_grain"], dtype=float)
    below = image[0, 35:].reshape(-1, 3).astype(float)
    # Between the two colours of the road, within 25 on each channel.
    low, high = np.minimum(road, grain) - 25.0, np.maximum(road, grain) + 25.0
    assert ((below >= low) & (below <= high)).all(axis=1).mean() > 0.2
    assert image[0, :15].std() > 0.0
    above, under = image[0, :15].mean(axis=(0, 1)), image[0, 35:].mean(axis=(0, 1))
    assert np.abs(above - under).max() > 5.0
    assert made.cars.motion[0, physics.FORWARD] == 0.0
