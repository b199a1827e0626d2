"""Exported models, run as the programs do for which they were made."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from donkey_rl.agents import start_up_lines
from donkey_rl.agents.deployment import conversion, donkeycar
from donkey_rl.agents.deployment.donkeycar_part import DriverPart
from donkey_rl.agents.donkey_driver import LiteModel
from donkey_rl.agents.features import YAW_RATE
from donkey_rl.agents.manifest import ACTIONS, DriverDescription, ObservationSpec
from donkey_rl.agents.tensorflow_setup import keras

Observation = Mapping[str, npt.NDArray[Any]]
FloatArray = npt.NDArray[np.float32]
Pilot = Callable[[Observation], FloatArray]
"""Observation of one car -> steering and throttle, (2,)."""


def litert(path: pathlib.Path, seen: ObservationSpec) -> Pilot:
    """Returns what a LiteRT model does: actions."""
    with start_up_lines.held_back():
        model = LiteModel(path.read_bytes(), seen.shapes)

    def act(observation: Observation) -> FloatArray:
        action: FloatArray = model.act(seen.parts(observation)[0])[0]
        return action

    return act


def onnx(path: pathlib.Path, seen: ObservationSpec) -> Pilot:
    """Returns what an ONNX model does: actions."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = list(seen.shapes)

    def act(observation: Observation) -> FloatArray:
        given = dict(zip(names, seen.parts(observation)[0], strict=True))
        action: FloatArray = session.run([conversion.OUTPUT], given)[0][0]
        return action

    return act


def keras_file(path: pathlib.Path, seen: ObservationSpec) -> Pilot:
    """Returns what a Keras model does: actions."""
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    names = list(seen.shapes)

    def act(observation: Observation) -> FloatArray:
        given = dict(zip(names, seen.parts(observation)[0], strict=True))
        action: FloatArray = model(given, training=False)[conversion.OUTPUT].numpy()[0]
        return action

    return act


def donkeycar_keras(path: pathlib.Path, about: DriverDescription) -> Pilot:
    """Returns what donkeycar's ``linear`` and ``memory`` pilots do: commands."""
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    memory = len(model.inputs) > 1

    def act(observation: Observation) -> FloatArray:
        given = {
            name: part[None]
            for name, part in _donkeycar_inputs(observation, about, memory).items()
        }
        return np.concatenate([np.asarray(each)[0] for each in model(given, training=False)])

    return act


def donkeycar_lite(path: pathlib.Path, about: DriverDescription) -> Pilot:
    """Returns what donkeycar's ``tflite_linear`` and ``tflite_memory`` pilots do: commands."""
    with start_up_lines.held_back():
        interpreter = Interpreter(str(path), num_threads=1)
        runner = interpreter.get_signature_runner()
    memory = len(interpreter.get_input_details()) > 1

    def act(observation: Observation) -> FloatArray:
        parts = _donkeycar_inputs(observation, about, memory)
        found = runner(**{name: np.float32(part[None]) for name, part in parts.items()})
        return np.concatenate([found[name][0] for name in donkeycar.OUTPUTS])

    return act


def donkeycar_part(folder: pathlib.Path) -> Pilot:
    """Returns what the part does in a car with an odometer and a gyroscope: commands."""
    with start_up_lines.held_back():
        part = DriverPart(folder)

    def act(observation: Observation) -> FloatArray:
        part.resume(observation["last_actions"])
        yaw_rate = float(observation["imu"][YAW_RATE])
        return np.array(
            part.run(observation["image"], float(observation["speed"][0]), yaw_rate), np.float32
        )

    return act


def _donkeycar_inputs(
    observation: Observation, about: DriverDescription, memory: bool
) -> dict[str, npt.NDArray[np.float64]]:
    """Returns what donkeycar makes of an image of its camera, and of the last commands."""
    image = observation["image"]
    times = donkeycar.IMAGE[0] // image.shape[0]
    # An image whose parts have one colour each is made smaller without a loss.
    camera = image.repeat(times, axis=0).repeat(times, axis=1)
    given = {donkeycar.IMAGE_INPUT: camera.astype(np.float64) / 255.0}
    if memory:
        last = observation["last_actions"].reshape(-1, ACTIONS)
        given[donkeycar.MEMORY_INPUT] = donkeycar.commands(last, about).ravel().astype(np.float64)
    return given
