"""Beginning a training with a driver that is there: its encoder, its policy and its critics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import driving
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.errors import InputError
from donkey_rl.experiments import drivers
from donkey_rl.experiments.config import TrainingConfig


def load(config: TrainingConfig) -> Driver | None:
    """Returns the driver that a run begins with, None where it begins with nothing.

    Args:
        config: The run.

    Raises:
        InputError: The driver is none that a training can go on with, or sees otherwise.
        UnknownNameError: There is no such run.
        DriverError: The driver cannot be read.
    """
    if config.start.driver is None:
        return None
    entrant = drivers.load(config.start.driver)
    driver = entrant.driver if isinstance(entrant, drivers.LearnedEntrant) else None
    if not isinstance(driver, Driver):
        raise InputError(
            "start.driver: expected a run or the folder of one driver. Received: "
            f"'{config.start.driver}'. Begin with a member of the ensemble, or with another run."
        )
    if driver.encoder.name == "cnn":
        raise InputError(
            "start.driver: expected a driver with an encoder that was trained before its policy. "
            f"Received: one that sees by itself, '{config.start.driver}'. Begin with one whose "
            "encoder is lane, autoencoder or own."
        )
    wanted = (config.camera.shape, config.history)
    received = (driver.observation.image_shape, driver.observation.history)
    if wanted != received:
        raise InputError(
            f"start.driver: expected a driver of images {wanted[0]} and {wanted[1]} past "
            f"commands. Received: {received[0]} and {received[1]}. Set camera and history "
            "as it has them."
        )
    blind, own = driver.observation.scaling.blind_to, config.blind_to
    if (driver.description.agent, set(blind)) != (config.agent, set(own)):
        raise InputError(
            f"start.driver: expected a driver of {config.agent}, blind to {_names(own)}. "
            f"Received: one of {driver.description.agent}, blind to {_names(blind)}. Set agent "
            "and blind_to as it has them."
        )
    _check_layers(config, driver)
    _check_commands(config, driver)
    return driver


def _check_layers(config: TrainingConfig, driver: Driver) -> None:
    """Refuses a policy of other layers, before any time is spent; see `take_over`.

    Raises:
        InputError: It has others.
    """
    wanted = (config.ppo if config.agent == "ppo" else config.sac).hidden
    kernels = [each for each in driver.actor.get_weights() if each.ndim == 2]
    received = tuple(kernel.shape[1] for kernel in kernels[:-1])
    if wanted != received:
        typed = ",".join(map(str, received))
        raise InputError(
            f"start.driver: expected hidden layers of {_names(map(str, wanted))} units. Received: "
            f"{_names(map(str, received))}. Set {config.agent}.hidden={typed}."
        )


def _check_commands(config: TrainingConfig, driver: Driver) -> None:
    """Refuses a policy whose actions mean something else in the run.

    In another car they do in any case: it has the throttle that it leaves grip at.

    Raises:
        InputError: They do.
    """
    place, about = config.environment(), driver.description
    wanted = (place.throttle_min, place.throttle_max, -place.steer_limit, place.steer_limit)
    received = (*about.throttle_limits, *about.steering_limits)
    if config.vehicle == about.vehicle and not np.allclose(wanted, received, atol=1e-3):
        told = "throttle {:g} to {:g}, steering {:g} to {:g}"
        raise InputError(
            f"start.driver: expected a driver that commands {told.format(*wanted)}. Received: "
            f"{told.format(*received)}. Set throttle_min and throttle_max as it has them, or "
            "begin with another."
        )


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def take_over(model: SAC | PPO, driver: Driver) -> tuple[str, ...]:
    """Gives an agent the policy of a driver, and its critics where both have such.

    The optimisers begin anew, and exploration as `Learner.narrow` has it.

    Args:
        model: The agent, not yet trained.
        driver: What it begins with.

    Returns:
        What was taken over, by name.

    Raises:
        InputError: Their networks differ.
    """
    _copy(driver.actor.get_weights(), model.deterministic_model(), "policy")
    if isinstance(model, SAC):
        model.learner.narrow()
    if not isinstance(model, SAC) or driver.critic is None:
        return ("policy",)
    if not driving.is_finite(driver.critic):
        return ("policy",)
    # The mean of quantiles is a layer of its own there, whose weights are fixed.
    judging = (layer for layer in driver.critic.layers if layer.name != "value")
    arrays = [array for layer in judging for array in layer.get_weights()]
    for critics in (model.learner.critics, model.learner.target_critics):
        _copy(arrays, critics, "critics")
    return ("policy", "critics")


def _copy(arrays: Sequence[npt.NDArray[Any]], target: Any, what: str) -> None:
    """Copies the weights of a network into one of the same shape."""
    shapes = [array.shape for array in arrays]
    expected = [array.shape for array in target.get_weights()]
    if shapes != expected:
        raise InputError(
            f"start.driver: expected {what} of the layers {_layers(expected)}. Received: "
            f"{_layers(shapes)}. Set agent, hidden layers and critics as that driver has them."
        )
    target.set_weights(arrays)


def _layers(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes if len(shape) > 1)
