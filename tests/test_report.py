"""The report of stored runs, from hand-made races and checks."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from typing import Any

import numpy as np
import pytest

from donkey_rl import cli
from donkey_rl.experiments import check_history, stored_runs, tracking
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.compute_bill import Rates
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.reporting import (
    costs,
    driving,
    evaluations,
    growth,
    summary,
    trained,
)
from donkey_rl.experiments.reporting import runs as reported
from donkey_rl.experiments.reporting.runs import ReportedRun
from donkey_rl.experiments.scaling import NoTrend
from donkey_rl.metrics import statistics
from tests import new_stores
from tests import stored_evaluations as stored
from tests.pages import Reader, assert_asks_for_nothing

MACHINE = {"machine.processor": "A 1", "machine.cores": "2", "machine.gpus": "0"}
STEPS = [int(each) for each in np.geomspace(5_000, 80_000, 9)]
FOLDER = "evaluation"


def lap_s(steps: float) -> float:
    """A lap of 24 s after 5,000 steps that comes down to 18 s in the end."""
    return 18.0 + 6.0 * (steps / 5_000) ** -0.7


def train(uri: str, laps_s: list[float], name: str = "", **settings: Any) -> str:
    """Stores a run as a training leaves it, without training."""
    config = TrainingConfig(**settings)
    run = tracking.start(
        name or f"{config.agent} {config.track} seed {config.seed}",
        params=configs.flat(config.model_dump(mode="json")),
        tags={"agent": config.agent, "track": config.track, "vehicle": config.vehicle, **MACHINE},
        uri=uri,
    )
    with run:
        for step in (2500, *STEPS):
            # A step takes 1 ms of wall time and 2 ms of the processors, after 10 s each.
            found = {"clean_share": 0.0, "race_score": 0.1}
            if step in STEPS:
                found = {"clean_share": 1.0, "mean_lap_s": lap_s(step), "race_score": 10.0}
            spent = {"wall_s": 10 + step / 1000, "cpu_s": 10 + step / 500}
            values = {f"check/{key}": value for key, value in (spent | found).items()}
            run.log_metrics(values, step)
        run.log_metrics({"result/wall_s": 1800.0, "result/cpu_s": 3600.0}, STEPS[-1])
        if laps_s:
            stored.add(run, FOLDER, stored.races(laps_s, track="generated_track"))
    return run.id


def read(uri: str, *references: str, rates: Rates | None = None) -> tuple[ReportedRun, ...]:
    with ProgressDisplay() as progress:
        return reported.read(references, rates or Rates(), progress, uri=uri)[0]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with a quick driver, a slow one, and one of another length."""
    uri = new_stores.make(tmp_path_factory.mktemp("runs"))
    train(uri, [20.0 + k / 100 for k in range(10)], seed=1)
    train(uri, [22.0 + k / 100 for k in range(10)], seed=2)
    return uri


