"""Ground truth for encoders: images from random places with the lane they show.

Privileged: the labels come from the simulator's own track and are never part of an observation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, track, vehicle
from donkey_rl.envs.simulator.surfaces import SurfaceWorld
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.world import Start, World

AHEAD = (1.5, 3.0, 4.5, 6.5, 9.0, 12.0, 16.0, 21.0, 28.0)
"""Distances along the road (u) at which its middle is asked for."""

_BESIDE = 1.3
"""Places reach this far from the road's middle, in half widths of the road."""

_ALONG, _ELSEWHERE, _ALIKE = 2.0, 30.0, 0.7
"""Every so far (u) along a road it is looked whether another stretch comes by: one that is so far
from there along the road (u), at an angle of which the sine is less."""

_END = 2.0
"""Places keep this far from an open road's end (u)."""

_BEFORE_BENDS = (-2.0, 10.0)
"""How far before a bend (u) places are taken for its sake."""

_LESS_ALONG = 0.5
"""Engine and brake push less than a bend does."""

_PLACES_PER_LOOK = 4
"""Drawing a look takes longer than drawing an image: each look is seen from some places."""

_SIGHT, _NEAREST = 35.0, 0.8
"""Another car is labelled between these distances ahead (u)."""

_FADING = 12.0
_ALONE = 0.25
"""Share of the frames without another car in sight."""

_CAMERA_POSE = ("camera_offset", "camera_pitch", "camera_yaw", "camera_roll", "fov")

LANE_LABELS = (
    "left_edge",
    "right_edge",
    "heading_error",
    *(f"right_{distance:g}" for distance in AHEAD),
    *(f"ahead_{distance:g}" for distance in AHEAD),
)
"""Distance to both edges (u), angle to the road (rad), the road's middle points (u)."""


CAR_LABELS = ("car_near", "car_right", "car_side")
"""Of the nearest car ahead, with opponents on the road, see `_cars`."""


def names(farther: Sequence[float] = (), *, cars: bool = False) -> tuple[str, ...]:
    """Returns the names of the labels with those of points still farther ahead.

    >>> names((40.0,))[-2:]
    ('right_40', 'ahead_40')

    Args:
        farther: Their distances along the road (u).
        cars: Whether there are labels of another car.
    """
    added = ((f"right_{distance:g}", f"ahead_{distance:g}") for distance in farther)
    others = CAR_LABELS if cars else ()
    return (*LANE_LABELS, *(name for pair in added for name in pair), *others)


def mirrored(known: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Returns how the labels of an image follow from those of its mirror image.

    Args:
        known: Labels, by the names of `names`.

    Returns:
        Order and signs, such that ``labels = labels_of_mirror_image[order] * signs``.

    >>> [each.tolist() for each in mirrored(("left_edge", "right_edge", "heading_error"))]
    [[1, 0, 2], [1.0, 1.0, -1.0]]
    """
    other = {"left_edge": "right_edge", "right_edge": "left_edge"}
    order = [known.index(other.get(name, name)) for name in known]
    turned = {"heading_error", "car_right", "car_side"}
    turned |= {name for name in known if name.startswith("right_")} - set(other)
    return np.array(order), np.array([-1.0 if n in turned else 1.0 for n in known], np.float32)


class LabelledFrames(NamedTuple):
    """Images with what they show.

    Attributes:
        images: Shape (n, h, w, 3) uint8.
        labels: In the order of `names`: shape (n, 21), or more with points farther ahead and
            opponents.
        surfaces: How much of each pixel is of each of `surfaces.CLASSES`, of 255, shape
            (n, h, w, 3); None where it was not asked for.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32]
    surfaces: npt.NDArray[np.uint8] | None = None


def lane(
    road: Track,
    sensed: npt.NDArray[np.float64],
    motion: npt.NDArray[np.float64],
    farther: Sequence[float] = (),
) -> npt.NDArray[np.float32]:
    """Returns the labels of cars from their state.

    Args:
        road: The track.
        sensed: Telemetry of n cars, see `stepping.Cars`.
        motion: Motion of n cars, see `physics`.
        farther: Distances (u) of F points of the road's middle beyond those of `AHEAD`.

    Returns:
        Shape (n, 21 + 2 F), in the order of `names`.
    """
    lateral, error = sensed[:, stepping.LATERAL], sensed[:, stepping.HEADING_ERROR]
    middle = road.road_middle
    arcs = sensed[:, stepping.ARC, None] + np.array([*AHEAD, *farther])
    x, z, yaw = road.path.at(arcs)
    if not road.closed:
        # Behind its end an open road is taken to go on straight.
        beyond = np.maximum(arcs - road.length, 0.0)
        x, z = x + beyond * np.sin(yaw), z + beyond * np.cos(yaw)
    dx = x + middle * np.cos(yaw) - motion[:, physics.X, None]
    dz = z - middle * np.sin(yaw) - motion[:, physics.Z, None]
    sin_yaw = np.sin(motion[:, physics.YAW, None])
    cos_yaw = np.cos(motion[:, physics.YAW, None])
    right, ahead = dx * cos_yaw - dz * sin_yaw, dx * sin_yaw + dz * cos_yaw
    near = len(AHEAD)
    far = np.stack([right[:, near:], ahead[:, near:]], axis=2).reshape(len(sensed), -1)
    return np.concatenate(
        [
            (lateral - road.road_left)[:, None],
            (road.road_right - lateral)[:, None],
            error[:, None],
            right[:, :near],
            ahead[:, :near],
            far,
        ],
        axis=1,
    ).astype(np.float32)


