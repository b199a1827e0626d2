"""Evaluation races under latency: whose it is, what is drawn, and what the records say."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.envs import latency_profile
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments import drivers, evaluation, race_latency, rivals
from donkey_rl.experiments import evaluation_folders as folders
from donkey_rl.experiments import evaluation_races as driving
from donkey_rl.experiments.checks import check_fields
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.drivers import Entrant, LearnedEntrant
from donkey_rl.experiments.evaluation import EvaluationRequest
from donkey_rl.experiments.evaluation_races import RacePlan
from donkey_rl.experiments.pilots import Pilot
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.racing import Field
from donkey_rl.metrics.race import Race

CONFIG = EnvironmentConfig(track="warren", camera={"img_w": 64, "img_h": 48})  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Straight(Entrant):
    """Drives straight on, and off the road."""

    @contextlib.contextmanager
    def pilot(self, field: Field) -> Iterator[Pilot]:
        yield Pilot(
            lambda seen: np.tile(np.array([0.0, 1.0], np.float32), (len(seen["speed"]), 1))
        )


def raced(latency: LatencyConfig, entrant: Entrant | None = None, races: int = 2) -> list[Race]:
    plan = RacePlan(races=races, laps=1, latency=latency, changes=race_latency.told(latency))
    driver = entrant or Straight("straight", "file", CONFIG)
    with ProgressDisplay() as progress:
        found = driving.drive(driver, CONFIG, plan, progress)
    return list(found.races)


def test_same_seed_same_delays_and_each_race_its_own() -> None:
    late = race_latency.asked(130.0, 40.0, None)
    first, again = raced(late), raced(late)
    for one, other in zip(first, again, strict=True):
        for name in ("x", "z", "speed", "latency_ms"):
            np.testing.assert_array_equal(one[name], other[name])
    rows = min(map(len, first))
    delays = [race["latency_ms"][1:rows] for race in first]
    assert (delays[0] != delays[1]).any()
    for each in delays:
        assert 80.0 <= each.min() < each.max() <= 180.0
        assert each.mean() == pytest.approx(130.0, abs=10.0)
    assert first[0].header.conditions == {"latency_ms": 130.0, "jitter_ms": 40.0}
    # Whoever races alone has the delays that he has beside others.
    (alone,) = raced(late, races=1)
    np.testing.assert_array_equal(alone["latency_ms"], first[0]["latency_ms"])


def trained(low: float, high: float) -> LearnedEntrant:
    driver = drivers.usual_driver(CONFIG)
    about = driver.description.model_copy(update={"latency_ms": (low, high)})
    driver.description = about
    return LearnedEntrant("mine", "folder", CONFIG, driver.hash, driver=driver)


@pytest.mark.parametrize(
    ("trained_ms", "added_ms", "expected"),
    [((100.0, 300.0), 0.0, 100.0), ((100.0, 300.0), 140.0, 140.0), ((0.0, 300.0), 0.0, None)],
)
def test_commands_of_a_driver_trained_for_latency_wait(
    trained_ms: tuple[float, float], added_ms: float, expected: float | None
) -> None:
    (race,) = raced(race_latency.asked(added_ms, 0.0, None), trained(*trained_ms), races=1)
    if expected is None:
        assert (race["latency_ms"][1:] == 0.0).all()
    else:
        np.testing.assert_array_equal(race["latency_ms"][1:], expected)
    # That commands wait is the driver's own way to drive; what was added is the condition.
    assert race.header.conditions == ({"latency_ms": added_ms} if added_ms else {})


def test_whoever_races_elsewhere_is_as_late() -> None:
    entrant = trained(100.0, 300.0)
    with contextlib.closing(rivals.field(entrant, CONFIG, 1, 0)) as field:
        assert field.config.latency.range_ms == (100.0, 100.0)
        assert field.batch.link is not None


def test_robustness_adds_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "link.csv"
    latency_profile.write(path, [0.1 * k for k in range(30)], [80.0] * 30)
    for late, expected in (
        (race_latency.asked(60.0, 0.0, None), (160.0, 160.0)),
        (race_latency.asked(0.0, 0.0, path), (180.0, 180.0)),
    ):
        plan = RacePlan(latency=late, changes=race_latency.told(late))
        plans = evaluation._changed_plans(plan)
        assert plans["latency"].latency.range_ms == expected
        assert plans["grip"].latency == late
        assert plans["latency"].changes["latency_ms"] == 160.0 if late.profile is None else 100.0
        assert ("latency_profile" in plans["grip"].changes) == (late.profile is not None)


def test_keys_and_folders_tell_latencies_apart(tmp_path: Path) -> None:
    path = tmp_path / "link.csv"
    latency_profile.write(path, [0.1 * k for k in range(30)], [80.0] * 30)
    entrant = drivers.pursuit(CONFIG)
    plain = RacePlan()
    plans = [
        dataclasses.replace(plain, latency=late)
        for late in (
            race_latency.asked(0.0, 0.0, None), race_latency.asked(80.0, 0.0, None),
            race_latency.asked(80.0, 20.0, None), race_latency.asked(0.0, 0.0, path),
        )
    ]  # fmt: skip
    keys = [driving.key(entrant, CONFIG, plan) for plan in plans]
    names = [folders.name(entrant, CONFIG, plan) for plan in plans]
    assert len(set(keys)) == len(set(names)) == 4
    assert names[1] == f"{names[0]}-latency80"
    # The same measurement in another file is the same latency, another one in this file is not.
    (tmp_path / "copy.csv").write_bytes(path.read_bytes())
    copied = dataclasses.replace(plain, latency=race_latency.asked(0, 0, tmp_path / "copy.csv"))
    assert driving.key(entrant, CONFIG, copied) == keys[3]
    latency_profile.write(path, [0.1 * k for k in range(30)], [81.0] * 30)
    assert driving.key(entrant, CONFIG, plans[3]) != keys[3]


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    both = EvaluationRequest(driver="p", latency_ms=3.0, latency_profile=tmp_path / "none.csv")
    with pytest.raises(InputError, match="--latency-profile takes the place of --latency-ms"):
        _ = both.latency
    absent = EvaluationRequest(driver="p", latency_profile=tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        _ = absent.latency
    with pytest.raises(ConfigurationError, match="latency_ms"):
        configuration.validate(EvaluationRequest, {"driver": "p", "latency_ms": 1001})


def test_checks_race_over_the_range_and_the_finished_driver_at_none() -> None:
    values: dict[str, Any] = {
        "track": "warren",
        "camera": {"img_w": 32, "img_h": 24},
        "history": 8,
        "latency": {"low_ms": 100, "high_ms": 300, "jitter_ms": 20},
        "check": {"races": 2},
        "encoder": {"name": "cnn"},
    }
    config = configuration.validate(TrainingConfig, values)

    class Trained:
        views = (None,)

    (field,) = check_fields(config, Trained())  # type: ignore[arg-type]
    assert field.config.latency == config.latency
    late = []
    for _ in range(2):
        races = field.race(lambda seen: np.ones((2, 2), np.float32), 1)
        late.append([float(race["latency_ms"][1:].mean()) for race in races])
    assert all(100.0 <= each <= 300.0 for each in late[0])
    assert late[0][0] != late[0][1]
    assert late[0] == late[1]
    (place,) = config.race_environments()
    assert not place.latency.wanted
    assert Field(place, 1, seed=0).batch.link is None
    with pytest.raises(ConfigurationError, match="history must be at least 8"):
        configuration.with_settings(config, ["history=7"])
