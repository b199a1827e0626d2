"""Metrics: the registry, a user's own, and the checks that each must pass.

Each metric's docstring has its example, worked out by hand, which runs as a test.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.metrics import conformance, registry
from donkey_rl.metrics.examples import drive, steady
from donkey_rl.metrics.race import Race
from donkey_rl.metrics.registry import Metric

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

MINE = '''"""Metrics of mine."""
from donkey_rl.metrics.registry import metric

@metric(unit="u", direction="lower", low=0.0)
def mean_offset(race):
    """Mean distance from the path."""
    return float(abs(race["lateral"]).mean())

@metric(unit="", direction="higher")
def broken(race):
    """Asks for a column that there is none of."""
    return race["wheels"].mean()

def plain(race):
    """Not decorated."""
    return 1.0
'''


def written(folder: Path, text: str = MINE) -> Path:
    file = folder / "mine.py"
    file.write_text(text)
    return file


def made(score: Callable[[Race], object], **changes: object) -> Metric:
    """A metric of a user's that is not registered."""
    fields: dict[str, object] = {
        "name": "mine", "unit": "", "direction": "higher", "low": 0.0, "high": 1.0,
        "description": "Something.", "score": score, "source": "mine.py",
    }  # fmt: skip
    return Metric(**fields | changes)  # type: ignore[arg-type]


def test_scores_of_a_steady_drive() -> None:
    # 16 u/s for 40 s: 640 u, 638 u beyond the line, 3.19 laps of 3. Best lap 12.5 s against the
    # reference of 200 u at 20 u/s, 10 s: 1 + 99 * 0.8^3 = 51.688 points.
    assert registry.score(drive(steady(16.0, 40.0))) == pytest.approx(
        {
            "race_score": 51.688,
            "heat_lap_s": 12.5,
            "disqualified": 0.0,
            "laps": 3.0,
            "clean_laps": 3.0,
            "best_lap_s": 12.5,
            "pace": math.nan,  # nobody has worked out the limit of this circle
            "mean_lap_s": 12.5,
            "median_lap_s": 12.5,
            "completion": 1.0,
            "distance_u": 640.0,
            "progress_per_s": 16.0,
            "mean_speed": 16.0,
            "top_speed": 16.0,
            "off_tracks": 0.0,
            "off_track_s": 0.0,
            "hits": 0.0,
            "cte_rms": 0.0,
            "cte_p95": 0.0,
            "launch_s": 0.125,
            "steering_change": 0.0,
            "throttle_change": 0.0,
            "steering_jerk": 0.0,
            "throttle_jerk": 0.0,
            "steering_reversals": 0.0,
            "throttle_reversals": 0.0,
            "latency_ms": math.nan,
            "latency_p95_ms": math.nan,
            "missed_deadlines": math.nan,
            "contacts": math.nan,  # nobody else was on the road
            "contacts_to_blame": math.nan,
            "blocked_s": math.nan,
            "overtakes": math.nan,
        },
        rel=1e-4,
        nan_ok=True,
    )


def test_a_single_row_and_no_row_say_nothing_they_do_not_know() -> None:
    assert all(math.isnan(value) for value in registry.score(drive([])).values())
    known = {k: v for k, v in registry.score(drive([0.0])).items() if not math.isnan(v)}
    # It stood at the start on the road, touched nothing, and did not finish.
    assert known == {
        "race_score": 0.0, "disqualified": 1.0, "laps": 0.0, "clean_laps": 0.0,
        "completion": 0.0, "distance_u": 0.0, "top_speed": 0.0, "off_tracks": 0.0, "hits": 0.0,
        "cte_rms": 0.0, "cte_p95": 0.0,
    }  # fmt: skip


def test_a_reset_is_no_command_and_no_progress() -> None:
    put_back = {"steering": [0.0, 0.5, -0.5, 0.0], "reset": [False, False, True, False]}
    found = registry.score(drive([0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 2.0, 3.0], **put_back))
    assert found["steering_change"] == 0.5  # 0.5 before and 0.5 after, not the step of 1
    assert found["progress_per_s"] == pytest.approx(2.0 / 3.0)
    assert math.isnan(found["steering_jerk"])  # neither part has three rows


