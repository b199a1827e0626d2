"""Drivers that drive as one: the folder, the blend, and how its members are chosen."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from mlflow import pyfunc

from donkey_rl import cli
from donkey_rl.agents import ensemble
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.agents.manifest import DriverDescription
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.saliency import Saliency
from donkey_rl.agents.untrained import untrained
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.errors import DriverError, InputError
from donkey_rl.experiments import drivers, ensembles, stored_runs
from donkey_rl.experiments.drivers import LearnedEntrant
from donkey_rl.experiments.ensembles import Joining
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import committee
from donkey_rl.experiments.sweeps.committee import CommitteePlan, Outcome

CAMERA = CameraConfig(img_w=64, img_h=48)


def member(seed: int, *, history: int = 3, **about: Any) -> Driver:
    """Returns a small driver with weights that no initialiser makes."""
    encoder = LaneEncoder(
        CAMERA.shape, ("left", "right"), LaneEncoderConfig(filters=(8, 16), dense=16, seed=seed)
    )
    actor = networks.actor(2 + 2 + 2 * history, 2, SACConfig(hidden=(16,)), seed=seed)
    random = np.random.default_rng(seed)
    actor.set_weights([random.normal(0, 0.3, w.shape) for w in actor.get_weights()])
    described = {
        "agent": "sac", "vehicle": "donkey_2022", "tracks": ("generated_track",),
        "simulator": "embedded 0.1.0", "camera": CAMERA.model_dump(),
        "notes": {"run_id": f"{seed:032x}"},
    }  # fmt: skip
    return Driver(
        encoder,
        networks.deterministic(actor),
        DriverDescription.model_validate(described | about),
        history=history,
    )


def observations(count: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (count, *CAMERA.shape), dtype=np.uint8),
        "speed": random.uniform(0, 20, (count, 1)).astype(np.float32),
        "imu": random.normal(size=(count, 6)).astype(np.float32),
        "last_actions": random.uniform(-1, 1, (count, 6)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def three() -> tuple[Driver, ...]:
    return tuple(member(seed) for seed in range(3))


@pytest.fixture(scope="module")
def saved(three: tuple[Driver, ...], tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("drivers") / "driver"
    Ensemble(three, [2, 1, 1]).save(folder)
    return folder


@pytest.fixture
def folder(saved: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the ensemble's folder, to be damaged."""
    copy = tmp_path / "driver"
    for path in saved.rglob("*"):
        if path.is_file():
            place = copy / path.relative_to(saved)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return copy


def test_its_action_is_the_weighted_mean(three: tuple[Driver, ...]) -> None:
    batch = observations(4)
    first, second, third = (each.act(batch) for each in three)
    made = Ensemble(three, [2, 1, 1])
    assert made.weights == (0.5, 0.25, 0.25)
    expected = 0.5 * first + 0.25 * second + 0.25 * third
    np.testing.assert_allclose(made.act(batch), expected, atol=1e-5)
    single = {name: part[0] for name, part in batch.items()}
    np.testing.assert_allclose(made.act(single), expected[0], atol=1e-5)
    np.testing.assert_allclose(Ensemble(three[:1]).act(batch), first, atol=1e-6)


def test_a_round_trip_changes_nothing(three: tuple[Driver, ...], saved: pathlib.Path) -> None:
    made, loaded = Ensemble(three, [2, 1, 1]), ensemble.load(saved)
    assert isinstance(loaded, Ensemble)
    batch = observations(3)
    np.testing.assert_array_equal(loaded.act(batch), made.act(batch))
    assert (loaded.hash, loaded.weights) == (made.hash, made.weights)
    assert loaded.description == made.description
    assert not [path for path in saved.rglob("*") if path.suffix in (".pkl", ".pickle")]


