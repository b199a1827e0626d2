"""A driver as donkeycar's own pilots: models that ``manage.py drive`` loads without any code.

donkeycar knows models by their inputs and outputs (donkeycar 5.3, ``parts/keras.py``):

- ``linear``: ``img_in``, 120 x 160 x 3 in [0, 1] -> ``n_outputs0`` (steering), ``n_outputs1``
  (throttle), (1,) each.
- ``memory``: ``mem_in`` besides, the last K commands, oldest first, (2 K,).

Neither shows speed or yaw rate. They are held at numbers that are written into the model, and so
are the last actions of ``linear``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pydantic

from donkey_rl.agents.deployment import plain_layers
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.features import YAW_RATE
from donkey_rl.agents.manifest import ACTIONS, DriverDescription
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.configuration import Config
from donkey_rl.errors import DriverError

FloatArray = npt.NDArray[np.float32]

IMAGE: Final = (120, 160, 3)
"""Height, width and channels of donkeycar's usual camera."""

IMAGE_INPUT, MEMORY_INPUT = "img_in", "mem_in"
OUTPUTS: Final = ("n_outputs0", "n_outputs1")


class Held(Config):
    """What a car without these sensors shows a driver in their place.

    Attributes:
        speed: As the car that it was trained with reports it.
        yaw_rate: In rad/s.
        action: Steering and throttle in [-1, 1], in place of each last action.
    """

    speed: float = pydantic.Field(ge=0.0, allow_inf_nan=False)
    yaw_rate: float = pydantic.Field(default=0.0, allow_inf_nan=False)
    action: tuple[float, float] = (0.0, 0.0)

    def applied(
        self, observation: Mapping[str, npt.NDArray[Any]], *, memory: bool
    ) -> dict[str, npt.NDArray[Any]]:
        """Returns a batch of observations as such a car shows them.

        Args:
            observation: Of n cars.
            memory: Whether the last actions are known.
        """
        count = len(observation["image"])
        imu = np.zeros((count, 6), np.float32)
        imu[:, YAW_RATE] = self.yaw_rate
        last = np.asarray(observation["last_actions"], np.float32)
        held = np.tile(np.array(self.action, np.float32), (count, last.shape[1] // ACTIONS))
        return {
            "image": observation["image"],
            "speed": np.full((count, 1), self.speed, np.float32),
            "imu": imu,
            "last_actions": last if memory else held,
        }


def shrink(image_shape: tuple[int, int, int]) -> int:
    """Returns by how much donkeycar's image is made smaller for a driver.

    Each pixel is the mean of those that it covers, rounded.

    Args:
        image_shape: Height, width and channels of what the driver sees.

    Raises:
        DriverError: It sees no whole part of such an image.
    """
    factor = IMAGE[0] // image_shape[0] if image_shape[0] else 0
    if (image_shape[0] * factor, image_shape[1] * factor, image_shape[2]) != IMAGE:
        height, width, channels = image_shape
        raise DriverError(
            "donkeycar's camera gives images of 160x120 pixels and three colours: expected a "
            "driver that sees those, or 80x60, 40x30 or another whole part of them. Received: one "
            f"that sees {width}x{height} with {channels} channels. Export it with --to litert, "
            "which takes its own images, or train one with --set camera.img_w=160 "
            "--set camera.img_h=120."
        )
    return factor


def commands(actions: FloatArray, about: DriverDescription) -> FloatArray:
    """Returns what actions mean as commands of steering and throttle, (n, 2).

    Args:
        actions: In [-1, 1], (n, 2).
        about: The driver's description.
    """
    scale, offset = limits(about)
    return np.asarray(actions * scale + offset, np.float32)


def model(driver: Driver | Ensemble, held: Held, *, memory: bool = False) -> Any:
    """Builds a pilot of layers that Keras 2 and Keras 3 have.

    Args:
        driver: What drives.
        held: In place of what donkeycar does not show.
        memory: Whether it is a ``memory`` model, else ``linear``.

    Returns:
        A Keras model.

    Raises:
        DriverError: The driver sees other images, or its network has no such layers.
    """
    factor = shrink(driver.observation.image_shape)
    camera = keras.Input(IMAGE, name=IMAGE_INPUT)
    image = keras.layers.Rescaling(255.0, name="levels")(camera)
    if factor > 1:
        image = keras.layers.AveragePooling2D(factor, name="smaller")(image)
        image = keras.layers.Rescaling(1.0, 0.5, name="half_more")(image)
        image = plain_layers.truncated(image, "rounded")
    speed = _constant([held.speed / driver.observation.scaling.speed], image, "held_speed")
    inputs, measured = [camera], [_constants(driver, held, image, memory)]
    if memory:
        remembered = keras.Input((ACTIONS * driver.observation.history,), name=MEMORY_INPUT)
        inputs.append(remembered)
        actions = _actions(remembered, driver.description)
        if "last_actions" in driver.observation.scaling.blind_to:
            actions = keras.layers.Rescaling(0.0, name="unseen_actions")(actions)
        measured.append(actions)
    proposals, seen_by = [], []
    for number, (_, member) in enumerate(driver.shares):
        seen = plain_layers.translated(member.encoder.model, [image], f"m{number}_")
        both = keras.layers.Concatenate(name=f"m{number}_seen")([seen, *measured])
        seen_by.append(both)
        proposals.append(plain_layers.translated(member.actor, [both], f"m{number}_policy_"))
    action = driver.joined(proposals, seen_by, speed, plain_layers.translated)
    outputs = [_command(driver, action, index) for index in range(ACTIONS)]
    return keras.Model(inputs, outputs, name="donkeycar")


def _constants(driver: Driver | Ensemble, held: Held, image: Any, memory: bool) -> Any:
    """Returns the measurements that are the same for every image, (B, n)."""
    scaling, history = driver.observation.scaling, driver.observation.history
    told = {
        "speed": (held.speed / scaling.speed,),
        "yaw_rate": (held.yaw_rate / scaling.yaw_rate,),
        "last_actions": () if memory else held.action * history,
    }
    values = [0.0 if n in scaling.blind_to else v for n, part in told.items() for v in part]
    return _constant(values, image, "held")


def _constant(values: Sequence[float], image: Any, name: str) -> Any:
    """Returns numbers that are the same for every image, (B, n)."""
    # A layer needs an input to have an output of its batch: of this one nothing is taken.
    mean = keras.layers.GlobalAveragePooling2D(name=f"{name}_of_none")(image)
    return _dense(mean, name, np.zeros((IMAGE[2], len(values))), np.array(values))


def _actions(remembered: Any, about: DriverDescription) -> Any:
    """Returns the actions that commands came of, (B, 2 K)."""
    scale, offset = limits(about)
    count = remembered.shape[1] // ACTIONS
    kernel = np.diag(np.tile(1.0 / scale, count))
    known = _dense(remembered, "as_actions", kernel, np.tile(-offset / scale + 1.0, count))
    # Within [-1, 1]: at the start donkeycar remembers a throttle of 0, whatever the limits are.
    known = keras.layers.ReLU(2.0, name="within_limits")(known)
    return keras.layers.Rescaling(1.0, -1.0, name="last_actions")(known)


def _command(driver: Driver | Ensemble, action: Any, index: int) -> Any:
    """Returns the command that a part of the action means, (B, 1)."""
    scale, offset = limits(driver.description)
    kernel = np.zeros((ACTIONS, 1))
    kernel[index] = scale[index]
    return _dense(action, OUTPUTS[index], kernel, offset[index : index + 1])


def limits(about: DriverDescription) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns scale and offset from actions to commands, (2,) each."""
    low, high = np.array([about.steering_limits, about.throttle_limits]).T
    return 0.5 * (high - low), 0.5 * (high + low)


def _dense(
    source: Any, name: str, kernel: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]
) -> Any:
    layer = keras.layers.Dense(len(bias), name=name)
    result = layer(source)
    layer.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return result
