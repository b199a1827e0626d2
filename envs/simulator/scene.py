"""What all worlds on a track share: ground, surroundings, things and plants."""

from __future__ import annotations

import functools

from donkey_rl.envs.simulator import cues, ground, panorama, plants, render, sheen, solids
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


def with_cues(scene: render.Scene, signals: cues.Signals, track: Track) -> render.Scene:
    """Returns a scene with the posts that stand where objects are a cue."""
    if "object" not in signals.cues.present:
        return scene
    posts = cues.posts(track, signals.bends)
    return scene._replace(solids=solids.with_posts(scene.solids, posts))