def test_thirds_are_the_same_after_a_round_trip(
    three: tuple[Driver, ...], tmp_path: pathlib.Path
) -> None:
    Ensemble(three).save(tmp_path / "driver", lite=False)
    assert ensemble.load(tmp_path / "driver").hash == Ensemble(three).hash
    assert Ensemble(three).hash == Ensemble(three, [3, 3, 3]).hash
    assert Ensemble(three).hash != Ensemble(three, [2, 1, 1]).hash


def test_its_lite_model_drives_alike(saved: pathlib.Path) -> None:
    batch = observations(3)
    lite = LiteDriver.load(saved)
    np.testing.assert_allclose(lite.act(batch), ensemble.load(saved).act(batch), atol=1e-4)
    assert lite.hash == ensemble.load(saved).hash


def test_a_single_driver_is_loaded_as_such(saved: pathlib.Path) -> None:
    loaded = ensemble.load(saved / "member_01")
    assert isinstance(loaded, Driver)
    with pytest.raises(DriverError, match=r"an ensemble with its 'ensemble.json'"):
        Ensemble.load(saved / "member_01")


def test_it_says_what_it_is_made_of() -> None:
    made = Ensemble([member(1), member(2, tracks=("warren",), simulator="127.0.0.1:9091")])
    about = made.description
    assert about.agent == "ensemble"
    assert about.tracks == ("generated_track", "warren")
    assert about.simulator == "embedded 0.1.0, 127.0.0.1:9091"
    notes = about.notes["members"]
    assert [each["run_id"] for each in notes] == [f"{seed:032x}" for seed in (1, 2)]
    assert [each["weight"] for each in notes] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"history": 4}, "history 3 of run 00000000, 4 of run 00000000"),
        ({"vehicle": "donkey_2021"}, "vehicle donkey_2022 of run"),
        ({"throttle_limits": (-0.5, 0.8)}, "throttle_limits"),
        ({"steering_limits": (-0.5, 0.5)}, "steering_limits"),
        ({"camera": CameraConfig(img_w=64, img_h=48, fov=80.0).model_dump()}, "camera"),
    ],
)
def test_members_that_see_or_mean_something_else_are_refused(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(DriverError, match=message):
        Ensemble([member(0), member(1, **changed)])


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, 0], [1, 1, -1], [1, 1, float("nan")]])
def test_each_member_has_one_positive_weight(
    three: tuple[Driver, ...], weights: list[float]
) -> None:
    with pytest.raises(DriverError, match=r"has one positive weight"):
        Ensemble(three, weights)
    with pytest.raises(DriverError, match=r"1 to 32 members. Received: 0"):
        Ensemble([])


def test_a_member_of_another_ensemble_is_noticed(folder: pathlib.Path) -> None:
    member(7).save(folder / "member_01", lite=False)
    with pytest.raises(DriverError, match="Its members belong to different ensembles"):
        Ensemble.load(folder)


def test_changed_weights_are_noticed(folder: pathlib.Path) -> None:
    listed = folder / "ensemble.json"
    listed.write_text(listed.read_text().replace("0.5", "0.6"))
    with pytest.raises(DriverError, match=r"Expected 'ensemble.json'"):
        Ensemble.load(folder)


