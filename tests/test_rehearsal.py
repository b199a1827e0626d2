"""A whole rehearsal: host, cars and link are processes and sockets as on the evening."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from donkey_rl.errors import DriverError, InputError
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.race_server.config import RaceConfig
from donkey_rl.race_server.rehearsal import evening, record_checks
from donkey_rl.race_server.rehearsal.link_conditions import LinkConditions
from donkey_rl.race_server.rehearsal.plan import RehearsalPlan
from tests import circling_driver


def plan(tmp_path: Path, **changed: object) -> RehearsalPlan:
    race = RaceConfig(driver=circling_driver.save(tmp_path / "circling"), racer_name="Ada")
    values = {
        "race": race,
        "opponents": 1,
        "track": circling_driver.track(tmp_path),
        "laps": 1,
        "time_scale": 6.0,
        "link": LinkConditions(latency_ms=10.0, jitter_ms=5.0),
        "folder": tmp_path / "rehearsal",
    }
    return RehearsalPlan(**(values | changed))  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_evening_with_faults_comes_to_its_final_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Processes may be held up between seeing a message and writing it.
    monkeypatch.setattr(record_checks, "_LAST_S", 5.0)
    monkeypatch.setattr(record_checks, "_NEAR_S", 5.0)
    said = io.StringIO()
    with ProgressDisplay(said) as progress:
        result = evening.hold(plan(tmp_path, faults=2, seed=1), progress)
    # How long things take is the machine's affair, where other tests run beside.
    timeless = ("nothing moves before GO", record_checks.RULE)
    assert [each for each in result.violations if each.rule in timeless] == []
    assert {each.name for each in result.standings} == {"Ada", "Apex Predator"}
    assert sum(each.laps for each in result.standings) > 0
    assert [each.ours for each in result.standings].count(True) == 1
    # The host is killed at the end of practice in any case.
    assert sum(each.injected for each in result.faults.values()) == 3
    assert result.faults["host killed"].injected >= 1
    assert result.disconnects > 0
    assert result.frames > 0
    assert set(result.latency_ms) == {"p50", "p95", "p99"}
    (record,) = result.records
    assert record.is_dir()
    assert "Qualifying" in said.getvalue()


def test_a_driver_that_cannot_race_is_refused_before_anything_starts(tmp_path: Path) -> None:
    stray = Path(circling_driver.save(tmp_path / "stray"))
    (stray / "surprise.pkl").write_bytes(b"cos\nsystem\n")
    wrong = plan(tmp_path).model_copy(update={"race": RaceConfig(driver=str(stray))})
    with pytest.raises(DriverError, match=r"surprise\.pkl"), ProgressDisplay() as progress:
        evening.hold(wrong, progress)


def test_there_are_not_more_opponents_than_names(tmp_path: Path) -> None:
    with pytest.raises((InputError, ValueError), match="opponents"):
        plan(tmp_path, opponents=8)
