"""What cars see that are simulated here; `observing` is for racers without a simulator as well."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from donkey_rl.envs.observing import Observation, observed
from donkey_rl.envs.simulator import physics, stepping
from donkey_rl.envs.simulator.stepping import Cars
from donkey_rl.envs.simulator.vehicle import Vehicle


def sensed(
    cars: Cars,
    vehicle: Vehicle,
    image: npt.NDArray[np.uint8],
    last_actions: npt.NDArray[np.float32],
) -> Observation:
    """Returns what N simulated cars see, see `observing.observed`.

    Args:
        cars: Their state.
        vehicle: Their generation.
        image: Camera images, (N, h, w, 3).
        last_actions: Flat, oldest first, (N, 2 K); not copied.
    """
    told, motion, scale = cars.sensed, cars.motion, vehicle.report_scale
    return observed(
        image,
        np.hypot(motion[:, physics.FORWARD], motion[:, physics.RIGHTWARD]) / scale,
        (told[:, stepping.ACCEL_RIGHT] / scale, told[:, stepping.ACCEL_FORWARD] / scale),
        motion[:, physics.YAW_RATE],
        last_actions,
    )
