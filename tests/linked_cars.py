"""Cars in simulators behind a socket, as the tests of links ask for them."""

from __future__ import annotations

import time

from donkey_rl.envs.link.config import LinkConfig
from donkey_rl.envs.serving.background import Running
from donkey_rl.envs.serving.config import ServerConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.simulator.randomisation import Randomisation

SMALL = CameraConfig(img_w=32, img_h=24)
LINK = LinkConfig(connect_timeout_s=0.3, config_spacing_s=0.01)
ANYWHERE = EnvironmentConfig(
    camera=SMALL, throttle_max=0.2, randomisation=Randomisation(start_anywhere=True)
)


def serving() -> ServerConfig:
    return ServerConfig(track="generated_track", port=0, private_port=None, time_scale="max")


def environment(simulator: str, **changes: object) -> EnvironmentConfig:
    values = {"camera": SMALL, "link": LINK, "throttle_max": 0.2, "simulator": simulator}
    return EnvironmentConfig(**{**values, **changes})  # type: ignore[arg-type]


def await_clients(server: Running, count: int) -> None:
    deadline = time.monotonic() + 60.0
    while server.statistics().clients != count:
        assert time.monotonic() < deadline, server.statistics()
        # The server needs the interpreter, too.
        time.sleep(0.005)
