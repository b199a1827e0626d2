"""Rows of tables, read from answers of commands: those in data/answers.json.

Trainings, evaluations and the link are answers as they came, shortened; the other parts of the
bench have the figures that docs/benchmarks.md shows of 2026-11-28, in the form that
`test_bench.py` holds them to.
"""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

from donkey_rl.experiments.proof import cells, reading, reading_bench, reading_trainings

FILE = pathlib.Path(__file__).parent / "data" / "answers.json"


@functools.cache
def answers() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))


def test_trainings_are_read_seed_by_seed_and_end_in_their_median() -> None:
    rows = [
        row
        for seed, answer in enumerate(answers()["trainings"])
        for row in reading_trainings.of_seed(seed)(answer)
    ]
    assert [tuple(row.values()) for row in rows] == [
        ("0", "172.2", "6,144", "237.5", "127.8", "26.41"),
        ("1", "123.5", "3,072", "225.2", "83.8", "31.39"),
        ("2", "-", "-", "242.1", "48.4", "-"),
    ]
    # A seed without a clean lap counts as the slowest of three.
    *_, last = cells.with_median(rows)
    assert list(last) == list(rows[0])
    assert tuple(last.values()) == ("median", "172.2", "6,144", "237.5", "83.8", "31.39")
    *_, last = cells.with_median([rows[0], rows[2]])
    assert tuple(last.values()) == ("median", "-", "-", "239.8", "88.1", "-")
    assert cells.with_median([]) == []


def test_a_tuned_driver_is_read_with_what_came_too_late() -> None:
    first, _, none = answers()["trainings"]
    (row,) = reading_trainings.tuning(first | {"missed_deadlines": 1201})
    found = "tuned: first clean lap after 2.9 min, 6,144 steps; 1,201 of 24,000 frames missed"
    assert row == {"what": found, "best lap (s)": "26.41"}
    (row,) = reading_trainings.tuning(none)
    assert row["what"] == "tuned for 4.0 min: no clean lap; 0 of 3,008 frames missed"


def test_races_are_read_with_their_intervals() -> None:
    (row,) = reading.races("late")(answers()["evaluation"])
    assert row == {
        "what": "late",
        "races": "30",
        "all laps clean": "25 of 30 (66% to 93%)",
        "disqualified": "0 of 30 (0% to 11%)",
        "score": "20.980 (20.387 to 21.641)",
        "mean lap (s)": "19.29 (19.15 to 19.42)",
        "best lap (s)": "16.79",
        "pace": "0.876 (0.868 to 0.886)",
    }


def test_races_on_many_tracks_are_read_as_one_row() -> None:
    def of(clean: float, out: float | None, score: float | None) -> dict[str, Any]:
        means = {"disqualified": out, "race_score": score, "pace": None}
        metrics = {name: {"mean": mean} for name, mean in means.items()}
        return {"races": 2, "races_clean": clean, "metrics": metrics}

    answer = of(2, 0.0, 1.0) | {"others": [of(1, 0.5, 0.5), of(0, None, None)]}
    (row,) = reading.together("many")(answer)
    assert (row["what"], row["part"], row["seen"], row["races"]) == ("many", "-", "no", "6")
    assert row["all laps clean"].startswith("50 % (")
    # Races that no metric fits count as disqualified, as in a split.
    assert row["disqualified"].startswith("50 % (")
    assert (row["score"][:6], row["pace"]) == ("0.750 ", "-")
    (alone,) = reading.together("one")(of(2, 0.0, 1.0) | {"others": []})
    assert alone["all laps clean"].startswith("100 % (")


def test_races_stand_beside_the_limit_of_their_track() -> None:
    (row,) = reading.at_the_limit(answers()["expert"])
    assert (row["track"], row["car"], row["limit (s)"]) == ("waveshare", "donkey_2021", "6.97")
    assert (row["disqualified"], row["best lap (s)"]) == ("0 of 2 (0% to 66%)", "7.14")
    assert row["pace"] == "0.976 (0.976 to 0.977)"
    assert row["mean change of the steering command"] == "0.083 (0.082 to 0.084)"
    # Of a pair without a limit all the rest is told.
    (row,) = reading.at_the_limit(answers()["expert"] | {"track": "thunderhill"})
    assert (row["limit (s)"], row["best lap (s)"]) == ("-", "7.14")


def test_speeds_stand_beside_those_of_others() -> None:
    rows = reading_bench.learning(answers()["learning"])
    heads = ("here", "Stable-Baselines3", "SBX")
    assert [tuple(row[head] for head in heads) for row in rows] == [
        ("348", "126 (here 2.8 times)", "246 (here 1.4 times)"),
        ("20.1", "7.8 (here 2.6 times)", "-"),
        ("8.3", "7.8 (here 1.1 times)", "-"),
        ("6,957", "3,226 (here 2.2 times)", "4,786 (here 1.5 times)"),
    ]
    # Where SBX is not installed.
    told = {"ours": 348.2, "sb3": 126.3, "sbx": None}
    first, *_ = reading_bench.learning(answers()["learning"] | {"sac_updates_per_s": told})
    assert first["SBX"] == "-"
    assert "SBX, GPU" not in first
    # Where there is a GPU, all rows have the column.
    first, *_, last = reading_bench.learning(
        answers()["learning"] | {"sac_updates_per_s": told | {"sbx_gpu": 1884.3}}
    )
    assert first["SBX, GPU"] == "1,884 (here 0.2 times)"
    assert last["SBX, GPU"] == "-"


