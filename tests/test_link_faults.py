"""Whatever a simulator does, the client goes on or says what failed, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from donkey_rl.envs.environment import DonkeyEnv
from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.link.link import SimulatorLink
from donkey_rl.envs.link_source import LinkSource
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.errors import LinkError, LinkProtocolError
from tests.fault_runs import seeds
from tests.faulty_simulator import FATAL, SCENE, SURVIVED, FaultySimulator, Plan
from tests.process_counts import link_threads, memory, open_files
from tests.scripted_simulator import ScriptedSimulator

BOUND_S = 25.0
"""Far above the deadlines of below: only a client that hangs takes so long."""

PATIENT = {
    "answer_timeout_s": 20.0, "load_timeout_s": 20.0, "race_timeout_s": 20.0, "silence_s": 20.0,
    "reset_timeout_s": 20.0,
}  # fmt: skip
HASTY = {
    "answer_timeout_s": 0.5, "load_timeout_s": 0.5, "race_timeout_s": 0.5, "silence_s": 0.4,
    "reset_timeout_s": 0.5,
}  # fmt: skip


def config(port: int, fault: str) -> LinkConfig:
    deadlines = HASTY if fault in FATAL else PATIENT
    return LinkConfig(port=port, scene=SCENE, config_spacing_s=0.005, **deadlines)


def walk(link: SimulatorLink) -> None:
    """Drives, resets and drives: more messages than any fault waits for."""
    link.open()
    for k in range(1, 5):
        link.control(k / 10, 1.0)
        link.next_frame()
    link.reset()
    for k in range(1, 5):
        link.control(k / 10, 1.0)
        link.next_frame()


def command_without_end(link: SimulatorLink) -> None:
    """Commands until the other end's buffers are full, and looks at no answer."""
    link.open()
    while True:
        link.control(0.1, 0.1)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
@pytest.mark.parametrize("seed", seeds(30))
def test_a_fault_is_survived_or_named_and_nothing_is_left(seed: int) -> None:
    plan = Plan.of(seed)
    files = open_files()
    # On a machine that stands still for a while the short deadlines may end the walk before.
    assert any(meet(plan, seed) for _ in range(3)), plan
    # What earlier tests have left may be collected meanwhile.
    assert open_files() <= files, plan


def meet(plan: Plan, seed: int) -> bool:
    """Drives at a simulator that goes wrong; returns whether it came to that."""
    began = time.monotonic()
    with FaultySimulator(plan, seed) as simulator:
        link = SimulatorLink(config(simulator.port, plan.fault))
        try:
            if plan.fault in SURVIVED:
                walk(link)
            elif plan.fault == "reset of the connection" and plan.at == 0:
                expect_new_attempt_or_named_error(link, simulator, plan)
            else:
                expect_named_error(link, simulator, plan)
        finally:
            link.close()
        assert link_threads() == [], plan
    assert time.monotonic() - began < BOUND_S, plan
    return simulator.struck


def expect_named_error(link: SimulatorLink, simulator: FaultySimulator, plan: Plan) -> None:
    drive_on = command_without_end if plan.fault == "half-open, all taken" else walk
    with pytest.raises(LinkError) as caught:
        drive_on(link)
    check_names(caught.value, simulator, plan)


def expect_new_attempt_or_named_error(
    link: SimulatorLink, simulator: FaultySimulator, plan: Plan
) -> None:
    """A reset may come before the client sees that it was connected: it then tries again."""
    try:
        walk(link)
    except LinkError as error:
        check_names(error, simulator, plan)
    else:
        assert simulator.connections == 2, plan


