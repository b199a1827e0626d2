"""What is made of a track once: the painted ground, and the cells that list nearby things."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from donkey_rl.envs.simulator import ground, materials, solids, track
from donkey_rl.envs.simulator.path import FloatArray
from donkey_rl.envs.simulator.scenery import Barrier, Obstacle, Stripe


def painted(road: track.Track, material: str, points: FloatArray) -> np.ndarray:
    """Which points of the baked ground have a material and nothing else."""
    colours = np.zeros((materials.COUNT, 3))
    colours[materials.GROUND.index(material)] = 255.0
    full = materials.palette(colours)
    baked = ground.bake(road)
    where = (points - [baked.origin_x, baked.origin_z]) / baked.size[0]
    column, row = where.astype(np.int64).T
    return np.asarray(full[baked.texels[row * baked.columns[0] + column]] == 0xFFFFFF)


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("wide", [False, True])
def test_stripes_are_painted_on_both_sides(
    monkeypatch: pytest.MonkeyPatch, side: float, wide: bool
) -> None:
    monkeypatch.setattr(ground, "_MOST_TEXELS", 5e5)
    band = sorted((9.0 * side, 13.0 * side))
    stripes = [Stripe(-3.0, 3.0, "road"), Stripe(band[0], band[1], "edge_line")]
    if wide:
        stripes.insert(0, Stripe(-100.0, 100.0, "shoulder"))
    base = track.load("generated_track")
    road = dataclasses.replace(
        base,
        look=dataclasses.replace(base.look, worn_lines=0.0),
        road_left=-3.0,
        road_right=3.0,
        stripes=tuple(stripes),
        obstacles=(),
        start_line_drawn=False,
    )
    for each in (road, road.mirrored()):
        # 11 u beside the road, where no other stretch is nearer.
        lateral = 11.0 * side * (1.0 if each is road else -1.0)
        s = np.linspace(0.0, each.length, 400)
        points = each.path.beside(s, lateral)
        alone = each.path.clearance(points) > 10.99
        assert alone.sum() > 100
        assert painted(each, "edge_line", points[alone]).all()


def test_cells_list_everything_within_reach() -> None:
    rng = np.random.default_rng(5)
    walls = [rng.uniform(-300.0, 300.0, (4, 2)) for _ in range(6)]
    walls.append(np.array([[-300.0, -300.0], [300.0, 300.0]]))
    cones = rng.uniform(-300.0, 300.0, (20, 2))
    road = dataclasses.replace(
        track.load("generated_track"),
        obstacles=tuple(
            Obstacle("cone", "cone", x, z, 0.0, 2.0, 2.0, 1.0, (0, 0, 0)) for x, z in cones
        ),
        barriers=tuple(Barrier("wall", points, 1.0, (0, 0, 0)) for points in walls),
    )
    made = solids.build(road)
    start = np.stack([made.x, made.z], axis=1)
    way = np.stack([made.end_x, made.end_z], axis=1) - start
    radius = np.hypot(made.half_width, made.half_length)
    for cells, reach in ((made.near, solids.NEAR_REACH), (made.far, solids.SIGHT)):
        for point in rng.uniform(-300.0, 300.0, (500, 2)):
            square = np.maximum((way**2).sum(axis=1), 1e-9)
            share = np.clip(((point - start) * way).sum(axis=1) / square, 0.0, 1.0)
            gap = np.hypot(*(start + share[:, None] * way - point).T)
            column = int((point[0] - cells.origin_x) // cells.cell)
            row = int((point[1] - cells.origin_z) // cells.cell)
            within = set(np.flatnonzero(gap <= reach + radius).tolist())
            if not (0 <= column < cells.columns and 0 <= row < cells.rows):
                assert not within
                continue
            cell = row * cells.columns + column
            listed = cells.items[cells.start[cell] : cells.start[cell + 1]].tolist()
            assert listed == sorted(set(listed))
            assert within <= set(listed)
            # Nothing from far beyond. A square of side 2 * reach about a piece no longer than a
            # cell, in cells: at most sqrt(2) * (reach + 2 cells) away.
            assert (gap[listed] <= 1.5 * (reach + radius[listed] + 2.0 * cells.cell)).all()