@pytest.fixture(scope="module")
def made(uri: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The report of both drivers, as `--json` prints it, and its page."""
    page = tmp_path_factory.mktemp("page") / "report.html"
    with pytest.MonkeyPatch.context() as patched, ProgressDisplay() as progress:
        patched.setenv("MLFLOW_TRACKING_URI", uri)
        from donkey_rl.experiments.reporting import report

        request = report.ReportRequest(
            runs=("sac generated_track seed 2", "sac generated_track seed 1"),
            out=page,
            rates=Rates(price_per_kwh=0.5, price_per_hour=2.0),
        )
        result = report.write(request, progress)
    return result.model_dump(mode="json"), page.read_text(encoding="utf-8")


def test_the_page_is_valid_asks_for_nothing_and_is_small(made: Any) -> None:
    result, text = made
    assert_asks_for_nothing(text)
    page = Reader(text)
    ids = [given["id"] for _, given in page.attributes if "id" in given]
    assert ids == [
        "what-was-trained",
        "how-it-drives",
        "how-it-compares",
        "the-compute-bill",
        "what-more-compute-would-buy",
        "words-used",
    ]
    pictures = page.all("img")
    # The way, speed, laps and offset of the drivers, and how two scores grew.
    assert len(pictures) == 6
    assert all(len(each["alt"] or "") > 40 for each in pictures)
    assert result["bytes"] == len(text.encode())
    assert result["bytes"] < 1_000_000


def test_what_it_says_can_be_worked_out_by_hand(made: Any) -> None:
    result, text = made
    slow, quick = result["runs"]
    assert [each["label"] for each in result["runs"]] == ["sac seed 2", "sac seed 1"]
    assert (quick["races"], quick["laps_clean"], quick["steps"]) == (10, 10, 80_000)
    # The mean of 20.00, 20.01 .. 20.09.
    assert quick["metrics"]["mean_lap_s"]["mean"] == pytest.approx(20.045, abs=0.001)
    # An hour of processor at 12 W is 0.012 kWh, 0.006 at 0.5; half an hour of machine is 1.
    assert slow["bill"]["energy_kwh"] == pytest.approx(0.012)
    assert slow["bill"]["energy_price"] == pytest.approx(0.006)
    assert slow["bill"]["machine_price"] == pytest.approx(1.0)
    assert "2.0 h" in text
    assert "24 Wh" in text
    first, second, third = result["summary"]
    assert first == (
        "2 drivers were trained for the car donkey_2022 on generated_track, 2 by soft "
        "actor-critic (SAC), over 160,000 steps in 60.0 min all together."
    )
    assert "sac seed 1, drove 10 of 10 laps without a fault, the quickest in 20.00 s" in second
    assert second.endswith("; that it is better than sac seed 2 is no chance.")
    assert "took 2.0 h of processor time and about 24 Wh of energy" in third
    assert "(0.012 for the energy and 2.00 for the machine)" in third
    # Both runs follow the same law: 18.861 s after 80,000 steps, 18.530 s after twice as many.
    assert "twice the steps would bring the mean clean lap" in third
    assert result["comparisons"][1] == (
        "sac seed 1 is faster than sac seed 2 by 2.00 s a lap (95 %: 2.00 to 2.00): real."
    )
    assert all(sentence in text for sentence in result["summary"])


def test_what_more_compute_would_buy_is_extrapolated_with_its_price(made: Any) -> None:
    result, text = made
    score, laps = result["outlook"]
    assert (score["figure"], laps["figure"]) == ("race_score", "mean_lap_s")
    assert "do not improve" in score["reason"]
    assert score["estimates"] == []
    now, twice, _ = laps["estimates"]
    assert now["value"] == pytest.approx(18.861, abs=0.02)
    assert twice["value"] == pytest.approx(18.530, abs=0.03)
    assert twice["low"] <= twice["value"] <= twice["high"]
    # 80,000 further steps take 2 ms of the processors each: 160 s.
    assert "2.7 min" in text
    assert "2 times, extrapolated" in text
    assert "The learning rate falls" in text


def test_runs_of_several_lengths_are_measured_by_their_finished_drivers(uri: str) -> None:
    (base,) = read(uri, "sac generated_track seed 1")
    runs = []
    for steps in (10_000, 20_000, 40_000):
        for seed in (1, 2):
            params = base.run.params | {"steps": str(steps), "seed": str(seed)}
            lap = lap_s(steps) + seed / 100
            runs.append(
                dataclasses.replace(
                    base,
                    run=dataclasses.replace(base.run, params=params),
                    history=dataclasses.replace(
                        base.history,
                        steps=np.array([float(steps)]),
                        figures={name: np.full(1, np.nan) for name in base.history.figures},
                    ),
                    summaries={
                        "mean_lap_s": statistics.summarise([lap, lap]),
                        "race_score": statistics.summarise([5.0, 5.0]),
                    },
                )
            )
    score, laps = (each for each in growth.of(runs) if each.budgets)
    assert isinstance(score.found, NoTrend)
    # 18 + 6 * 8^-0.7 = 19.40 after 40,000 steps, 18 + 6 * 16^-0.7 = 18.86 after twice as many.
    now, twice, _ = laps.estimates()
    assert (now.steps, now.value) == (40_000, pytest.approx(19.40, abs=0.1))
    assert twice.value == pytest.approx(18.86, abs=0.15)
    section = growth.section((score, laps), Rates()).html
    assert "by the finished drivers with different numbers of steps" in section
    # That is measured, so the learning rate of one run is beside the point.
    assert "The learning rate falls" not in section
    # Two lengths are not enough.
    assert not any(each.budgets for each in growth.of(runs[:4]))


def test_checks_logged_twice_count_once_and_wall_time_may_be_estimated(uri: str) -> None:
    with tracking.start("resumed", uri=uri) as run:
        run.log_metrics({"check/clean_share": 0.5}, 1000)
        run.flush()
        run.log_metrics({"check/clean_share": 0.75}, 1000)
        run.log_metrics({"check/clean_share": 1.0, "check/mean_lap_s": 20.0}, 2000)
    history = check_history.read(stored_runs.find("resumed", uri=uri), uri=uri)
    np.testing.assert_array_equal(history.steps, [1000, 2000])
    np.testing.assert_array_equal(history.figures["clean_share"], [0.75, 1.0])
    np.testing.assert_array_equal(history.figures["mean_lap_s"], [np.nan, 20.0])
    assert history.wall_estimated
    assert (history.wall_s >= 0.0).all()
    assert np.isnan(history.cpu_s).all()


def test_the_best_check_is_the_one_that_the_training_took(uri: str) -> None:
    params = configs.flat(TrainingConfig(seed=9).model_dump(mode="json"))
    checked = {"clean_share": 1.0, "race_score": 10.0, "wall_s": 60.0}
    with tracking.start("late", params=params, tags=MACHINE, uri=uri) as run:
        # Quicker races that a host would have ended count for less.
        for step, counted, lap in ((1000, 0.0, 25.0), (2000, 1.0, 24.0), (3000, 0.5, 20.0)):
            found = checked | {"counted_share": counted, "mean_lap_s": lap}
            run.log_metrics({f"check/{key}": value for key, value in found.items()}, step)
    runs = read(uri, "late")
    words = " ".join(Reader(growth.section(growth.of(runs), Rates()).html).words)
    assert re.search(r"\b3\s+2,000 steps\s+100 %\s+24\.00", words)


def test_runs_that_did_not_come_far_are_told_as_such(uri: str) -> None:
    params = configs.flat(TrainingConfig(agent="ppo", steps=9000).model_dump(mode="json"))
    broken = tracking.start("broken <b>", params=params, uri=uri)
    broken.end("FAILED")
    running = tracking.start("running", params=params, tags=MACHINE, uri=uri)
    running.log_metrics({"check/clean_share": 0.0, "check/wall_s": 60.0}, 4000)
    running.flush()
    runs = read(uri, broken.id, "running")
    told = trained.section(runs).html
    assert "broken &lt;b&gt; ended with an error" in told
    assert "running is still running: its figures are those so far." in told
    assert "4,000 of 9,000" in told
    assert "No races are stored of these runs." in driving.section(runs).html
    assert "have no races in common" in driving.compared(runs, driving.comparisons(runs)).html
    bill = costs.section(runs, Rates()).html
    assert "not recorded" in bill
    # 60 s of wall time so far, with two cores.
    assert "at most 2.0 min" in bill
    growths = growth.of(runs)
    assert all(isinstance(each.found, NoTrend) for each in growths)
    assert (
        "a curve takes 6 measurements with a score, and there are 0"
        in growth.section(growths, Rates()).html
    )
    lines = summary.sentences(runs, (), growths, Rates())
    assert lines[1] == "No races are stored, so nothing can be said of how it drives."
    assert lines[2] == (
        "What the training took was not recorded; the measurements do not say whether more "
        "compute would make it better."
    )


def test_a_run_that_only_holds_evaluations_needs_no_settings(uri: str) -> None:
    stored.store("pursuit", {FOLDER: stored.races([15.0] * 3)}, uri)
    (run,) = read(uri, "pursuit")
    assert summary.sentences([run], (), growth.of([run]), Rates())[0] == (
        "pursuit is a driver, trained by means that were not recorded over 0 steps."
    )
    assert "learned by trial and error" not in trained.section([run]).html


def test_what_an_evaluation_was_held_against_is_shown(uri: str) -> None:
    run_id = train(uri, [20.0, 21.0], name="held")
    figures = {"mean": 30.0, "ci_low": 29.0, "ci_high": 31.0}
    result = {
        "run_id": run_id, "driver": "held", "driver_hash": "a", "track": "generated_track",
        "vehicle": "donkey_2022", "simulator": "embedded", "version": "0.1.0", "key": "k",
        "laps_wanted": 1, "seed": 1000, "races": 2, "races_clean": 2, "missed_deadlines": 0,
        "metrics": {}, "per_race": [], "laps": [], "best_lap_s": 20.0,
        "yardsticks": [
            {
                "name": "pursuit", "note": "an expert", "races": 2,
                "metrics": {"race_score": figures},
            }
        ],
        "robustness": {
            "grip": {"change": {"grip": 0.25}, "races": 2, "kept": 0.8, "score": figures}
        },
    }  # fmt: skip
    place = stored.artifacts(run_id, uri) / FOLDER / "result.json"
    place.write_text(json.dumps(result))
    runs = read(uri, "held")
    shown = driving.compared(runs, ()).html
    assert "pursuit" in shown
    assert "30.0 (29.0 to 31.0)" in shown
    kept = evaluations.robustness("held", runs[0].evaluations)
    assert "80 %" in kept
    assert "grip 0.25" in kept
    # What stands beside a driver is of the same version, and of the same driver.
    place.write_text(json.dumps(result | {"version": "0.2.0"}))
    assert "30.0 (29.0 to 31.0)" not in driving.compared(read(uri, "held"), ()).html
    place.write_text(json.dumps(result | {"driver_hash": "b"}))
    assert read(uri, "held")[0].evaluations == ()
    place.write_text("{")
    assert read(uri, "held")[0].evaluations == ()


def test_races_under_changes_are_told_as_such(uri: str) -> None:
    late = stored.races([20.0] * 3, track="generated_track", conditions={"latency_ms": 100.0})
    stored.store("late", {FOLDER: late}, uri)
    runs = read(uri, "late")
    told = "races on generated_track with donkey_2022, 1 lap each, changed to latency_ms=100.0"
    assert told in driving.section(runs).html
    line = summary.sentences(runs, (), (), Rates())[1]
    assert line.startswith("In 3 races of 1 lap with latency_ms=100.0 on generated_track late")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sac generated_track sead 1",), "Did you mean 'sac generated_track seed 1'"),
        (("sac generated_track seed 1",) * 2, "takes each run once. Received 2 times"),
        (("held", "--out", "mine.txt"), "The page is an .html file"),
        (("held", "--out", "mine.html"), "not a page of donkey-rl"),
        (("held", "--out", "."), "an .html file"),
        (("held", "--watts", "0"), "watts"),
        (("held", "--price-per-kwh", "-1"), "--price-per-kwh"),
        (("held", "--price-per-hour", "nan"), "'--price-per-hour': Input should be greater"),
        ((), "Missing argument"),
    ],
)
def test_mistakes_are_answered_with_one_line(
    uri: str,
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    pathlib.Path("mine.html").write_text("mine")
    assert cli.main(("report", *words)) == cli.BAD_INPUT
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert pathlib.Path("mine.html").read_text() == "mine"
    assert not pathlib.Path("report.html").exists()


def test_the_command_prints_one_json_object(
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    with tracking.start("bare", uri=uri):
        pass
    words = ("report", "bare", "--out", "new/page.html", "--watts", "20")
    assert cli.main((*words, "--json")) == cli.SUCCESS
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"][0]["label"], found["runs"][0]["races"]) == ("bare", 0)
    assert len(found["summary"]) == 3
    # Its own page is replaced without being asked.
    assert cli.main(words) == cli.SUCCESS
    assert "opens in any browser" in capsys.readouterr().out
    assert "20 W a core, as given" in pathlib.Path("new/page.html").read_text()
