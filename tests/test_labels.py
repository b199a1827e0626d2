"""Lane labels: by hand, and in the frames of a batch."""

from __future__ import annotations

import json
import math
import pathlib

import numpy as np
import pytest

from donkey_rl.envs import EnvironmentConfig, labels
from donkey_rl.envs.simulator import physics, stepping, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.surfaces import SurfaceWorld
from donkey_rl.envs.simulator.world import Start, World

CONFIG = EnvironmentConfig(
    camera=CameraConfig(img_w=32, img_h=24), randomisation=Randomisation(colours=0.5)
)


def test_labels_by_hand_on_the_first_straight() -> None:
    road = track.load("generated_track")
    world = World(road, vehicles.load("donkey_2022"), CONFIG.camera, 1)
    # The first 20 u are straight; the road spans -7.2 to 2.8 of the path, its middle is at -2.2.
    start = (np.array([value]) for value in (4.0, 1.0, 0.2, 0.0))
    world.reset(np.array([0]), Start(*start))
    found = dict(
        zip(labels.LANE_LABELS, labels.lane(road, world.cars.sensed, world.cars.motion)[0],
            strict=True)
    )  # fmt: skip
    assert len(found) == 21
    assert found["left_edge"] == pytest.approx(8.2, abs=0.05)
    assert found["right_edge"] == pytest.approx(1.8, abs=0.05)
    assert found["heading_error"] == pytest.approx(0.2, abs=0.03)
    # The middle 9 u on is 3.2 u to the left; seen from a car turned right by 0.2 rad it lies
    # -3.2 cos 0.2 - 9 sin 0.2 = -4.92 to the right and 9 cos 0.2 - 3.2 sin 0.2 = 8.18 ahead.
    assert found["right_9"] == pytest.approx(-4.92, abs=0.1)
    assert found["ahead_9"] == pytest.approx(8.18, abs=0.1)


@pytest.mark.usefixtures("coarse_ground")
def test_an_open_road_goes_on_straight_behind_its_end() -> None:
    road = track.load("generated_road")
    world = World(road, vehicles.load("donkey_2022"), CONFIG.camera, 1)
    start = (np.array([value]) for value in (road.length - 5.0, 0.0, 0.0, 0.0))
    world.reset(np.array([0]), Start(*start))
    found = dict(
        zip(labels.LANE_LABELS, labels.lane(road, world.cars.sensed, world.cars.motion)[0],
            strict=True)
    )  # fmt: skip
    points = [np.array([found[f"right_{each}"], found[f"ahead_{each}"]]) for each in (9, 16, 28)]
    steps = [points[1] - points[0], points[2] - points[1]]
    assert [float(np.hypot(*step)) for step in steps] == pytest.approx([7.0, 12.0], abs=0.05)
    assert steps[0] / 7.0 == pytest.approx(steps[1] / 12.0, abs=0.01)


@pytest.mark.usefixtures("coarse_ground")
def test_encoders_see_the_end_of_an_open_road() -> None:
    config = CONFIG.model_copy(update={"track": "generated_road"})
    road = track.load("generated_road")
    drawn = labels._arcs(road, np.random.default_rng(0), 4000, road.length - labels._END, 0.0)
    assert drawn.max() > road.length - 5.0
    (part,) = labels.sample_frames(config, 64, seed=0, sampling=labels.Sampling(batch=64))
    assert np.isfinite(part.labels).all()


