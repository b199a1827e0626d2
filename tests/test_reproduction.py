"""Recipes, whole configurations, and runs that are made again from what a run has stored."""

from __future__ import annotations

import io
import json
import os
import pathlib

import pytest

from donkey_rl import cli, configuration
from donkey_rl.agents import manifest
from donkey_rl.errors import InputError
from donkey_rl.experiments import (
    beginning,
    encoder_training,
    reproduction,
    resuming,
    stored_runs,
    tracking,
    training,
)
from donkey_rl.experiments.config import AGENTS, TrainingConfig
from donkey_rl.experiments.membership import Membership
from donkey_rl.experiments.progress import ProgressDisplay
from tests import new_stores

TRACKS = pathlib.Path(__file__).parents[1] / "envs" / "simulator" / "tracks"

SMALL = (
    "cars=4", "steps=300", "encoder.frames=256", "encoder.epochs=1", "evaluation.races=1",
    "evaluation.laps=1", "check.every=400", "check.races=1", "sac.learning_starts=100",
    "sac.batch_size=64", "sac.gradient_steps=1", "sac.hidden=16,16", "imitation.steps=160",
    "imitation.expert=pursuit", "imitation.epochs=1", "imitation.copies=0",
    "track=generated_track,warren",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """One folder with one store of runs for all tests."""
    folder = tmp_path_factory.mktemp("runs")
    new_stores.make(folder)
    return folder


@pytest.fixture(autouse=True)
def _here(place: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def of(recipe: str) -> TrainingConfig:
    return configuration.validate(TrainingConfig, configuration.read_recipe(recipe))


def begun(config: TrainingConfig) -> str:
    """Starts a run and ends it at once; returns its id."""
    with tracking.start("a training") as run:
        beginning.store(beginning.of(config), run)
    return run.id


@pytest.mark.parametrize("name", configuration.recipes())
def test_each_recipe_says_what_it_is_for_and_is_of_the_agent_in_its_name(name: str) -> None:
    assert of(name).agent == name.partition("_")[0]
    assert len(configuration.recipe_purpose(name)) > 60


def test_each_agent_has_a_recipe_for_each_purpose() -> None:
    purposes = ("fast", "thrifty", "race", "generalist")
    wanted = {f"{agent}_{purpose}" for agent in AGENTS for purpose in purposes}
    assert wanted <= set(configuration.recipes())


@pytest.mark.parametrize(("old", "new"), list(configuration.RECIPE_ALIASES.items()))
def test_a_recipe_is_known_by_its_other_names(old: str, new: str) -> None:
    assert configuration.read_recipe(old) == configuration.read_recipe(new)
    with pytest.raises(InputError, match=f"recipe '{old}' is made for"):
        configuration.read_recipe(old, "ppo" if new.startswith("sac") else "sac")


def test_a_recipe_of_another_agent_is_answered_with_that_agents_own() -> None:
    with pytest.raises(InputError, match=r"made for sac. Received: agent ppo. Did you mean 'ppo_"):
        configuration.read_recipe("sac_fast", "ppo")


def test_recipes_are_listed_with_their_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes", "--agent", "sac", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["recipes"]}
    assert set(rows) == {name for name in configuration.recipes() if name.startswith("sac_")}
    assert rows["sac_fast"]["also"] == "first_lap"
    assert rows["sac_race"]["also"] is None
    assert configuration.aliases("ppo_race") == ("race", "pace")
    assert cli.main(["recipes"]) == 0
    text = capsys.readouterr().out
    assert [name for name in configuration.recipes() if f"\n{name}" not in f"\n{text}"] == []


@pytest.mark.parametrize("name", configuration.recipes())
def test_a_shown_configuration_is_a_recipe_for_the_same(
    name: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--recipe", name, "--set", "track=warren", "--set", "ppo.learning_rate=1e-5"]
    assert cli.main(["train", *words, "--show-config"]) == 0
    pathlib.Path("again.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    wanted = configuration.with_settings(of(name), ["track=warren", "ppo.learning_rate=1e-5"])
    assert of("again.yaml") == wanted
    assert cli.main(["train", "--recipe", "again.yaml", "--show-config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == of("again.yaml").model_dump(mode="json")
    assert list(pathlib.Path().iterdir()) == [pathlib.Path("again.yaml")]


@pytest.mark.parametrize("text", ["1e3", "null", "true", "012", "a: b", "", " x", "*a", "0x1f"])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    class Run(configuration.Config):
        name: str

    shown = configuration.written(Run(name=text))
    assert configuration.parse_recipe(shown, "shown") == {"name": text}


@pytest.mark.slow
def test_a_run_on_two_tracks_is_trained_again_bit_for_bit() -> None:
    config = configuration.with_settings(TrainingConfig(), [*SMALL, "seed=5"])
    text = io.StringIO()
    with ProgressDisplay(text) as progress:
        first = training.train(config, progress, Membership(shown=False))
        again = reproduction.find(first.run_id[:8]).train(progress)
    assert again.run_id != first.run_id
    ours, theirs = (stored_runs.find(each.run_id) for each in (first, again))
    assert theirs.tags[reproduction.ORIGIN_TAG] == first.run_id
    assert "not bit for bit" not in text.getvalue()
    assert ours.params == theirs.params
    drivers = [manifest.read(stored_runs.download_driver(each.id)) for each in (ours, theirs)]
    assert drivers[0].hash == drivers[1].hash
    assert drivers[0].description.tracks == ("generated_track", "warren")
    raced = {name: tag for name, tag in ours.tags.items() if name.startswith("score/")}
    assert {name.split("/")[1] for name in raced} == {"generated_track", "warren"}
    for folder in raced.values():
        files = stored_runs.download(ours, folder).glob("race_*.parquet")
        assert [path.name for path in files] == ["race_00.parquet"]


def test_options_and_settings_change_the_configuration_of_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = configuration.with_settings(of("ppo_pixels"), ["seed=5", "track=warren"])
    run_id = begun(config)
    words = ["--from-run", run_id, "--seed", "6", "--set", "encoder.pool=3"]
    assert cli.main(["train", *words, "--show-config"]) == 0
    shown = configuration.parse_recipe(capsys.readouterr().out, "shown")
    wanted = configuration.with_settings(config, ["seed=6", "encoder.pool=3"])
    assert configuration.validate(TrainingConfig, shown) == wanted


def test_other_versions_and_machines_are_named_in_one_line() -> None:
    at_once = beginning.of(TrainingConfig())
    changed = at_once.model_copy(
        update={
            "versions": at_once.versions | {"numpy": "1.0"},
            "machine": at_once.machine | {"machine.cores": "999"},
        }
    )
    with tracking.start("a training of long ago") as run:
        beginning.store(changed, run)
    found = reproduction.find(run.id)
    now = at_once.versions["numpy"]
    cores = at_once.machine["machine.cores"]
    assert found.remarks == (
        f"not bit for bit what it was: numpy 1.0 then, {now} now, "
        f"machine.cores 999 then, {cores} now",
    )
    assert found.config == TrainingConfig()


def test_a_run_that_goes_on_names_another_number_of_cores() -> None:
    begun = beginning.of(TrainingConfig())
    assert resuming._compare_versions("3f2a", begun, begun.machine) == ()
    machine = begun.machine | {"machine.cores": "999"}
    earlier = begun.model_copy(update={"machine": machine})
    (remark,) = resuming._compare_versions("3f2a", earlier, begun.machine)
    cores = begun.machine["machine.cores"]
    expected = f"not bit for bit what it would have been: machine.cores 999 then, {cores} now"
    assert remark == expected


def test_a_track_file_that_has_changed_is_named(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "mine.json"
    file.write_bytes((TRACKS / "warren.json").read_bytes())
    run_id = begun(configuration.with_settings(TrainingConfig(), [f"track={file}"]))
    assert reproduction.find(run_id).config.track == str(file)
    file.write_text(file.read_text() + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"track: '.*mine.json' is not what it was when run"):
        reproduction.find(run_id)
    assert reproduction.find(run_id, [f"track={file}"]).config.track == str(file)
    file.unlink()
    with pytest.raises(InputError, match=r"does not fit: .*mine.json"):
        reproduction.find(run_id)
    assert reproduction.find(run_id, ["track=warren"]).config.track == "warren"


def test_a_reward_of_ones_own_is_kept_and_its_change_is_named(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def pace(step, failed):\n    return step.speed\n", encoding="utf-8")
    reference = f"{os.path.relpath(file)}:pace"
    run_id = begun(configuration.with_values(TrainingConfig(), {"task.reward": reference}))
    assert reproduction.find(run_id).config.task.reward == f"{file}:pace"
    kept = stored_runs.download(stored_runs.find(run_id), beginning.REWARD_FILE)
    assert kept.read_bytes() == file.read_bytes()
    file.write_text(file.read_text() + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"task.reward: '.*mine.py:pace' is not what it was when"):
        reproduction.find(run_id)
    assert reproduction.find(run_id, [f"task.reward={file}:pace"]).config.task.reward
    file.unlink()
    with pytest.raises(InputError, match=r"does not fit: task.reward: There is no file"):
        reproduction.find(run_id)
    assert reproduction.find(run_id, ["task.reward=null"]).config.task.reward is None


def test_data_that_are_gone_or_have_changed_are_named(tmp_path: pathlib.Path) -> None:
    # Neither sign means anything in the name of a folder.
    data = tmp_path / "drives #2: new"
    data.mkdir()
    (data / "one.csv").write_text("a")
    relative = os.path.relpath(data)
    run_id = begun(configuration.with_values(TrainingConfig(), {"imitation.data": relative}))
    assert reproduction.find(run_id).config.imitation.data == str(data)
    (data / "two.csv").write_text("b")
    with pytest.raises(InputError, match=r"imitation.data: '.*new' is not what it was"):
        reproduction.find(run_id)
    for file in data.iterdir():
        file.unlink()
    data.rmdir()
    with pytest.raises(InputError, match="is gone that was there when run"):
        reproduction.find(run_id)


def test_data_are_known_by_any_name_of_their_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drives").mkdir()
    (tmp_path / "drives" / "one.csv").write_text("a")
    (tmp_path / "linked").symlink_to(tmp_path / "drives")
    monkeypatch.chdir(tmp_path / "drives")
    names = (".", "../drives/", str(tmp_path / "linked"))
    configs = [
        configuration.with_values(TrainingConfig(), {"imitation.data": name}) for name in names
    ]
    assert len({str(beginning.hashes_of_data(each)) for each in configs}) == 1


def test_another_driver_of_the_same_size_is_noticed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "weights").write_bytes(b"one")
    named = {"start.driver": str(tmp_path), "encoder.pretrained": str(tmp_path)}
    config = configuration.with_values(TrainingConfig(), named)
    before, key = beginning.hashes_of_data(config), encoder_training.key(config)
    (tmp_path / "weights").write_bytes(b"two")
    after = beginning.hashes_of_data(config)
    assert not any(beginning.is_same(before[name], after[name]) for name in named)
    # Runs that began before the contents were looked at.
    assert all(beginning.is_same(before[name][:64], after[name]) for name in named)
    assert encoder_training.key(config) != key


def test_a_track_of_the_checks_that_has_changed_is_noticed(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "mine.json"
    file.write_bytes((TRACKS / "warren.json").read_bytes())
    run_id = begun(configuration.with_values(TrainingConfig(), {"check.tracks": str(file)}))
    assert reproduction.find(run_id).config.check.tracks == str(file)
    file.write_text(file.read_text() + " ", encoding="utf-8")
    with pytest.raises(InputError, match=r"check.tracks: '.*mine.json' is not what it was when"):
        reproduction.find(run_id)


def test_a_folder_called_self_is_not_the_driver_itself(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "self").mkdir()
    changes = {"opponents.count": 1, "opponents.drivers": ["self"]}
    config = configuration.with_values(TrainingConfig(), changes)
    assert beginning.lasting(config).opponents.drivers == ("self",)


def test_a_run_without_a_configuration_is_refused() -> None:
    with tracking.start("an evaluation") as run:
        pass
    with pytest.raises(InputError, match=r"holds no config.yaml: it is no training, or"):
        reproduction.find(run.id)


def test_a_damaged_configuration_is_refused(tmp_path: pathlib.Path) -> None:
    with tracking.start("a training") as run:
        beginning.store(beginning.of(TrainingConfig()), run)
        (tmp_path / beginning.FACTS_FILE).write_text("{")
        run.log_artifact(tmp_path / beginning.FACTS_FILE)
    with pytest.raises(InputError, match="is damaged"):
        reproduction.find(run.id)


def test_an_unknown_setting_of_another_version_is_named(tmp_path: pathlib.Path) -> None:
    run_id = begun(TrainingConfig())
    shown = configuration.written(TrainingConfig()) + "warp_drive: 1\n"
    (tmp_path / beginning.CONFIG_FILE).write_text(shown)
    with tracking.attach(run_id) as run:
        run.log_artifact(tmp_path / beginning.CONFIG_FILE)
    with pytest.raises(InputError, match=r"does not fit: Unknown setting 'warp_drive'"):
        reproduction.find(run_id)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from-run", "x", "--resume", "y"), "Received: both"),
        (("--from-run", "x", "--recipe", "pace"), "brings all settings of its run"),
        (("--from-run", "3f2a"), "There is no run '3f2a'"),
    ],
)
def test_sources_of_a_configuration_exclude_each_other(
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *words]) == cli.BAD_INPUT
    assert message in capsys.readouterr().err
    assert list(pathlib.Path().iterdir()) == []
