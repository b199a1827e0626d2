"""Splits of tracks: their parts, races on all of them, checks on some, looks that are new."""

from __future__ import annotations

import colorsys
import json
import pathlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from donkey_rl import cli, configuration
from donkey_rl.envs.simulator import materials, randomisation, track
from donkey_rl.envs.simulator.randomisation import Randomisation
from donkey_rl.errors import ConfigurationError, UnknownNameError
from donkey_rl.experiments import (
    beginning,
    checks,
    evaluation_tracks,
    split_report,
    splits,
    unseen_looks,
)
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.evaluation_result import EvaluationResult
from donkey_rl.experiments.proof import reading
from donkey_rl.experiments.splits import Split
from tests import new_stores

TINY = Split(
    name="tiny", train="warren", validation="waveshare", held_out="waveshare:mirror,warehouse"
)


def plain(name: str) -> str:
    return name.removesuffix(":mirror")


@pytest.mark.parametrize("name", splits.names())
def test_no_track_is_in_two_parts_not_even_as_a_mirror_image(name: str) -> None:
    split = splits.load(name)
    parts = {part: {plain(each) for each in split.tracks(part)} for part in splits.PARTS}
    assert not parts["train"] & parts["validation"]
    assert not parts["train"] & parts["held_out"]
    assert not parts["validation"] & parts["held_out"]
    assert len(parts["held_out"] & set(track.names())) >= 4
    assert sum(each.startswith("random_circuit:") for each in parts["held_out"]) >= 20
    assert {each for part in parts.values() for each in part} >= set(track.names())


@pytest.mark.parametrize("name", splits.names())
def test_every_track_of_a_split_is_there(name: str) -> None:
    split = splits.load(name)
    # Loading a circuit takes 20 ms: of a row of them the ends are enough.
    numbered = [each for part in splits.PARTS for each in split.tracks(part)]
    for each in numbered:
        if not each.startswith("random_circuit") or each[-1] in "09":
            assert track.load(each).name == each


def test_of_what_was_learned_from_a_few_tracks_are_raced() -> None:
    split = splits.load("generalist")
    raced = split.raced("train")
    assert not any(name.endswith(":mirror") for name in raced)
    assert [name for name in raced if name.startswith("random_circuit")] == [
        f"random_circuit:{number}" for number in range(1, 6)
    ]
    assert {name.partition(":")[0] for name in raced} == {
        name.partition(":")[0] for name in split.tracks("train")
    }
    for part in ("validation", "held_out"):
        assert split.raced(part) == split.tracks(part)


def test_the_parts_of_a_split_are_lists_of_tracks() -> None:
    assert splits.tracks("generalist:held_out,warren,warren")[-2:] == (
        "random_circuit:1019",
        "warren",
    )
    assert splits.load("generalist").part("waveshare") == "held_out"
    assert splits.load("generalist").part("nowhere") is None
    assert splits.of(splits.tracks("generalist:train")) == splits.load("generalist")
    assert splits.of(["generated_track"]) is None
    with pytest.raises(UnknownNameError, match="held_out"):
        splits.tracks("generalist:heldout")
    with pytest.raises(UnknownNameError, match="generalist"):
        splits.load("generalists")