def check_names(error: LinkError, simulator: FaultySimulator, plan: Plan) -> None:
    assert type(error) is not LinkError, plan
    assert (error.host, error.port, error.scene) == ("127.0.0.1", simulator.port, SCENE), plan
    assert error.awaited, plan
    assert f"127.0.0.1:{simulator.port}" in str(error), plan


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads memory from /proc")
def test_100_mb_without_an_end_are_not_kept() -> None:
    with (
        ScriptedSimulator() as simulator,
        SimulatorLink(LinkConfig(port=simulator.port, config_spacing_s=0.01)) as link,
    ):
        link.control(0.1, 1.0)
        link.next_frame()
        assert simulator.client is not None
        simulator.client.sendall(b'{"msg_type":"telemetry","image":"')
        before, piece = memory(), b"A" * (1 << 20)
        for _ in range(100):
            simulator.client.sendall(piece)
        assert memory() - before < 30e6
        with pytest.raises(LinkProtocolError, match="without a message"):
            link.next_frame(BOUND_S)
        assert link.statistics().received_bytes > 16e6


class Served:
    """`donkey-rl sim` in a process of its own."""

    def __init__(self, port: int = 0) -> None:
        words = ["sim", "--track", SCENE, "--port", str(port), "--private-port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "donkey_rl", *words, "--time-scale", "max"],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        said = ""
        while "Serving" not in said:
            said = self.process.stderr.readline()
            assert said, "it has ended"
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        assert found is not None
        self.port = int(found[1])

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


def environment(port: int, **link: Any) -> DonkeyEnv:
    return DonkeyEnv(
        EnvironmentConfig(
            simulator=f"127.0.0.1:{port}",
            track=SCENE,
            camera=CameraConfig(img_w=64, img_h=48),
            link=LinkConfig(**link),
        )
    )


def drive(env: DonkeyEnv, steps: int) -> dict[str, Any]:
    """Drives on; returns the last step's info."""
    for _ in range(steps):
        _, _, terminated, truncated, info = env.step(np.array([0.0, 0.3], dtype=np.float32))
        if terminated or truncated:
            break
    return info


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_killed_simulator_is_named_by_the_step_that_misses_it() -> None:
    files = open_files()
    with Served() as served:
        env = environment(served.port, connect_timeout_s=1.0, answer_timeout_s=5.0)
        env.reset(seed=1)
        assert drive(env, 5)["progress"] > 0.0
        served.kill()
        began = time.monotonic()
        with pytest.raises(LinkError) as caught:
            drive(env, 5)
        assert time.monotonic() - began < BOUND_S
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", served.port)
        assert caught.value.scene == SCENE
        with pytest.raises(LinkError, match=f"127.0.0.1:{served.port}"):
            env.reset()
        env.close()
        env.close()
    assert link_threads() == []
    assert open_files() <= files


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_simulator_killed_and_started_again_costs_one_episode() -> None:
    files = open_files()
    with Served() as served:
        env = environment(served.port, connect_timeout_s=20.0, answer_timeout_s=20.0)
        env.reset(seed=1)
        drive(env, 5)
        served.kill()
        with Served(served.port):
            observed, _, terminated, truncated, info = env.step(np.zeros(2, dtype=np.float32))
            assert (terminated, truncated, info["ending"]) == (False, True, "connection")
            assert env.observation_space.contains(observed)
            _, info = env.reset()
            assert info["speed"] == 0.0
            info = drive(env, 5)
            assert info["progress"] > 0.0
            assert "ending" not in info
            env.close()
    assert link_threads() == []
    assert open_files() <= files


def test_a_connection_that_the_link_itself_makes_anew_ends_the_episode() -> None:
    with ScriptedSimulator() as simulator:
        config = LinkConfig(port=simulator.port, config_spacing_s=0.01, reconnect_attempts=3)
        with SimulatorLink(config) as link:
            source = LinkSource(link, 8.0, None)
            source.reset()
            simulator.settle(link)
            source.send(0.1, 1.0)
            assert not source.receive().restarted
            simulator.answers = False
            told = len(simulator.received)
            source.send(0.2, 1.0)
            wait_until_told(simulator, told + 1)
            simulator.answers = True
            simulator.hang_up()  # the command has arrived, its answer never comes
            assert source.receive().restarted
            source.send(0.3, 1.0)
            assert not source.receive().restarted


def wait_until_told(simulator: ScriptedSimulator, count: int) -> None:
    ends = time.monotonic() + 60.0
    while len(simulator.received) < count:
        assert time.monotonic() < ends, "the command does not arrive"
        time.sleep(0.005)