@pytest.mark.parametrize("name", registry.names())
def test_every_metric_keeps_to_what_all_must(name: str) -> None:
    metric = registry.load(name)
    conformance.check_metric(metric)
    assert metric.name == name
    assert metric.description.endswith(".")
    assert metric.formula
    assert f">>> {name}(" in inspect.getdoc(metric.score) or f"round({name}(" in inspect.getdoc(
        metric.score
    )


def test_the_page_lists_every_metric_as_it_is() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (.*?) \| (\w+) \| (.*?) \| (.*?) \|$", PAGE.read_text(), re.M
    )
    listed = {name: (unit, better, bounds, what) for name, unit, better, bounds, what in rows}
    assert len(rows) == len(listed)

    def shown(bound: float) -> str:
        return f"{bound:g}" if math.isfinite(bound) else ""

    for name in registry.names():
        metric = registry.load(name)
        bounds = f"{shown(metric.low)} .. {shown(metric.high)}".strip()
        what = f"{metric.description} {metric.formula}"
        assert listed.pop(name) == (metric.unit, metric.direction, bounds, what)
    assert not listed


def test_the_example_of_the_page_passes_its_check(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n(# my_metrics.*?)^```$", PAGE.read_text(), re.M | re.S)
    mine = registry.from_file(f"{written(tmp_path, example)}:mean_offset")
    conformance.check_metric(mine)
    assert mine.formula == "Mean of the size of lateral."
    assert mine(drive([0.0, 1.0], lateral=[1.0, -2.0])) == 1.5


def test_an_unknown_metric_answers_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'best_lap_s'"):
        registry.load("best_lap")


def test_a_metric_is_registered_once_with_direction_and_range() -> None:
    def laps(race: Race) -> float:
        return 0.0

    with pytest.raises(InputError, match=r"must be new\. Received: 'laps'"):
        registry.metric(unit="", direction="higher")(laps)
    with pytest.raises(InputError, match="direction='up'"):
        registry.metric(unit="", direction="up")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"low=1\.0, high=0\.0"):
        registry.metric(unit="", direction="higher", low=1.0, high=0.0)


def test_a_metric_from_a_file_scores_beside_the_others(tmp_path: Path) -> None:
    file = written(tmp_path)
    before = registry.names()
    mine = registry.from_file(f"{file}:mean_offset")
    assert (mine.unit, mine.direction, mine.low, mine.source) == ("u", "lower", 0.0, str(file))
    assert registry.names() == before
    race = drive([0.0, 1.0], lateral=[1.0, -2.0])
    found = registry.score_races([race], [registry.load("laps"), mine])
    assert found["mean_offset"].tolist() == [1.5]
    assert found["laps"].tolist() == [0.0]
    assert found.failures == ()
    # The file is read anew each time.
    file.write_text(MINE.replace(".mean()", ".max()", 1))
    assert registry.from_file(f"{file}:mean_offset")(race) == 2.0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mean_ofset", MINE, "mine.py: Unknown metric 'mean_ofset'. Did you mean 'mean_offset'"),
        ("plain", MINE, "mine.py: 'plain' is not registered. Put @metric"),
        ("f", "x = 1\ndef f(:\n", "could not be imported: line 2: SyntaxError"),
        ("f", "x = 1\nimport os\nos.nothing\n", "could not be imported: line 3: AttributeError"),
        ("f", "raise SystemExit(3)", "could not be imported: line 1: SystemExit: 3"),
        (
            "mean_offset",
            MINE.replace("def broken", "def laps"),
            "line 9: InputError: A metric's name must be new. Received: 'laps'",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        registry.from_file(f"{written(tmp_path, text)}:{name}")


@pytest.mark.parametrize("reference", ["mine.py", "mine.txt:f", "mine.py:f()", "mine.py:", ":f"])
def test_a_reference_is_a_file_and_a_name(reference: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"PATH.py:NAME. Received: '{reference}'")):
        registry.from_file(reference)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"There is no file 'nowhere\.py'"):
        registry.from_file("nowhere.py:f")