def test_a_training_takes_its_tracks_and_those_of_its_checks_from_a_split(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(splits._SPLITS, "tiny", TINY)
    config = configuration.with_settings(
        TrainingConfig(),
        ["track=tiny:train", "check.tracks=tiny:held_out", "check.races=3", "check.laps=2"],
    )
    assert config.tracks == ("warren",)
    fields = checks.check_fields(config, SimpleNamespace(views=()))  # type: ignore[arg-type]
    assert [field.batch.track.name for field in fields] == ["waveshare:mirror", "warehouse"]
    assert [len(field.seeds) for field in fields] == [2, 2]
    for field in fields:
        field.close()
    own = tmp_path / "mine.json"
    own.write_text((track.FOLDER / "waveshare.json").read_text())
    monkeypatch.chdir(tmp_path)
    kept = beginning.lasting(
        configuration.with_settings(
            TrainingConfig(), ["check.tracks=mine.json", "evaluation.tracks=mine.json"]
        )
    )
    assert kept.check.tracks == kept.evaluation.tracks == str(own)
    # As a shell leaves it behind a comma.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    home = configuration.with_settings(TrainingConfig(), ["track=warren,~/mine.json"])
    assert beginning.lasting(home).track == f"warren,{own}"
    assert beginning.hash_of_track_file(home.track) == beginning.hash_of_track_file(str(own))
    (tmp_path / "sim.x86_64").write_text("")
    elsewhere = configuration.with_settings(TrainingConfig(), ["simulator=sim.x86_64"])
    assert beginning.lasting(elsewhere).simulator == str(tmp_path / "sim.x86_64")
    others = configuration.with_settings(
        TrainingConfig(), ["opponents.count=2", "opponents.drivers=pursuit,theirs"]
    )
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "manifest.json").write_text("{}")
    kept = beginning.lasting(others)
    assert kept.opponents.drivers == ("pursuit", str(tmp_path / "theirs"))
    before = beginning.hashes_of_data(kept)
    (tmp_path / "theirs" / "manifest.json").write_text("{ }")
    assert beginning.hashes_of_data(kept) != before
    several = beginning.hash_of_track_file("warren, mine.json")
    assert several == beginning.hash_of_track_file(str(own)) is not None


