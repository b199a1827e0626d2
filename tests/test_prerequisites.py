"""What a run reads beside its settings: looked at before it begins, and named for good."""

from __future__ import annotations

import pathlib
import socket
import time

import pytest
from PIL import Image

from donkey_rl import configuration
from donkey_rl.agents.driver import Driver
from donkey_rl.envs import batch as batches
from donkey_rl.envs.serving.background import Running
from donkey_rl.errors import (
    ConfigurationError,
    DonkeyRLError,
    InputError,
    LinkRefused,
    UnknownNameError,
)
from donkey_rl.experiments import prerequisites, registration, stored_runs, tracking, training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.sweeps import command, plan, results
from tests import data_sets, new_stores, served_car, small_drivers

NAME = "sac generated_track seed 1"
SMALL = (
    "camera.img_w=80",
    "camera.img_h=60",
    f"history={small_drivers.HISTORY}",
    "cars=4",
    "sac.hidden=16",
)


@pytest.fixture
def store(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    new_stores.make(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(*settings: str) -> TrainingConfig:
    return configuration.with_settings(TrainingConfig(seed=1), [*SMALL, *settings])


def stored() -> str:
    """Stores a driver in a run of the usual name."""
    own, usual = small_drivers.lane(seed=3), config().environment()
    limits = {
        "steering_limits": (-1.0, 1.0),
        "throttle_limits": (usual.throttle_min, usual.throttle_max),
    }
    about = own.description.model_copy(update=limits)
    parts = {"history": small_drivers.HISTORY, "scaling": small_drivers.SCALING}
    Driver(own.encoder, own.actor, about, **parts).save("driver", lite=False)
    with tracking.start(NAME) as run:
        space = batches.observation_space(usual)
        run.log_driver(pathlib.Path("driver"), space, batches.action_space())
    return run.id


def test_names_of_runs_and_aliases_give_way_to_what_they_mean_now(store: pathlib.Path) -> None:
    first = stored()
    registration.register(first, "champion", "race")
    named = config(f"start.driver={NAME}", "opponents.count=1", f"opponents.drivers={NAME},self")
    found = prerequisites.checked(named, data_sets.quiet())
    assert found.start.driver == first
    assert found.opponents.drivers == (first, "self")
    alias = config("start.driver=models:/champion@race")
    held = prerequisites.checked(alias, data_sets.quiet()).start.driver
    registration.register(stored(), "champion", "race")
    assert held is not None
    assert stored_runs.find(held).id == first
    again = prerequisites.checked(alias, data_sets.quiet()).start.driver
    assert again is not None
    assert stored_runs.find(again).id != first
    assert prerequisites.checked(
        config("start.driver=driver"), data_sets.quiet()
    ).start.driver == ("driver")


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        (["encoder.pretrained=nosuchrun"], UnknownNameError, "nosuchrun"),
        (["encoder.pretrained=driver"], InputError, "expected an encoder of the same network"),
        (["encoder.name=autoencoder", "encoder.data=nowhere"], InputError, "nowhere"),
        (["encoder.name=autoencoder", "encoder.data=empty"], InputError, "Received: none"),
        (["encoder.name=autoencoder", "encoder.data=small"], InputError, "Received: 16x12"),
        (["encoder.name=autoencoder", "encoder.data=few"], InputError, "at least one batch"),
        # Found in the own folder, as its size is known.
        (["encoder.name=autoencoder", "encoder.data=~/small"], InputError, "Received: 16x12"),
        (["start.driver=nosuchrun"], UnknownNameError, "nosuchrun"),
        (["imitation.data=nowhere"], InputError, "nowhere"),
    ],
)
def test_what_cannot_be_read_begins_no_run_and_no_study(
    settings: list[str],
    kind: type[DonkeyRLError],
    says: str,
    store: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(store))
    monkeypatch.setenv("USERPROFILE", str(store))
    small_drivers.lane(seed=3).save("driver", lite=False)
    pathlib.Path("empty").mkdir()
    for folder, size in (("small", (16, 12)), ("few", (80, 60))):
        pathlib.Path(folder).mkdir()
        Image.new("RGB", size).save(pathlib.Path(folder, "1.png"))
    with pytest.raises(kind, match=says):
        training.train(config(*settings), data_sets.quiet())
    wanted = plan.make(plan.SweepRequest(study="s", agent="sac", settings=(*SMALL, *settings)))
    with pytest.raises(kind, match=says):
        command.sweep(wanted, command.Work(trials=1), data_sets.quiet())
    assert {each.name for each in store.iterdir()} == {
        "mlflow.db", "driver", "empty", "small", "few",
    }  # fmt: skip
    assert list(stored_runs.every()) == []


@pytest.mark.usefixtures("store")
def test_a_simulator_that_is_away_or_another_is_noticed_before_an_encoder_is_trained() -> None:
    def there(port: int, *settings: str) -> TrainingConfig:
        return config(f"simulator=127.0.0.1:{port}", "link.config_spacing_s=0.01", *settings)

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        unused = int(holder.getsockname()[1])
        with pytest.raises(LinkRefused, match=f"127.0.0.1:{unused}"):
            training.train(there(unused, "link.connect_timeout_s=0.2"), data_sets.quiet())
    with served_car.serving() as server:
        with pytest.raises(ConfigurationError, match="that of 'warehouse' 172"):
            training.train(there(server.port, "track=warehouse"), data_sets.quiet())
        found = prerequisites.checked(there(server.port), data_sets.quiet())
        assert found == there(server.port)
        _left(server)
    assert list(stored_runs.every()) == []


def _left(server: Running) -> None:
    """Waits until nobody drives any more."""
    ends = time.monotonic() + 60.0
    while server.statistics().clients:
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_the_best_of_a_study_is_as_long_as_its_recipe(tmp_path: pathlib.Path) -> None:
    recipe, space = tmp_path / "mine.yaml", tmp_path / "space.yaml"
    recipe.write_text("agent: sac\nsteps: 600\ncheck: {races: 2, every: 300}\n")
    space.write_text("sac.gamma: {low: 0.9, high: 0.99}\n")
    asked = {"study": "s", "recipe": str(recipe), "space": space}

    def best(**more: object) -> dict[str, object]:
        made = plan.make(configuration.validate(plan.SweepRequest, asked | more))
        return results.recipe_of(made, {"sac.gamma": 0.95})

    assert best() == {
        "agent": "sac", "steps": 600, "check": {"races": 2, "every": 300}, "sac": {"gamma": 0.95},
    }  # fmt: skip
    # What an option makes shorter is for the sweep alone, what a setting says is not.
    assert best(steps=90) == best()
    assert best(steps=90, settings=["steps=80", "evaluation.races=4"]) == {
        **best(), "steps": 80, "evaluation": {"races": 4},
    }  # fmt: skip
    space.write_text("steps: {low: 300, high: 900}\n")
    made = plan.make(configuration.validate(plan.SweepRequest, asked))
    assert results.recipe_of(made, {"steps": 492})["steps"] == 492
    usual = plan.make(plan.SweepRequest(study="s", agent="sac"))
    assert results.recipe_of(usual, {"sac.gamma": 0.95}) == {
        "agent": "sac",
        "sac": {"gamma": 0.95},
    }
