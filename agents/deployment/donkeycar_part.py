"""A driver of donkey-rl as a part of a donkeycar, with what a model alone cannot hold.

This file lies beside ``driver.tflite`` and ``driver.json``; it needs numpy and LiteRT
(``tflite-runtime`` or ``ai-edge-litert``). In ``manage.py``, in place of the model's part::

    from rl.donkeycar_part import DriverPart

    V.add(
        DriverPart(),
        inputs=["cam/image_array"],
        outputs=["pilot/angle", "pilot/throttle"],
        run_condition="run_pilot",
    )

A car with an odometer or a gyroscope adds ``"enc/speed"`` and then the rate about the vertical
axis to the inputs: see `DriverPart.run` for their units.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    from ai_edge_litert.interpreter import Interpreter

PAUSE_S = 0.5
"""After so long without an image, the last actions are forgotten."""

YAW_RATE = 4
"""Index of the yaw rate among the inertial measurements."""


class DriverPart:
    """Drives by camera image, speed, yaw rate and its own last actions.

    Attributes:
        about: What ``driver.json`` says.
        last_actions: Steering and throttle in [-1, 1] of each, oldest first, (2 K,).
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        """Reads the driver.

        Args:
            folder: With ``driver.tflite`` and ``driver.json``; that of this file by default.
        """
        folder = Path(__file__).parent if folder is None else Path(folder)
        self.about: dict[str, Any] = json.loads((folder / "driver.json").read_text("utf-8"))
        self._interpreter = Interpreter(str(folder / "driver.tflite"), num_threads=1)
        self._interpreter.allocate_tensors()
        inputs = self._interpreter.get_input_details()
        self._inputs = {each["name"]: each["index"] for each in inputs}
        self._output = self._interpreter.get_output_details()[0]["index"]
        low, high = np.array([self.about["steering_limits"], self.about["throttle_limits"]]).T
        self._scale, self._offset = 0.5 * (high - low), 0.5 * (high + low)
        self.last_actions = np.zeros(2 * self.about["history"], np.float32)
        self._driven = -np.inf
        self._lock = threading.Condition()
        self._waiting: tuple[Any, ...] | None = None
        self._newest = (0.0, 0.0)
        self._on = True

    def run(
        self, img_arr: Any, speed: float | None = None, yaw_rate: float | None = None
    ) -> tuple[float, float]:
        """Returns steering and throttle.

        Args:
            img_arr: The camera's image, uint8, of the driver's size or a whole multiple of it.
            speed: As the car of the training reports it, see ``driver.json``; what stands there
                where the car knows none.
            yaw_rate: About the vertical axis, rad/s, positive to the right; 0 where the car knows
                none.
        """
        if img_arr is None:
            return 0.0, 0.0
        now = time.monotonic()
        if now - self._driven > PAUSE_S:
            self.last_actions[:] = 0.0
        self._driven = now
        imu = np.zeros(6, np.float32)
        imu[YAW_RATE] = 0.0 if yaw_rate is None else yaw_rate
        known = abs(self.about["speed"] if speed is None else speed)
        action = self._act(self._smaller(np.asarray(img_arr)), known, imu)
        self.last_actions = np.append(self.last_actions[2:], action).astype(np.float32)
        steering, throttle = action * self._scale + self._offset
        return float(steering), float(throttle)

    def resume(self, last_actions: Any) -> None:
        """Goes on as if these had been the last actions, just now.

        Args:
            last_actions: As the attribute.
        """
        self.last_actions = np.array(last_actions, np.float32)
        self._driven = time.monotonic()

    def _act(self, image: Any, speed: float, imu: Any) -> Any:
        parts = {"image": image, "speed": np.array([speed], np.float32), "imu": imu}
        parts["last_actions"] = self.last_actions
        for name, part in parts.items():
            self._interpreter.set_tensor(self._inputs[name], part[None])
        self._interpreter.invoke()
        return np.clip(self._interpreter.get_tensor(self._output)[0], -1.0, 1.0)

    def _smaller(self, image: Any) -> Any:
        """Returns the image in the driver's size, each pixel the mean of those that it covers."""
        height, width, channels = self.about["image_shape"]
        times = image.shape[0] // height
        if image.shape != (height * times, width * times, channels) or image.dtype != np.uint8:
            raise ValueError(
                f"expected images {height}x{width}x{channels} of uint8, or a whole multiple: "
                f"received {image.shape} of {image.dtype}. Set IMAGE_H and IMAGE_W in myconfig.py."
            )
        if times == 1:
            return image
        parts = image.reshape(height, times, width, times, channels)
        return (parts.mean(axis=(1, 3)) + 0.5).astype(np.uint8)

    def update(self) -> None:
        """Drives by the newest image until `shutdown`; donkeycar runs this in a thread."""
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting is not None or not self._on)
                if not self._on:
                    return
                given, self._waiting = self._waiting, None
            newest = self.run(*(given or (None,)))
            with self._lock:
                self._newest = newest

    def run_threaded(
        self, img_arr: Any, speed: float | None = None, yaw_rate: float | None = None
    ) -> tuple[float, float]:
        """Hands over an image and returns the newest commands; `update` runs beside it.

        Commands of before a pause, in which a person may have driven, are not given again.
        """
        with self._lock:
            if time.monotonic() - self._driven > PAUSE_S:
                self._newest = (0.0, 0.0)
            self._waiting = (img_arr, speed, yaw_rate)
            self._lock.notify()
            return self._newest

    def shutdown(self) -> None:
        """Ends `update`."""
        with self._lock:
            self._on = False
            self._lock.notify()
