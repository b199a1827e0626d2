"""What all pictures share: figures that belong to no window, safe colours, files written whole.

Matplotlib is imported on first use.
"""

from __future__ import annotations

import io
import pathlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from donkey_rl import moving
from donkey_rl.errors import StorageError
from donkey_rl.metrics.race import Race

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart with any colour vision: Okabe and Ito 2008, "Color universal design".
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, BLACK = "#e69f00", "#56b4e9", "#000000"
GREY = "#8c8c8c"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
_DPI = 110

# Names may be in any script; what the font lacks is drawn as a box.
warnings.filterwarnings("ignore", message="Glyph .* missing from font")


def new_figure(width: float, height: float) -> Figure:
    """Returns a figure that belongs to no window and to no global state.

    Args:
        width: In inches, of 110 pixels.
        height: In inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=_DPI)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Returns the picture as a PNG file; names stand in it as they are, dollar signs too."""
    from matplotlib.text import Text

    for each in figure.findobj(Text):
        each.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save(figure: Figure, path: str | pathlib.Path) -> pathlib.Path:
    """Writes the picture; one of that name is replaced only once the new one is whole.

    Raises:
        StorageError: If the file cannot be written.
    """
    target = pathlib.Path(path)
    picture = png(figure)
    try:
        moving.write(target, picture)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"The plot {target} could not be written: {reason}.") from error
    return target


def mark(axes: Axes, points: npt.NDArray[Any], marker: str, colour: str, label: str = "") -> None:
    """Marks points, shape (n, 2); without any, there is no entry in the legend either."""
    if len(points):
        x, y = points.T
        axes.scatter(x, y, s=26, marker=marker, c=colour, zorder=4, label=label or None)


def colour(index: int) -> str:
    """Returns the colour of the driver, lap or curve of an index; they repeat."""
    return CYCLE[index % len(CYCLE)]


def title(race: Race) -> str:
    """Returns what a race was, as one line."""
    header = race.header
    parts = (header.track, header.vehicle, f"seed {header.seed}", header.run_id[:8])
    return " · ".join(part for part in parts if part)
