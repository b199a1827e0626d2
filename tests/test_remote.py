"""A world whose motion comes over the wire is, for an environment, like the embedded one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from donkey_rl.envs import recognition
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.environment import DonkeyEnv
from donkey_rl.envs.heading import Heading
from donkey_rl.envs.link.reports import Telemetry
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, starts, stepping
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.simulator.world import Start
from donkey_rl.envs.sources import Sight
from donkey_rl.envs.tasks import TaskConfig
from donkey_rl.errors import ActionError, ConfigurationError
from tests.embedded_source import EmbeddedSource

SMALL = CameraConfig(img_w=32, img_h=24)


def config(**changes: object) -> EnvironmentConfig:
    values = {"camera": SMALL, "throttle_max": 0.2, **changes}
    return EnvironmentConfig(**values)  # type: ignore[arg-type]


def weave(batch: Batch, steps: int) -> list[dict[str, np.ndarray]]:
    """Drives a batch of one car in gentle curves; returns what its environment shows."""
    batch.reset(np.array([0]))
    shown = []
    for k in range(steps):
        moved = batch.step([[0.5 * math.sin(0.2 * k), 0.4]])
        shown.append(
            {
                "reward": moved.reward.copy(),
                "sensed": batch.sensed.copy(),
                "motion": batch.motion.copy(),
                "node": batch.world.cars.node.copy(),
                "wheels": batch.world.cars.wheels_off.copy(),
                "image": moved.observation["image"].copy(),
                "speed": moved.observation["speed"].copy(),
                "imu": moved.observation["imu"].copy(),
                "ended": moved.terminated.copy(),
            }
        )
    return shown


@pytest.mark.parametrize("vehicle", ["donkey_2020", "donkey_2021", "donkey_2022"])
def test_same_drive_gives_same_task_as_in_the_embedded_simulator(vehicle: str) -> None:
    settings = config(vehicle=vehicle, throttle_max=0.5 if vehicle == "donkey_2021" else 0.2)
    ours = weave(Batch(settings, 1), 120)
    source = EmbeddedSource(settings)
    theirs = weave(Batch(settings, 1, world=RemoteWorld(settings, [source])), 120)
    assert ours[-1]["sensed"][0, stepping.PROGRESS] > 10.0
    for mine, other in zip(ours, theirs, strict=True):
        # Seven digits on the wire: positions of some tens of u to some 1e-5 u.
        np.testing.assert_allclose(mine["sensed"][0, :4], other["sensed"][0, :4], atol=0.12)
        for column in (stepping.ARC, stepping.LATERAL, stepping.PROGRESS, stepping.CTE):
            np.testing.assert_allclose(
                mine["sensed"][0, column], other["sensed"][0, column], atol=2e-3
            )
        np.testing.assert_allclose(mine["reward"], other["reward"], atol=2e-3)
        np.testing.assert_allclose(mine["speed"], other["speed"], atol=1e-4)
        np.testing.assert_array_equal(mine["image"], other["image"])
        np.testing.assert_array_equal(mine["node"], other["node"])
        np.testing.assert_array_equal(mine["ended"], other["ended"])


def test_2022_reports_velocity_and_turning_of_the_same_moment() -> None:
    settings = config()
    ours = weave(Batch(settings, 1), 60)[-1]
    theirs = weave(Batch(settings, 1, world=RemoteWorld(settings, [EmbeddedSource(settings)])), 60)
    columns = [physics.FORWARD, physics.RIGHTWARD, physics.YAW_RATE]
    np.testing.assert_allclose(
        ours["motion"][0, columns], theirs[-1]["motion"][0, columns], atol=1e-3
    )
    np.testing.assert_allclose(ours["imu"], theirs[-1]["imu"], atol=1e-3)
    assert ours["wheels"] == theirs[-1]["wheels"]


def test_older_cars_yaw_is_the_way_they_go() -> None:
    settings = config(vehicle="donkey_2021", throttle_max=0.5)
    ours = weave(Batch(settings, 1), 120)
    theirs = weave(
        Batch(settings, 1, world=RemoteWorld(settings, [EmbeddedSource(settings)])), 120
    )
    gaps = [
        mine["motion"][0, physics.YAW] - other["motion"][0, physics.YAW]
        for mine, other in zip(ours, theirs, strict=True)
    ]
    # Half a step behind, and without the slip: 0.05 s x 0.5 rad/s / 2 and a degree or two.
    assert max(abs(gap) for gap in gaps[20:]) < 0.08


@pytest.mark.parametrize("vehicle", ["donkey_2021", "donkey_2022"])
def test_reversing_is_negative_forward_velocity_from_the_first_step(vehicle: str) -> None:
    settings = config(vehicle=vehicle, throttle_min=-0.5, throttle_max=0.5)
    env = Batch(settings, 1, world=RemoteWorld(settings, [EmbeddedSource(settings)]))
    env.reset(np.array([0]))
    for _ in range(20):
        env.step([[0.0, -1.0]])
    assert env.motion[0, physics.FORWARD] < -0.5
    assert env.sensed[0, stepping.PROGRESS] < -0.2


def test_episode_starts_where_it_is_wanted() -> None:
    settings = config()
    world = RemoteWorld(settings, [EmbeddedSource(settings)])
    start = Start(np.array([50.0]), np.array([1.0]), np.array([0.1]), np.array([0.0]))
    world.reset(np.array([0]), start)
    assert world.cars.sensed[0, stepping.ARC] == pytest.approx(50.0, abs=0.3)
    assert world.cars.sensed[0, stepping.LATERAL] == pytest.approx(1.0, abs=0.01)
    assert world.cars.sensed[0, stepping.HEADING_ERROR] == pytest.approx(0.1, abs=0.01)
    assert not world.places_refused


def test_random_starts_are_those_of_the_seed() -> None:
    settings = config(randomisation=Randomisation(start_anywhere=True))
    world = RemoteWorld(settings, [EmbeddedSource(settings)], seed=4)
    found = []
    for _ in range(3):
        world.reset(np.array([0]))
        found.append(world.cars.sensed[0, stepping.ARC])
    world.seed(4)
    world.reset(np.array([0]))
    assert world.cars.sensed[0, stepping.ARC] == found[0]
    assert len(set(found)) == 3


def test_simulator_that_moves_no_cars_is_asked_once() -> None:
    settings = config(randomisation=Randomisation(start_anywhere=True))
    world = RemoteWorld(settings, [EmbeddedSource(settings, movable=False)])
    world.reset(np.array([0]))
    assert world.places_refused
    arc = world.cars.sensed[0, stepping.ARC]
    world.reset(np.array([0]))
    assert world.cars.sensed[0, stepping.ARC] == arc


def test_clock_of_an_episode_starts_at_its_reset() -> None:
    settings = config()
    world = RemoteWorld(settings, [EmbeddedSource(settings)])
    world.reset(np.array([0]))
    assert world.cars.sensed[0, stepping.TIME] == 0.0
    world.step([[0.0, 0.1]])
    assert world.cars.sensed[0, stepping.TIME] == pytest.approx(0.06, abs=1e-5)


def test_being_put_elsewhere_is_no_progress() -> None:
    settings = config(task=TaskConfig(end_off_track=False))
    source = EmbeddedSource(settings)
    batch = Batch(settings, 1, world=RemoteWorld(settings, [source]))
    batch.reset(np.array([0]))
    batch.step([[0.0, 1.0]])
    before = batch.sensed[0, [stepping.PROGRESS, stepping.DISTANCE]].copy()
    source.push(0.0, 25.0)
    batch.step([[0.0, 1.0]])
    np.testing.assert_array_equal(batch.sensed[0, [stepping.PROGRESS, stepping.DISTANCE]], before)


def test_max_cte_ends_an_episode_however_far_the_car_is() -> None:
    # gym-donkeycar lets a car drive on beyond twice max_cte.
    settings = config(task=TaskConfig(end_off_track=False, max_cte=3.0))
    source = EmbeddedSource(settings)
    batch = Batch(settings, 1, world=RemoteWorld(settings, [source]))
    for gap in (4.0, 8.0, 16.0):
        batch.reset(np.array([0]))
        source.push(-gap, 0.0)
        moved = batch.step([[0.0, 0.0]])
        assert moved.ending["max_cte"][0], gap
        assert moved.terminated[0]


def test_simulator_without_positions_is_refused_with_the_remedy() -> None:
    source = EmbeddedSource(config())
    source.without = ("pos_x", "pos_y", "pos_z")
    with pytest.raises(ConfigurationError, match=r"no positions.*extended telemetry"):
        RemoteWorld(config(), [source]).reset(np.array([0]))


@pytest.mark.parametrize(("sent", "expected"), [("donkey_2022", "2021"), ("donkey_2021", "2022")])
def test_another_generation_is_refused_with_the_setting(sent: str, expected: str) -> None:
    source = EmbeddedSource(config(vehicle=sent))
    wanted = config(vehicle=f"donkey_{expected}")
    with pytest.raises(ConfigurationError, match=rf"Set vehicle={sent}"):
        RemoteWorld(wanted, [source]).reset(np.array([0]))


@pytest.mark.parametrize("command", [[0.0], [[0.0, math.nan]], [[0.0, 0.0], [0.0, 0.0]]])
def test_bad_command_is_refused_and_nothing_is_sent(command: object) -> None:
    source = EmbeddedSource(config())
    world = RemoteWorld(config(), [source])
    world.reset(np.array([0]))
    with pytest.raises(ActionError, match="Commands must be finite"):
        world.step(command)  # type: ignore[arg-type]
    assert source.commands == []


def test_environment_over_it_has_the_same_spaces_and_info_keys() -> None:
    settings = config()
    ours = DonkeyEnv(settings)
    theirs = DonkeyEnv(settings, world=RemoteWorld(settings, [EmbeddedSource(settings)]))
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    _, info = ours.reset(seed=1)
    observation, other = theirs.reset(seed=1)
    assert list(info) == list(other)
    assert theirs.observation_space.contains(observation)
    assert info["pos"] == pytest.approx(other["pos"], abs=1e-5)


def test_closing_the_environment_gives_the_car_back() -> None:
    source = EmbeddedSource(config())
    DonkeyEnv(config(), world=RemoteWorld(config(), [source])).close()
    assert source.closed


def test_a_world_without_cars_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1 simulator"):
        RemoteWorld(config(), [])


class Missing(EmbeddedSource):
    """A source of which two messages are missed each time."""

    def receive(self) -> Sight:
        return super().receive()._replace(missed=2)


def test_missed_messages_add_up() -> None:
    world = RemoteWorld(config(), [Missing(config())])
    world.reset(np.array([0]))
    for _ in range(3):
        world.step([[0.0, 0.1]])
    assert world.missed.tolist() == [6]


@pytest.mark.parametrize("vehicle", ["donkey_2020", "donkey_2021", "donkey_2022"])
def test_turning_lean_and_wheels_are_as_reported(vehicle: str) -> None:
    settings = config(vehicle=vehicle, throttle_max=0.2 if vehicle == "donkey_2022" else 0.5)
    batches = [
        Batch(settings, 1, world=world)
        for world in (None, RemoteWorld(settings, [EmbeddedSource(settings)]))
    ]
    for batch in batches:
        batch.reset(np.array([0]))
        for k in range(40):
            batch.step([[0.5 * math.sin(0.2 * k), 0.4]])
    ours, theirs = (batch.world.cars for batch in batches)
    assert abs(ours.motion[0, physics.YAW_RATE]) > 0.05
    assert theirs.motion[0, physics.YAW_RATE] == pytest.approx(
        ours.motion[0, physics.YAW_RATE], abs=0.01
    )
    if vehicle == "donkey_2022":
        lean = [physics.PITCH, physics.ROLL]
        assert abs(ours.lean[0, lean]).min() > 1e-4
        np.testing.assert_allclose(theirs.lean[0, lean], ours.lean[0, lean], atol=1e-5)
        first = stepping.ODOMETRY_REAR_RIGHT
        assert ours.sensed[0, first] > 1.0
        np.testing.assert_allclose(
            theirs.sensed[0, first : first + 4], ours.sensed[0, first : first + 4], rtol=1e-5
        )


def test_info_says_roll_pitch_and_yaw_as_gym_donkeycar_does() -> None:
    settings = config()
    world = RemoteWorld(settings, [EmbeddedSource(settings)])
    env = DonkeyEnv(settings, world=world)
    env.reset()
    for _ in range(20):
        *_, info = env.step([1.0, 1.0])
    lean = world.cars.lean[0]
    assert abs(lean[physics.ROLL]) > 1e-4
    roll, pitch, _ = info["car"]
    assert roll == pytest.approx(math.degrees(lean[physics.ROLL]) % 360.0)
    assert pitch == pytest.approx(math.degrees(lean[physics.PITCH]) % 360.0)


def test_a_long_way_between_two_messages_is_followed_node_by_node() -> None:
    settings = config(task=TaskConfig(end_off_track=False))
    source = EmbeddedSource(settings)
    world = RemoteWorld(settings, [source])
    place = Start(np.array([50.0]), np.zeros(1), np.zeros(1), np.zeros(1))
    world.reset(np.array([0]), place)
    before = world.cars.sensed[0, stepping.PROGRESS]
    x, z, yaw = (float(value) for value in world.track.path.at(59.0))
    source.world.place(np.array([0]), np.array([[x, z, yaw, 0.0, 0.0, 0.0]]))
    world.step([[0.0, 0.0]])
    assert world.cars.sensed[0, stepping.PROGRESS] - before == pytest.approx(9.0, abs=0.3)
    # Nodes lie 214.3 / 108 = 1.98 u apart: four or five further on.
    nodes = starts.nearest_nodes(world.track, np.array([59.0]), np.array([[x, z]]))
    assert abs(world.cars.node[0] - nodes[0]) <= 1


def test_yaw_takes_the_short_way_round() -> None:
    heading = Heading(math.radians(350.0))
    for degrees, unwound in ((355.0, 355.0), (5.0, 365.0), (20.0, 380.0), (350.0, 350.0)):
        heading.follow(
            Telemetry("", 0.0, 0.0, 0.0, 0.0, "none", angles=(0.0, degrees, 0.0)), (0.0, 0.0), 8.0
        )
        assert math.degrees(heading.yaw) == pytest.approx(unwound)


def test_a_scene_is_one_whose_cross_track_error_fits_the_place() -> None:
    told = EmbeddedSource(config()).reset().telemetry
    assert recognition.scenes(told)[0] == "generated_track"
    assert told.cte is not None
    # The place is that of the track, the error is 5 u off: some other layout.
    assert "generated_track" not in recognition.scenes(dataclasses.replace(told, cte=told.cte + 5))


def test_message_without_a_place_leaves_the_car_where_it_was() -> None:
    settings = config()
    source = EmbeddedSource(settings)
    world = RemoteWorld(settings, [source])
    world.reset(np.array([0]))
    for _ in range(20):
        world.step([[0.0, 0.2]])
    before = world.cars.motion[0].copy()
    source.without = ("pos_x", "pos_y", "pos_z", "pitch")
    world.step([[0.0, 0.2]])
    np.testing.assert_array_equal(world.cars.motion[0, :2], before[:2])
    source.without = ()
    world.step([[0.0, 0.2]])
    assert world.cars.sensed[0, stepping.PROGRESS] > 0.5
    assert world.cars.motion[0, 1] > before[1]


def test_last_observation_of_a_lost_episode_is_from_before_the_loss() -> None:
    class Losing(EmbeddedSource):
        lost = False

        def receive(self) -> Sight:
            if not self.lost:
                return super().receive()
            return self.reset()._replace(restarted=True)

    settings = config()
    source = Losing(settings)
    batch = Batch(settings, 1, world=RemoteWorld(settings, [source]))
    batch.reset(np.array([0]))
    for _ in range(30):
        seen = batch.step([[0.0, 1.0]]).observation
    seen = {name: value.copy() for name, value in seen.items()}
    source.lost = True
    moved = batch.step([[0.0, 1.0]])
    assert moved.truncated[0]
    assert moved.ending["connection"][0]
    for name, value in moved.observation.items():
        np.testing.assert_array_equal(value, seen[name])
