"""Random circuits for training and held-out races: bends, widths, lines and looks from a number.

A circuit is a polygon around a centre whose corners are rounded; neighbouring corners lie at
random distances from the centre, so that bends turn both ways. Domain randomisation draws its
looks from far more than any real scene shows, for a driver that should read roads it has never
seen (Tobin et al. 2017, arXiv:1703.06907).
"""

from __future__ import annotations

import colorsys
import math
import pathlib
from typing import Final, NamedTuple

import numpy as np

from donkey_rl.envs.simulator import road_shape, track_fields
from donkey_rl.envs.simulator.path import Curve, FloatArray
from donkey_rl.envs.simulator.scenery import Surroundings
from donkey_rl.envs.simulator.track_fields import Colour, Stripe
from donkey_rl.errors import TrackError


class _Kind(NamedTuple):
    """What the circuits of one name are drawn from.

    Attributes:
        stream: Stream of random numbers.
        corners: Fewest corners, and one more than the most.
        sizes: Mean distance of the corners from the centre (u).
        unevenness: How far a corner's distance may differ from it, as a share.
        tightest: Least radius that the corners of a circuit are rounded with (u): the curve
            through the waypoints is about as tight.
        radii: How much wider than that a corner may be (u).
        half_widths: Half of the road's width (u).
    """

    stream: int
    corners: tuple[int, int]
    sizes: tuple[float, float]
    unevenness: tuple[float, float]
    tightest: tuple[float, float]
    radii: float
    half_widths: tuple[float, float]


NAME, TIGHT = "random_circuit", "tight_circuit"

_KINDS: Final = {
    NAME: _Kind(0xC12C, (6, 14), (22.0, 75.0), (0.1, 0.55), (4.2, 10.0), 16.0, (2.4, 6.2)),
    # The scenes' tightest bends have 4.2 u, and circuits of the other kind few below 6.
    TIGHT: _Kind(0x716B, (6, 12), (14.0, 40.0), (0.3, 0.7), (4.2, 5.4), 5.0, (2.4, 6.2)),
}

NAMES: Final = tuple(_KINDS)
"""Of circuits that a number chooses."""

_MOST_FOLDED = 1.2
"""The inner edge's distance by the radius of a bend; the simulator's own reach 1.26."""

_LONGEST_TANGENT = 0.48
"""Share of a side that the rounding of one of its corners may take."""

_SPACING = 1.5
"""Length between two waypoints (u)."""

_MOST_TRIES = 200


def fields(name: str, number: int) -> track_fields.TrackFile:
    """Returns a circuit as if it had been read from a track file.

    Args:
        name: One of `NAMES`.
        number: Same number, same circuit.

    Raises:
        TrackError: No drivable circuit came of the number, which no known number does.
    """
    kind = _KINDS[name]
    rng = np.random.default_rng([kind.stream, number])
    file = pathlib.Path(f"{name}:{number}")
    for _ in range(_MOST_TRIES):
        road = _road(rng, kind)
        waypoints = _line(rng, road, kind)
        if waypoints is None:
            continue
        drawn = track_fields.TrackFile(
            name=name,
            source="Drawn at random by donkey-rl",
            waypoints=tuple((float(x), float(z)) for x, z in waypoints),
            road=road,
        )
        try:
            path = Curve(waypoints, closed=True).path()
            road_shape.check_length(file, path.length)
            road_shape.check(file, drawn, path)
        except TrackError:
            continue
        return drawn.model_copy(update=_furnished(rng, road, waypoints))
    raise TrackError(
        f"{file}: expected a circuit. Received: none that can be driven. Take another number."
    )


