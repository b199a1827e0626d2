"""A stored driver as an MLflow model: what ``mlflow.pyfunc.load_model`` loads.

MLflow finds `_load_pyfunc` by the module's name, so that no pickle is written or read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


class DriverModel:
    """Drives by the stored driver.

    Args:
        driver: Anything with ``act(observation) -> action``.
    """

    def __init__(self, driver: Any) -> None:
        """Keeps the driver."""
        self.driver = driver

    def predict(
        self, model_input: Mapping[str, npt.NDArray[Any]], params: Mapping[str, Any] | None = None
    ) -> npt.NDArray[np.float32]:
        """Returns the driver's actions.

        Args:
            model_input: One batched array per part of the observation, such as ``image`` of
                shape (n, H, W, 3).
            params: Not used; MLflow passes it.

        Returns:
            Steering and throttle in [-1, 1], shape (n, 2).
        """
        return np.asarray(self.driver.act(dict(model_input)), np.float32)


def _load_pyfunc(data_path: str) -> DriverModel:
    """Loads the driver folder at `data_path`; MLflow calls it by this name."""
    from donkey_rl.agents import ensemble

    return DriverModel(ensemble.load(data_path))