def _arcs(
    road: Track, rng: np.random.Generator, count: int, last: float, bends: float
) -> npt.NDArray[np.float64]:
    """Draws arc lengths up to the last one (u), a share of them in bends or before."""
    arcs = rng.uniform(0.0, last, count)
    turning = np.abs(road.path.curvature)
    # A straight road has none.
    if bends > 0.0 and turning.any():
        chosen = rng.choice(len(turning), count, p=turning / turning.sum())
        bent = chosen * road.path.spacing - rng.uniform(*_BEFORE_BENDS, count)
        bent = np.mod(bent, road.length) if road.closed else np.clip(bent, 0.0, last)
        arcs = np.where(rng.random(count) < bends, bent, arcs)
    return arcs


class Sampling(NamedTuple):
    """Which places are shown, and how many at a time.

    Attributes:
        batch: Images at a time.
        level: Whether cars do not lean and cameras sit as configured, whatever is randomised: in
            these images the places of labels are known.
        bends: Share of the places that are drawn by how much the road bends there or soon after;
            tight bends are a small part of most roads.
    """

    batch: int = 256
    level: bool = False
    bends: float = 0.0


def _reach(road: Track) -> npt.NDArray[np.float64]:
    """Returns how far places reach to the left and the right of the road's middle (u).

    Where another stretch of the road comes by alongside they reach halfway to it: beyond that, an
    image shows the other stretch.

    Returns:
        Shape (2, n), for every `_ALONG` of the road.
    """
    along = np.arange(0.0, road.length, _ALONG)
    x, z = road.path.beside(along, road.road_middle).T
    yaw = road.path.at(along)[2]
    behind = np.abs(along[:, None] - along)
    if road.closed:
        behind = np.minimum(behind, road.length - behind)
    alike = np.abs(np.sin(yaw[:, None] - yaw)) < _ALIKE
    dx, dz = x - x[:, None], z - z[:, None]
    gap = np.where(alike & (behind > _ELSEWHERE), np.hypot(dx, dz), np.inf)
    right = dx * np.cos(yaw[:, None]) - dz * np.sin(yaw[:, None]) > 0.0
    sides = [np.where(right == side, gap, np.inf).min(axis=1) for side in (False, True)]
    return np.minimum(0.5 * np.stack(sides), _BESIDE * 0.5 * road.road_width)


def _places(
    road: Track,
    rng: np.random.Generator,
    reach: npt.NDArray[np.float64],
    last: float,
    sampling: Sampling,
) -> Start:
    """Draws places along a track up to an arc length (u), for cars that stand."""
    count = sampling.batch
    arc = _arcs(road, rng, count, last, sampling.bends)
    beside = rng.uniform(-1.0, 1.0, count)
    left, right = reach[:, np.minimum((arc / _ALONG).astype(int), reach.shape[1] - 1)]
    return Start(
        arc=arc,
        lateral=road.road_middle + np.where(beside < 0.0, left, right) * beside,
        turn=np.clip(rng.normal(0.0, 0.3, count), -0.9, 0.9),
        speed=np.zeros(count),
    )


def _put_ahead(world: World, road: Track, rng: np.random.Generator, count: int) -> None:
    """Puts another car ahead of each of the first cars, or out of its sight.

    Args:
        world: Twice as many cars, each of the first with one of the others.
        road: The track.
        rng: Draws where.
        count: Number of the first cars.
    """
    middle = road.road_middle
    half = 0.5 * road.road_width
    ahead = 1.5 + (_SIGHT - 1.5) * rng.uniform(size=count) ** 2
    ahead = np.where(rng.uniform(size=count) < _ALONE, -10.0, ahead)
    arc = world.cars.sensed[:count, stepping.ARC] + ahead
    arc = arc % road.length if road.closed else np.clip(arc, 0.0, road.length)
    place = Start(
        arc=arc,
        lateral=middle + half * rng.uniform(-1.0, 1.0, count),
        turn=np.clip(rng.normal(0.0, 0.15, count), -0.9, 0.9),
        speed=np.zeros(count),
    )
    world.reset(count + np.arange(count), place, redraw=False)
    for i, colour in enumerate(rng.uniform(0.0, 255.0, (count, 3))):
        world.dress(count + i, colour=tuple(colour))


