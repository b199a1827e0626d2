"""How much the action moves when a cue flips, and by how much anything of that size would."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]

_CELLS = (5, 6)
"""Rows and columns of the random numbers between which a yardstick's change runs smoothly."""

_ROUNDS = 8
_LARGEST = 255.0


def size(images: Images, others: Images) -> FloatArray:
    """Returns the root mean square difference of images, 0 to 255, shape (n,).

    >>> black = np.zeros((1, 2, 2, 3), np.uint8)
    >>> float(size(black, black + 10)[0])
    10.0
    """
    apart = images.astype(np.float64) - others
    return np.asarray(np.sqrt((apart**2).mean(axis=(1, 2, 3))))


def changed(images: Images, sizes: FloatArray, seed: int) -> Images:
    """Changes images by smooth random colours that have nothing to do with the road.

    What a change moves depends on its size, so a cue's is held against one as large. White noise
    would be too mild a yardstick, since any convolution averages it away.

    Args:
        images: Shape (n, h, w, 3).
        sizes: Wanted `size` of each change, shape (n,).
        seed: Of the colours.

    Returns:
        Images of the same shape. The size is met within 2 % where levels from 0 to 255 allow it.
    """
    rng = np.random.default_rng([seed, 0x5EED])
    result = np.empty_like(images)
    zoom = (images.shape[1] / _CELLS[0], images.shape[2] / _CELLS[1], 1)
    for k, image in enumerate(images):
        field = ndimage.zoom(rng.normal(0.0, 1.0, (*_CELLS, 3)), zoom, order=1)
        field = field[: image.shape[0], : image.shape[1]]
        strength = float(sizes[k])
        for _ in range(_ROUNDS):
            # Where a level would leave 0 to 255 it stops, and the rest must change by more.
            levels = np.clip(np.rint(image + strength * field), 0.0, _LARGEST)
            result[k] = levels.astype(np.uint8)
            reached = float(size(image[None], result[k : k + 1])[0])
            if reached == 0.0 or abs(reached - sizes[k]) <= 0.01 * sizes[k]:
                break
            strength *= float(sizes[k]) / reached
    return result


def towards(
    agreeing: npt.NDArray[np.float32],
    opposing: npt.NDArray[np.float32],
    direction: npt.NDArray[np.int64],
) -> FloatArray:
    """Returns by how much the steering goes to the side to which a cue turns.

    A driver that steers by +a where the cue says right and by -a where it says left has 2 a, all
    of its movement; one that is merely disturbed moves now here, now there.

    >>> towards(np.array([0.3], np.float32), np.array([-0.1], np.float32), np.array([1])).round(3)
    array([0.4])

    Args:
        agreeing: Steering where the cue agrees with the road, shape (n,).
        opposing: Steering where it says the opposite, shape (n,).
        direction: -1 in a left bend, 1 in a right one, shape (n,).
    """
    return np.asarray(direction * (agreeing.astype(np.float64) - opposing))