def test_simulator_and_driver_stand_in_the_column_of_ours() -> None:
    many, one = reading_bench.simulator(answers()["simulator"])
    assert (many["here"], one["here"]) == ("28,470", "5,250")
    rows = reading_bench.simulator(answers()["simulator"] | {"carracing_steps_per_s": 61.25})
    assert rows[-1] == {"what": "steps/s of Gymnasium's CarRacing-v3", "here": "61.2"}
    keras, lite = reading_bench.driver(answers()["driver"])
    assert (keras["here"], lite["here"]) == ("0.95, 1.16", "0.34, 0.44")


def test_a_race_is_read_from_frame_to_command() -> None:
    (row,) = reading_bench.racing(answers()["race"])
    assert tuple(row.values()) == ("1,226", "60", "2.7", "3.8", "4.6", "10", "20.0", "none")


def test_delays_and_rates_of_the_link_are_read() -> None:
    rows = reading_bench.link(answers()["link"])
    assert [row["figure"] for row in rows] == ["4.34, 66.04", "2.29, 91.33", "3.09, 3.11"]
    assert "16 clients" in rows[2]["what"]


def test_hours_of_racing_are_read_by_what_they_took() -> None:
    memory, threads, files, driven = reading_bench.soak(answers()["soak"])
    assert tuple(memory.values()) == ("memory (MB) of racer and page", "232.6", "232.7", "0.04")
    assert tuple(threads.values()) == ("threads of racer and page", "14", "14", "0.00")
    assert tuple(files.values()) == ("open files of racer and page", "23", "23", "0.00")
    told = "6 h of simulation time: 434,036 frames in 20.6 min; faults: none"
    assert driven == {"what": told}
    found = answers()["soak"]["soak"] | {"faults": {"late": 0, "stalled": 2}}
    assert reading_bench.soak({"soak": found})[-1]["what"].endswith("; faults: stalled 2")


def test_two_workers_are_read_beside_one() -> None:
    one, two = reading_bench.sweep(answers()["sweep"])
    # 116.4 trials an hour and worker; 2 x 116.4 by 2 x 95.4 is 1.22.
    assert tuple(one.values()) == ("1", "8", "95", "")
    assert tuple(two.values()) == ("2", "29", "233", "1.22")


def test_what_logging_takes_is_read_in_per_cent() -> None:
    (row,) = reading_bench.logging(answers()["logging"])
    assert tuple(row.values()) == ("45.9", "83.8", "0.008%", "0.020%", "1.60%")


def test_medians_of_agents_count_a_seed_without_a_lap_as_the_worst() -> None:
    runs = [
        {
            "party": party,
            "seed": seed,
            "seconds": 60.0,
            "steps": steps,
            "first_clean_lap_s": lap_s,
            "first_clean_lap_steps": lap_steps,
            "races_clean": clean,
            "best_lap_s": best_s,
            "mean_lap_s": best_s,
            "steering_change": change,
        }
        for party, seed, steps, lap_s, lap_steps, clean, best_s, change in (
            ("sac lane", 0, 37_000, 31.625, 4_096, 0, 21.5, 0.25),
            ("ppo cnn", 0, 80_000, None, None, 0, None, 0.125),
            ("sac lane", 2, 36_000, 30.0, 5_120, 2, 20.5, 0.5),
            ("ppo cnn", 2, 84_864, None, None, 0, None, 0.25),
            ("sac lane", 1, 38_000, None, None, 10, 22.5, 0.75),
            ("ppo cnn", 1, 90_000, 17.25, 24_192, 7, 24.0, 0.25),
        )
    ]
    sac, ppo = reading_trainings.agents({"driving": runs})
    assert tuple(sac.values()) == (
        *("sac lane", "37,000", "31.6", "5,120", "0, 10, 2", "21.50", "0.500"),
    )
    assert tuple(ppo.values()) == ("ppo cnn", "84,864", "-", "-", "0, 7, 0", "-", "0.250")


def test_models_and_ensembles_are_read_row_by_row() -> None:
    model = {
        "file": "/tmp/x/driver.tflite",
        "frames": 256,
        "largest_action_difference": 0.00042,
        "ms": {"p50": 0.5, "p95": 0.75, "p99": 1.25},
        "highest_rate_hz": 800.2,
    }
    (row,) = reading.export("litert-8bit")({"models": [model]})
    assert (row["file"], row["largest action difference"]) == ("driver.tflite", "4.2e-04")
    assert (row["p99 (ms)"], row["highest rate (Hz)"]) == ("1.25", "800")
    score = {"value": 0.5, "low": 0.25, "high": 0.75}
    light = {
        "driver": "a" * 32,
        "is_member": True,
        "condition": "light",
        "races": 4,
        "disqualified": 1,
        "score": score,
    }
    grip = light | {"condition": "grip", "races": 12, "disqualified": 0}
    grip["score"] = {"value": 1.0, "low": 0.9, "high": 1.1}
    usual = light | {"condition": "nominal"}
    mean = light | {"driver": "mean", "is_member": False}
    first, second = reading.ensemble({"ensemble": [usual, light, mean, grip]})
    assert first["driver"] == "member `aaaaaaaa`"
    assert first["light"] == first["nominal"] == "0.50 (0.25 to 0.75), 1 of 4"
    assert first["changed: score"] == "0.88"
    assert first["changed: disqualified"].startswith("1 of 16 (")
    assert list(second) == ["driver", "light", "changed: score", "changed: disqualified"]
