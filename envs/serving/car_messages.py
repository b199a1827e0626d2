"""What clients say in a scene, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from donkey_rl.envs.link import commands, reports
from donkey_rl.envs.serving import new_road
from donkey_rl.envs.serving.stage import Client, Stage
from donkey_rl.envs.simulator.vehicle import RIDE_HEIGHT
from donkey_rl.errors import ConfigurationError

SYNCHRONOUS = "synchronous"
"""`step_mode` of lock-step."""

_SHORTEST = 1e-3
"""A quaternion shorter than this is no rotation."""


def receive(stage: Stage, client: Client, command: commands.Command) -> bool:
    """Follows what a client with a car says.

    Returns:
        Whether such messages are followed in a scene; False leaves the message to others.
    """
    handler = _HANDLERS.get(type(command))
    if handler is None or client.car is None:
        return False
    handler(stage, client, client.car, command)
    return True


def _control(stage: Stage, client: Client, car: int, command: commands.Control) -> None:
    stage.command(car, (command.steering, command.throttle, command.brake))


def _reset(stage: Stage, client: Client, car: int, command: commands.ResetCar) -> None:
    stage.scene.reset(car)
    stage.put_anew(car)


def _dress(stage: Stage, client: Client, car: int, command: commands.CarConfig) -> None:
    client.rig.configure_body(command)
    stage.scene.dress(car)


def _mount(stage: Stage, client: Client, car: int, command: commands.Command) -> None:
    mount(client, command)
    stage.look_anew(car)


def mount(client: Client, command: commands.Command) -> None:
    """Mounts a camera or the lidar; what cannot be built is logged and changes nothing."""
    try:
        if isinstance(command, commands.LidarConfig):
            client.rig.configure_lidar(command)
        elif isinstance(command, commands.CamConfig):
            client.rig.configure_camera(command)
    except ConfigurationError as error:
        client.connection.refuse(command, str(error))


def _set_position(stage: Stage, client: Client, car: int, command: commands.SetPosition) -> None:
    if not stage.extended:
        client.connection.refuse(command, "cars are put nowhere without extended telemetry.")
        return
    given = (command.Qx, command.Qy, command.Qz, command.Qw)
    x, y, z, w = (0.0, 0.0, 0.0, 1.0) if None in given else (part or 0.0 for part in given)
    size = x * x + y * y + z * z + w * w
    if size < _SHORTEST**2:
        client.connection.refuse(command, "the quaternion is no rotation.")
        return
    yaw = math.atan2(2.0 * (x * z + w * y) / size, 1.0 - 2.0 * (x * x + y * y) / size)
    stage.scene.move_to(car, command.pos_x, command.pos_z, yaw)
    stage.put_anew(car)


def _node_position(
    stage: Stage, client: Client, car: int, command: commands.GetNodePosition
) -> None:
    nodes, count = stage.scene.track.nodes, len(stage.scene.track.nodes)
    if not 0 <= command.index < count:
        return
    ends = (command.index - 1, command.index + 1)
    before, after = (
        ends if stage.scene.track.closed else (max(0, ends[0]), min(count - 1, ends[1]))
    )
    x, z = nodes[after % count] - nodes[before]
    half = 0.5 * math.atan2(x, z)
    place = (float(nodes[command.index, 0]), RIDE_HEIGHT, float(nodes[command.index, 1]))
    rotation = (0.0, math.sin(half), 0.0, math.cos(half))
    client.connection.send(reports.NodePosition(command.index, place, rotation))


def _regen_road(stage: Stage, client: Client, car: int, command: commands.RegenRoad) -> None:
    if not new_road.is_random(stage.scene.track):
        client.connection.refuse(command, f"only '{new_road.SCENE}' can be laid anew.")
    elif not stage.lay(command):
        client.connection.refuse(command, "another road is just being laid.")


def _step_mode(stage: Stage, client: Client, car: int, command: commands.StepMode) -> None:
    stage.synchronise(command.step_mode == SYNCHRONOUS)


_Handler = Callable[[Stage, Client, int, Any], None]

_HANDLERS: dict[type[commands.Command], _Handler] = {
    commands.Control: _control,
    commands.ResetCar: _reset,
    commands.CarConfig: _dress,
    commands.CamConfig: _mount,
    commands.CamConfigB: _mount,
    commands.LidarConfig: _mount,
    commands.SetPosition: _set_position,
    commands.GetNodePosition: _node_position,
    commands.RegenRoad: _regen_road,
    commands.StepMode: _step_mode,
}