def test_a_metric_that_fails_is_named_and_stops_no_other(tmp_path: Path) -> None:
    file = written(tmp_path)
    races = [drive([0.0]), drive(steady(16.0, 40.0)), drive([])]
    metrics = [registry.from_file(f"{file}:broken"), registry.load("laps")]
    found = registry.score_races(races, metrics)
    assert found["laps"].tolist()[:2] == [0.0, 3.0]
    assert np.isnan(found["broken"]).all()
    (failure,) = [each for each in found.failures if "KeyError" in each.reason]
    assert failure.races == (0, 1)
    assert str(failure) == (
        f"metric 'broken' ({file}): line 12: KeyError: 'wheels'; in 2 races, first in number 0"
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "gave NaN"),
        (math.inf, "gave inf"),
        ("fast", "gave no number but str"),
        (None, "gave no number but NoneType"),
        (np.zeros(2), "gave no number but ndarray"),
        (10**400, "OverflowError: int too large to convert to float"),
    ],
)
def test_what_is_no_number_is_named(value: object, reason: str) -> None:
    found = registry.score_races([drive([0.0])], [made(lambda race: value)])
    assert np.isnan(found["mine"]).all()
    assert [str(each) for each in found.failures] == [
        f"metric 'mine' (mine.py): {reason}; in race 0"
    ]


def test_a_file_of_the_name_of_this_package_is_none_of_its_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = MINE.replace('float(abs(race["lateral"]).mean())', "float('nan')")
    Path("donkey_rl.mine.py").write_text(text)
    mine = registry.from_file("donkey_rl.mine.py:mean_offset")
    (failure,) = registry.score_races([drive([0.0, 1.0])], [mine]).failures
    assert failure.reason == "gave NaN"


def test_numbers_of_numpy_count_and_undefined_scores_of_ours_are_no_failure() -> None:
    numpys = made(lambda race: np.float32(0.5))
    found = registry.score_races([drive([0.0])], [numpys, registry.load("best_lap_s")])
    assert found["mine"].tolist() == [0.5]
    assert np.isnan(found["best_lap_s"]).all()
    assert found.failures == ()


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="'mine' twice"):
        registry.score_races([], [made(len), made(len)])


CALLS: list[int] = []


def _counts_its_calls(race: Race) -> float:
    CALLS.append(1)
    return 1.0 / len(CALLS)


def _writes_to_the_race(race: Race) -> float:
    race["steering"].flags.writeable = True
    race["steering"][:] += 1.0
    return 0.0


def _gives_up(race: Race) -> float:
    raise SystemExit(3)


def _asks_for_a_second_row(race: Race) -> float:
    return float(race["speed"][1] > 0.0)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (made(lambda race: 0.5, description=""), "'described': its docstring is empty"),
        (made(lambda race: "0.5"), "'gives a number': on a race of one row it gives str"),
        (made(lambda race: math.inf), "'gives a number': on a race of one row it gives inf"),
        (
            made(_asks_for_a_second_row, source=__file__),
            r"'gives a number': on a race of one row it raises line \d+: IndexError",
        ),
        (
            made(lambda race: float(race["progress"].max())),
            r"'keeps its range': on a race without a lap it gives 96\.\d*, but .* 0\.0 to 1\.0",
        ),
        (made(_gives_up), "'gives a number': on a race of one row it raises SystemExit: 3"),
        (made(lambda race: 1), "'gives a number': on a race of one row it gives int"),
        (made(_counts_its_calls), "'is pure': on a race of one row it gives"),
        (made(_writes_to_the_race), "'is pure': on a race of one row it changes the column 'ste"),
        (
            made(lambda race: float(race["time_s"][-1]), high=math.inf),
            r"'does not depend on the clock': on a race of one row it gives 0\.0, and 1000\.0",
        ),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
def test_a_metric_that_breaks_a_rule_fails_its_check(metric: Metric, message: str) -> None:
    with pytest.raises(InputError, match=message):
        conformance.check_metric(metric)


def test_an_undefined_score_passes_the_checks() -> None:
    conformance.check_metric(made(lambda race: math.nan))
