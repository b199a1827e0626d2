"""What all worlds on a track share: ground, surroundings, things and plants."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from donkey_rl.envs.simulator import cues, ground, panorama, plants, render, sheen, solids
from donkey_rl.envs.simulator.track import Track

_kept: list[dict[Track, render.Scene]] = []


def bake(track: Track) -> render.Scene:
    """Bakes the scene of a track, some tens of megabytes; one track object has one scene."""
    if not _kept:
        return _bake(track)
    known = _kept[-1]
    if track not in known:
        known[track] = _bake(track)
    return known[track]


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keeps all scenes that are baked meanwhile: of many tracks each is baked once.

    At other times only a few are kept, since worlds that need theirs hold them.
    """
    _kept.append(_kept[-1] if _kept else {})
    try:
        yield
    finally:
        _kept.pop()


@functools.lru_cache(maxsize=4)
def _bake(track: Track) -> render.Scene:
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
