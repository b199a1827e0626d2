"""A stored driver as an MLflow model: what ``mlflow.pyfunc.load_model`` loads.

MLflow finds `_load_pyfunc` by a module's name, so that no pickle is written or read. Where the
driver has its LiteRT part, the module is a copy of `donkey_rl.agents.donkey_driver` inside the
model, which needs this package no more; else it is this one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import donkey_rl
from donkey_rl.agents import manifest

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

MODEL_TAG = "donkey_rl.model_id"
"""Tag of a run: its driver's model."""

FOLDER_TAG = "donkey_rl.driver_folder"
"""Tag of a run: where the driver folder lies in the model."""

PORTABLE = "donkey_driver"
"""Module that a model of a driver with its LiteRT part is loaded by."""

_NEEDED = ("numpy", "ai-edge-litert")
"""What that module imports."""


def save(
    folder: Path, target: Path, signature: Mapping[str, Any], model: LoggedModel, run_id: str
) -> None:
    """Writes a driver as an MLflow model.

    Args:
        folder: The driver folder.
        target: Where to.
        signature: As MLflow's `ModelSignature.to_dict` returned it.
        model: What it is going to be in the store.
        run_id: The run that it is of.
    """
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature

    portable = (folder / manifest.LITE_MODEL).is_file()
    code = importlib.resources.files("donkey_rl.agents") / f"{PORTABLE}.py"
    with importlib.resources.as_file(code) as source:
        pyfunc.save_model(
            str(target),
            loader_module=PORTABLE if portable else __name__,
            code_paths=[str(source)] if portable else None,
            data_path=str(folder),
            mlflow_model=Model(
                artifact_path=model.artifact_location,
                model_uuid=model.model_id,
                model_id=model.model_id,
                run_id=run_id,
            ),
            signature=ModelSignature.from_dict(dict(signature)),
            pip_requirements=(
                [f"{name}=={importlib.metadata.version(name)}" for name in _NEEDED]
                if portable
                else [f"donkey-rl=={donkey_rl.__version__}"]
            ),
        )


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
