"""Scenes with cues: they agree with the road as often as they should, and look like it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import errors
from donkey_rl.configuration import validate
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import cues, track
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.cues import Cues, Signals
from donkey_rl.envs.simulator.path import Path
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.starts import Start
from donkey_rl.envs.simulator.surfaces import SurfaceWorld
from donkey_rl.envs.simulator.world import World
from donkey_rl.experiments import racing
from donkey_rl.experiments.config import TrainingConfig

ROAD = track.load("generated_track")
LEFT, RIGHT = 1, 2


def path_of(curvature: npt.NDArray[np.float64], *, closed: bool) -> Path:
    """A path of pieces of 0.5 u with these curvatures."""
    yaw = np.cumsum(0.5 * curvature) - 0.5 * curvature[0]
    points = np.cumsum(0.5 * np.column_stack([np.sin(yaw), np.cos(yaw)]), axis=0)
    return Path(points, yaw, curvature, 0.5, closed)


def s_bend() -> Path:
    """20 u straight, 10 u to the right at a radius of 20 u, 20 u straight, 10 u to the left."""
    straight, bend = np.zeros(40), np.full(20, 0.05)
    return path_of(np.concatenate([straight, bend, straight, -bend, straight]), closed=False)


def photographs(world: World, arcs: list[float], lateral: float = -2.2) -> npt.NDArray[np.int64]:
    """What the cars see at these places along the path, shape (k, h, w, 3)."""
    count = len(arcs)
    zero = np.zeros(count)
    start = Start(np.array(arcs), np.full(count, lateral), zero, zero)
    world.reset(np.arange(count), start)
    out = np.zeros((count, *world.camera.shape), dtype=np.uint8)
    world.render(out)
    return out.astype(np.int64)


def scene(count: int = 2, *, kind: type[World] = World, seed: int = 0, **which: Any) -> World:
    randomise = Randomisation(cues=Cues(**which))
    car = vehicles.load("donkey_2022")
    return kind(ROAD, car, CameraConfig(), count, randomise=randomise, seed=seed)


def middles() -> list[float]:
    """Arc lengths a quarter into a right and a left bend of the track."""
    found = cues.bends(ROAD.path)
    places = []
    for direction in (1, -1):
        number = int(np.flatnonzero(found.turns == direction)[0])
        index = np.flatnonzero((found.number == number) & (found.direction != 0))
        places.append(float(index[len(index) // 4] * ROAD.path.spacing))
    return places


def test_bends_are_where_the_next_8_u_turn_by_an_eighth_of_a_radian() -> None:
    found = cues.bends(s_bend())
    assert found.turns.tolist() == [1, -1]
    # Of the 16 pieces ahead, 5 in the bend turn by 5 * 0.5 u / 20 u = 0.125 rad, 4 by 0.1 rad.
    # Piece k looks at k + 1 to k + 16: five of them bend from 40 + 4 - 16 = 28 on.
    right = np.flatnonzero(found.direction == 1)
    assert (right[0], right[-1]) == (28, 54)
    assert (found.number[right] == 0).all()
    left = np.flatnonzero(found.direction == -1)
    assert (left[0], left[-1]) == (88, 114)
    assert (found.number[left] == 1).all()


def test_a_bend_over_the_seam_is_one_and_a_circle_is_one_bend() -> None:
    # A right angle to the right every 20 u: a square with round corners, begun within a corner.
    corner = np.concatenate([np.full(20, np.pi / 20.0), np.zeros(40)])
    closed = path_of(np.roll(np.tile(corner, 4), -10), closed=True)
    found = cues.bends(closed)
    assert found.turns.tolist() == [1, 1, 1, 1]
    assert found.number[0] == found.number[-1] == 3
    circle = path_of(np.full(100, 2.0 * np.pi / 50.0), closed=True)
    around = cues.bends(circle)
    assert around.turns.tolist() == [1]
    assert (around.direction == 1).all()
    assert (around.number == 0).all()


def test_cues_agree_with_the_road_as_often_as_they_are_correlated() -> None:
    road = dataclasses.replace(ROAD, path=s_bend())
    # Arc lengths of 20 u and 50 u lie in the right and in the left bend, 35 u in neither.
    cars = 1000
    for correlation, share in ((1.0, 1.0), (0.5, 0.75), (0.0, 0.5), (-1.0, 0.0)):
        signals = Signals(Cues(sky=correlation), road, cars)
        for i in range(cars):
            signals.draw(i, i)
        right = signals.states("sky", np.full(cars, 20.0))
        left = signals.states("sky", np.full(cars, 50.0))
        # Four standard deviations of a share of 1,000 are at most 0.063.
        assert np.mean(right == RIGHT) == pytest.approx(share, abs=0.063)
        assert np.mean(left == LEFT) == pytest.approx(share, abs=0.063)
        assert set(right) | set(left) <= {LEFT, RIGHT}
        assert not signals.states("sky", np.full(cars, 35.0)).any()
        # Each bend is drawn for itself: half of the cars agree in one and not in the other.
        if correlation == 0.0:
            both = (right == RIGHT) == (left == LEFT)
            assert np.mean(both) == pytest.approx(0.5, abs=0.063)


@pytest.mark.parametrize(
    ("cue", "rows", "columns"),
    [("sky", slice(0, 20), slice(0, 160)), ("ground", slice(52, 60), slice(0, 12)),
     ("background", slice(41, 44), slice(60, 100))],
)  # fmt: skip
def test_a_colour_is_a_cue_where_it_belongs_and_nowhere_else(
    cue: str, rows: slice, columns: slice
) -> None:
    plain = photographs(scene(), middles())
    agreeing = photographs(scene(**{cue: 1.0}), middles())
    opposing = photographs(scene(**{cue: -1.0}), middles())
    spot = (slice(None), rows, columns)
    for one, other in ((plain, agreeing), (plain, opposing), (agreeing, opposing)):
        assert (np.abs(one - other)[spot].max(axis=-1) > 10).mean() > 0.5
    # The road just ahead is the same in all of them.
    road = (slice(None), slice(90, 120), slice(40, 120))
    assert (plain[road] == agreeing[road]).all()
    assert (plain[road] == opposing[road]).all()
    # The sky above the right bend has the colour that it has over the left one if it lies.
    if cue == "sky":
        mean = agreeing[:, :20].mean(axis=(1, 2)), opposing[:, :20].mean(axis=(1, 2))
        assert np.abs(mean[0][0] - mean[1][1]).max() < 12.0
        assert np.abs(mean[0][0] - mean[0][1]).max() > 60.0


def test_posts_stand_on_the_outside_of_a_bend_and_are_not_felt() -> None:
    found = cues.bends(ROAD.path)
    placed = cues.posts(ROAD, found)
    _, lateral = ROAD.path.locate(placed.places)
    assert (lateral[placed.right == 1] > ROAD.road_right).all()
    assert (lateral[placed.right == 0] < ROAD.road_left).all()
    plain = photographs(scene(), middles())
    world, lying = scene(object=1.0), scene(object=-1.0)
    agreeing, opposing = photographs(world, middles()), photographs(lying, middles())
    turns = found.turns[:63]
    for shown, outside in ((world, 1.0), (lying, -1.0)):
        signals = shown.signals.posts_shown()
        for bend, turn in enumerate(turns):
            # Bit set: on the right, the outside of a left bend.
            assert bool(signals[0] >> bend & 1) == (outside * turn < 0)
    assert not shown.solids.solid[shown.solids.bend >= 0].any()
    for seen in (agreeing, opposing):
        assert (seen != plain).any(axis=-1).sum() > 100
    assert (agreeing != opposing).any(axis=-1).sum() > 100


def test_classes_of_the_ground_leave_the_same_posts_out_as_the_picture_shows() -> None:
    world = scene(kind=SurfaceWorld, object=1.0)
    assert isinstance(world, SurfaceWorld)
    seen, other = photographs(world, middles()), photographs(scene(object=-1.0), middles())
    kinds = np.zeros((2, *world.camera.shape), dtype=np.uint8)
    world.surfaces(kinds, np.arange(2))
    # Magenta: save for seams and edges, which mix with what is behind a post.
    own, lying = ((p[..., 0] > 130) & (p[..., 1] < 65) for p in (seen, other))
    assert own.sum() > 300
    assert kinds[own].any(axis=-1).mean() < 0.1
    assert kinds[lying & ~own].any(axis=-1).mean() > 0.5


def test_without_cues_nothing_changes_and_with_them_only_the_picture_does() -> None:
    plain, cued = scene(sky=None, seed=3), scene(sky=1.0, object=0.3, seed=3)
    for world in (plain, cued):
        for _ in range(10):
            world.step([[0.1, 0.3], [-0.1, 0.3]])
    assert (plain.cars.motion == cued.cars.motion).all()
    assert plain.stream(0).uniform() == cued.stream(0).uniform()


def test_cues_are_settings_with_a_range_and_need_the_embedded_simulator() -> None:
    config = validate(EnvironmentConfig, {"randomisation": {"cues": {"sky": 0.5}}})
    assert config.randomisation.cues.present == ("sky",)
    # Checks of a training are driven in its scenes, evaluations are not.
    training = validate(TrainingConfig, {"randomisation": {"cues": {"sky": 0.5}}})
    checked = racing.race_environment(training.environment(), training.check_scene)
    assert checked.randomisation.cues == Cues(sky=0.5)
    assert racing.race_environment(config).randomisation.cues == Cues()
    with pytest.raises(errors.ConfigurationError, match=r"cues\.sky should be .* 1"):
        validate(EnvironmentConfig, {"randomisation": {"cues": {"sky": 1.5}}})
    with pytest.raises(errors.ConfigurationError, match=r"cues\.ground.*embedded"):
        validate(
            EnvironmentConfig,
            {"simulator": "localhost:9091", "randomisation": {"cues": {"ground": 1.0}}},
        )
