"""The commands that list metrics and check a user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from donkey_rl import cli
from donkey_rl.metrics import registry

MINE = '''from donkey_rl.metrics.registry import metric

@metric(unit="u", direction="lower", low=0.0)
def mean_offset(race):
    """Mean distance from the path.

    Mean of the size of ``lateral``.
    """
    return float(abs(race["lateral"]).mean())

@metric(unit="s", direction="lower")
def began(race):
    """When the race began."""
    return race["time_s"][0]
'''


@pytest.fixture(autouse=True)
def a_file_in_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)


def test_metrics_lists_all_with_range_and_formula(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["metrics", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["metrics"]}
    assert tuple(rows) == registry.names()
    assert rows["completion"] | {"description": "", "formula": ""} == {
        "name": "completion", "unit": "", "better": "higher", "low": 0.0, "high": 1.0,
        "description": "", "formula": "", "source": "donkey_rl.metrics.scores",
    }  # fmt: skip
    assert rows["best_lap_s"]["high"] is None
    assert rows["best_lap_s"]["formula"] == "Least T of the clean laps; NaN without one."
    assert cli.main(["metrics"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "best_lap_s s lower 0 .. Time of the quickest clean lap. Least T of the" in shown


def test_a_good_metric_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check-metric", "mine.py:mean_offset"]) == 0
    assert capsys.readouterr().out == "Metric 'mean_offset' of mine.py passes all checks.\n"
    assert cli.main(["check-metric", "mine.py:mean_offset", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ok": True, "name": "mean_offset", "unit": "u", "better": "lower", "low": 0.0,
        "high": None, "description": "Mean distance from the path.",
        "formula": "Mean of the size of lateral.", "source": "mine.py",
    }  # fmt: skip


def test_what_a_file_prints_is_not_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    Path("loud.py").write_text(MINE + "\nprint('hello')\n")
    assert cli.main(["check-metric", "loud.py:mean_offset", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ok"]
    assert "hello" in captured.err


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("mine.py:began", "fails the check 'does not depend on the clock'"),
        ("mine.py:mean_ofset", "Did you mean 'mean_offset'?"),
        ("other.py:mean_offset", "There is no file 'other.py'"),
        ("best_lap_s", "given as PATH.py:NAME. Received: 'best_lap_s'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], reference: str, message: str
) -> None:
    assert cli.main(["check-metric", reference]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
