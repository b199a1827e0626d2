"""What all worlds on a track share: ground, surroundings, things and plants."""

from __future__ import annotations

import functools

from donkey_rl.envs.simulator import ground, panorama, plants, render, sheen, solids
from donkey_rl.envs.simulator.track import Track


@functools.lru_cache(maxsize=4)
def bake(track: Track) -> render.Scene:
    """Bakes the scene of a track, some tens of megabytes; one track object has one scene."""
    return render.Scene(
        ground.bake(track),
        panorama.bake(track),
        solids.build(track),
        sheen.build(track),
        plants.build(track),
    )
