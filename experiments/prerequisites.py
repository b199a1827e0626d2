"""What a run begins with beside its settings: looked at before it begins, and named for good."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from donkey_rl import configuration, user_paths
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.autoencoder import Autoencoder
from donkey_rl.agents.encoders.config import AutoencoderConfig, LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.envs import opponents, simulators
from donkey_rl.envs.settings import driving_link
from donkey_rl.errors import ConfigurationError
from donkey_rl.experiments import (
    algorithms,
    beginning,
    demonstrations,
    encoder_frames,
    lane_training,
    model_registry,
    own_code_checks,
    rivals,
    starting,
    stored_runs,
)
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.data import lessons, reference
from donkey_rl.experiments.driver_model import MODEL_TAG
from donkey_rl.experiments.progress import ProgressDisplay


def checked(config: TrainingConfig, progress: ProgressDisplay) -> TrainingConfig:
    """Refuses a run that could not begin; returns its configuration with all named for good.

    Names of runs, aliases of models and data sets without a version mean the newest there is,
    which may be another one tomorrow, or the run itself once it has begun: they give way to ids
    and versions.

    Args:
        config: The run.
        progress: Shows how far a data set is fetched.

    Raises:
        InputError: A recording, a driver, or code of the user's own cannot be used.
        UnknownNameError: There is no such run; it carries the nearest.
        DriverError: A driver cannot be read.
        StorageError: The store of runs or of data sets cannot be read.
        LinkError: A simulator that is to run already cannot be reached.
        ConfigurationError: It has another track loaded, or a setting is never read.
    """
    _check_read(config)
    own_code_checks.check(config)
    config = lessons.pinned(config)
    demonstrations.check(config, progress)
    rivals.check(config.environment())
    driver = starting.load(config)
    if driver is None:
        _check_encoder(config, progress)
    _check_simulators(config)
    idle = algorithms.idle(config)
    if idle:
        progress.message(idle)
    return _pinned(config, driver)


_OF_THE_LINK = ("host", "port", "camera")
_LEARNED_FROM = ("data", "pretrained")


def _check_read(config: TrainingConfig) -> None:
    """Refuses settings that nothing in the run reads.

    Raises:
        ConfigurationError: There is one.
    """
    usual = driving_link()
    for name in _OF_THE_LINK:
        if getattr(config.link, name) != getattr(usual, name):
            instead = "camera.*" if name == "camera" else "simulator=HOST:PORT"
            raise ConfigurationError(
                f"link.{name} is not read in a training. Received: "
                f"{getattr(config.link, name)}. Leave it out, and set {instead}."
            )
    for name in _LEARNED_FROM:
        if config.start.driver is not None and getattr(config.encoder, name, None) is not None:
            raise ConfigurationError(
                f"start.driver brings its encoder along, which is trained. Received: "
                f"encoder.{name}={getattr(config.encoder, name)} as well. Set encoder.{name}=null."
            )


def _check_encoder(config: TrainingConfig, progress: ProgressDisplay) -> None:
    """Looks at what an encoder is to begin with, or to learn from."""
    settings = config.encoder
    if isinstance(settings, LaneEncoderConfig) and settings.pretrained is not None:
        lane_training.untrained(config, settings)
    if isinstance(settings, AutoencoderConfig) and settings.data is not None:
        places = reference.recordings(settings.data, progress)
        encoder_frames.check(places, settings, config.camera.shape)


def _check_simulators(config: TrainingConfig) -> None:
    """Looks at those that run already: an encoder is trained before they are driven."""
    running = [
        place.typed
        for place in simulators.parse(config.simulator)
        if isinstance(place, simulators.Address)
    ]
    if running:
        there = config.environment().model_copy(update={"simulator": ",".join(running)})
        opened = simulators.open_simulator(there, len(running), seed=config.seed)
        with contextlib.closing(opened) as world:
            world.reset(np.arange(len(running)))


def _pinned(config: TrainingConfig, driver: Driver | None) -> TrainingConfig:
    """Returns a configuration that names runs by their ids, and models by theirs.

    Where it begins with a driver, it has the settings of that driver's lane or auto-encoder.
    """
    changes: dict[str, Any] = {}
    if config.start.driver is not None:
        changes[beginning.START] = _fixed(config.start.driver)
    if driver is not None and isinstance(driver.encoder, LaneEncoder | Autoencoder):
        own = driver.encoder.config.model_dump()
        changes["encoder"] = own | {name: None for name in _LEARNED_FROM if name in own}
    elif isinstance(config.encoder, LaneEncoderConfig) and config.encoder.pretrained is not None:
        changes[beginning.PRETRAINED] = _fixed(config.encoder.pretrained)
    if config.opponents.count:
        changes[beginning.OPPONENTS] = [
            _fixed(each) if each != opponents.ITSELF and opponents.parse(each).is_learned else each
            for each in config.opponents.drivers
        ]
    return configuration.with_values(config, changes) if changes else config


def _fixed(name: str) -> str:
    if user_paths.path_of(name).is_dir():
        return name
    found = stored_runs.find(name)
    if name.startswith(model_registry.SCHEME):
        return f"{model_registry.SCHEME}{found.tags[MODEL_TAG]}"
    return found.id
