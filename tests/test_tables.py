"""How results look on a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from donkey_rl import evaluation_tables, tables, terminal

TRAINED: dict[str, Any] = {
    "run_id": "3f2a" * 8,
    "steps": 100_000,
    "wall_s": 250.4,
    "first_clean_lap_wall_s": 41.2,
    "first_clean_lap_steps": 12_345,
    "best_lap_s": 17.4,
    "stopped": False,
    "driver_stored": True,
    "laps": [
        {"number": 1, "time_s": 20.1, "clean": True, "reasons": []},
        {"number": 2, "time_s": 18.25, "clean": False, "reasons": ["off track", "hit"]},
    ],
}


def words(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Returns what was shown, line by line, with single spaces."""
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def narrow_plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")


def test_training_ends_with_laps_run_and_next_commands(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_training(TRAINED)
    lines = words(capsys)
    assert "1 20.10 clean" in lines
    assert "2 18.25 off track, hit" in lines
    assert "first clean lap after 41 s and 12,345 steps" in lines
    assert "trained 100,000 steps in 250 s" in lines
    assert lines[-3:] == [
        "Next:",
        f"donkey-rl evaluate {TRAINED['run_id']}",
        "donkey-rl dashboard",
    ]


def test_stopped_training_without_a_lap_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    none = {"first_clean_lap_wall_s": None, "first_clean_lap_steps": None, "best_lap_s": None}
    tables.show_training(TRAINED | none | {"stopped": True, "laps": []})
    lines = words(capsys)
    assert "first clean lap none" in lines
    assert "best lap none" in lines
    assert f"run {TRAINED['run_id']} (stopped)" in lines
    assert any(line.endswith(f"train --resume {TRAINED['run_id']}") for line in lines)


def test_training_by_lessons_alone_has_a_driver(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_training(TRAINED | {"steps": 0})
    text = "\n".join(words(capsys))
    assert "trained 0 steps" in text
    assert f"evaluate {TRAINED['run_id']}" in text


def test_training_stopped_before_driving_names_no_command_for_the_driver(
    capsys: pytest.CaptureFixture[str],
) -> None:
    none = {"first_clean_lap_wall_s": None, "first_clean_lap_steps": None, "best_lap_s": None}
    tables.show_training(TRAINED | none | {"driver_stored": False, "stopped": True, "laps": []})
    text = "\n".join(words(capsys))
    assert "No driver was stored" in text
    assert "evaluate" not in text


def test_evaluation_shows_intervals_races_and_whole_paths(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = "/a/folder/" + "long/" * 20 + "lap.mp4"
    evaluation_tables.show(
        {
            "run_id": "3f2a",
            "track": "warehouse",
            "races": 2,
            "races_clean": 1,
            "metrics": {
                "laps": {"mean": 2.5, "ci_low": 2.0, "ci_high": 3.0},
                "best_lap_s": {"mean": None, "ci_low": None, "ci_high": None},
            },
            "per_race": [{"seed": 1000, "lap_times_s": [20.1, 18.2], "clean": True}],
            "files": {"video": path},
        }
    )
    lines = words(capsys)
    assert "1000 20.10 18.20 yes" in lines
    assert "laps 2.500 2 to 3 - -" in lines
    assert "best_lap_s - - - -" in lines
    assert "1 of 2 races clean." in lines
    assert lines[-1] == path


def test_speeds_are_named_by_group(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_speeds({"sim_steps_per_s": 26_000.4, "updates": {"ours": 430.25, "sbx": None}})
    lines = words(capsys)
    assert "sim_steps_per_s 26,000" in lines
    assert "updates.ours 430.25" in lines
    assert "updates.sbx -" in lines


@pytest.mark.parametrize(("missed", "shown"), [(0, False), (1234, True)])
def test_missed_deadlines_are_shown_where_there_are_any(
    capsys: pytest.CaptureFixture[str], missed: int, shown: bool
) -> None:
    tables.show_training(TRAINED | {"missed_deadlines": missed})
    evaluation_tables.show(
        {"run_id": "a", "track": "t", "races": 1, "races_clean": 0, "metrics": {}}
        | {"missed_deadlines": missed}
    )
    assert capsys.readouterr().out.count("1,234 missed deadlines") == (2 if shown else 0)


@pytest.mark.parametrize(("dropped", "shown"), [(0, False), (1234, True)])
def test_gradient_steps_left_out_are_shown_where_there_are_any(
    capsys: pytest.CaptureFixture[str], dropped: int, shown: bool
) -> None:
    tables.show_training(TRAINED | {"updates_dropped": dropped})
    assert ("1,234 gradient steps were left out" in capsys.readouterr().out) is shown


def test_an_evaluation_shows_a_driver_beside_its_yardsticks_on_each_track(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    def figures(mean: float | None) -> dict[str, float | None]:
        low, high = (None, None) if mean is None else (mean - 1.0, mean + 1.0)
        return {"mean": mean, "ci_low": low, "ci_high": high, "median": mean, "iqm": mean}

    def result(track: str, score: float, *, held_out: bool) -> dict[str, object]:
        return {
            "run_id": "3f2a", "driver": "run 3f2a", "privileged": False, "track": track,
            "held_out": held_out, "vehicle": "donkey_2021", "laps_wanted": 1, "races": 2,
            "races_clean": 2, "conditions": {"latency_ms": 100.0},
            "metrics": {"top_speed": figures(9.0), "race_score": figures(score)},
            "yardsticks": [
                {
                    "name": "pursuit", "note": "an expert", "races": 2,
                    "metrics": {"race_score": figures(80.0), "best_lap_s": figures(12.5)},
                }
            ],
            "failures": [f"metric 'mine' failed on {track}"],
        }  # fmt: skip

    light = {"light": {"kept": 0.75, "score": figures(30.0)}}
    grip = {"grip": {"kept": 0.5, "score": figures(10.0)}}
    others = [result("warren", 20.37, held_out=True) | {"robustness": grip, "kept": 0.5}]
    first = result("waveshare", 40.0, held_out=False) | {"robustness": light, "kept": 0.75}
    evaluation_tables.show(first | {"others": others})
    lines = words(capsys)
    assert "waveshare, donkey_2021, 1 lap a race, latency_ms 100.0" in lines
    assert "run 3f2a 2 40 39 to 41 - -" in lines
    assert "pursuit 2 80 79 to 81 - 12.50" in lines
    assert "pursuit: an expert." in lines
    assert "warren (held out), donkey_2021, 1 lap a race, latency_ms 100.0" in lines
    assert "run 3f2a 2 20.37 19.37 to 21.37 - -" in lines
    assert "light 75% 30 29 to 31" in lines
    assert lines.index("race_score 40 39 to 41 40 40") < lines.index("top_speed 9 8 to 10 9 9")
    assert "Robustness: 75% of the score kept on average." in lines
    assert "Score under changes, warren" in lines
    assert "grip 50% 10 9 to 11" in lines
    assert {"metric 'mine' failed on waveshare", "metric 'mine' failed on warren"} <= set(lines)


def test_deadlines_that_a_program_missed_are_not_laid_on_the_simulator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluation_tables.show(
        {"run_id": "a", "track": "t", "races": 1, "races_clean": 0, "metrics": {}}
        | {"missed_deadlines": 70, "simulator": "embedded"}
    )
    shown = capsys.readouterr().out
    assert "70 missed deadlines: its program answered later" in shown
    assert "time scale" not in shown


def test_small_scores_keep_the_digits_that_count(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    figures = {"mean": 0.00434, "ci_low": 0.00421, "ci_high": 0.0045, "median": 0.004, "iqm": 0.5}
    evaluation_tables.show(
        {"run_id": "a", "track": "t", "races": 1, "races_clean": 0}
        | {"metrics": {"throttle_change": figures}}
    )
    assert "throttle_change 0.004340 0.004210 to 0.004500 0.004000 0.5000" in words(capsys)


def test_words_between_colons_stay_words(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.lines(terminal.console(), "study a:car:b random_circuit:100:3")
    terminal.console().print(terminal.table("Board", ("id",), [("run:fire:1",)]))
    shown = capsys.readouterr().out
    assert "study a:car:b random_circuit:100:3" in shown
    assert "run:fire:1" in shown


def test_an_id_is_whole_in_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Eight columns that want 90 characters get 60."""
    heads = ("rank", "run", "score", "95 %", "best lap (s)", "races", "id")
    row = ("1", "sac generated_track seed 0", "12.56", "12.53 to 12.61", "21.96", "30", "3f2a81c0")
    terminal.console().print(terminal.table("Board", heads, [row]))
    assert any(line.endswith(" 3f2a81c0") for line in words(capsys))
