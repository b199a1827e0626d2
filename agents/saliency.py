"""What in the image moves a driver's steering: gradients through its own graph, smoothed.

A pixel's saliency is how much the steering would change with it. Gradients of one image are
noisy, so they are averaged over copies of the image with a little noise added: SmoothGrad (Smilkov
et al. 2017, "SmoothGrad: removing noise by adding noise", arXiv:1706.03825, section 3). It passes
the checks of Adebayo et al. 2018 ("Sanity Checks for Saliency Maps", arXiv:1810.03292) that a map
of edges would fail: `tests/test_saliency.py` has them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.features import FeatureScaling, measurements
from donkey_rl.agents.tensorflow_setup import keras, tf
from donkey_rl.errors import InputError

FloatArray = npt.NDArray[np.float32]

_SEED = 20_170_603
_GROUP = 64
"""Images that are differentiated at once."""


class Saliency:
    """Says of images what in them moves the steering of a driver.

    Its networks are the driver's, with the same weights, but take images of any numbers in place
    of whole ones: whole numbers have no gradient.

    Attributes:
        samples: Noisy copies of each image.
        noise: Standard deviation of the noise, as a share of the range of an image's values.
    """

    def __init__(
        self, driver: Driver | Ensemble, *, samples: int = 16, noise: float = 0.05
    ) -> None:
        """Builds the graph.

        Args:
            driver: The driver.
            samples: Noisy copies of each image.
            noise: As a share of the range of an image's values; 0.1 to 0.2 look best on
                photographs (the same, section 3.1), the simulator's pictures bear less.

        Raises:
            InputError: If `samples` or `noise` cannot be.
        """
        if samples < 1 or not 0 <= noise <= 1:
            raise InputError(
                "A saliency map needs at least one sample, and noise from 0 to 1. "
                f"Received: samples={samples}, noise={noise}."
            )
        self.samples, self.noise = samples, noise
        self._observation = driver.observation
        parts = [(differentiable(d.encoder.model), d.actor) for _, d in driver.shares]

        def slopes(images: Any, numbers: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(images)
                seen = [tf.concat([encoder(images), numbers], axis=-1) for encoder, _ in parts]
                proposals = [actor(read) for (_, actor), read in zip(parts, seen, strict=True)]
                actions = driver.joined(proposals, seen, numbers[:, :1])
                steering = tf.reduce_sum(actions[:, 0])
            return tape.gradient(
                steering, images, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )

        self._slopes = tf.function(slopes, reduce_retracing=True)

    def maps(self, observation: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Returns how much each pixel moves the steering.

        The channels' slopes are averaged over the noisy copies first; their greatest absolute
        value is the pixel's (Smilkov et al. 2017, section 2 and appendix).

        Args:
            observation: As for `Driver.act`.

        Returns:
            Change of the steering action for each of the 255 steps of a pixel's value, from 0 on,
            (H, W) or (n, H, W). Zero everywhere where nothing in the image moves the steering:
            a driver at its lock does not steer more.

        Raises:
            DriverError: When a part is missing, or of another shape or type.
        """
        parts, single = self._observation.parts(observation)
        named = dict(zip(self._observation.shapes, parts, strict=True))
        found = np.stack(
            [self._map(named, index, self._observation.scaling) for index in range(len(parts[0]))]
        )
        return found[0] if single else found

    def _map(
        self, observation: Mapping[str, npt.NDArray[Any]], index: int, scaling: FeatureScaling
    ) -> FloatArray:
        """Returns the map of one observation out of several, (H, W)."""
        one = {name: part[index : index + 1] for name, part in observation.items()}
        numbers = measurements(one, scaling)
        image = one["image"].astype(np.float32)
        random = np.random.default_rng(_SEED)
        deviation = self.noise * float(np.ptp(image))
        total = np.zeros(image.shape[1:], np.float32)
        for first in range(0, self.samples, _GROUP):
            count = min(_GROUP, self.samples - first)
            noise = random.standard_normal((count, *image.shape[1:]), np.float32)
            rows = np.repeat(numbers, count, axis=0)
            total += self._slopes(image + deviation * noise, rows).numpy().sum(axis=0)
        greatest: FloatArray = np.abs(total / self.samples).max(axis=-1)
        return greatest


def differentiable(model: Any) -> Any:
    """Returns an encoder's model as one of float images, without what rounds them.

    Args:
        model: Keras model, uint8 (B, H, W, C) -> (B, features); of its layers only those count
            that Keras's functional models are made of. Its weights are shared.

    Returns:
        The same from float32 (B, H, W, C) in 0..255.
    """
    inner: dict[int, Any] = {}
    if isinstance(model, keras.Sequential):
        # Keras clones functional models this way alone.
        shown = keras.Input(model.input.shape[1:], dtype=model.input.dtype)
        model = keras.Model(shown, functools.reduce(lambda x, f: f(x), model.layers, shown))

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Model):
            # One that is called twice is one layer.
            if id(operation) not in inner:
                inner[id(operation)] = differentiable(operation)
            return inner[id(operation)](*args, **kwargs)
        # What the policy learned from are whole numbers, of which no gradient comes back.
        if type(operation).__name__ == "Round":
            return args[0]
        return operation(*args, **kwargs)

    return keras.models.clone_model(
        model,
        input_tensors=keras.tree.map_structure(_float_input, model.input),
        clone_function=lambda layer: layer,
        call_function=call,
    )


def _float_input(tensor: Any) -> Any:
    return keras.Input(tensor.shape[1:], dtype="float32")
