"""Pairs of images on one sheet: the recording's on the left, the embedded one on the right."""

from __future__ import annotations

import pathlib

import numpy as np
from PIL import Image, ImageDraw

from donkey_rl.errors import StorageError
from donkey_rl.experiments.fidelity.pairs import Pairs

_GAP = 6
_CAPTION = 16


def save(
    file: pathlib.Path,
    made: Pairs,
    *,
    count: int = 12,
    columns: int = 2,
    enlarged: int = 3,
) -> None:
    """Writes a sheet of pairs, evenly chosen over the recording, as a PNG.

    Args:
        file: Where to.
        made: The pairs.
        count: How many of them.
        columns: Pairs beside each other.
        enlarged: Factor on the size of the images.

    Raises:
        StorageError: The file cannot be written.
    """
    chosen = np.unique(
        np.linspace(0, len(made.frames) - 1, max(1, min(count, len(made.frames)))).astype(np.int64)
    )
    both = (made.frames.images[chosen], made.embedded[chosen])
    height, width = (enlarged * side for side in made.frames.size)
    cell = (2 * width + 2 * _GAP, height + _CAPTION + _GAP)
    rows = -(-len(chosen) // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), (20, 20, 20))
    pen = ImageDraw.Draw(sheet)
    for place, k in enumerate(chosen):
        x, y = place % columns * cell[0], place // columns * cell[1]
        for side, images in enumerate(both):
            picture = Image.fromarray(images[place]).resize(
                (width, height), Image.Resampling.NEAREST
            )
            sheet.paste(picture, (x + side * (width + 2), y + _CAPTION))
        pen.text(
            (x + 2, y + 2),
            f"record {made.frames.record[k]}: recorded | embedded",
            fill=(230, 230, 230),
        )
    try:
        sheet.save(file, format="PNG")
    except OSError as error:
        raise StorageError(f"The sheet {file} could not be written: {error}.") from error
