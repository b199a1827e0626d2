"""Which road another simulator is on, and what is driven while it says nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from donkey_rl.envs.batch import Batch
from donkey_rl.envs.pursuit import Pursuit
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping
from donkey_rl.envs.sources import Place, Sight
from donkey_rl.envs.tasks import TaskConfig
from donkey_rl.errors import ConfigurationError
from tests.embedded_source import EmbeddedSource
from tests.test_remote import config

pytestmark = pytest.mark.usefixtures("coarse_ground")


class Stalling(EmbeddedSource):
    """A source of which nothing comes for a while, now and then."""

    lost = 0

    def receive(self) -> Sight:
        for _ in range(self.lost):
            super().receive()
        return super().receive()


def test_what_is_driven_while_no_message_comes_is_progress() -> None:
    task = TaskConfig(end_off_track=False)
    settings = config(track="mountain_track", throttle_max=1.0, task=task)
    source = Stalling(settings)
    batch = Batch(settings, 1, world=RemoteWorld(settings, [source]))
    batch.reset(np.array([0]))
    expert = Pursuit(settings)
    for _ in range(400):
        batch.step(expert.act(batch))
        if batch.motion[0, physics.FORWARD] > 18.0:
            break
    before = batch.sensed[0, stepping.PROGRESS]
    source.lost = 14
    batch.step(expert.act(batch))
    driven = source.world.cars.sensed[0, stepping.PROGRESS]
    assert batch.sensed[0, stepping.PROGRESS] - before > 12.0
    assert batch.sensed[0, stepping.PROGRESS] == pytest.approx(driven, abs=0.1)


def test_a_simulator_in_another_scene_is_refused_though_its_start_is_near() -> None:
    world = RemoteWorld(config(), [EmbeddedSource(config(track="warehouse"))])
    with pytest.raises(ConfigurationError, match="has 172 nodes, that of 'generated_track' 108"):
        world.reset(np.array([0]))
    assert abs(world.cars.sensed[0, stepping.LATERAL]) < 10.0


@pytest.mark.parametrize(
    ("there", "warned"), [("generated_road:7", True), ("generated_road", False)]
)
def test_another_random_road_is_told_once(
    caplog: pytest.LogCaptureFixture, there: str, warned: bool
) -> None:
    settings = config(track="generated_road", task=TaskConfig(end_off_track=False))
    source = EmbeddedSource(config(track=there))
    batch = Batch(settings, 1, world=RemoteWorld(settings, [source]))
    batch.reset(np.array([0]))
    expert = Pursuit(config(track=there))
    for _ in range(200):
        batch.step(expert.act(source.world.cars))
    told = [each for each in caplog.messages if "road is another than 'generated_road'" in each]
    assert len(told) == warned


def test_another_track_is_refused() -> None:
    source = EmbeddedSource(config(track="thunderhill"))
    with pytest.raises(ConfigurationError, match=r"2444 nodes, that of 'generated_track'.*doctor"):
        RemoteWorld(config(), [source]).reset(np.array([0]))


class Beside(EmbeddedSource):
    """A source whose car stands some way beside its start after a reset, unseen by the reset."""

    def __init__(self, config: EnvironmentConfig, gap: float) -> None:
        super().__init__(config)
        self.gap = gap

    def reset(self, place: Place | None = None) -> Sight:
        super().reset(place)
        # The start of this track looks along +Z.
        self.push(self.gap, 0.0)
        return self._sight()


@pytest.mark.parametrize(("gap", "refused"), [(-20.0, False), (-45.0, True)])
def test_a_car_far_beside_the_road_is_on_another_track(gap: float, refused: bool) -> None:
    # Three road widths of 10 u, and 2 u more, as the grid stands right of the path.
    world = RemoteWorld(config(), [Beside(config(), gap)])
    if refused:
        with pytest.raises(ConfigurationError, match="beside 'generated_track'"):
            world.reset(np.array([0]))
    else:
        world.reset(np.array([0]))
        assert abs(world.cars.sensed[0, stepping.LATERAL]) > 10.0


def test_a_car_that_was_put_elsewhere_faces_along_the_road_there() -> None:
    """`donkey_2021` tells no direction: the way from where it was is none."""
    settings = config(vehicle="donkey_2021", task=TaskConfig(end_off_track=False))
    source = EmbeddedSource(settings)
    batch = Batch(settings, 1, world=RemoteWorld(settings, [source]))
    batch.reset(np.array([0]))
    for arc in (100.0, 30.0, 170.0):
        x, z, yaw = (float(value) for value in batch.track.path.at(arc))
        source.world.place(np.array([0]), np.array([[x, z, yaw, 0, 0, 0]]))
        for _ in range(8):
            batch.step([[0.0, 1.0]])
        gap = math.remainder(float(batch.motion[0, physics.YAW]) - yaw, 2.0 * math.pi)
        assert abs(gap) < 0.5, arc
        assert batch.motion[0, physics.FORWARD] > 0.0
