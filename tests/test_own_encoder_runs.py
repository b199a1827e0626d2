"""Runs with an encoder of the user's own: trained, resumed, raced, and begun again."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import re
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from donkey_rl import cli, configuration
from donkey_rl.agents.driver import Driver
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments import (
    augmentation_sheet,
    beginning,
    encoder_training,
    reproduction,
    resuming,
    starting,
    stored_runs,
    tracking,
    training,
)
from donkey_rl.experiments import config as configs
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.membership import Membership
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.reporting import trained
from donkey_rl.experiments.sweeps import plan
from donkey_rl.experiments.sweeps.plan import SweepRequest
from donkey_rl.experiments.training_result import TrainingResult
from tests import new_stores
from tests.stopped_runs import stop

MINE = """
import keras
from keras import layers


class Reader:
    def __init__(self, shape):
        image = keras.Input(shape, dtype="uint8")
        x = layers.AveragePooling2D(20)(layers.Rescaling(1 / 255)(image))
        self.model = keras.Model(image, layers.Dense(1)(layers.Flatten()(x)))

    def fit(self, images, labels):
        assert images.shape == (300, 120, 160, 3) and images.dtype == "uint8"
        assert len(labels) == 21 and all(each.shape == (300,) for each in labels.values())
        self.model.compile("adam", "mse")
        self.model.fit(images, labels["heading_error"], epochs=1, verbose=0)
"""

SMALL = (
    "cars=4", "steps=900", "encoder.name=own", "encoder.code=mine.py:Reader", "encoder.frames=300",
    "evaluation.races=1", "evaluation.laps=1", "check.every=500", "check.races=1",
    "checkpoint.every=300", "checkpoint.keep=true", "sac.learning_starts=100",
    "sac.batch_size=64", "sac.gradient_steps=1", "sac.hidden=16,16", "ppo.batch_size=64",
    "ppo.n_steps=16", "ppo.hidden=16,16",
)  # fmt: skip


@pytest.fixture
def mine(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The file of an encoder, in the current folder, which has a store of runs."""
    new_stores.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    file = tmp_path / "mine.py"
    file.write_text(MINE, encoding="utf-8")
    return file


def told(*settings: str) -> TrainingConfig:
    return configuration.with_settings(TrainingConfig(), [*SMALL, *settings])


def train(config: TrainingConfig) -> TrainingResult:
    with ProgressDisplay(io.StringIO()) as progress:
        return training.train(config, progress, Membership(shown=False))


def driver_of(run_id: str) -> Driver:
    return Driver.load(stored_runs.download_driver(run_id))


@pytest.mark.slow
def test_sac_learns_by_it_and_goes_on_and_comes_to_the_same(mine: pathlib.Path) -> None:
    whole = train(told())
    ended = stop(told())
    with pytest.MonkeyPatch.context() as patched, ProgressDisplay(io.StringIO()) as progress:
        # It is trained once: a run that goes on reads it.
        patched.setattr(encoder_training, "train_encoder", None)
        done = training.resume(ended, [], progress)
    assert done.resumed_at == 600
    assert driver_of(done.run_id).hash == driver_of(whole.run_id).hash
    stored = stored_runs.find(whole.run_id)
    assert stored.params["encoder.code"].endswith("mine.py:Reader")
    assert stored.metrics["encoder/seconds"] > 0.0
    assert stored_runs.download(stored, beginning.ENCODER_FILE).read_text() == MINE
    begun = beginning.read(stored)
    assert begun.code == beginning.hashes_of_code(told())
    assert begun.config["encoder"]["code"] == f"{mine}:Reader"


@pytest.mark.slow
def test_ppo_learns_by_it_and_its_driver_needs_the_file_no_more(
    mine: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for setting in SMALL for word in ("--set", setting)]
    assert cli.main(["train", "--json", "--agent", "ppo", *words]) == 0
    run_id = json.loads(capsys.readouterr().out)["run_id"]
    mine.unlink()
    assert cli.main(["register", run_id]) == 0
    capsys.readouterr()
    races = ["--races", "1", "--laps", "1", "--no-yardsticks", "--json"]
    assert cli.main(["evaluate", run_id, *races]) == 0
    assert json.loads(capsys.readouterr().out)["driver_hash"] == driver_of(run_id).hash
    assert cli.main(["export", run_id, "--to", "litert", "--out", "out", "--json"]) == 0
    # Another training begins with its driver, eyes and all.
    taking = ["agent=ppo", f"start.driver={run_id}", "ppo.hidden=16,16"]
    start = configuration.with_settings(TrainingConfig(), taking)
    taken = starting.load(start)
    assert taken is not None
    assert taken.encoder.name == "own"


