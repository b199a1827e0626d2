"""A race on a stage: the referee is told what happens, and its orders are carried out."""

from __future__ import annotations

import asyncio
import math

from donkey_rl.envs.link import commands
from donkey_rl.envs.serving import car_messages
from donkey_rl.envs.serving.complaints import LOGGER
from donkey_rl.envs.serving.orders import (
    Announce,
    Block,
    CarState,
    HangUp,
    Order,
    PlaceCar,
    Referee,
    Release,
    RemoveCar,
    Send,
    SpawnCar,
)
from donkey_rl.envs.serving.stage import Client, Stage
from donkey_rl.envs.simulator import physics, stepping
from donkey_rl.envs.simulator.sensors import LidarConfig

MOST_BEAMS = 5_000
"""Of a lidar: telling them all takes time from every other car."""

_WHEELS = 4

_NOT_IN_A_RACE = (
    commands.ExitScene,
    commands.StepMode,
    commands.SetPosition,
    commands.RegenRoad,
    commands.GetNodePosition,
)
"""What would move other cars or help one of them."""


def _beams(command: commands.LidarConfig) -> int:
    return LidarConfig(
        degPerSweepInc=command.degPerSweepInc, numSweepsLevels=command.numSweepsLevels
    ).beams


_SILENT_S = 10.0
"""Who has a car and says nothing for so long gives way to a newer connection of its name."""


class RaceHost:
    """Stands between the clients of a stage and a referee.

    A client has a car only while the referee wants it to. What it configures before is mounted
    on the car that it gets, and again on every later one.
    """

    def __init__(self, stage: Stage, referee: Referee) -> None:
        """Begins a race.

        Args:
            stage: Where it is driven.
            referee: Who decides.
        """
        self._stage = stage
        self._referee = referee
        self._clients: dict[int, Client] = {}
        self._numbers: dict[Client, int] = {}
        self._next = 0

    def arrived(self, client: Client) -> None:
        """A client has connected."""
        self._clients[self._next] = client
        self._numbers[client] = self._next
        self._next += 1
        self._referee.connect(self._numbers[client])
        self._follow_orders()

    def left(self, client: Client) -> None:
        """A client has gone; its car is taken away by the stage."""
        number = self._numbers.pop(client)
        del self._clients[number]
        self._referee.disconnect(number)
        self._follow_orders()

    def received(self, client: Client, command: commands.Command) -> bool:
        """Follows what a client says.

        Returns:
            Whether such messages are followed in a race.
        """
        number = self._numbers[client]
        if isinstance(command, _NOT_IN_A_RACE):
            return False
        if isinstance(command, commands.LidarConfig) and _beams(command) > MOST_BEAMS:
            client.connection.refuse(command, f"in a race it has at most {MOST_BEAMS} beams.")
            return True
        if isinstance(command, commands.RacerInfo):
            self._referee.racer_info(number, command, self._is_silent)
        elif client.car is not None:
            if not car_messages.receive(self._stage, client, command):
                return False
        elif isinstance(command, commands.CarConfig):
            client.rig.configure_body(command)
        elif isinstance(command, commands.CamConfig | commands.LidarConfig):
            car_messages.mount(client, command)
        elif not isinstance(command, commands.Control):
            # Drivers steer on while their cars are being changed.
            return False
        if isinstance(command, commands.CarConfig):
            self._referee.car_config(number)
        elif isinstance(command, commands.ResetCar):
            self._referee.client_reset(number)
        self._follow_orders()
        return True

    def _is_silent(self, number: int) -> bool:
        """Whether a client may be dead without a sign: those with a car speak all the time."""
        client = self._clients.get(number)
        if client is None:
            return True
        silence = asyncio.get_running_loop().time() - client.connection.heard
        return client.car is not None and silence > _SILENT_S

    def advance(self) -> None:
        """The cars have moved."""
        cars = {
            number: self._state(client.car)
            for number, client in self._clients.items()
            if client.car is not None
        }
        self._referee.relieve(self._is_silent)
        self._referee.advance(self._stage.scene.now, cars)
        self._follow_orders()

    def close(self) -> None:
        """The server ends."""
        self._referee.close()

    def _state(self, car: int) -> CarState:
        cars = self._stage.scene.world.cars
        sensed, motion = cars.sensed[car], cars.motion[car]
        return CarState(
            arc=float(sensed[stepping.ARC]),
            progress=float(sensed[stepping.PROGRESS]),
            lateral=float(sensed[stepping.LATERAL]),
            off=int(cars.wheels_off[car]) == _WHEELS,
            speed=math.hypot(motion[physics.FORWARD], motion[physics.RIGHTWARD]),
        )

    def _follow_orders(self) -> None:
        for order in self._referee.take_orders():
            if isinstance(order, Announce):
                LOGGER.info("Race: %s", order.text)
            elif order.client in self._clients:
                self._follow(self._clients[order.client], order)

    def _follow(self, client: Client, order: Order) -> None:
        stage, car = self._stage, client.car
        match order:
            case Send(_, report):
                client.connection.send(report)
            case SpawnCar(_, slot) if car is None:
                stage.enter(client, slot)
            case RemoveCar() if car is not None:
                stage.leave(client)
                client.connection.forget_frame()
            case PlaceCar(_, slot) if car is not None:
                stage.scene.stand(car, slot)
                stage.put_anew(car)
            case HangUp():
                client.connection.abort()
            case Block() | Release() if car is not None:
                stage.scene.block(car, isinstance(order, Block))
