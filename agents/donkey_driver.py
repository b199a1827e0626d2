"""A driver's LiteRT model, run with nothing but numpy and LiteRT.

MLflow copies this file into the model of a stored driver, where it is a module by itself and
`_load_pyfunc` is what ``mlflow.pyfunc.load_model`` calls. So it imports nothing of this package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

ACTIONS = 2
"""Steering and throttle."""

_MODEL, _MANIFEST = "driver.tflite", "manifest.json"


class LiteModel:
    """A LiteRT model from the parts of an observation to an action; one thread, one car at a time.

    It serves one thread: it holds the numbers of the observation being read.
    """

    def __init__(self, content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Prepares a model.

        Args:
            content: Of ``driver.tflite``.
            shapes: Shape of each part of one observation; the image is uint8, the others float32.

        Raises:
            RuntimeError: It is no LiteRT model.
            ValueError: It is no LiteRT model, or one of other inputs or outputs.
        """
        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        inputs = {each["name"]: each for each in self._interpreter.get_input_details()}
        outputs = self._interpreter.get_output_details()
        expected = {name: _array((1, *shape), name == "image") for name, shape in shapes.items()}
        expected["action"] = _array((1, ACTIONS), False)
        received = {name: _described(each) for name, each in inputs.items()}
        received["action"] = " and ".join(map(_described, outputs))
        if received != expected:
            raise ValueError(f"expected {_listed(expected)}; received {_listed(received)}")
        self._inputs = [inputs[name]["index"] for name in shapes]
        self._output = outputs[0]["index"]

    def act(self, parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        """Returns steering and throttle in [-1, 1], (n, 2).

        Args:
            parts: In the order of the shapes, each with a leading axis of length n.
        """
        actions = np.empty((len(parts[0]), ACTIONS), np.float32)
        for car in range(len(actions)):
            for index, part in zip(self._inputs, parts, strict=True):
                self._interpreter.set_tensor(index, part[car : car + 1])
            self._interpreter.invoke()
            actions[car] = self._interpreter.get_tensor(self._output)[0]
        return actions


class DonkeyDriver:
    """What ``mlflow.pyfunc.load_model`` returns the `predict` of."""

    def __init__(self, folder: Path) -> None:
        """Reads a driver folder.

        Raises:
            ValueError: Its model is not the one that its manifest describes.
        """
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        content = (folder / _MODEL).read_bytes()
        if hashlib.sha256(content).hexdigest() != manifest["files"][_MODEL]["sha256"]:
            raise ValueError(f"{folder / _MODEL} is not what its manifest says: copy it again")
        seen = manifest["observation"]
        self._shapes: dict[str, tuple[int, ...]] = {
            "image": tuple(seen["image_shape"]),
            "speed": (1,),
            "imu": (6,),
            "last_actions": (ACTIONS * seen["history"],),
        }
        self._model = LiteModel(content, self._shapes)

    def predict(
        self, model_input: Mapping[str, npt.NDArray[Any]], params: Mapping[str, Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Returns the driver's actions.

        Args:
            model_input: One array with a leading axis per part of the observation, such as
                ``image`` of shape (n, H, W, 3), uint8.
            params: Not used; MLflow passes it.

        Returns:
            Steering and throttle in [-1, 1], shape (n, 2).
        """
        return self._model.act(
            [
                np.asarray(model_input[name], np.uint8 if name == "image" else np.float32)
                for name in self._shapes
            ]
        )


def _load_pyfunc(data_path: str) -> DonkeyDriver:
    """Loads the driver folder at `data_path`; MLflow calls it by this name."""
    return DonkeyDriver(Path(data_path))


def _array(shape: tuple[int, ...], image: bool) -> str:
    return f"{'uint8' if image else 'float32'} {shape}"


def _described(tensor: Mapping[str, Any]) -> str:
    return f"{np.dtype(tensor['dtype'])} {tuple(tensor['shape'].tolist())}"


def _listed(arrays: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {array}" for name, array in arrays.items())