def test_checks_are_randomised_when_asked_for() -> None:
    usual = TrainingConfig()
    assert usual.check_scene == Randomisation()
    asked = configuration.with_settings(usual, ["check.randomised=true"])
    assert asked.check_scene == usual.randomisation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["check.tracks=waren"], "Did you mean 'warren'"),
        (["track=generalist:all"], "part of the split generalist"),
        (
            ["simulator=127.0.0.1:9091", "check.tracks=warren"],
            "check.tracks is for the embedded simulator",
        ),
        (
            ["simulator=127.0.0.1:9091", "evaluation.tracks=warren"],
            "evaluation.tracks is for the embedded simulator",
        ),
        (
            ["simulator=127.0.0.1:9091", "randomisation.start_at_failures=0.5"],
            "start_at_failures can only be used in the embedded simulator",
        ),
    ],
)
def test_checks_on_tracks_that_cannot_be_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises((ConfigurationError, UnknownNameError), match=message):
        configuration.with_settings(TrainingConfig(), settings)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert cli.main(["evaluate", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("coarse_ground")
def test_the_expert_races_on_all_parts_under_an_unseen_look(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_stores.make(tmp_path))
    parts = {"train": "waveshare", "validation": "waveshare:mirror"}
    parts["held_out"] = "random_circuit:197"
    monkeypatch.setitem(splits._SPLITS, "tiny", TINY.model_copy(update=parts))
    words = ("pursuit", "--split", "tiny", "--look", "unseen", "--races", "2", "--laps", "1")
    found = run(capsys, *words)
    report = found["split"]
    assert (report["name"], report["look"]) == ("tiny", "unseen")
    assert [row["track"] for row in report["tracks"]] == [
        "waveshare", "waveshare:mirror", "random_circuit:197"
    ]  # fmt: skip
    assert [row["part"] for row in report["parts"]] == ["train", "validation", "held_out"]
    assert all(row["seen"] is None for row in report["tracks"])
    # Two of two: Wilson's lower bound is 2 / (2 + z^2) = 0.342 with z = 1.96.
    for row in report["tracks"]:
        assert row["clean"] == {"value": 1.0, "low": pytest.approx(0.342, abs=1e-3), "high": 1.0}
        assert row["disqualified"]["value"] == 0.0
    score = found["metrics"]["race_score"]
    assert report["tracks"][0]["score"] == {
        "value": score["mean"], "low": score["ci_low"], "high": score["ci_high"]
    }  # fmt: skip
    assert found["conditions"] == {"look": "unseen"}
    rows = reading.split(found)
    assert [row["what"] for row in rows[:4]] == [
        "all of train", "all of validation", "all of held-out", "waveshare"
    ]  # fmt: skip
    assert rows[0]["all laps clean"] == "100 % (34 to 100)"
    assert found["yardsticks"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--split", "generalis"), "Did you mean 'generalist'"),
        (("--look", "unsen"), "Did you mean 'unseen'"),
        (("--split", "generalist", "--track", "warren"), "Leave one of the two out"),
        (("--look", "unseen", "--robustness"), "Leave one of the two out"),
        (("--look", "unseen", "--simulator", "127.0.0.1:9"), "embedded simulator only"),
    ],
)
def test_what_does_not_go_together_is_bad_input(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", "pursuit", *words]) == cli.BAD_INPUT
    assert message in capsys.readouterr().err


def result(name: str, clean: int, score: float, pace: float | None) -> EvaluationResult:
    """An evaluation of 10 races of which so many were clean, and the others disqualified."""
    figures = {"mean": score, "ci_low": score - 0.1, "ci_high": score + 0.1, "count": 10}
    return EvaluationResult(
        run_id="r",
        driver="d",
        driver_hash="h",
        track=name,
        vehicle="donkey_2022",
        simulator="embedded",
        version="1",
        key="k",
        laps_wanted=3,
        seed=1000,
        races=10,
        races_clean=clean,
        missed_deadlines=0,
        metrics={
            "race_score": figures,
            "disqualified": figures | {"mean": 0.1 * (10 - clean)},
            "pace": figures | {"mean": pace, "ci_low": None, "ci_high": None},
        },
        per_race=(),
        laps=(),
        best_lap_s=None,
    )


def test_a_held_out_track_that_the_driver_knows_is_called_no_evidence() -> None:
    found = {
        "waveshare": result("waveshare", 10, 1.0, 0.9),
        "waveshare:mirror": result("waveshare:mirror", 4, 0.5, None),
        "warehouse": result("warehouse", 10, 0.9, 0.8),
    }
    report = split_report.report(TINY, found, ["warren", "waveshare:mirror"])
    (line,) = report.warnings
    assert line.startswith("waveshare:mirror is held out")
    assert [row.seen for row in report.tracks] == [False, True, False]
    validation, held_out = report.parts
    assert (held_out.tracks, held_out.races, held_out.weakest) == (2, 20, "waveshare:mirror")
    assert held_out.weakest_clean == pytest.approx(0.4)
    assert held_out.clean.value == pytest.approx(14 / 20)
    assert held_out.disqualified.value == pytest.approx(6 / 20)
    assert held_out.score.value == pytest.approx(0.7)
    assert held_out.pace.value == pytest.approx(0.8)  # the other has none
    assert validation.pace.value == pytest.approx(0.9)


def test_held_out_tracks_are_those_of_the_drivers_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(splits._SPLITS, "tiny", TINY)
    environment = TrainingConfig(track="warren").environment()

    def chosen(*trained: str) -> tuple[str, ...]:
        entrant: Any = SimpleNamespace(environment=environment, tracks=trained)
        return evaluation_tracks.chosen(None, None, entrant, held_out=True)

    assert chosen("warren") == ("warren", "waveshare:mirror", "warehouse")
    assert chosen("warren", "mini_monaco")[:3] == ("warren", "generated_track", "circuit_launch")


def hsv(packed: Any) -> Any:
    """Hue (degrees), saturation and value of a palette, shape (256, 3)."""
    colours = [[(int(each) >> shift & 255) / 255.0 for shift in (0, 8, 16)] for each in packed]
    return np.array([colorsys.rgb_to_hsv(*each) for each in colours]) * (360.0, 1.0, 1.0)


def test_an_unseen_look_turns_every_hue_in_every_race() -> None:
    road = track.load("generated_track")
    ground, _ = randomisation.nominal_colours(road)
    nominal = hsv(materials.palette(ground))
    coloured = (nominal[:, 1] > 0.2) & (nominal[:, 2] > 0.2)
    gray = nominal[:, 1] < 1e-9
    assert coloured.sum() > 20
    alone = Randomisation(hue=unseen_looks.load("unseen").hue)
    for seed in range(20):
        drawn = hsv(randomisation.draw_look(alone, road, np.random.default_rng(seed)).ground)
        turned = np.abs((drawn[:, 0] - nominal[:, 0] + 180.0) % 360.0 - 180.0)
        # Colours are cut off at 0 and 255, which moves a hue by some degrees.
        assert (turned[coloured] > 40.0).all()
        assert np.allclose(drawn[gray], nominal[gray], atol=0.01)