def test_a_place_outside_the_folder_is_refused(folder: pathlib.Path) -> None:
    listed = folder / "ensemble.json"
    listed.write_text(listed.read_text().replace("member_01", "../../etc"))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["ensemble.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DriverError, match=r"an ensemble with its 'ensemble.json'"):
        Ensemble.load(folder)


def test_its_saliency_is_the_mean_of_its_members(three: tuple[Driver, ...]) -> None:
    seen = {name: part[0] for name, part in observations(1).items()}
    twice = Saliency(Ensemble([three[0], three[0]])).maps(seen)
    np.testing.assert_allclose(twice, Saliency(three[0]).maps(seen), rtol=1e-4)


def test_untrained_it_is_its_first_member_untrained(three: tuple[Driver, ...]) -> None:
    assert untrained(Ensemble(three)).hash == untrained(three[0]).hash


class Races:
    """Races whose outcome is known: what counts is how much each driver has of the action."""

    def __init__(self, score: Any, disqualified: Any = lambda shares: 0.0) -> None:
        self.score, self.disqualified = score, disqualified
        self.driven: list[dict[str, float]] = []

    def drive(self, driver: Driver | Ensemble, environment: Any) -> Outcome:
        shares = {each.hash: weight for weight, each in driver.shares}
        self.driven.append(shares)
        return Outcome(np.full(4, self.score(shares)), self.disqualified(shares))


class Phase:
    done = 0

    def update(self, done: int, **fields: object) -> None:
        self.done = done


@pytest.fixture(scope="module")
def entrants(three: tuple[Driver, ...]) -> tuple[LearnedEntrant, ...]:
    return tuple(
        LearnedEntrant(
            f"run {k}", "run", drivers.environment_of(each), each.hash, f"{k}", driver=each
        )
        for k, each in enumerate(three)
    )


def chosen(
    entrants: tuple[LearnedEntrant, ...], races: Races, **plan: Any
) -> tuple[list[str], committee._Choice]:
    settings = CommitteePlan(**plan)
    found = committee._choose(entrants, settings, races, Phase())  # type: ignore[arg-type]
    return [each.run_id for each in found.members], found


def near(entrants: tuple[LearnedEntrant, ...], *wanted: float) -> Races:
    """Races that score higher the nearer the shares are to what is wanted."""
    aim = {each.hash: share for each, share in zip(entrants, wanted, strict=True)}
    return Races(lambda shares: 10 - sum(abs(aim[name] - shares.get(name, 0.0)) for name in aim))


def test_members_are_added_while_that_helps_and_may_count_twice(
    entrants: tuple[LearnedEntrant, ...],
) -> None:
    races = near(entrants, 2 / 3, 1 / 3, 0.0)
    members, found = chosen(entrants, races)
    assert members == ["0", "1", "0"]
    assert found.chosen.score == pytest.approx(10.0)
    # Alone 10 - (1/3 + 1/3), which is the best of the three.
    assert (found.best.run_id, found.best_chosen.score) == ("0", pytest.approx(10 - 2 / 3))
    assert len({frozenset(each.items()) for each in races.driven}) == len(races.driven)


def test_a_driver_that_nobody_helps_stays_alone(entrants: tuple[LearnedEntrant, ...]) -> None:
    members, found = chosen(entrants, near(entrants, 0.0, 1.0, 0.0))
    assert members == ["1"]
    alone = committee._alone(found)
    assert (alone.is_better, alone.difference) == (False, None)
    kept = committee.keep(alone, "a name that no run gets")
    assert (kept.run_id, kept.members, kept.weights) == ("1", ("1",), (1.0,))
    assert alone.sentence == "No committee scored higher than run 1 alone in 4 races."


def test_who_is_disqualified_too_often_comes_behind(entrants: tuple[LearnedEntrant, ...]) -> None:
    fast = entrants[2].hash
    races = Races(
        lambda shares: 1 + 9 * shares.get(fast, 0.0),
        lambda shares: 0.5 if shares.get(fast, 0.0) > 0.5 else 0.0,
    )
    members, found = chosen(entrants, races)
    # Half of the fast one is the most that may be.
    assert (found.best.run_id, members) == ("0", ["0", "2"])
    assert found.chosen.disqualified == 0.0


def test_candidates_and_members_are_bounded(entrants: tuple[LearnedEntrant, ...]) -> None:
    races = near(entrants, 0.4, 0.3, 0.3)
    assert len(chosen(entrants, races, members=2)[0]) == 2
    members, _ = chosen(entrants, near(entrants, 0.4, 0.3, 0.3), candidates=1)
    assert set(members) == {"0"}


def test_a_driver_that_does_not_fit_the_best_is_left_out(
    entrants: tuple[LearnedEntrant, ...],
) -> None:
    other = member(9, vehicle="donkey_2021")
    strange = LearnedEntrant(
        "run 9", "run", drivers.environment_of(other), other.hash, "9", driver=other
    )
    _, found = chosen((*entrants, strange), near((*entrants, strange), 1.0, 0.0, 0.0, 0.0))
    (reason,) = found.left_out
    assert reason.startswith("9: The members of an ensemble see the same")


@pytest.mark.parametrize(
    ("gain", "lost", "better"), [(1.0, 0.0, True), (0.0, 0.0, False), (1.0, 0.1, False)]
)
def test_a_gain_is_claimed_only_where_the_interval_shows_it(
    entrants: tuple[LearnedEntrant, ...], gain: float, lost: float, better: bool
) -> None:
    _, choice = chosen(entrants, near(entrants, 0.5, 0.5, 0.0))
    scores = np.random.default_rng(1).normal(20.0, 3.0, 30)
    noise = np.random.default_rng(2).normal(0.0, 1.0, 30)
    best, judged = Outcome(scores, 0.0), Outcome(scores + gain + noise - noise.mean(), lost)
    found = committee._judged(choice, best, judged, CommitteePlan())
    assert found.difference is not None
    assert found.difference.mean.value == pytest.approx(gain)
    assert found.is_better is better
    assert ("real" in found.sentence) is (gain > 0.0)
    assert ("not fit to race: 10 %" in found.sentence) is (lost > 0.0)
    assert found.as_json()["gain"]["value"] == pytest.approx(gain)


@pytest.mark.usefixtures("own_store")
def test_members_that_could_not_be_joined_are_not_trained(
    three: tuple[Driver, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    three[0].save("first", lite=False)
    assert cli.main(["ensemble", "first", "--train", "1", "--set", "history=5"]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert "of those to be trained. Leave one out." in said
    assert not pathlib.Path("runs").exists()


@pytest.mark.usefixtures("own_store")
@pytest.mark.slow
def test_an_ensemble_of_runs_is_a_run_that_is_raced_as_any(
    three: tuple[Driver, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = [f"drivers (1)/../drivers (1)/{number}" for number in range(3)]
    for name, each in zip(folders, three, strict=True):
        each.save(name, lite=False)
    assert cli.main(["ensemble", *folders, "--weights", "1,2,1", "--name", "all", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["weights"] == [0.25, 0.5, 0.25]
    model = pyfunc.load_model(f"models:/{stored_runs.find('all').tags[stored_runs.MODEL_TAG]}")
    expected = Ensemble(three, [1, 2, 1]).act(observations(2))
    np.testing.assert_allclose(model.predict(observations(2)), expected, atol=1e-4)
    stored = stored_runs.find("all")
    assert (stored.id, stored.tags["agent"]) == (made["run_id"], "ensemble")
    assert (
        cli.main(["evaluate", "all", "--races", "2", "--laps", "1", "--no-yardsticks", "--json"])
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    assert (result["run_id"], result["driver_hash"]) == (made["run_id"], made["driver_hash"])
    with pytest.raises(InputError, match="Received: an ensemble, 'run"):
        ensembles.make(["all", folders[0]], Joining(), ProgressDisplay())
    plan = {"races": 2, "judged_races": 2, "laps": 1}
    monkeypatch.setattr(committee, "CommitteePlan", lambda **_: CommitteePlan(**plan))
    assert cli.main(["ensemble", *folders, "--choose", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["committee"]
    assert found["races"]["chosen"]["count"] == 2
    assert found["races"]["chosen"]["race_score"] >= found["races"]["best_chosen"]["race_score"]
    assert set(found["members"]) <= set(folders)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x", "y", "--weights", "1,b"], "--weights are numbers with commas"),
        (["x", "y", "--weights", "1,1", "--choose"], "--choose finds members and weights"),
        (["pursuit"], "Received: pursuit, 'pursuit'"),
        (["--train", "2", "--seed", str(2**31 - 1)], "seed should be less than 2147483648"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ensemble", *words]) == cli.BAD_INPUT
    assert message in capsys.readouterr().err
