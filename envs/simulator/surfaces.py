"""What lies where in a camera image: road, lines and what is off the road, from the paint itself.

The ground is drawn once more by the same camera, with a palette that has a class in place of each
colour. Light, grain and shadows make no difference to it.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.simulator import looks, materials
from donkey_rl.envs.simulator.world import World

CLASSES = ("road", "line", "off_road")

_CLASS_OF = {
    "road": 0, "road_grain": 0, "edge_line": 1, "centre_line": 1, "dark": 1,
    "shoulder": 2, "ground": 2, "ground_grain": 2,
}  # fmt: skip


def _palette() -> npt.NDArray[np.uint32]:
    """Returns the packed class of each ground byte, a channel a class."""
    colours = np.zeros((materials.COUNT, 3))
    for material, name in enumerate(materials.GROUND):
        colours[material, _CLASS_OF[name]] = 255.0
    return materials.palette(colours)


class SurfaceWorld(World):
    """A world that can also draw what kind of ground its cameras see."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Builds the world, see `World`."""
        super().__init__(*arguments, **named)
        # The same cameras, in colour even where they are gray: a class is a channel.
        self._surface_mount = copy.copy(self._mount)
        self._surface_mount.lens = self._mount.lens._replace(gray=False)
        plain = looks.empty(len(self))
        # Without light all things that stand on the ground are black: of no class.
        plain.light[:] = 0.0
        plain.ground[:] = _palette()
        self._surfaces = plain

    def surfaces(self, out: npt.NDArray[np.uint8], chosen: npt.NDArray[np.int64]) -> None:
        """Draws the ground's classes as the cameras see them.

        Args:
            out: Shape (k, h, w, 3), filled in: how much of each pixel is of each of `CLASSES`, of
                255; the sky and things that stand on the ground are of none.
            chosen: Indices of the k cars.

        Raises:
            ConfigurationError: `out` has the wrong shape or type.
        """
        self._surfaces.posts[:] = self._seen().posts
        self._draw(self._surface_mount, out, chosen, self._surfaces)
