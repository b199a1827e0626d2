"""Random traffic cones: where they stand, and whose body touches one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator.track import MIRROR, Track

FloatArray = npt.NDArray[np.float64]

_OFFSET = 5.0
_OFFSETS = {
    "roboracingleague_1": 2.0,
    "warren": 2.5,
    "mini_monaco": 2.5,
    "thunderhill": 2.5,
}
"""How far a cone stands from the middle of the road on each axis (u), at most."""

_NODES_AFTER_START = 10
_NODES_AFTER_STARTS = {"thunderhill": 20}
"""No cone stands at so many of the first and last nodes."""


def places(track: Track, count: int, seed: int) -> FloatArray:
    """Draws where cones stand, by the rule of the simulator's cone challenge.

    NumPy's generator takes the place of Unity's: the same seed gives the same cones here, and
    others there.

    Args:
        track: The track.
        count: How many there are.
        seed: Of the draw.

    Returns:
        x and z (u), shape (count, 2).
    """
    rng = np.random.default_rng(seed)
    scene = track.name.removesuffix(MIRROR)
    after = min(_NODES_AFTER_STARTS.get(scene, _NODES_AFTER_START), (len(track.nodes) - 1) // 2)
    offset = _OFFSETS.get(scene, _OFFSET)
    chosen = rng.integers(after, len(track.nodes) - after, count)
    along = track.nodes[chosen + 1] - track.nodes[chosen - 1]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    to_the_right = np.stack([along[:, 1], -along[:, 0]], axis=1)
    middle = track.road_middle
    found: FloatArray = track.nodes[chosen] + middle * to_the_right
    return found + rng.uniform(-offset, offset, (count, 2))
