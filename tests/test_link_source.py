"""Simulators that are connected to, started and stopped, and cars that are lent to races."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.envs import simulators, vec_env
from donkey_rl.envs.batch import Batch
from donkey_rl.envs.environment import DonkeyEnv
from donkey_rl.envs.link.link import SimulatorLink
from donkey_rl.envs.link_source import LinkSource, open_sources
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.serving import background
from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import physics, stepping, track
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.envs.sources import Sight
from donkey_rl.errors import (
    ConfigurationError,
    DonkeyRLError,
    LinkClosed,
    LinkProtocolError,
    LinkRefused,
    StorageError,
)
from donkey_rl.experiments import racing, stored_runs, training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import Phase, ProgressDisplay
from tests.embedded_source import EmbeddedSource
from tests.linked_cars import (
    ANYWHERE,
    LINK,
    SMALL,
    await_clients,
    environment,
    serving,
)
from tests.process_counts import link_threads
from tests.scripted_simulator import ScriptedSimulator


def test_simulators_opened_before_one_that_fails_are_given_back() -> None:
    with background.running(serving()) as server:
        here = simulators.Address("127.0.0.1", server.port)
        nowhere = simulators.Address("127.0.0.1", 1)
        with pytest.raises(LinkRefused, match=r"\(127\.0\.0\.1:1,"):
            open_sources(environment("embedded"), (here, nowhere))
        await_clients(server, 0)
    assert link_threads() == []


def test_a_simulator_is_given_back_where_the_world_cannot_be_built(
    tmp_path: pathlib.Path,
) -> None:
    with background.running(serving()) as server:
        wanted = environment(f"127.0.0.1:{server.port}", track=str(tmp_path / "none.json"))
        with pytest.raises(DonkeyRLError, match=r"none\.json"):
            simulators.open_simulator(wanted, 1)
        await_clients(server, 0)


def test_a_log_that_cannot_be_written_connects_to_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="telemetry log"):
        # Nobody listens there: the log is tried first.
        DonkeyEnv(environment("127.0.0.1:1"), telemetry_log=tmp_path / "file" / "log.csv")


def test_each_simulator_drives_one_car() -> None:
    with pytest.raises(ConfigurationError, match=r"2 car\(s\) want 2 addresses"):
        simulators.open_simulator(environment("127.0.0.1:1"), 2)


def test_a_car_over_the_link_is_put_where_the_episode_begins() -> None:
    with background.running(serving()) as server:
        wanted = environment(
            f"127.0.0.1:{server.port}", randomisation=Randomisation(start_anywhere=True)
        )
        env = Batch(wanted, 1, seed=3)
        theirs = Batch(ANYWHERE, 1, world=RemoteWorld(ANYWHERE, [EmbeddedSource(ANYWHERE)], 3))
        try:
            for each in (env, theirs):
                each.reset(np.array([0]))
            columns = [physics.X, physics.Z, physics.YAW]
            np.testing.assert_allclose(
                env.motion[0, columns], theirs.motion[0, columns], atol=0.05
            )
            assert env.motion[0, physics.FORWARD] == pytest.approx(0.0, abs=0.4)
        finally:
            env.close()


@pytest.mark.usefixtures("unhurried")
def test_in_lock_step_no_message_is_left_over_where_a_car_was_put() -> None:
    with background.running(serving()) as server:
        wanted = environment(
            f"127.0.0.1:{server.port}", randomisation=Randomisation(start_anywhere=True)
        )
        env = Batch(wanted, 1, seed=3)
        try:
            for _ in range(12):
                env.reset(np.array([0]))
                for k in range(6):
                    env.step([[0.0, 0.5]])
                    # Messages come after 0.06 and 0.04 s in turn: one for each action.
                    assert env.sensed[0, stepping.TIME] == pytest.approx(0.05 * (k + 1), abs=0.011)
            assert env.world.missed[0] == 0
        finally:
            env.close()


@pytest.mark.parametrize("generation", [2020, 2021])
def test_simulators_before_2022_put_no_car_elsewhere_and_are_not_asked(generation: int) -> None:
    with background.running(serving().model_copy(update={"generation": generation})) as server:
        wanted = environment(
            f"127.0.0.1:{server.port}",
            vehicle=f"donkey_{generation}",
            randomisation=Randomisation(start_anywhere=True),
        )
        env = Batch(wanted, 1)
        try:
            env.reset(np.array([0]))
            start = env.motion[0, [physics.X, physics.Z]].copy()
            assert isinstance(env.world, RemoteWorld)
            assert env.world.places_refused
            env.step([[0.0, 1.0]])
            env.reset(np.array([0]))
            np.testing.assert_allclose(env.motion[0, [physics.X, physics.Z]], start, atol=1e-3)
            assert env.world.missed[0] == 0
        finally:
            env.close()


def test_what_was_touched_in_a_message_passed_over_is_not_forgotten() -> None:
    with (
        ScriptedSimulator() as simulator,
        SimulatorLink(LINK.model_copy(update={"port": simulator.port})) as link,
    ):
        source = LinkSource(link, 8.0, None)
        before = link.statistics().frames
        simulator.telemetry(hit="cone (1)")
        simulator.telemetry()
        deadline = time.monotonic() + 60.0
        while link.statistics().frames < before + 2:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        seen = source.receive()
        assert seen.telemetry.hit == "cone (1)"
        assert seen.missed >= 1
        assert not seen.restarted


def test_the_latency_of_a_command_runs_from_the_frame_to_its_departure() -> None:
    with (
        ScriptedSimulator() as simulator,
        SimulatorLink(LINK.model_copy(update={"port": simulator.port})) as link,
    ):
        source = LinkSource(link, 8.0, None)
        before = time.monotonic()
        assert np.isnan(source.reset().latency_s)
        # The driver thinks for 50 ms, which the way of the answer does not add to.
        time.sleep(0.05)
        source.send(0.0, 0.5)
        sent = time.monotonic()
        time.sleep(0.05)
        seen = source.receive()
        assert 0.05 <= seen.latency_s <= sent - before


def test_a_track_file_names_no_scene_to_load() -> None:
    files = pathlib.Path(track.__file__).parent / "tracks"
    with background.running(serving().model_copy(update={"track": None})) as server:
        wanted = environment(f"127.0.0.1:{server.port}", track=str(files / "generated_track.json"))
        with pytest.raises(LinkProtocolError, match=r"in its menu.*Name the scene.*link.scene"):
            simulators.open_simulator(wanted, 1)
        link = wanted.link.model_copy(update={"scene": "generated_track"})
        named = wanted.model_copy(update={"link": link})
        simulators.open_simulator(named, 1).close()
        assert server.statistics().scene == "generated_track"


def test_more_races_than_cars_are_driven_in_rounds_each_once() -> None:
    sources = [EmbeddedSource(ANYWHERE) for _ in range(2)]
    field = racing.Field(ANYWHERE, 3, seed=7, world=RemoteWorld(ANYWHERE, sources))
    shares: list[float] = []
    races = field.race(
        lambda seen: np.full((2, 2), -1.0, dtype=np.float32), 1, progress=shares.append
    )
    assert [race.header.seed for race in races] == [7, 8, 9]
    assert len({race["x"][0] for race in races}) == 3
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_checks_with_lent_cars_start_from_the_grid_and_leave_their_owner_alone() -> None:
    def arcs(lend: bool) -> tuple[list[float], list[float]]:
        world = RemoteWorld(ANYWHERE, [EmbeddedSource(ANYWHERE)], seed=5)
        field = racing.Field(ANYWHERE, 2, seed=7, world=world)
        raced = []
        if lend:
            for race in field.race(lambda _: np.array([[0.0, -1.0]], dtype=np.float32), 1):
                raced.append((race["x"][0], race["z"][0]))
        found = []
        for _ in range(2):
            world.reset(np.array([0]))
            found.append(float(world.cars.sensed[0, stepping.ARC]))
        return raced, found

    raced, after = arcs(True)
    assert after == arcs(False)[1]
    own = RemoteWorld(racing.race_environment(ANYWHERE), [EmbeddedSource(ANYWHERE)])
    for k, place in enumerate(raced):
        # The same start as that of cars built for the race.
        own.seed([7 + k])
        own.reset(np.array([0]))
        assert place == pytest.approx(tuple(own.cars.motion[0, [physics.X, physics.Z]]), abs=1e-3)


class Ending(ProgressDisplay):
    """Notes what is shown, and ends a server once the training has driven a while."""

    def __init__(self, server: Running) -> None:
        super().__init__()
        self.server = server
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def phase(self, name: str, total: int | None, unit: str = "steps") -> Phase:
        made = super().phase(name, total, unit)
        if name == "training driver":
            show = made.update

            def update(done: int, **fields: float | int | str | None) -> None:
                show(done, **fields)
                if done >= 40:
                    self.server.stop()

            made.update = update  # type: ignore[method-assign]
        return made


@pytest.mark.usefixtures("own_store")
@pytest.mark.slow
def test_a_simulator_lost_in_training_leaves_the_driver_so_far() -> None:
    with background.running(serving()) as server, Ending(server) as progress:
        config = TrainingConfig(
            simulator=f"127.0.0.1:{server.port}",
            link=LINK,
            steps=100_000,
            encoder=LaneEncoderConfig(frames=512, epochs=1),
        )
        with pytest.raises((LinkClosed, LinkRefused)):
            training.train(config, progress)
    assert link_threads() == []
    run = progress.said[0].removeprefix("run ")
    assert progress.said[-1] == "the simulator is lost: storing the driver so far"
    assert stored_runs.find(run).status == "FAILED"
    driver = Driver.load(stored_runs.download_driver(run))
    assert driver.description.notes["steps"] >= 40
    assert driver.description.simulator == config.simulator


class Reloading(EmbeddedSource):
    """A source whose scene is loaded anew: its clock begins again, and its car is on its start."""

    def receive(self) -> Sight:
        if len(self.commands) == 10:
            self.clock = 0.0
            return self.reset()._replace(restarted=False)
        return super().receive()


def test_a_scene_loaded_anew_cuts_the_episode_and_time_does_not_run_back() -> None:
    settings = EnvironmentConfig(camera=SMALL, throttle_max=0.2)
    batch = Batch(settings, 1, world=RemoteWorld(settings, [Reloading(settings)]))
    batch.reset(np.array([0]))
    times = [0.0]
    for k in range(12):
        moved = batch.step([[0.0, 1.0]])
        times.append(float(batch.sensed[0, stepping.TIME]))
        assert moved.ending["connection"][0] == moved.truncated[0] == (k == 9)
        # The way back to the start is no way driven; the path is known to a tenth of a u.
        assert moved.terms["progress"][0] > -0.1
    assert min(np.diff(times)) >= 0.0
    # 12 messages of 0.05 s on average; the one of the new scene takes no time.
    assert times[-1] == pytest.approx(11 * 0.05, abs=0.011)


def test_an_interrupted_episode_ends_as_it_was_left() -> None:
    settings = EnvironmentConfig(camera=SMALL, throttle_max=0.2)
    view = vec_env.SB3View(
        Batch(settings, 1, world=RemoteWorld(settings, [EmbeddedSource(settings)]))
    )
    view.reset()
    straight = np.array([[0.0, 1.0]], dtype=np.float32)
    gained = 0.0
    for _ in range(6):
        observed, reward, _, _ = view.step(straight)
        gained += float(reward[0])
    speed = observed["speed"][0].copy()
    view.interrupt()
    for _ in range(9):
        view.batch.world.step([[0.0, -0.5]])
    _, reward, done, infos = view.step(straight)
    assert done[0]
    assert reward[0] == 0.0
    assert infos[0]["ending"] == vec_env.INTERRUPTED
    assert infos[0]["TimeLimit.truncated"]
    np.testing.assert_array_equal(infos[0]["terminal_observation"]["speed"], speed)
    # Six messages of 0.06 and 0.04 s in turn.
    assert infos[0]["episode"]["t"] == pytest.approx(0.3, abs=1e-4)
    assert infos[0]["episode"]["l"] == 6
    assert infos[0]["episode"]["r"] == pytest.approx(gained, abs=1e-5)
    assert view.batch.speed[0] == pytest.approx(0.0, abs=1e-6)
    _, _, done, _ = view.step(straight)
    assert not done[0]


def test_nothing_of_a_link_is_imported_for_the_embedded_simulator() -> None:
    program = (
        "import sys\nfrom donkey_rl.envs import simulators\n"
        "from donkey_rl.envs.settings import EnvironmentConfig\n"
        "simulators.open_simulator(EnvironmentConfig(), 1)\n"
        "print('donkey_rl.envs.link_source' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
