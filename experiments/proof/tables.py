"""The tables of docs/benchmarks.md by name, and a plan to make some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import Field, field_validator, model_validator

from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments.proof import driver_tables, learning_tables, machine_tables
from donkey_rl.experiments.proof.steps import Amounts, Table

TABLES: Final[Mapping[str, Callable[[Amounts], Table]]] = {
    "speed": machine_tables.speed,
    "first_lap": learning_tables.first_lap,
    "thrifty": learning_tables.thrifty,
    "pixels": learning_tables.pixels,
    "agents": learning_tables.agents,
    "expert": driver_tables.expert,
    "specialists": driver_tables.specialists,
    "latency": driver_tables.latency,
    "generalist": driver_tables.generalist,
    "transfer": driver_tables.transfer,
    "ensemble": driver_tables.ensemble,
    "exports": driver_tables.exports,
    "racing": machine_tables.racing,
    "soak": machine_tables.soak,
    "link": machine_tables.link,
    "evaluation": driver_tables.evaluation,
    "sweep": machine_tables.sweep,
    "logging": machine_tables.logging,
}
"""By name, in the order of the page."""

OF_ONE_DRIVER: Final = ("generalist", "latency", "evaluation", "exports", "transfer")
"""Tables of one driver, which may be named in place of being trained."""


class ProofPlan(Amounts):
    """Which tables, and how much of what.

    Attributes:
        tables: Of `TABLES`.
        workers: Commands that run at once, of tables that are `Table.side_by_side`.
    """

    tables: tuple[str, ...]
    workers: int = Field(default=1, ge=1, le=1_000)

    @field_validator("tables")
    @classmethod
    def _known_tables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in TABLES:
                raise UnknownNameError("table", name, tuple(TABLES))
        return value

    @model_validator(mode="after")
    def _of_one_driver(self) -> ProofPlan:
        others = [name for name in self.tables if name not in OF_ONE_DRIVER]
        if self.run is not None and others:
            raise InputError(
                f"The table {others[0]} is not of a driver that can be named. Received: --run "
                f"{self.run} as well. Leave --run out, or choose of {', '.join(OF_ONE_DRIVER)}."
            )
        return self
