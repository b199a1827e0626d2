"""Drivers as models of MLflow: loaded without this project, registered, found by their address."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from donkey_rl.agents.driver import Driver
from donkey_rl.envs import batch
from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments import (
    drivers,
    mlflow_store,
    model_registry,
    registration,
    stored_races,
    stored_runs,
    tracking,
)
from donkey_rl.experiments.driver_model import MODEL_TAG
from tests import new_stores, stored_evaluations
from tests.test_driver import make, observations, space

ROOT = Path(__file__).parents[1]
FOREIGN = """
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("donkey_rl", "tensorflow", "keras", "torch"):
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Hidden())
    import mlflow
    import numpy as np

    mlflow.set_tracking_uri(sys.argv[1])
    model = mlflow.pyfunc.load_model(sys.argv[2])
    with np.load(sys.argv[3]) as seen:
        np.save(sys.argv[4], model.predict(dict(seen)))
    print(*sorted(sys.modules.keys() & {"donkey_rl", "tensorflow", "donkey_driver"}))
"""


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_stores.make(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def driver() -> Driver:
    return make()[0]


def stored(uri: str, driver: Driver, folder: Path, *, lite: bool = True) -> str:
    """Returns the id of a run that has stored the driver."""
    driver.save(folder / "driver", lite=lite)
    with tracking.start("a driver", uri=uri) as run:
        run.log_driver(folder / "driver", space(), batch.action_space())
    return run.id


@pytest.mark.slow
def test_mlflow_drives_where_this_project_is_not_installed(
    uri: str, driver: Driver, tmp_path: Path
) -> None:
    done = registration.register(stored(uri, driver, tmp_path), uri=uri)
    assert done.address == "models:/donkey-driver@race"
    seen = observations(5)
    np.savez(tmp_path / "seen.npz", **seen)
    words = [uri, done.address, str(tmp_path / "seen.npz"), str(tmp_path / "action.npy")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FOREIGN), *words],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert ran.stdout.split() == ["donkey_driver"]
    action = np.load(tmp_path / "action.npy")
    np.testing.assert_allclose(action, driver.act(seen), atol=1e-5)
    model = stored_runs.find(done.run_id, uri=uri).tags[MODEL_TAG]
    folder = Path(mlflow_store.client(uri).get_logged_model(model).artifact_location[7:])
    needs = (folder / "requirements.txt").read_text().splitlines()
    assert {line.partition("==")[0] for line in needs} <= {"mlflow", "numpy", "ai-edge-litert"}
    assert not {path.suffix for path in folder.rglob("*")} & {".pkl", ".pickle"}


def test_a_driver_is_found_by_its_registered_name(
    uri: str, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = stored(uri, driver, tmp_path)
    first = registration.register(run_id, "club", "race", uri=uri)
    assert registration.register(run_id, "club", "spare", uri=uri).version == first.version == 1
    other = make(seed=4)[0]
    second = registration.register(stored(uri, other, tmp_path), "club", "race", uri=uri)
    assert second.version == 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for address, expected, run in (
        ("models:/club@race", other, second.run_id),
        ("models:/club@spare", driver, run_id),
        ("models:/club/1", driver, run_id),
        (f"models:/{second.model_id}", other, second.run_id),
    ):
        found = drivers.load(address)
        assert (found.hash, found.run_id) == (expected.hash, run)
    for address, match in (
        ("models:/clob@race", "Did you mean 'club'"),
        ("models:/club@rice", "Did you mean 'race'"),
        ("models:/club/7", "has the versions 1, 2"),
        ("models:/club", "models:/NAME@ALIAS"),
    ):
        with pytest.raises(InputError, match=match):
            drivers.load(address)


def test_models_beyond_the_first_page_are_found() -> None:
    class Page(list[Any]):
        token = ""

    class Registry:
        def search_registered_models(self, page_token: str | None = None) -> Page:
            first = int(page_token or 0)
            page = Page(SimpleNamespace(name=f"m{k}") for k in range(first, first + 100))
            page.token = str(first + 100) if first < 200 else ""
            return page

    found = model_registry.registered(Registry())  # type: ignore[arg-type]
    assert list(found) == [f"m{k}" for k in range(300)]


def test_the_driver_of_an_address_is_not_the_runs_later_one(
    uri: str, driver: Driver, tmp_path: Path
) -> None:
    run_id = stored(uri, driver, tmp_path)
    done = registration.register(run_id, "early", uri=uri)
    make(seed=5)[0].save(tmp_path / "driver")
    with tracking.attach(run_id, uri=uri) as run:
        run.log_driver(tmp_path / "driver", space(), batch.action_space())
    found = stored_runs.find(done.address, uri=uri)
    assert found.id == run_id
    assert Driver.load(stored_runs.download_driver(found, uri=uri)).hash == driver.hash
    # Whose races count follows: by default the run's driver, with the address this one.
    later = Driver.load(stored_runs.download_driver(run_id, uri=uri)).hash
    assert later != driver.hash
    with tracking.attach(run_id, uri=uri) as run:
        for folder, who, count in (("a", driver.hash, 3), ("b", later, 1)):
            races = stored_evaluations.races([20.0] * count, driver_hash=who)
            stored_evaluations.add(run, f"evaluation-{folder}", races)
    plain = stored_races.read(stored_runs.find(run_id, uri=uri), uri=uri)
    assert plain.driver_hash == later
    asked = stored_races.stored_driver(found, uri=uri)
    assert stored_races.read(found, driver=asked, uri=uri).driver_hash == driver.hash


def test_a_driver_without_its_lite_part_gets_one(uri: str, driver: Driver, tmp_path: Path) -> None:
    run_id = stored(uri, driver, tmp_path, lite=False)
    before = stored_runs.find(run_id, uri=uri).tags[MODEL_TAG]
    done = registration.register(run_id, "first", uri=uri)
    assert done.model_id != before
    folder = stored_runs.download_driver(done.address, uri=uri)
    assert (folder / "driver.tflite").is_file()


def test_mistakes_are_one_line(uri: str, driver: Driver, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nor a version such as v9\. Received: 'v2'"):
        registration.register("any", alias="v2", uri=uri)
    with pytest.raises(InputError, match="The name is made of letters"):
        registration.register("any", "a/b", uri=uri)
    with pytest.raises(InputError, match=r"The alias is made of letters, digits, '_' and '-',"):
        registration.register("any", alias="2026.11", uri=uri)
    with tracking.start("nothing", uri=uri) as run:
        pass
    with pytest.raises(InputError, match="holds no driver"):
        registration.register(run.id, uri=uri)
    with pytest.raises(UnknownNameError):
        registration.register("zzzz-zzzz", uri=uri)
