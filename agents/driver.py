"""A driver: observation in, action out, in one self-describing folder.

```
manifest.json   what it sees, what it was made for, versions, SHA-256 of every file
encoder.json    the encoder's settings and standardisation
encoder.keras   image -> features
actor.keras     features and measurements -> action in [-1, 1]
critic.keras    where it has one: features, measurements and an action -> its value
driver.tflite   encoder and actor as one LiteRT model, for `donkey_rl.agents.lite_driver`
```

The critic takes no part in driving. It judges actions in an ensemble; see
`donkey_rl.agents.evaluators`.

Nothing in the folder is a pickle, and Keras is told to refuse code hidden in a model.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from donkey_rl.agents import features, folders, keras_files, manifest
from donkey_rl.agents.encoders import base
from donkey_rl.agents.features import YAW_RATE
from donkey_rl.agents.graph_driver import GraphDriver
from donkey_rl.agents.manifest import ACTIONS, DriverDescription, Manifest, ObservationSpec
from donkey_rl.agents.tensorflow_setup import keras, tf
from donkey_rl.errors import DriverError, UnknownNameError

Apply = Callable[[Any, list[Any]], Any]
"""Applies a Keras model to tensors."""

CRITIC: Final = "critic.keras"
"""File of the critic, which not every driver has."""


def called(model: Any, inputs: list[Any]) -> Any:
    """Applies a Keras model to tensors as it is."""
    return model(inputs)


class Driver(GraphDriver):
    """Encoder and policy, from image to action in one compiled graph.

    Attributes:
        encoder: What reads the image.
        actor: Keras model, features (B, F) -> actions in [-1, 1], (B, 2).
        observation: What the driver sees.
        description: Where it comes from and what it was made for.
        critic: Keras model, features and action (B, F + 2) -> value (B, 1), or None.
    """

    def __init__(
        self,
        encoder: base.Encoder,
        actor: Any,
        description: DriverDescription,
        *,
        history: int,
        scaling: features.FeatureScaling | None = None,
        critic: Any = None,
    ) -> None:
        """Joins an encoder and a policy.

        Args:
            encoder: A trained encoder.
            actor: Keras model, features (B, F) -> actions in [-1, 1], (B, 2), such as
                ``SAC.deterministic_model()``. Its weights are copied.
            description: Where it comes from and what it was made for.
            history: Number K of last actions that it sees.
            scaling: Divisors of the measurements; the defaults when None.
            critic: Keras model, features and action (B, F + 2) -> value (B, 1), such as
                ``SAC.action_value_model()``. Its weights are copied.

        Raises:
            DriverError: When encoder, policy and critic do not fit together.
        """
        expected = (encoder.features + 2 + ACTIONS * history,), (ACTIONS,)
        received = tuple(actor.input_shape[1:]), tuple(actor.output_shape[1:])
        if received != expected:
            raise DriverError(
                f"Expected a policy from {expected[0]} to {expected[1]} numbers. "
                f"Received: one from {received[0]} to {received[1]}. "
                "Use the encoder and the history that the policy was trained with."
            )
        if critic is not None:
            _check_critic(critic, expected[0][0] + ACTIONS)
        self.encoder = encoder
        self.actor = _copy(actor)
        self.critic: Any = None if critic is None else _copy(critic)
        seen = ObservationSpec(
            image_shape=encoder.image_shape,
            history=history,
            scaling=scaling if scaling is not None else features.FeatureScaling(),
        )
        super().__init__(seen, description)

    @property
    def shares(self) -> tuple[tuple[float, Driver], ...]:
        """The drivers whose actions make this one's, with their weights: itself alone."""
        return ((1.0, self),)

    def graph(self, image: Any, speed: Any, imu: Any, last_actions: Any) -> Any:
        """Returns the actions of several cars, (n, 2), as a part of a TensorFlow graph."""
        return self.actor(self.seen(image, speed, imu, last_actions))

    def joined(
        self, proposals: Sequence[Any], seen: Sequence[Any], speed: Any, apply: Apply = called
    ) -> Any:
        """Returns what an ensemble would make of several proposals: here the only one; (n, 2)."""
        return proposals[0]

    def seen(self, image: Any, speed: Any, imu: Any, last_actions: Any) -> Any:
        """Returns what policy and critic read of several cars, (n, F), as a part of a graph."""
        scaling = self.observation.scaling
        measured = {
            "speed": speed / scaling.speed,
            "yaw_rate": imu[:, YAW_RATE : YAW_RATE + 1] / scaling.yaw_rate,
            "last_actions": last_actions,
        }
        read = [tf.zeros_like(p) if n in scaling.blind_to else p for n, p in measured.items()]
        return tf.concat([self.encoder.model(image), *read], axis=-1)

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the weights and of what the driver sees, 64 hexadecimal digits.

        Two drivers that act alike have one hash, whenever they were saved, whatever their critics.
        """
        digest = hashlib.sha256()
        spec = {"encoder": self.encoder.name, **self.observation.model_dump(mode="json")}
        digest.update(json.dumps(spec, sort_keys=True).encode())
        for model in (self.encoder.model, self.actor):
            _digest(model, digest)
        return digest.hexdigest()

    @functools.cached_property
    def critic_hash(self) -> str:
        """SHA-256 of the critic's weights, 64 hexadecimal digits; empty without one."""
        if self.critic is None:
            return ""
        digest = hashlib.sha256()
        _digest(self.critic, digest)
        return digest.hexdigest()

    def save(self, folder: str | Path, *, lite: bool = True, critic: bool = True) -> Manifest:
        """Writes the driver folder; a folder already there is replaced in one move.

        Args:
            folder: Where to.
            lite: Whether to make the LiteRT model as well, which takes about a second.
            critic: Whether to write the critic, where there is one.

        Returns:
            The manifest written.

        Raises:
            StorageError: When the folder cannot be written.
        """
        with folders.replaced(Path(folder)) as draft:
            self.encoder.save(draft)
            keras_files.save_model(self.actor, draft / "actor.keras")
            if critic and self.critic is not None:
                keras_files.save_model(self.critic, draft / CRITIC)
            return self._sealed(draft, self.encoder.name, lite=lite)

    @classmethod
    def load(cls, folder: str | Path) -> Driver:
        """Reads a driver folder and checks that it is what its manifest says.

        Raises:
            DriverError: When a file is missing, changed, of another format, or does not fit.
        """
        folder = Path(folder)
        found = manifest.read(folder)
        try:
            encoder = base.encoder_class(found.encoder).load(folder)
        except UnknownNameError as error:
            raise DriverError(
                f"Expected an encoder among {', '.join(base.names())}. Received: "
                f"'{found.encoder}' in '{folder}'. Use the version that wrote the driver."
            ) from error
        actor = _loaded(folder / "actor.keras")
        critic = _loaded(folder / CRITIC) if CRITIC in found.files else None
        seen = found.observation
        if encoder.image_shape != seen.image_shape:
            raise DriverError(
                f"Expected an encoder for images {seen.image_shape}. Received: one for "
                f"{encoder.image_shape} in '{folder}'. Copy the driver again, whole."
            )
        driver = cls(
            encoder,
            actor,
            found.description,
            history=seen.history,
            scaling=seen.scaling,
            critic=critic,
        )
        if driver.hash != found.hash:
            raise DriverError(
                f"Expected the driver {found.hash[:12]}. Received: {driver.hash[:12]} in "
                f"'{folder}'. Its files belong to different drivers: copy it again, whole."
            )
        return driver


def _digest(model: Any, digest: Any) -> None:
    """Adds the weights of a model to a digest."""
    for variable in model.weights:
        values = variable.value.numpy()
        digest.update(f"{values.shape}{values.dtype}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())


def _copy(model: Any) -> Any:
    copy = keras.models.clone_model(model)
    copy.set_weights([np.array(v.value.numpy()) for v in model.weights])
    return copy


def _loaded(path: Path) -> Any:
    try:
        return keras_files.load_model(path)
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise DriverError(
            f"Expected a Keras model in '{path}'. Received: {error}. "
            "Train the driver again, or use the version that wrote it."
        ) from error


def _check_critic(critic: Any, width: int) -> None:
    """Refuses a critic that does not judge what the policy sees and does."""
    received = tuple(critic.input_shape[1:]), tuple(critic.output_shape[1:])
    if received != ((width,), (1,)):
        raise DriverError(
            f"Expected a critic from {(width,)} to (1,) numbers. Received: one from "
            f"{received[0]} to {received[1]}. Use the critic that the policy was trained with."
        )
