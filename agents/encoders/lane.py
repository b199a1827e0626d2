"""The lane encoder: a small network that reads the road's geometry from one image.

It is trained on the embedded simulator's own labels (distance to both edges, heading error, points
of the road's centre ahead) and then frozen. Its standardised predictions are the features that a
policy drives by, 21 numbers in place of 57,600.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.augmentation.layers import Looks
from donkey_rl.agents.encoders import lane_network, segmentation, training
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.losses import huber
from donkey_rl.agents.encoders.report import EncoderReport
from donkey_rl.agents.encoders.trained import TrainedEncoder
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

SURFACES = ("road", "line", "off_road")
"""Kinds of ground that segmentation tells apart, in the order of a cell's shares."""


class Frames(NamedTuple):
    """What is trained on.

    Attributes:
        reduced: Results of `LaneEncoder.preprocess`, (n, h, w, C).
        labels: In their own units, (n, features).
        cells: Results of `LaneEncoder.cells`, None without segmentation.
    """

    reduced: ImageArray
    labels: FloatArray
    cells: FloatArray | None = None

    def last(self, count: int) -> Frames:
        """Returns a copy of the last ones."""
        cells = None if self.cells is None else self.cells[-count:].copy()
        return Frames(self.reduced[-count:].copy(), self.labels[-count:].copy(), cells)


class Mirror(NamedTuple):
    """How the labels of an image follow from those of its mirror image.

    Attributes:
        order: Which label each of them is there, (features,).
        signs: What that is multiplied by, 1 or -1, (features,).
    """

    order: npt.NDArray[np.int64]
    signs: FloatArray


