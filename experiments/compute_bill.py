"""What a training took: hours of processor and GPU, energy, and money at the prices given."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.experiments import process_clock
from donkey_rl.experiments.stored_runs import StoredRun

WATTS_PER_CORE = 12.0
"""Power of one busy processor core (W): what the calculator of Lannelongue, Grealey and Inouye
2021 ("Green Algorithms: quantifying the carbon footprint of computation", Advanced Science 8,
2100707) takes for a processor that it does not know, from the processors' design power."""

_JOULES_PER_KWH = 3.6e6
_SECONDS_PER_HOUR = 3600.0


class Rates(Config):
    """What energy and hours are reckoned at.

    Attributes:
        watts_per_core: Power of one busy processor core (W).
        price_per_kwh: Price of a kilowatt-hour.
        price_per_hour: Price of the machine for an hour, as where it is rented.
    """

    watts_per_core: float = Field(default=WATTS_PER_CORE, gt=0, le=10_000)
    price_per_kwh: float | None = Field(default=None, ge=0, le=1e9)
    price_per_hour: float | None = Field(default=None, ge=0, le=1e9)


class Bill(Config):
    """What one training took; None for what was not recorded.

    Attributes:
        wall_s: Wall time (s).
        cpu_s: Processor time, all cores together (s).
        cpu_estimated: Whether it is not a record but the most that it can have been: all cores
            of its machine busy all the time.
        gpu_s: Time that a GPU was held (s).
        processor: Model of the processor.
        cores: Cores that the run could use.
        energy_kwh: Energy of the processor (kWh), an estimate.
        energy_price: Price of that energy.
        machine_price: Price of the machine for the wall time.
    """

    wall_s: float | None
    cpu_s: float | None
    cpu_estimated: bool
    gpu_s: float | None
    processor: str
    cores: int | None
    energy_kwh: float | None
    energy_price: float | None
    machine_price: float | None


def of(run: StoredRun, rates: Rates) -> Bill:
    """Returns the bill of a run's training: up to its last check where it has not ended.

    Args:
        run: The run.
        rates: Power and prices.
    """
    wall, cpu = (_last(run, name) for name in ("wall_s", "cpu_s"))
    cores = _count(run.tags.get(process_clock.CORES_TAG))
    estimated = cpu is None and wall is not None and cores is not None
    if cpu is None and wall is not None and cores is not None:
        cpu = wall * cores
    gpus = _count(run.tags.get(process_clock.GPUS_TAG))
    return _priced(
        Bill(
            wall_s=wall,
            cpu_s=cpu,
            cpu_estimated=estimated,
            gpu_s=None if gpus is None or wall is None else gpus * wall,
            processor=run.tags.get(process_clock.PROCESSOR_TAG, ""),
            cores=cores,
            energy_kwh=None,
            energy_price=None,
            machine_price=None,
        ),
        rates,
    )


def total(bills: Sequence[Bill], rates: Rates) -> Bill:
    """Returns the sum of bills; what one of them does not know, the sum does not know either.

    Args:
        bills: One or more.
        rates: Those of the bills.
    """
    machines = {(bill.processor, bill.cores) for bill in bills}
    processor, cores = machines.pop() if len(machines) == 1 else ("", None)
    return _priced(
        Bill(
            wall_s=_sum([bill.wall_s for bill in bills]),
            cpu_s=_sum([bill.cpu_s for bill in bills]),
            cpu_estimated=any(bill.cpu_estimated for bill in bills),
            gpu_s=_sum([bill.gpu_s for bill in bills]),
            processor=processor,
            cores=cores,
            energy_kwh=None,
            energy_price=None,
            machine_price=None,
        ),
        rates,
    )


def energy_kwh(cpu_s: float, rates: Rates) -> float:
    """Returns the energy of a processor time (kWh).

    An hour of one core at 12 W is 12 Wh:

    >>> energy_kwh(3600.0, Rates(watts_per_core=12.0))
    0.012
    """
    return cpu_s * rates.watts_per_core / _JOULES_PER_KWH


def _priced(bill: Bill, rates: Rates) -> Bill:
    energy = None if bill.cpu_s is None else energy_kwh(bill.cpu_s, rates)
    hours = None if bill.wall_s is None else bill.wall_s / _SECONDS_PER_HOUR
    return bill.model_copy(
        update={
            "energy_kwh": energy,
            "energy_price": _product(energy, rates.price_per_kwh),
            "machine_price": _product(hours, rates.price_per_hour),
        }
    )


def _last(run: StoredRun, name: str) -> float | None:
    """Returns what a run logged at its end or its last check: all its processes until then.

    A run that was stopped and gone on with has logged an end before its last checks.
    """
    values = (run.metrics.get(f"{group}/{name}", math.nan) for group in ("result", "check"))
    return max((value for value in values if math.isfinite(value)), default=None)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 7 else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _product(amount: float | None, price: float | None) -> float | None:
    return None if amount is None or price is None else amount * price
