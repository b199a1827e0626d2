"""What an encoder makes of some frames, as a picture."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.encoders.autoencoder import Autoencoder
from donkey_rl.agents.encoders.base import Encoder
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.envs import labels
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.experiments import figures
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.fidelity import projection
from donkey_rl.experiments.fidelity.poses import Poses

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ImageArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

_FRAMES = 5
_SEED = 104_729
"""Frames are drawn from another stream than those of the training."""

_KINDS = np.array([[150, 150, 150], [255, 255, 255], [90, 130, 60]], np.uint8)
"""Colours of road, line and off the road."""

_MARKERS = (("o", figures.SKY), ("x", figures.VERMILION))


def draw(encoder: Encoder, config: TrainingConfig, path: pathlib.Path) -> pathlib.Path | None:
    """Draws what an encoder makes of frames that it was not trained on.

    Of the lane encoder: frames with the true and the predicted points of the road's middle, and
    the kinds of ground where it was trained to tell them apart. Of the auto-encoder: frames as it
    is given them in training, and what it draws of them.

    Args:
        encoder: A trained encoder.
        config: The run.
        path: The PNG file to write.

    Returns:
        The file; None where an encoder has nothing to show.

    Raises:
        StorageError: If the file cannot be written.
    """
    if isinstance(encoder, LaneEncoder):
        return _draw_lane(encoder, config, path)
    if isinstance(encoder, Autoencoder) and len(encoder.examples):
        changed, drawn = encoder.reconstructed(encoder.examples)
        rows = {"frame": encoder.examples, "changed": changed, "drawn": drawn}
        return sheet(rows, {}, path, "autoencoder: frames as they are, as given, as drawn")
    return None


def road_points(values: npt.NDArray[Any], camera: CameraConfig) -> FloatArray:
    """Returns where the road's middle is in the images of level cameras.

    Args:
        values: Labels in the order of `labels.names`, of which the first 21 are read.
        camera: The camera, without fish-eye.

    Returns:
        Column and row of each point, (n, 9, 2); NaN behind the camera.
    """
    count = len(labels.AHEAD)
    points = np.stack([values[:, 3 : 3 + count], values[:, 3 + count : 3 + 2 * count]], axis=-1)
    zero = np.zeros(len(values))
    poses = Poses(np.arange(len(values)), zero, zero, zero, zero, zero, zero, zero)
    view = projection.sight(poses, projection.mounting(camera), camera.shape[:2])
    return projection.pixels(view, points.astype(np.float64))


def _draw_lane(encoder: LaneEncoder, config: TrainingConfig, path: pathlib.Path) -> pathlib.Path:
    part = next(
        labels.sample_frames(
            config.environment(),
            _FRAMES,
            seed=config.seed + _SEED,
            with_surfaces=True,
            sampling=labels.Sampling(level=True),
        )
    )
    rows = {"frame": part.images}
    if encoder.segments and part.surfaces is not None:
        shares = encoder.cells(part.surfaces)
        true = np.where(shares.sum(axis=-1, keepdims=True) >= 0.5, _KINDS[shares.argmax(-1)], 0)
        read = encoder.predict_cells(encoder.preprocess(part.images)).argmax(axis=-1)
        rows |= {"ground": true.astype(np.uint8), "ground as read": _KINDS[read]}
    marks: dict[str, FloatArray] = {}
    if not (config.camera.fish_eye_x or config.camera.fish_eye_y):
        marks["true"] = road_points(part.labels, config.camera)
        marks["read"] = road_points(encoder.predict_labels(part.images), config.camera)
    return sheet(rows, marks, path, "lane: the road's middle at nine distances")


def sheet(
    rows: Mapping[str, ImageArray], marks: Mapping[str, FloatArray], path: pathlib.Path, title: str
) -> pathlib.Path:
    """Draws images in named rows, with marks in those of the first."""
    count = len(next(iter(rows.values())))
    figure = figures.new_figure(2.2 * count + 0.6, 1.7 * len(rows) + 0.8)
    panels = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, images) in zip(panels, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image, interpolation="nearest", aspect="auto")
            axes.set(xticks=[], yticks=[])
    for index, axes in enumerate(panels[0]):
        _mark(axes, {name: points[index] for name, points in marks.items()})
    if marks:
        figure.legend(
            *panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2
        )
    figure.suptitle(title)
    return figures.save(figure, path)


def _mark(axes: Axes, marks: Mapping[str, FloatArray]) -> None:
    """Marks points where they are inside the image."""
    left, right, bottom, top = *axes.get_xlim(), *axes.get_ylim()
    for (name, points), (marker, colour) in zip(marks.items(), _MARKERS, strict=False):
        # Pixel centres lie at halves here, and at whole numbers in matplotlib's images.
        x, y = (points - 0.5).T
        axes.plot(x, y, marker, color=colour, markersize=4.5, fillstyle="none", label=name)
    axes.set(xlim=(left, right), ylim=(bottom, top))