def _cars(
    motion: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Returns the labels of another car, in the order of `CAR_LABELS`, shape (n, 3).

    How near it is, ``exp(-ahead / 12 u)``, 0 where it is not ahead within `_SIGHT`; and, times
    that, how far it is to the right (u), and the sine of its bearing. So all fade with its
    distance, and are 0 where there is none.

    Args:
        motion: Of the cars, see `physics`, shape (n, 6).
        other: Of the other ones, shape (n, 6).
    """
    dx, dz = (other[:, [physics.X, physics.Z]] - motion[:, [physics.X, physics.Z]]).T
    sine, cosine = np.sin(motion[:, physics.YAW]), np.cos(motion[:, physics.YAW])
    right, ahead = dx * cosine - dz * sine, dx * sine + dz * cosine
    visible = (ahead > _NEAREST) & (ahead < _SIGHT) & (np.abs(right) < 1.5 * ahead)
    near = np.where(visible, np.exp(-ahead / _FADING), 0.0)
    bearing = right / np.maximum(np.hypot(right, ahead), 1e-6)
    return np.stack([near, near * right, near * bearing], axis=1).astype(np.float32)


def _leans(
    car: vehicle.Vehicle, rng: np.random.Generator, count: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Draws roll and pitch (rad) of bodies under any acceleration that the tyres can bear."""
    hardest = vehicle.GRAVITY * car.friction_lateral
    roll, pitch = car.lean_gains
    sideways, forward = rng.uniform(-hardest, hardest, (2, count))
    return roll * sideways, -_LESS_ALONG * pitch * forward


def _world(
    config: EnvironmentConfig, sampling: Sampling, shown: int, met: int, seed: int
) -> SurfaceWorld:
    """Returns cars that are shown, each alone or with one of those that are met."""
    randomise = config.randomisation
    if sampling.level:
        randomise = randomise.model_copy(update=dict.fromkeys(_CAMERA_POSE, 0.0))
    road, car = track.load(config.track), vehicle.load(config.vehicle)
    groups = [*range(shown), *range(met)]
    return SurfaceWorld(
        road, car, config.camera, shown + met, randomise=randomise, groups=groups, seed=seed
    )


def sample_frames(
    config: EnvironmentConfig,
    count: int,
    *,
    seed: int,
    with_surfaces: bool = False,
    farther: Sequence[float] = (),
    sampling: Sampling | None = None,
) -> Iterator[LabelledFrames]:
    """Yields labelled images from random places on and beside the road.

    What the configuration randomises is drawn anew for every fourth batch. Cars stand anywhere
    along the track, up to 30 % of its half width beside the road, turned by up to 50 degrees,
    most by less, and lean as they would under any acceleration. Where there are opponents, most
    cars have another one ahead of them, and the labels say where.

    Args:
        config: Track, camera and randomisation.
        count: Images in all.
        seed: Seed of places and looks.
        with_surfaces: Whether the kind of ground in every pixel is wanted too.
        farther: As in `lane`.
        sampling: Which places, and how many at a time.
    """
    wanted = sampling or Sampling()
    wanted = wanted._replace(batch=min(wanted.batch, count))
    road = track.load(config.track)
    car = vehicle.load(config.vehicle)
    reach = _reach(road)
    shown = wanted.batch
    met = shown if config.opponents.count else 0
    world = _world(config, wanted, shown, met, seed)
    rng = np.random.default_rng([seed, 0x1ABE1])
    others = np.random.default_rng([seed, 0xCA25])
    last = road.length - (0.0 if road.closed else _END)
    drawn = 0
    while count > 0:
        size = min(wanted.batch, count)
        cars = np.arange(shown)
        roll, pitch = np.zeros((2, len(cars))) if wanted.level else _leans(car, rng, len(cars))
        start = _places(road, rng, reach, last, wanted)._replace(roll=roll, pitch=pitch)
        world.reset(cars, start, redraw=drawn % _PLACES_PER_LOOK == 0)
        drawn += 1
        if met:
            _put_ahead(world, road, others, shown)
        images = np.empty((size, *config.camera.shape), dtype=np.uint8)
        world.render(images, cars[:size])
        labels = lane(road, world.cars.sensed[:size], world.cars.motion[:size], farther)
        if met:
            seen = _cars(world.cars.motion[:size], world.cars.motion[shown : shown + size])
            labels = np.concatenate([labels, seen], axis=1)
        kinds = np.empty_like(images) if with_surfaces else None
        if kinds is not None:
            world.surfaces(kinds, cars[:size])
        yield LabelledFrames(images, labels, kinds)
        count -= size
