"""The auto-encoder: learns from frames alone what they have in common, and drives by it.

A network that is given frames with changed light, noise, shadows and things in the way has to draw
the frames without them, through a few numbers only (Vincent et al. 2008, "Extracting and Composing
Robust Features with Denoising Autoencoders"). Those numbers, standardised, are the features that a
policy drives by. It needs no labels, so any frames will do: recorded ones too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.augmentation.layers import Looks
from donkey_rl.agents.encoders import autoencoder_network, training
from donkey_rl.agents.encoders.config import AutoencoderConfig
from donkey_rl.agents.encoders.report import EncoderReport
from donkey_rl.agents.encoders.trained import TrainedEncoder
from donkey_rl.agents.tensorflow_setup import tf
from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

_MEASURED = 4096
"""Frames by which the features are standardised, at most."""

_EXAMPLES = 5


class Autoencoder(TrainedEncoder):
    """Camera image -> what is needed to draw it again.

    Attributes:
        image_shape: Height, width and channels of the images.
        features: Number of features.
        config: The settings.
        model: Keras model, uint8 (B, H, W, C) -> float32 (B, features).
        examples: Some of the frames that `fit` kept back, (k, h, w, C); none before.
    """

    name: ClassVar[str] = "autoencoder"

    def __init__(
        self, image_shape: tuple[int, int, int], config: AutoencoderConfig | None = None
    ) -> None:
        """Builds an untrained network.

        Args:
            image_shape: Height, width and channels of the images.
            config: Settings; the defaults when None.

        Raises:
            InputError: When the images are too small for the network.
        """
        self.config = config if config is not None else AutoencoderConfig()
        super().__init__(image_shape, self.config.latent, self.config)
        self.examples: ImageArray = np.empty((0, *self.reduced_shape), np.uint8)
        self._looks = Looks(self.config)
        drawn = autoencoder_network.drawn_shape(self.reduced_shape)
        self._decoder = autoencoder_network.decoder(self.features, drawn, self.config.seed or 0)

    def fit(
        self, reduced: ImageArray, progress: Callable[[float, float], None] | None = None
    ) -> EncoderReport:
        """Trains the network and standardises the features.

        Args:
            reduced: Results of `preprocess`, (n, h, w, C). The last
                ``config.validation_share`` of them are kept for the report.
            progress: Called with the share done, in (0, 1], and the training loss so far.

        Returns:
            Errors on the frames kept back, as they are.

        Raises:
            InputError: When the shape does not fit.
        """
        if reduced.shape[1:] != self.reduced_shape:
            raise InputError(
                f"Expected images (n, {', '.join(map(str, self.reduced_shape))}). "
                f"Received: {reduced.shape}. Pass every image through preprocess first."
            )
        kept = self.config.kept_back(len(reduced))
        loss, seconds = training.train(
            [*self.reader.trainable_variables, *self._decoder.trainable_variables],
            (reduced[:-kept],),
            self._loss,
            self.config,
            progress,
        )
        shown = np.linspace(len(reduced) - kept, len(reduced) - 1, _EXAMPLES)
        self.examples = reduced[np.unique(shown.astype(np.int64))]
        # Recordings come one behind the other: of all of them, not of the first.
        count = len(reduced) - kept
        rows = np.linspace(0, count - 1, min(count, _MEASURED)).astype(np.int64)
        self._standardise(training.outputs(self.reader, reduced[rows]))
        return self._report(reduced[-kept:], loss, seconds, len(reduced) - kept)

    def _loss(self, rows: Sequence[Any], seed: Any) -> Any:
        (images,) = rows
        drawn = self._decoder(self.reader(self._looks(images, seed)))
        return tf.reduce_mean(tf.square(drawn - autoencoder_network.target(images)))

    def _standardise(self, measured: FloatArray) -> None:
        """Gives every feature mean 0 and deviation 1, and what is drawn of it stays the same.

        Args:
            measured: Features before, (n, features).
        """
        mean, spread = measured.mean(axis=0), measured.std(axis=0)
        spread = np.where(spread > 1e-6, spread, np.float32(1.0))
        last, first = self.reader.get_layer("features"), self._decoder.get_layer("features")
        kernel, bias = last.get_weights()
        last.set_weights([kernel / spread, (bias - mean) / spread])
        kernel, bias = first.get_weights()
        first.set_weights([kernel * spread[:, None], bias + mean @ kernel])

    def _report(
        self, reduced: ImageArray, loss: tuple[float, ...], seconds: float, frames: int
    ) -> EncoderReport:
        wanted = np.asarray(autoencoder_network.target(tf.constant(reduced)))
        error = float(np.mean(np.square(self._drawn(reduced) - wanted)))
        variance = max(float(wanted.var(axis=0).mean()), 1e-12)
        return EncoderReport(
            {"image": 1.0 - error / variance}, {"image": error**0.5}, loss, frames, seconds
        )

    def reconstructed(self, reduced: ImageArray) -> tuple[ImageArray, ImageArray]:
        """Returns images as they are shown in training, and what is drawn of them.

        Only of use after `fit`: the half that draws is not stored.

        Args:
            reduced: Results of `preprocess`, (n, h, w, C).

        Returns:
            The changed images, (n, h, w, C), and the drawn ones, of half the sides, in the
            contrast of the images that they are of.
        """
        seed = tf.constant([self.config.seed or 0, 0], tf.int32)
        changed = self._looks(tf.constant(reduced), seed).numpy()
        drawn = self._drawn(changed)
        places = (1, 2)
        mean = reduced.mean(axis=places, keepdims=True)
        spread = reduced.std(axis=places, keepdims=True)
        return _as_bytes(changed), _as_bytes(mean + spread * drawn)

    def _drawn(self, reduced: npt.NDArray[Any]) -> FloatArray:
        read = training.outputs(self.reader, reduced)
        drawn: FloatArray = self._decoder(tf.constant(read)).numpy()
        return drawn

    def _settings(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(mode="json")}

    @classmethod
    def _from_description(cls, image_shape: tuple[int, int, int], data: Mapping[str, Any]) -> Self:
        return cls(image_shape, AutoencoderConfig(**data["config"]))


def _as_bytes(images: npt.NDArray[Any]) -> ImageArray:
    levels: ImageArray = np.clip(np.rint(images), 0, 255).astype(np.uint8)
    return levels
