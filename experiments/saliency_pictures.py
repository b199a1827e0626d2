"""What in the image moves a driver's steering, as a picture and as a video.

The driver drives a race once more in the embedded simulator, since a record does not hold what it
saw; there the same seed is the same race.
"""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.saliency import Saliency
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.errors import InputError
from donkey_rl.experiments import figures, racing, video
from donkey_rl.metrics.race import Race

Frame = npt.NDArray[np.uint8]
Map = npt.NDArray[np.float32]

_COLOURS = "inferno"
_SHARPEST = 99.0
"""Percentile of a map that is drawn as its strongest: a few pixels would hide all others
(Smilkov et al. 2017, arXiv:1706.03825, section 3)."""

_BLUR = 1 / 60
"""Deviation of the smoothing, as a share of the height."""

_DIMMED = 0.75
_MOST_STEPS = 3_000
"""Observations kept of a drive: two and a half minutes, 170 MB of the usual camera."""

_VIDEO_SAMPLES = 4


class Seen(NamedTuple):
    """What a driver saw in a race.

    Attributes:
        driver: The driver.
        race: The record; its first `len(observations)` rows are those below.
        observations: One for each step.
    """

    driver: Driver | Ensemble
    race: Race
    observations: list[dict[str, npt.NDArray[Any]]]


def drive(driver: Driver | Ensemble, config: EnvironmentConfig, seed: int, laps: int = 1) -> Seen:
    """Drives one race in the embedded simulator, and keeps what the driver saw.

    Args:
        driver: The driver.
        config: Track, car and camera.
        seed: Of the race.
        laps: Its laps.
    """
    observations: list[dict[str, npt.NDArray[Any]]] = []

    def act(observed: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        if len(observations) < _MOST_STEPS:
            observations.append({name: part[0].copy() for name, part in observed.items()})
        return driver.act(observed)

    embedded = config.model_copy(update={"simulator": "embedded"})
    with contextlib.closing(racing.Field(embedded, 1, seed=seed)) as field:
        (race,) = field.race(act, laps, about={"driver_hash": driver.hash})
    return Seen(driver, race, observations)


def sheet(seen: Seen, path: str | pathlib.Path, title: str, count: int = 6) -> pathlib.Path:
    """Draws frames of a drive, evenly chosen, above what in them moves the steering.

    Args:
        seen: The drive.
        path: The PNG file to write.
        title: Above the picture.
        count: Number of frames.

    Raises:
        InputError: If the driver saw nothing.
        StorageError: If the file cannot be written.
    """
    if not seen.observations:
        raise InputError("A saliency map needs a frame. Received: a drive without a step.")
    chosen = np.unique(np.linspace(0, len(seen.observations) - 1, count + 1).astype(np.int64)[1:])
    saliency = Saliency(seen.driver)
    figure = figures.new_figure(2.5 * len(chosen) + 0.9, 4.4)
    panels = figure.subplots(2, len(chosen), squeeze=False)
    for (above, below), row in zip(panels.T, chosen, strict=True):
        observation = seen.observations[row]
        image, found = observation["image"], saliency.maps(observation)
        above.imshow(image, interpolation="nearest")
        below.imshow(blend(image, found), interpolation="nearest")
        race = seen.race
        above.set_title(
            f"{race['time_s'][row]:.1f} s, steering {race['steering'][row]:+.2f}", fontsize=9
        )
        if not found.any():
            below.set_title("nothing moves it", fontsize=9)
        for axes in (above, below):
            axes.set(xticks=[], yticks=[])
    _colour_bar(figure, panels)
    panels[0, 0].set_ylabel("seen")
    panels[1, 0].set_ylabel("moves the steering")
    figure.suptitle(title)
    return figures.save(figure, path)


def write_video(
    path: str | pathlib.Path, seen: Seen, size: tuple[int, int] = (640, 480)
) -> pathlib.Path:
    """Writes a drive as a video, with what moves the steering blended into each frame.

    Args:
        path: The file.
        seen: The drive.
        size: Width and height of the video.

    Raises:
        InputError: If the driver saw nothing.
        StorageError: If the file cannot be written.
    """
    saliency = Saliency(seen.driver, samples=_VIDEO_SAMPLES)
    frames = (blend(each["image"], saliency.maps(each)) for each in seen.observations)
    return video.write_race(path, frames, seen.race.cut(len(seen.observations)), size)


def blend(image: Frame, found: Map) -> Frame:
    """Returns a frame in grey with a map over it, violet to orange to yellow the more it counts.

    Args:
        image: Shape (H, W, 3) or (H, W, 1).
        found: What `Saliency.maps` returned for it, shape (H, W).

    Returns:
        Shape (H, W, 3).
    """
    import matplotlib

    grey = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1)
    strength = relative(found)[..., None]
    colours = 255.0 * matplotlib.colormaps[_COLOURS](strength[..., 0])[..., :3]
    mixed = (1.0 - strength) * _DIMMED * grey + strength * colours
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def relative(found: Map) -> Map:
    """Returns a map as shares of its strong pixels, 0 to 1; zero where nothing counts.

    It is smoothed by a Gaussian of a sixtieth of its height, since a network that reads pooled
    pixels has slopes that jump from one to the next.

    Args:
        found: Shape (H, W), from 0 on.
    """
    found = ndimage.gaussian_filter(found, len(found) * _BLUR)
    strong = float(np.percentile(found, _SHARPEST)) or float(found.max())
    return np.clip(found / strong, 0.0, 1.0) if strong else np.zeros_like(found)


def _colour_bar(figure: Any, panels: npt.NDArray[Any]) -> None:
    from matplotlib.cm import ScalarMappable

    label = "share of the strongest"
    figure.colorbar(ScalarMappable(cmap=_COLOURS), ax=list(panels[1]), label=label, shrink=0.9)