def test_bends_are_not_looked_for_on_a_straight_road(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "drag.json"
    file.write_text(json.dumps({"closed": False, "waypoints": [[0, 10 * k] for k in range(9)]}))
    road = track.load(str(file))
    assert not road.path.curvature.any()
    arcs = labels._arcs(road, np.random.default_rng(1), 1000, 80.0, 0.5)
    assert 30.0 < arcs.mean() < 50.0


def test_frames_come_in_full_and_repeat_with_their_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        parts = list(
            labels.sample_frames(CONFIG, 70, seed=seed, sampling=labels.Sampling(batch=32))
        )
        assert [len(part.images) for part in parts] == [32, 32, 6]
        runs.append(
            (
                np.concatenate([part.images for part in parts]),
                np.concatenate([part.labels for part in parts]),
            )
        )
    assert runs[0][0].shape == (70, 24, 32, 3)
    assert runs[0][1].shape == (70, 21)
    assert np.isfinite(runs[0][1]).all()
    assert (runs[0][0] == runs[1][0]).all()
    assert (runs[0][1] == runs[1][1]).all()
    assert (runs[0][1] != runs[2][1]).any()
    assert (runs[0][0] != runs[2][0]).any()


def test_places_cover_the_road_and_a_strip_beside_it() -> None:
    found = np.concatenate(
        [
            part.labels
            for part in labels.sample_frames(
                CONFIG, 600, seed=0, sampling=labels.Sampling(batch=300)
            )
        ]
    )
    left, right = found[:, 0], found[:, 1]
    # The road is 10 u wide: both distances sum to its width, whatever the place.
    assert left + right == pytest.approx(np.full(600, 10.0), abs=1e-4)
    # 30 % of the half width beside the road are 1.5 u.
    assert -1.7 < left.min() < -1.1
    assert 11.1 < left.max() < 11.7
    assert np.abs(found[:, 2]).max() < 1.1
    assert found[:, 2].std() == pytest.approx(0.3, abs=0.05)


@pytest.mark.usefixtures("coarse_ground")
def test_places_are_nearest_to_their_own_stretch_of_road(monkeypatch: pytest.MonkeyPatch) -> None:
    # Lanes of this track lie 3.6 u apart in places, and its road is 7 u wide.
    road = track.load("roboracingleague_1")
    drawn: list[Start] = []
    reset = SurfaceWorld.reset

    def noted(
        world: SurfaceWorld, cars: np.ndarray, start: Start | None = None, *, redraw: bool = True
    ) -> None:
        drawn.extend([] if start is None else [start])
        reset(world, cars, start, redraw=redraw)

    monkeypatch.setattr(SurfaceWorld, "reset", noted)
    config = CONFIG.model_copy(update={"track": road.name})
    list(labels.sample_frames(config, 512, seed=2))
    arc, lateral = (
        np.concatenate([getattr(each, n) for each in drawn]) for n in ("arc", "lateral")
    )
    along = np.arange(0.0, road.length, 0.5)
    apart = road.path.beside(arc, lateral)[:, None] - road.path.beside(along, 0.0)
    behind = np.abs(arc[:, None] - along)
    others = np.minimum(behind, road.length - behind) > 30.0
    turned = road.path.at(arc)[2][:, None] - road.path.at(along)[2]
    others &= np.abs(np.sin(turned)) < 0.5
    nearest = np.where(others, np.hypot(*np.moveaxis(apart, 2, 0)), np.inf).min(axis=1)
    assert (nearest < 3.5).mean() > 0.05  # as near as that another stretch often is
    assert (nearest > np.abs(lateral) - 0.3).all()
    assert np.abs(lateral).max() > 1.2 * 3.5  # where the road is alone


def test_labels_describe_what_lies_ahead_of_the_car() -> None:
    """From the labels alone, each point of the road's middle is found where it is."""
    road = track.load("generated_track")
    world = World(road, vehicles.load("donkey_2022"), CONFIG.camera, 50)
    rng = np.random.default_rng(3)
    world.reset(
        np.arange(50),
        Start(rng.uniform(0, road.length, 50), rng.uniform(-6, 2, 50), rng.uniform(-1, 1, 50),
              np.zeros(50)),
    )  # fmt: skip
    motion = world.cars.motion
    found = labels.lane(road, world.cars.sensed, motion)
    count = len(labels.AHEAD)
    right, ahead = found[:, 3 : 3 + count], found[:, 3 + count :]
    for i in range(50):
        yaw = motion[i, physics.YAW]
        x = motion[i, physics.X] + right[i] * math.cos(yaw) + ahead[i] * math.sin(yaw)
        z = motion[i, physics.Z] - right[i] * math.sin(yaw) + ahead[i] * math.cos(yaw)
        arcs = world.cars.sensed[i, stepping.ARC] + np.array(labels.AHEAD)
        assert np.column_stack([x, z]) == pytest.approx(road.path.beside(arcs, -2.2), abs=1e-3)
    # Points farther ahead come last, two numbers each, and change nothing before them.
    more = labels.lane(road, world.cars.sensed, motion, (40.0, 60.0))
    assert (more[:, : len(labels.LANE_LABELS)] == found).all()
    yaw, (right_60, ahead_60) = motion[:, physics.YAW], more[:, -2:].T
    x = motion[:, physics.X] + right_60 * np.cos(yaw) + ahead_60 * np.sin(yaw)
    z = motion[:, physics.Z] - right_60 * np.sin(yaw) + ahead_60 * np.cos(yaw)
    place = road.path.beside(world.cars.sensed[:, stepping.ARC] + 60.0, -2.2)
    assert np.column_stack([x, z]) == pytest.approx(place, abs=1e-3)
    assert labels.names((40.0, 60.0))[-4:] == ("right_40", "ahead_40", "right_60", "ahead_60")
    assert more.shape == (50, len(labels.names((40.0, 60.0))))
