"""What a training took, by hand."""

from __future__ import annotations

import pytest

from donkey_rl.experiments import compute_bill
from donkey_rl.experiments.compute_bill import Rates
from donkey_rl.experiments.stored_runs import StoredRun

MACHINE = {"machine.processor": "A 1", "machine.cores": "4", "machine.gpus": "0"}
RATES = Rates(watts_per_core=10.0, price_per_kwh=0.3, price_per_hour=0.5)


def run(metrics: dict[str, float], tags: dict[str, str] | None = None) -> StoredRun:
    return StoredRun("r", "r", "FINISHED", {}, MACHINE if tags is None else tags, metrics, "")


def test_a_bill_by_hand() -> None:
    bill = compute_bill.of(run({"result/wall_s": 1800.0, "result/cpu_s": 3600.0}), RATES)
    assert (bill.wall_s, bill.cpu_s, bill.gpu_s, bill.cpu_estimated) == (
        1800.0,
        3600.0,
        0.0,
        False,
    )
    # One core-hour at 10 W is 0.01 kWh, at 0.3 each 0.003; half an hour of the machine is 0.25.
    assert bill.energy_kwh == pytest.approx(0.01)
    assert bill.energy_price == pytest.approx(0.003)
    assert bill.machine_price == pytest.approx(0.25)
    assert (bill.processor, bill.cores) == ("A 1", 4)


def test_without_prices_there_is_energy_and_no_price() -> None:
    bill = compute_bill.of(run({"result/wall_s": 10.0, "result/cpu_s": 3600.0}), Rates())
    assert bill.energy_kwh == pytest.approx(0.012)
    assert (bill.energy_price, bill.machine_price) == (None, None)


def test_a_run_that_has_not_ended_is_billed_up_to_its_last_check() -> None:
    metrics = {"check/wall_s": 100.0, "check/cpu_s": 150.0}
    bill = compute_bill.of(run(metrics), RATES)
    assert (bill.wall_s, bill.cpu_s, bill.cpu_estimated) == (100.0, 150.0, False)


def test_what_was_not_recorded_is_estimated_and_marked_or_left_out() -> None:
    # No record: at most all cores of the run's machine all the time, where those are known.
    bill = compute_bill.of(run({"result/wall_s": 100.0}), RATES)
    assert (bill.cpu_s, bill.cpu_estimated) == (400.0, True)
    old = compute_bill.of(run({"result/wall_s": 100.0}, {}), RATES)
    assert (old.wall_s, old.cpu_s, old.cpu_estimated, old.gpu_s) == (100.0, None, False, None)
    assert old.energy_kwh is None
    nothing = compute_bill.of(run({}, {"machine.cores": "many"}), RATES)
    assert nothing.model_dump() == {
        "wall_s": None, "cpu_s": None, "cpu_estimated": False, "gpu_s": None, "processor": "",
        "cores": None, "energy_kwh": None, "energy_price": None, "machine_price": None,
    }  # fmt: skip


def test_a_sum_knows_what_all_its_parts_know() -> None:
    one = compute_bill.of(run({"result/wall_s": 1800.0, "result/cpu_s": 3600.0}), RATES)
    two = compute_bill.of(run({"result/wall_s": 3600.0, "result/cpu_s": 7200.0}), RATES)
    both = compute_bill.total([one, two], RATES)
    assert (both.wall_s, both.cpu_s, both.gpu_s) == (5400.0, 10800.0, 0.0)
    assert both.energy_kwh == pytest.approx(0.03)
    assert both.machine_price == pytest.approx(0.75)
    assert (both.processor, both.cores) == ("A 1", 4)
    unknown = compute_bill.of(run({}, {}), RATES)
    partly = compute_bill.total([one, unknown], RATES)
    assert (partly.wall_s, partly.cpu_s, partly.energy_kwh, partly.processor) == (None,) * 3 + (
        "",
    )


def test_a_run_that_was_gone_on_with_is_billed_beyond_its_first_end() -> None:
    metrics = {"result/wall_s": 600.0, "result/cpu_s": 900.0}
    metrics |= {"check/wall_s": 7800.0, "check/cpu_s": 9000.0}
    bill = compute_bill.of(run(metrics), RATES)
    assert (bill.wall_s, bill.cpu_s) == (7800.0, 9000.0)
