"""Who drives the opponents that see by their cameras: past drivers, and copies of the learner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.feature_env import Extractor
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import batch as batches
from donkey_rl.envs.batch import Batch, Observation
from donkey_rl.envs.joined_view import Cars
from donkey_rl.envs.opponent_drivers import Act, Limits
from donkey_rl.envs.opponents import ITSELF, MOST, PURSUIT, OpponentConfig, parse
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.traffic import Traffic
from donkey_rl.errors import ConfigurationError, DriverError, InputError
from donkey_rl.experiments import drivers, race_latency
from donkey_rl.experiments.drivers import UNTRAINED, Entrant
from donkey_rl.experiments.racing import Field

RACE_GAP = (8.0, 30.0)
"""How far ahead opponents start in an evaluation (u)."""


def seat(batch: Batch, itself: Act | None = None, camera: CameraConfig | None = None) -> None:
    """Gives every opponent of some cars its driver.

    Past drivers are loaded once for each track; they must see what the cars see.

    Args:
        batch: The cars; without learned opponents nothing happens.
        itself: What drives the opponents called `self`: the policy as it is at each step.
        camera: What the others must have been trained with; by default that of the cars.

    Raises:
        InputError: A reference means no learned driver, or there is no `self`.
        DriverError: A driver was made for another camera, car or number of past commands.
    """
    world, config = batch.world, batch.config
    if not isinstance(world, Traffic):
        return
    for reference in world.vacant:
        if reference == ITSELF:
            if itself is None:
                raise InputError(
                    "An opponent 'self' is a copy of a learned driver, which does not drive here. "
                    "Name the driver instead."
                )
            world.seat(reference, itself, _limits(config))
            continue
        entrant = _learned(reference, config, camera or config.camera)
        world.seat(reference, entrant.driver.act, _limits(entrant.environment))


def check(config: EnvironmentConfig) -> None:
    """Loads the past drivers among opponents once, before anything takes time.

    Args:
        config: What they are to drive in.

    Raises:
        InputError: As `seat`.
        DriverError: As `seat`.
    """
    for reference in config.opponents.learned:
        if reference != ITSELF:
            _learned(reference, config, config.camera)


def _learned(
    reference: str, config: EnvironmentConfig, camera: CameraConfig
) -> drivers.LearnedEntrant:
    """Returns a past driver that drives as an opponent, trained with the same camera."""
    entrant = drivers.load(reference)
    if not isinstance(entrant, drivers.LearnedEntrant):
        raise InputError(
            f"An opponent is pursuit, passing, parked, self, a run or a driver folder. "
            f"Received: '{reference}'."
        )
    own = entrant.environment
    if own.vehicle != config.vehicle:
        raise DriverError(
            f"Opponents drive the same car as everybody else, {config.vehicle}. Received: "
            f"'{reference}', which drives {own.vehicle}."
        )
    try:
        entrant.driver.check_observation_space(batches.observation_space(config))
    except DriverError as error:
        raise DriverError(f"The opponent '{reference}' does not fit: {error}") from error
    if reference != UNTRAINED and own.camera != camera:
        raise DriverError(
            f"All cars on a road see by one camera. Received: '{reference}', which was trained "
            "with another (camera.fov, its place or its angles). Name another driver."
        )
    return entrant


def field(
    entrant: Entrant,
    config: EnvironmentConfig,
    races: int,
    seed: int,
    disturbance: Randomisation | None = None,
) -> Field:
    """Returns cars for an entrant's races: as late as it needs, everybody else in his seat.

    Args:
        entrant: Who drives.
        config: Simulator, track, car, latency; commands wait up to the lowest latency that the
            entrant was trained for.
        races: As for `Field`.
        seed: As for `Field`.
        disturbance: As for `Field`.

    Raises:
        InputError: As `seat`.
        DriverError: As `seat`.
        LinkError: A simulator cannot be reached.
    """
    late = race_latency.padded(config.latency, entrant.trained_latency_ms)
    # Drivers are raced at any latency, also where their history is too short for it.
    made = Field(
        config.model_copy(update={"latency": late}), races, seed=seed, disturbance=disturbance
    )
    try:
        if isinstance(entrant, drivers.LearnedEntrant):
            # An evaluation may have changed it for all of them.
            camera = drivers.environment_of(entrant.driver).camera
            seat(made.batch, entrant.driver.act, camera)
        else:
            seat(made.batch)
    except BaseException:
        made.close()
        raise
    return made


def seat_copies(
    cars: Cars, fields: Sequence[Field], model: SAC | PPO, extractor: Extractor
) -> None:
    """Gives the opponents of a training and of its checks their drivers, see `seat`.

    Args:
        cars: What the policy learns in.
        fields: The cars of the checks.
        model: The policy, of which opponents called `self` are copies.
        extractor: Makes what they see into what it reads.
    """

    def act(observation: Observation) -> npt.NDArray[np.float32]:
        actions = model.predict(extractor(observation), deterministic=True)[0]
        return np.asarray(actions, np.float32)

    for batch in (*(view.batch for view in cars.views), *(field.batch for field in fields)):
        seat(batch, act)


def without(environments: Sequence[EnvironmentConfig]) -> tuple[EnvironmentConfig, ...]:
    """Returns environments with nobody else on the road."""
    alone = {"opponents": OpponentConfig()}
    return tuple(each.model_copy(update=alone) for each in environments)


def _limits(config: EnvironmentConfig) -> Limits:
    return Limits(config.throttle_min, config.throttle_max, config.steer_limit)


def named(config: EnvironmentConfig, driver: str) -> EnvironmentConfig:
    """Returns an environment whose opponents called `self` are the driver that is evaluated.

    Whoever else is raced beside it, such as the expert, then meets the same ones.

    Args:
        config: The environment.
        driver: Its reference.
    """
    itself = f"{PURSUIT}:1.0" if driver == PURSUIT else driver
    names = tuple(itself if each == ITSELF else each for each in config.opponents.drivers)
    opponents = config.opponents.model_copy(update={"drivers": names})
    return config.model_copy(update={"opponents": opponents})


def of_race(text: str, driver: str) -> OpponentConfig:
    """Returns the opponents of an evaluation, who start ahead and stay where they are passed.

    Args:
        text: Who they are, with commas: see `opponents.parse`.
        driver: Reference of the driver that is evaluated, for the opponents called `self`.

    Raises:
        InputError: It cannot be read, or there are too many.

    >>> of_race("pursuit:0.6,self", "3f2a").drivers, of_race("self", "pursuit").drivers
    (('pursuit:0.6', '3f2a'), ('pursuit:1.0',))
    """
    # Without a share, pursuit is slower than it is when it is evaluated itself.
    itself = f"{PURSUIT}:1.0" if driver == PURSUIT else driver
    names = tuple(itself if part.strip() == ITSELF else part.strip() for part in text.split(","))
    if len(names) > MOST:
        raise InputError(f"A race has at most {MOST} opponents. Received: {len(names)}.")
    for name in names:
        try:
            parse(name)
        except ValueError as error:
            raise ConfigurationError(f"An opponent {error}.") from error
    return OpponentConfig(count=len(names), drivers=names, gap=RACE_GAP, reach=None)