class LaneEncoder(TrainedEncoder):
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
        self.label_names = tuple(label_names)
        super().__init__(image_shape, len(self.label_names), self.config)
        self._mean: FloatArray = np.zeros(self.features, np.float32)
        self._std: FloatArray = np.ones(self.features, np.float32)
        self._both: Any = None
        self._looks = Looks(self.config)

    def start_from(self, other: TrainedEncoder) -> None:
        """Takes over what another encoder has learned to see, before `fit`.

        Args:
            other: Such as an `Autoencoder`, of the same images and the same convolutions.

        Raises:
            InputError: When the networks differ.
        """
        try:
            if other.image_shape != self.image_shape:
                raise ValueError(f"images {other.image_shape} in place of {self.image_shape}")
            if other.reduced_shape != self.reduced_shape:
                raise ValueError(f"{other.reduced_shape} in place of {self.reduced_shape}")
            lane_network.copy_trunk(other.reader, self.reader)
        except ValueError as error:
            raise InputError(
                "encoder.pretrained: expected an encoder of the same network. Received: one with "
                f"{error}. Use its camera, encoder.crop, pool, filters and dense."
            ) from error

    @property
    def segments(self) -> bool:
        """Whether `predict_cells` can be asked."""
        return self._both is not None

    def predict_labels(self, images: ImageArray) -> FloatArray:
        """Returns the labels read from images, in their own units, (n, features)."""
        return self.encode(images) * self._std + self._mean

    def cells(self, surfaces: ImageArray) -> FloatArray:
        """Returns how much of each kind of ground lies in each cell of an image.

        Args:
            surfaces: How much of each pixel is of each class, of 255, (n, H, W, 3).

        Returns:
            Shares, together at most 1, (n, h / 4, w / 4, 3) of a reduced image's h and w.
        """
        shares: FloatArray = segmentation.cells(self.preprocess(surfaces)).numpy() / 255.0
        return shares

    def fit(
        self,
        reduced: ImageArray,
        labels: FloatArray,
        progress: Callable[[float, float], None] | None = None,
        *,
        cells: FloatArray | None = None,
        anew: Callable[[], Frames] | None = None,
        mirror: Mirror | None = None,
    ) -> EncoderReport:
        """Trains the network and fixes the standardisation.

        Args:
            reduced: Results of `preprocess`, (n, h, w, C). The last
                ``config.validation_share`` of them are kept for the report, so they should be
                frames of another place or time, not copies.
            labels: In their own units, (n, features).
            progress: Called with the share done, in (0, 1], and the training loss so far.
            cells: Results of `cells`; needed where ``config.segmentation`` is above 0, and not
                looked at elsewhere.
            anew: Returns other frames, as many, after each ``config.repeats`` epochs. It may write
                them over those given.
            mirror: Needed where ``config.mirror`` is set.

        Returns:
            Errors on the frames kept back, of the first ones.

        Raises:
            InputError: When shapes do not fit, or a label is not finite.
        """
        given = Frames(reduced, labels, cells)
        self._check_data(given)
        kept = self.config.kept_back(len(labels))
        learned = len(labels) - kept
        held_back = given.last(kept)
        self._standardise_like(labels[:learned], mirror)
        model, loss_of = self.reader, self._loss
        if self.config.segmentation > 0 and cells is not None:
            self._both = segmentation.network(self.reader, cells.shape[-1], self.config.seed or 0)
            model, loss_of = self._both, self._loss_of_both
        loss, seconds = training.train(
            model.trainable_variables,
            self._rows(given, learned),
            loss_of,
            self.config,
            progress,
            None if anew is None else lambda: self._rows(anew(), learned),
            self.config.repeats,
        )
        report = self._report(held_back, loss, learned, seconds)
        if held_back.cells is None or self._both is None:
            return report
        found = segmentation.intersection_over_union(
            self.predict_cells(held_back.reduced), held_back.cells
        )
        return dataclasses.replace(report, iou=dict(zip(SURFACES, found.tolist(), strict=True)))

    def predict_cells(self, reduced: ImageArray) -> FloatArray:
        """Returns the logits of each kind of ground in each cell of images.

        Only of use after `fit` with segmentation: that part of the network is not stored.

        Args:
            reduced: Results of `preprocess`, (n, h, w, C).

        Returns:
            Shape (n, h / 4, w / 4, 3).

        Raises:
            InputError: The encoder was not trained with segmentation.
        """
        if self._both is None:
            raise InputError(
                "Expected an encoder that was just trained with encoder.segmentation above 0. "
                "Received: another. Train it so."
            )
        kinds = keras.Model(self._both.inputs, self._both.outputs[1])
        return training.outputs(kinds, reduced)

    def _loss(self, rows: Sequence[Any], seed: Any) -> Any:
        images, labels = rows
        errors = self.reader(self._looks(images, seed)) - labels
        return huber(errors, self.config.huber)

    def _loss_of_both(self, rows: Sequence[Any], seed: Any) -> Any:
        images, labels, cells = rows
        read, logits = self._both(self._looks(images, seed))
        second = segmentation.cross_entropy(logits, cells)
        return huber(read - labels, self.config.huber) + self.config.segmentation * second

    def _rows(self, frames: Frames, count: int) -> training.Data:
        """Returns the first of some frames as the loss reads them."""
        self._check_data(frames)
        found: list[npt.NDArray[Any]] = [frames.reduced, self._standardised(frames.labels)]
        if self._both is not None and frames.cells is not None:
            found.append(frames.cells)
        return [array[:count] for array in found]

    def _check_data(self, frames: Frames) -> None:
        reduced, labels, cells = frames
        expected = self.reduced_shape
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
        if self.config.segmentation > 0 and (cells is None or len(cells) != len(labels)):
            raise InputError(
                f"Expected the kinds of ground of {len(labels)} images for segmentation. "
                f"Received: {'none' if cells is None else len(cells)}. "
                "Give cells, or set encoder.segmentation=0."
            )

    def _standardise_like(self, labels: FloatArray, mirror: Mirror | None) -> None:
        """Fixes the standardisation, and what mirror images are read as."""
        self._mean = labels.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = labels.std(axis=0, dtype=np.float64).astype(np.float32)
        self._std = np.where(spread > 1e-6, spread, np.float32(1.0))
        if not self.config.mirror:
            return
        if mirror is None:
            raise InputError(
                "Expected how labels look in a mirror image, for encoder.mirror. Received: none. "
                "Give mirror, or leave encoder.mirror at false."
            )
        weights = lane_network.mirrored(*mirror, self._mean, self._std)
        self.model.get_layer(lane_network.MIRRORED).set_weights(list(weights))

    def _standardised(self, labels: FloatArray) -> FloatArray:
        return ((labels - self._mean) / self._std).astype(np.float32)

    def _read(self, reduced: ImageArray) -> FloatArray:
        """Returns the features of results of `preprocess`, without bounds."""
        found = []
        for view in lane_network.views(self.reduced_shape, self.config):
            seen = np.ascontiguousarray(reduced[:, view.rows][:, :, view.columns])
            features: FloatArray = training.outputs(self.reader, seen)
            if view.mirrored:
                weights, bias = self.model.get_layer(lane_network.MIRRORED).get_weights()
                features = features @ weights + bias
            found.append(features)
        mean: FloatArray = np.mean(found, axis=0)
        return mean

    def _report(
        self,
        held_back: Frames,
        loss: tuple[float, ...],
        frames: int,
        seconds: float,
    ) -> EncoderReport:
        labels = held_back.labels
        predicted = self._read(held_back.reduced) * self._std + self._mean
        errors = np.mean((predicted.astype(np.float64) - labels) ** 2, axis=0)
        variances = np.maximum(labels.var(axis=0, dtype=np.float64), 1e-12)
        r2 = dict(zip(self.label_names, (1.0 - errors / variances).tolist(), strict=True))
        rmse = dict(zip(self.label_names, np.sqrt(errors).tolist(), strict=True))
        return EncoderReport(r2, rmse, loss, frames, seconds)

    def _settings(self) -> dict[str, Any]:
        return {
            "label_names": list(self.label_names),
            "mean": self._mean.tolist(),
            "std": self._std.tolist(),
            "config": self.config.model_dump(mode="json"),
        }

    @classmethod
    def _from_description(cls, image_shape: tuple[int, int, int], data: Mapping[str, Any]) -> Self:
        encoder = cls(image_shape, data["label_names"], LaneEncoderConfig(**data["config"]))
        encoder._mean = np.array(data["mean"], np.float32).reshape(encoder.features)
        encoder._std = np.array(data["std"], np.float32).reshape(encoder.features)
        return encoder