def test_the_first_ctrl_c_ends_its_training(mine: pathlib.Path) -> None:
    pressed = "signal.raise_signal(signal.SIGINT)\n        raise ValueError('It goes on.')"
    begun = MINE.replace('self.model.compile("adam", "mse")', pressed)
    mine.write_text(f"import signal\n{begun}", encoding="utf-8")
    result = train(told())
    assert result.stopped
    assert result.steps == 0
    assert stored_runs.find(result.run_id).status == "KILLED"


def test_ctrl_c_while_a_run_begins_ends_it(
    mine: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tracking.start

    def pressed(*words: Any, **settings: Any) -> Any:
        # In the middle of a library's code, which may swallow what is raised there.
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return start(*words, **settings)

    monkeypatch.setattr(tracking, "start", pressed)
    result = train(told())
    assert result.stopped
    assert not result.driver_stored
    assert stored_runs.find(result.run_id).status == "KILLED"


def test_a_file_that_cannot_be_used_is_refused_before_a_run_is_begun(mine: pathlib.Path) -> None:
    mine.write_text(MINE.replace('dtype="uint8")', 'dtype="float32")'), encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.py: expected a model of keras\.Input"):
        train(told())
    with pytest.raises(InputError, match=r"Expected encoder\.code=PATH\.py:NAME with encoder"):
        train(told("encoder.code=null"))
    assert list(stored_runs.every()) == []
    with pytest.raises(InputError, match=r"mine\.py: expected a model of keras\.Input"):
        plan.make(SweepRequest(study="s", agent="sac", settings=SMALL[2:5]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["encoder.code=mine.py:Reader"],
         "encoder.code is a setting of encoder.name=own, not of lane. Leave it out, or set "
         "encoder.name=own."),
        (["encoder.name=onw"],
         "encoder.name should be 'lane', 'autoencoder', 'cnn' or 'own'. Received: 'onw'. Did you "
         "mean 'own'?"),
        (["encoder.name=own", "encoder.code=mine.py"],
         "encoder.code: An encoder of a file is given as PATH.py:NAME. Received: 'mine.py'"),
        (["encoder.name=own", "encoder.code=nowhere.py:f"],
         "encoder.code: There is no file 'nowhere.py'"),
        (["encoder.name=own", "start.driver=abc"],
         "start.driver brings its encoder along, received encoder.name=own as well"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(
    mine: pathlib.Path, settings: list[str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        configuration.with_settings(TrainingConfig(), settings)


def test_no_sheet_is_drawn_of_what_its_own_code_changes(mine: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"Received: encoder\.name=own, which changes them"):
        augmentation_sheet.draw(told(), mine.parent / "sheet.png")


def test_a_run_goes_on_and_begins_again_with_the_file_that_it_had(mine: pathlib.Path) -> None:
    with tracking.start("with an encoder of my own") as run:
        resuming.begin(run, told())
        run.end("KILLED")
    for found in (resuming.find(run.id, []).config, reproduction.find(run.id).config):
        assert found.encoder.model_dump()["code"] == f"{mine}:Reader"
    mine.write_text(MINE + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.py:Reader' is not what it was .* encoder\.py"):
        resuming.find(run.id, [])
    with pytest.raises(InputError, match=r"encoder\.code: '.*mine\.py:Reader' is not what it was"):
        reproduction.find(run.id)
    replaced = reproduction.find(run.id, [f"encoder.code={mine}:Reader"])
    assert replaced.config.encoder.name == "own"


def test_trials_share_an_encoder_until_its_file_changes(mine: pathlib.Path) -> None:
    before = encoder_training.key(told())
    assert encoder_training.key(told("sac.gamma=0.9")) == before
    mine.write_text(MINE + "\n", encoding="utf-8")
    assert encoder_training.key(told()) != before


def test_a_study_is_another_where_the_file_has_changed(mine: pathlib.Path) -> None:
    asked = SweepRequest(study="s", agent="sac", settings=SMALL[2:5])
    before = plan.make(asked).identity()
    mine.write_text(MINE + "\n", encoding="utf-8")
    after = plan.make(asked).identity()
    assert [key for key in before if before[key] != after[key]] == ["encoder_file"]


def test_a_report_says_what_differs_though_the_file_is_gone(mine: pathlib.Path) -> None:
    flat = configs.flat(told().model_dump(mode="json"))
    run = SimpleNamespace(
        id="a" * 32,
        status="FINISHED",
        params={key: str(value) for key, value in flat.items()},
        tags={},
    )
    mine.unlink()
    reported: Any = SimpleNamespace(
        run=run, steps=900, label="mine", history=SimpleNamespace(began_ms=0)
    )
    markup = trained.section([reported]).html
    assert "sees by code of its trainer&#x27;s own (own)" in markup
    assert re.search(r"encoder\.code.*mine\.py:Reader.*None", markup)
    assert re.search(r"encoder\.frames.*300.*4000", markup)