def _between(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(rng.uniform(*limits))


def _road(rng: np.random.Generator, kind: _Kind) -> track_fields.Road:
    """Draws how wide the road is, and where on it the path runs."""
    half = _between(rng, kind.half_widths)
    shift = half * _between(rng, (-0.45, 0.45)) if rng.random() < 0.4 else 0.0
    return track_fields.Road(
        left=round(shift - half, 2), right=round(shift + half, 2), quads=bool(rng.random() < 0.2)
    )


def _line(rng: np.random.Generator, road: track_fields.Road, kind: _Kind) -> FloatArray | None:
    """Draws a closed line of waypoints, None where its corners cannot be rounded enough."""
    count = int(rng.integers(*kind.corners))
    angles = 2.0 * math.pi * (np.arange(count) + rng.uniform(-0.35, 0.35, count)) / count
    size, unevenness = _between(rng, kind.sizes), _between(rng, kind.unevenness)
    reach = size * (1.0 + unevenness * rng.uniform(-1.0, 1.0, count))
    stretch = _between(rng, (0.6, 1.0))
    corners = np.column_stack([reach * np.sin(angles), stretch * reach * np.cos(angles)])
    if rng.random() < 0.5:
        corners = corners[::-1]
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    into, out = corners - before, after - corners
    turn = np.arctan2(*into.T) - np.arctan2(*out.T)
    turn = (turn + math.pi) % (2.0 * math.pi) - math.pi
    sides = np.minimum(np.hypot(*into.T), np.hypot(*out.T))
    widest = _LONGEST_TANGENT * sides / np.maximum(np.tan(0.5 * np.abs(turn)), 1e-3)
    # Curvature counts positive to the right, and so do offsets: turn > 0 bends to the left.
    inside = np.where(turn > 0.0, -road.left, road.right)
    tightest = np.maximum(_between(rng, kind.tightest), inside / _MOST_FOLDED)
    if (widest < tightest).any():
        return None
    radii = np.minimum(widest, tightest + kind.radii * rng.random(count) ** 2)
    return _rounded(corners, into, out, turn, radii)


def _rounded(
    corners: FloatArray, into: FloatArray, out: FloatArray, turn: FloatArray, radii: FloatArray
) -> FloatArray:
    """Returns waypoints along a polygon whose corners are arcs."""
    tangents = radii * np.tan(0.5 * np.abs(turn))
    before = into / np.hypot(*into.T)[:, None]
    after = out / np.hypot(*out.T)[:, None]
    points: list[FloatArray] = []
    for i, corner in enumerate(corners):
        first = corner - tangents[i] * before[i]
        # The centre lies across the way in, on the side that the corner turns to.
        across = np.array([-before[i, 1], before[i, 0]]) * math.copysign(1.0, turn[i])
        centre = first + radii[i] * across
        pieces = max(2, round(radii[i] * abs(turn[i]) / _SPACING))
        swept = turn[i] * np.linspace(0.0, 1.0, pieces + 1)
        cos, sin = np.cos(swept), np.sin(swept)
        spoke = first - centre
        arc = np.column_stack([cos * spoke[0] - sin * spoke[1], sin * spoke[0] + cos * spoke[1]])
        points.extend(centre + arc)
        last = corner + tangents[i] * after[i]
        following = (i + 1) % len(corners)
        goal = corners[following] - tangents[following] * before[following]
        steps = max(1, round(math.dist(last, goal) / _SPACING))
        points.extend(last + (goal - last) * share for share in np.arange(1, steps) / steps)
    line = np.array(points)
    gaps = np.hypot(*(line - np.roll(line, 1, axis=0)).T)
    kept: FloatArray = line[gaps > 0.3]
    return kept


def _colour(
    rng: np.random.Generator,
    hue: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Colour:
    """Draws a colour by ranges of hue, saturation and value, each 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(
        _between(rng, hue) % 1.0, _between(rng, saturation), _between(rng, value)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def _near(rng: np.random.Generator, colour: Colour, most: float) -> Colour:
    """Returns a colour changed by at most so much in each channel."""
    red, green, blue = np.clip(colour + rng.uniform(-most, most, 3), 0, 255).astype(int).tolist()
    return red, green, blue


def _colours(rng: np.random.Generator, *, lined: bool) -> dict[track_fields.Material, Colour]:
    """Draws the palette; a road without lines differs from the ground beside it."""
    road = _colour(rng, (0.0, 1.0), (0.0, 0.25), (0.15, 0.75))
    ground = _colour(rng, (0.0, 1.0), (0.0, 0.6), (0.12, 0.85))
    while not lined and sum(abs(a - b) for a, b in zip(road, ground, strict=True)) < 110:
        ground = _colour(rng, (0.0, 1.0), (0.0, 0.6), (0.12, 0.85))
    paints = (
        _colour(rng, (0.0, 1.0), (0.0, 0.08), (0.8, 1.0)),
        _colour(rng, (0.08, 0.16), (0.5, 1.0), (0.75, 1.0)),
        _colour(rng, (0.0, 1.0), (0.4, 1.0), (0.5, 1.0)),
    )
    shares = (0.6, 0.25, 0.15)
    edge, centre = (paints[int(k)] for k in rng.choice(3, size=2, p=shares))
    grain = _between(rng, (5.0, 70.0))
    return {
        "road": road,
        "road_grain": _near(rng, road, grain),
        "edge_line": edge,
        "centre_line": centre,
        "shoulder": _near(rng, road if rng.random() < 0.5 else ground, 60.0),
        "ground": ground,
        "ground_grain": _near(rng, ground, grain),
    }


def _stripes(rng: np.random.Generator, road: track_fields.Road) -> tuple[tuple[Stripe, ...], bool]:
    """Draws the paint; returns whether it shows both edges of the road."""
    left, right = road.left, road.right
    width = _between(rng, (0.18, 0.45))
    inset = _between(rng, (0.1, 0.6)) if rng.random() < 0.75 else _between(rng, (0.6, 1.6))
    dash = (_between(rng, (1.0, 3.0)), _between(rng, (1.0, 3.0)))
    stripes = [Stripe(start=left, end=right, material="road")]
    if rng.random() < 0.4:
        reach = _between(rng, (0.4, 2.0))
        stripes.insert(0, Stripe(start=left - reach, end=right + reach, material="shoulder"))
    both = bool(rng.random() < 0.75)
    edges = [
        Stripe(start=left + inset, end=left + inset + width, material="edge_line"),
        Stripe(
            start=right - inset - width,
            end=right - inset,
            material="edge_line" if rng.random() < 0.8 else "centre_line",
        ),
    ]
    if both:
        stripes += edges
    elif rng.random() < 0.5:
        stripes.append(edges[int(rng.integers(2))])
    if rng.random() < 0.6:
        aside = 0.25 * (right - left) * _between(rng, (-1.0, 1.0))
        middle = 0.5 * (left + right) + (aside if rng.random() < 0.3 else 0.0)
        painted = Stripe(
            start=middle - 0.5 * width,
            end=middle + 0.5 * width,
            material="centre_line",
            dash=dash if rng.random() < 0.5 else None,
        )
        stripes.append(painted)
    return tuple(stripes), both


def _furnished(
    rng: np.random.Generator, road: track_fields.Road, line: FloatArray
) -> dict[str, object]:
    """Draws everything that does not change where the road runs."""
    stripes, lined = _stripes(rng, road)
    scenery: Surroundings = ("hills", "trees", "room", "hall")[int(rng.integers(4))]
    indoor = scenery in ("room", "hall")
    horizon = _colour(rng, (0.0, 1.0), (0.0, 0.35), (0.4, 0.95))
    ceiling = _near(rng, horizon, 60.0)
    sky = _colour(rng, (0.5, 0.7), (0.0, 0.6), (0.4, 0.95))
    look = track_fields.Look(
        colours=_colours(rng, lined=lined),
        grain=_between(rng, (0.0, 0.6)),
        scenery=scenery,
        sky_top=ceiling if indoor else sky,
        sky_horizon=horizon,
        indoor=indoor,
        worn_lines=_between(rng, (0.0, 0.5)),
        sheen=_between(rng, (0.0, 0.6)) if rng.random() < 0.4 else 0.0,
    )
    drawn = bool(rng.random() < 0.5)
    x, z = line[3]
    return {
        "start_line": track_fields.StartLine(x=float(x), z=float(z), drawn=drawn),
        "stripes": stripes,
        "look": look,
        "barriers": _barriers(rng, road, indoor=indoor),
        "obstacles": _obstacles(rng, road, line),
    }


def _barriers(
    rng: np.random.Generator, road: track_fields.Road, *, indoor: bool
) -> tuple[track_fields.Barrier, ...]:
    """Draws walls around the track, along the road, or none."""
    colour = _colour(rng, (0.0, 1.0), (0.0, 0.5), (0.2, 0.95))
    if rng.random() < 0.2:
        offset = max(-road.left, road.right) + _between(rng, (1.0, 4.0))
        height = _between(rng, (0.4, 1.2))
        return (track_fields.Barrier(name="barrier", offset=offset, height=height, colour=colour),)
    if indoor:
        margin, height = _between(rng, (8.0, 20.0)), _between(rng, (3.0, 8.0))
        return (track_fields.Barrier(name="wall", margin=margin, height=height, colour=colour),)
    return ()


def _obstacles(
    rng: np.random.Generator, road: track_fields.Road, line: FloatArray
) -> tuple[track_fields.Obstacle, ...]:
    """Draws cones and boxes beside the road, never on it."""
    found: list[track_fields.Obstacle] = []
    spots = rng.integers(len(line), size=int(rng.integers(0, 25)))
    half, middle = 0.5 * (road.right - road.left), 0.5 * (road.right + road.left)
    for number, spot in enumerate(spots):
        along = line[(spot + 1) % len(line)] - line[spot]
        across = np.array([along[1], -along[0]]) / max(np.hypot(*along), 1e-6)
        width, height = _between(rng, (0.5, 2.0)), _between(rng, (0.8, 3.5))
        beside = half + 1.5 + width + _between(rng, (0.0, 8.0))
        place = line[spot] + across * (middle + (beside if rng.random() < 0.5 else -beside))
        clear = max(-road.left, road.right) + 1.0 + width
        if np.hypot(*(line - place).T).min() < clear:
            continue
        shape = "cone" if rng.random() < 0.5 else "box"
        found.append(
            track_fields.Obstacle(
                name=f"{shape} ({number})",
                shape="cone" if shape == "cone" else "box",
                x=float(place[0]),
                z=float(place[1]),
                width=width,
                height=height,
                colour=_colour(rng, (0.0, 1.0), (0.0, 1.0), (0.2, 1.0)),
            )
        )
    return tuple(found)
