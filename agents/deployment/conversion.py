"""A driver as one file that takes an observation and gives an action."""

from __future__ import annotations

import importlib.util
from typing import Any, Final

import numpy as np

from donkey_rl.agents import lite_conversion
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.features import YAW_RATE
from donkey_rl.agents.tensorflow_setup import keras, tf
from donkey_rl.errors import InputError

OUTPUT: Final = "action"

_OPSET = 18
"""Version of ONNX's operators, of 2022: what runs them is older than what writes them."""


def keras_model(driver: Driver | Ensemble) -> Any:
    """Joins everything into one Keras 3 model, without code in it.

    Args:
        driver: What drives.

    Returns:
        A model of `image` (uint8), `speed`, `imu` and `last_actions` -> `action`, (B, 2).
    """
    seen = driver.observation
    inputs = {
        name: keras.Input(shape, dtype="uint8" if name == "image" else "float32", name=name)
        for name, shape in seen.shapes.items()
    }
    blind_to = seen.scaling.blind_to
    speed = 0.0 if "speed" in blind_to else 1.0 / seen.scaling.speed
    yaw_rate = keras.layers.Dense(1, use_bias=False, name="yaw_rate")
    measured = [
        keras.layers.Rescaling(speed, name="speed_scaled")(inputs["speed"]),
        yaw_rate(inputs["imu"]),
        inputs["last_actions"],
    ]
    if "last_actions" in blind_to:
        measured[-1] = keras.layers.Rescaling(0.0, name="last_actions_unread")(measured[-1])
    chosen = np.zeros((seen.shapes["imu"][0], 1), np.float32)
    chosen[YAW_RATE] = 0.0 if "yaw_rate" in blind_to else 1.0 / seen.scaling.yaw_rate
    yaw_rate.set_weights([chosen])
    proposals, seen_by = [], []
    for number, (_, member) in enumerate(driver.shares):
        features = _copy(member.encoder.model, f"encoder_{number}")(inputs["image"])
        both = keras.layers.Concatenate(name=f"seen_{number}")([features, *measured])
        seen_by.append(both)
        proposals.append(_copy(member.actor, f"actor_{number}")(both))
    # What slows an ensemble reads the speed, whatever its members are blind to.
    known = keras.layers.Rescaling(1.0 / seen.scaling.speed, name="speed_known")(inputs["speed"])
    action = driver.joined(proposals, seen_by, known)
    return keras.Model(inputs, {OUTPUT: action}, name="driver")


def _copy(model: Any, name: str) -> Any:
    """Returns a model under another name: no two in one model may have the same."""
    copy = type(model).from_config({**model.get_config(), "name": name})
    copy.set_weights([np.array(each) for each in model.get_weights()])
    return copy


def has_onnx() -> bool:
    """Whether what writes and runs ONNX models is installed."""
    return all(importlib.util.find_spec(name) for name in ("tf2onnx", "onnx", "onnxruntime"))


def check_onnx() -> None:
    """Checks that ONNX models can be written here.

    Raises:
        InputError: tf2onnx, onnx or onnxruntime is not installed.
    """
    if not has_onnx():
        raise InputError(
            "Expected the packages tf2onnx, onnx and onnxruntime. Received: an installation "
            'without them. Type pip install "donkey-rl[onnx]", or export with --to litert.'
        )


def onnx_model(driver: Driver | Ensemble) -> bytes:
    """Converts a driver for any number of cars.

    Args:
        driver: What drives.

    Returns:
        An ONNX model of the parts of an observation -> `action`, (n, 2).

    Raises:
        InputError: The packages for it are not installed.
    """
    check_onnx()
    import tf2onnx

    signature = lite_conversion.signature(driver.observation.shapes, None)

    def act(*parts: Any) -> dict[str, Any]:
        return {OUTPUT: driver.graph(*parts)}

    function = tf.function(act, input_signature=signature)
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=_OPSET)
    content: bytes = model.SerializeToString()
    return content
