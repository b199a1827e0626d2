"""The lane encoder: a small network that reads the road's geometry from one image.

It is trained on the embedded simulator's own labels (distance to both edges, heading error, points
of the road's centre ahead) and then frozen. Its standardised predictions are the features that a
policy drives by, 21 numbers in place of 57,600.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pydantic

from donkey_rl.agents import keras_files
from donkey_rl.agents.encoders import lane_network, lane_training
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.errors import DriverError, InputError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

FORMAT = 1
"""Version of ``encoder.json``."""


@dataclasses.dataclass(frozen=True)
class EncoderReport:
    """How well an encoder reads frames that it was not trained on.

    Attributes:
        r2: Share of each label's variance explained, by label; 1 is perfect.
        rmse: Root mean square error of each label, in the label's unit, by label.
        loss: Training loss of each epoch.
        frames: Frames trained on.
        seconds: Wall time of the training.
    """

    r2: dict[str, float]
    rmse: dict[str, float]
    loss: tuple[float, ...]
    frames: int
    seconds: float

    @property
    def mean_r2(self) -> float:
        """Mean of ``r2`` over the labels."""
        return sum(self.r2.values()) / len(self.r2)


class LaneEncoder:
    """Camera image -> standardised labels of the road.

    Attributes:
        image_shape: Height, width and channels of the images.
        label_names: What the features are, in order.
        features: Number of features.
        config: The settings.
        model: Keras model, uint8 (B, H, W, C) -> float32 (B, features).
    """

    name: ClassVar[str] = "lane"

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        label_names: Sequence[str],
        config: LaneEncoderConfig | None = None,
    ) -> None:
        """Builds an untrained network.

        Args:
            image_shape: Height, width and channels of the images.
            label_names: Names of the labels.
            config: Settings; the defaults when None.

        Raises:
            InputError: When the images are too small for the network, or no label is named.
        """
        self.config = config if config is not None else LaneEncoderConfig()
        if not label_names:
            raise InputError("Expected at least one label name. Received: none. Name the labels.")
        self.image_shape = image_shape
        self.label_names = tuple(label_names)
        self.features = len(self.label_names)
        self._mean: FloatArray = np.zeros(self.features, np.float32)
        self._std: FloatArray = np.ones(self.features, np.float32)
        self._take(lane_network.encoder(image_shape, self.features, self.config))

    def _take(self, model: Any) -> None:
        """Adopts a model and compiles what is asked of it."""
        self.model = model
        self._reducer = model.get_layer("reducer")
        self._reader = model.get_layer("reader")
        image = tf.TensorSpec((None, *self.image_shape), tf.uint8)
        self._encode = tf.function(self._in_halves, input_signature=[image])
        self._encode_one = tf.function(model, input_signature=[image])
        self._reduce = tf.function(
            lambda images: tf.cast(tf.round(self._reducer(images)), tf.uint8),
            input_signature=[image],
        )

    def _in_halves(self, images: Any) -> Any:
        """Encodes two halves of a batch side by side, one per core."""
        half = tf.shape(images)[0] // 2
        return tf.concat([self.model(images[:half]), self.model(images[half:])], axis=0)

    def encode(self, images: ImageArray) -> FloatArray:
        """Returns the features of images, in one compiled call.

        Args:
            images: (n, H, W, C).

        Returns:
            Standardised label predictions, bounded by ``config.clip``, (n, features).

        Raises:
            InputError: On images of another shape or type.
        """
        self._check(images)
        if len(images) == 0:
            return np.empty((0, self.features), np.float32)
        compiled = self._encode if len(images) > 1 else self._encode_one
        features: FloatArray = compiled(images).numpy()
        return features

    def preprocess(self, images: ImageArray) -> ImageArray:
        """Crops and shrinks images, for a compact data set to `fit` on.

        Args:
            images: (n, H, W, C).

        Returns:
            (n, h, w, C); 120x160 becomes 40x80, a sixth of the bytes.

        Raises:
            InputError: On images of another shape or type.
        """
        self._check(images)
        reduced: ImageArray = self._reduce(images).numpy()
        return reduced

    def predict_labels(self, images: ImageArray) -> FloatArray:
        """Returns the labels read from images, in their own units, (n, features)."""
        return self.encode(images) * self._std + self._mean

    def fit(
        self,
        reduced: ImageArray,
        labels: FloatArray,
        progress: Callable[[float, float], None] | None = None,
    ) -> EncoderReport:
        """Trains the network and fixes the standardisation.

        Args:
            reduced: Results of `preprocess`, (n, h, w, C). The last
                ``config.validation_share`` of them are kept for the report, so they should be
                frames of another place or time, not copies.
            labels: In their own units, (n, features).
            progress: Called with the share done, in (0, 1], and the training loss so far.

        Returns:
            Errors on the frames kept back.

        Raises:
            InputError: When shapes do not fit, or a label is not finite.
        """
        expected = tuple(self._reducer.output_shape[1:])
        if reduced.shape != (len(labels), *expected) or labels.shape[1:] != (self.features,):
            raise InputError(
                f"Expected images (n, {', '.join(map(str, expected))}) and labels "
                f"(n, {self.features}). Received: {reduced.shape} and {labels.shape}. "
                "Pass every image through preprocess first."
            )
        if not np.isfinite(labels).all():
            raise InputError(
                f"Expected finite labels. Received: {np.count_nonzero(~np.isfinite(labels))} "
                "that are not. Leave those frames out."
            )
        kept = self.config.kept_back(len(labels))
        self._mean = labels[:-kept].mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = labels[:-kept].std(axis=0, dtype=np.float64).astype(np.float32)
        self._std = np.where(spread > 1e-6, spread, np.float32(1.0))
        loss, seconds = lane_training.train(
            self._reader,
            reduced[:-kept],
            self._standardised(labels[:-kept]),
            self.config,
            progress,
        )
        predicted = lane_training.outputs(self._reader, reduced[-kept:]) * self._std + self._mean
        return self._report(predicted, labels[-kept:], loss, seconds, len(labels) - kept)

    def _standardised(self, labels: FloatArray) -> FloatArray:
        return ((labels - self._mean) / self._std).astype(np.float32)

    def _report(
        self,
        predicted: FloatArray,
        labels: FloatArray,
        loss: tuple[float, ...],
        seconds: float,
        frames: int,
    ) -> EncoderReport:
        errors = np.mean((predicted.astype(np.float64) - labels) ** 2, axis=0)
        variances = np.maximum(labels.var(axis=0, dtype=np.float64), 1e-12)
        r2 = dict(zip(self.label_names, (1.0 - errors / variances).tolist(), strict=True))
        rmse = dict(zip(self.label_names, np.sqrt(errors).tolist(), strict=True))
        return EncoderReport(r2, rmse, loss, frames, seconds)

    def _check(self, images: ImageArray) -> None:
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape:
            raise InputError(
                f"Expected uint8 images (n, {', '.join(map(str, self.image_shape))}). "
                f"Received: {images.dtype} {images.shape}. Set the camera to that size."
            )

    def save(self, folder: Path) -> None:
        """Writes ``encoder.keras`` and ``encoder.json`` into an existing folder."""
        keras_files.save_model(self.model, folder / "encoder.keras")
        description = {
            "format": FORMAT,
            "encoder": self.name,
            "image_shape": list(self.image_shape),
            "label_names": list(self.label_names),
            "mean": self._mean.tolist(),
            "std": self._std.tolist(),
            "config": self.config.model_dump(mode="json"),
        }
        (folder / "encoder.json").write_text(json.dumps(description, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> LaneEncoder:
        """Reads what `save` wrote.

        Raises:
            DriverError: When a file is missing, damaged or of another format.
        """
        try:
            data = json.loads((folder / "encoder.json").read_text())
            if (data["format"], data["encoder"]) != (FORMAT, cls.name):
                raise ValueError(f"format {data['format']} of '{data['encoder']}'")
            height, width, channels = map(int, data["image_shape"])
            config = LaneEncoderConfig(**data["config"])
            encoder = cls((height, width, channels), data["label_names"], config)
            encoder._mean = np.array(data["mean"], np.float32)
            encoder._std = np.array(data["std"], np.float32)
            model = keras_files.load_model(folder / "encoder.keras")
            shapes = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
            if shapes != (encoder.image_shape, (encoder.features,)):
                raise ValueError(f"a network from {shapes[0]} to {shapes[1]}")
            encoder._take(model)
        except (KeyError, OSError, TypeError, ValueError, pydantic.ValidationError) as error:
            raise DriverError(
                f"Expected a lane encoder of format {FORMAT} in '{folder}'. Received: {error}. "
                "Train the driver again, or use the version that wrote it."
            ) from error
        return encoder
