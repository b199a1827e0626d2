"""A driver as it was before it learned: what says how much it has learned."""

from __future__ import annotations

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.cnn import CnnEncoder
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.tensorflow_setup import keras


def untrained(driver: Driver | Ensemble) -> Driver:
    """Returns a driver with the weights that its policy began with.

    The seeds of the initial weights are part of the networks, so they are drawn as they were then.
    A network that a policy learns to see with is part of the policy; an encoder that was trained
    before it stays as it is.

    Args:
        driver: The trained driver, left as it is; of an ensemble the first member counts.
    """
    _, driver = driver.shares[0]
    encoder = driver.encoder
    if isinstance(encoder, CnnEncoder):
        encoder = CnnEncoder(keras.models.clone_model(encoder.model))
    return Driver(
        encoder,
        keras.models.clone_model(driver.actor),
        driver.description,
        history=driver.observation.history,
        scaling=driver.observation.scaling,
    )
