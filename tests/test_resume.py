"""Runs that end early and go on: they come to what they would have come to, bit for bit."""

from __future__ import annotations

import functools
import io
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents.driver import Driver
from donkey_rl.envs import vec_env
from donkey_rl.envs.simulator import track
from donkey_rl.errors import DivergedError, InputError, StorageError
from donkey_rl.experiments import mlflow_store, resuming, stored_runs, tracking, training
from donkey_rl.experiments.checkpoints import Checkpoints
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.continuation import Continuation
from donkey_rl.experiments.membership import Membership
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.run_folder import RunFolder
from donkey_rl.experiments.training_result import TrainingResult
from tests.stopped_runs import UNENDING, stop

SMALL = (
    "cars=4", "steps=1200", "encoder.frames=256", "encoder.epochs=1", "evaluation.races=1",
    "evaluation.laps=1", "check.every=500", "check.races=1", "checkpoint.every=300",
    "checkpoint.keep=true", "sac.learning_starts=100", "sac.batch_size=64",
    "sac.gradient_steps=1", "sac.hidden=32,32", "ppo.batch_size=64", "ppo.n_steps=16",
    "ppo.hidden=32,32",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with one store of runs for all tests: a new store takes seconds."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def config(*settings: str) -> TrainingConfig:
    return configuration.with_settings(TrainingConfig(), [*SMALL, *settings])


def shown(work: Callable[[ProgressDisplay], TrainingResult]) -> tuple[TrainingResult, str]:
    """Returns what came of some work, and what it showed."""
    text = io.StringIO()
    with ProgressDisplay(text) as progress:
        result = work(progress)
    return result, text.getvalue()


def resume(run_id: str, *settings: str) -> tuple[TrainingResult, str]:
    return shown(lambda progress: training.resume(run_id, settings, progress))


@functools.cache
def uninterrupted(agent: str) -> TrainingResult:
    told, whole = config(f"agent={agent}"), Membership(shown=False)
    return shown(lambda progress: training.train(told, progress, whole))[0]


def drivers_hash(run_id: str) -> str:
    return Driver.load(stored_runs.download_driver(run_id)).hash


def process(*words: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", UNENDING, "train", "--json", *words]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(folder: Path, names: str, running: subprocess.Popen[str]) -> None:
    while not any(folder.glob(names)):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.02)


def arrays(folder: Path) -> dict[str, Any]:
    """Returns all numbers of a checkpoint, times left out."""
    state = json.loads((folder / "facts.json").read_text())
    for name in ("wall_s", "cpu_s"):
        state["checks"].pop(name)
    for name in [name for name in state["agent"]["waiting"] if name.startswith("time/")]:
        del state["agent"]["waiting"][name]
    found: dict[str, Any] = {"state": json.dumps(state)}
    for file in (folder / "arrays.npz", folder / "best.npz"):
        with np.load(file) as stored:
            found |= {f"{file.name} {name}": stored[name].tobytes() for name in stored.files}
    for file in sorted((folder.parent / "rows").glob("*.npy")):
        found[file.name] = np.load(file).tobytes()
    return found


def curve(run_id: str, name: str) -> list[tuple[int, float]]:
    """Returns a curve; points that were logged twice must be equal."""
    client = mlflow_store.client()
    return sorted({(p.step, p.value) for p in client.get_metric_history(run_id, name)})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("agent", "kills"), [("sac", 2), ("ppo", 1)])
def test_a_run_killed_at_random_points_comes_to_the_same(agent: str, kills: int) -> None:
    """Any state that a checkpoint leaves out moves the weights: updates follow the last one."""
    whole = uninterrupted(agent)
    chance = random.Random(kills)
    before = {*Path("runs").iterdir(), Path("runs/unsent")}
    running = process("--agent", agent, *(word for each in SMALL for word in ("--set", each)))
    while not (made := set(Path("runs").iterdir()) - before):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.02)
    (folder,) = (path.resolve() for path in made)
    # While the encoder is trained or before, then after a checkpoint.
    places = ["settings", f"checkpoints/[{chance.choice((1, 2))}-9]"][-kills:]
    for index, awaited in enumerate(places):
        if index > 0:
            running = process("--resume", folder.name[:12])
        wait_for(folder, awaited, running)
        time.sleep(chance.uniform(0.0, 0.5))
        running.kill()
        running.communicate()
        assert running.returncode == -signal.SIGKILL
    done, text = resume(folder.name)
    assert done.resumed_at is not None
    assert f"resumed at step {done.resumed_at:,}" in text
    assert done.steps == whole.steps
    assert (done.first_clean_lap_steps, done.best_lap_s) == (
        whole.first_clean_lap_steps,
        whole.best_lap_s,
    )
    runs = (done.run_id, whole.run_id)
    one, other = (arrays(Path("runs") / run / "checkpoints" / "3") for run in runs)
    assert one == other
    assert drivers_hash(done.run_id) == drivers_hash(whole.run_id)
    for name in ("check/completion", "train/learning_rate"):
        assert curve(done.run_id, name) == curve(whole.run_id, name) != []
    assert stored_runs.find(done.run_id).status == "FINISHED"


@pytest.fixture(scope="module")
def stopped(place: Path) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        return stop(config())


def place_of(run_id: str) -> Path:
    return Path(stored_runs.find(run_id).tags[resuming.PLACE_TAG])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "difference"),
    [
        ("track=warren", "track=generated_track, not warren"),
        ("camera.img_w=80", "camera.img_w=160, not 80"),
        ("history=2", "history=3, not 2"),
        ("steps=2400", "steps=1200, not 2400"),
        ("agent=ppo", "agent=sac, not ppo"),
        ("simulator=127.0.0.1:9091", "simulator=embedded, not 127.0.0.1:9091"),
        ("checkpoint.every=200", "checkpoint.every=300, not 200"),
    ],
)
def test_other_settings_are_refused_by_name(stopped: str, setting: str, difference: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"was started with {difference}. It goes on")):
        resuming.find(stopped, [setting])


@pytest.mark.slow
def test_settings_that_learning_does_not_depend_on_may_change(stopped: str) -> None:
    found = resuming.find(stopped[:8], ["evaluation.races=2", "checkpoint.keep=false"])
    assert found.run_id == stopped
    assert found.config == config("evaluation.races=2", "checkpoint.keep=false")
    assert found.remarks == ()


@pytest.mark.slow
def test_a_run_that_is_stopped_before_it_goes_on_keeps_its_driver(
    stopped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The untrained policy of the new process must not take the place of the stored one."""

    def at_once(self: Continuation, agent: object) -> None:
        raise KeyboardInterrupt

    kept = drivers_hash(stopped)
    monkeypatch.setattr(Continuation, "learn", at_once)
    result, _ = resume(stopped)
    assert result.stopped
    assert drivers_hash(stopped) == kept


@pytest.mark.slow
def test_another_version_is_refused_and_other_packages_are_named(
    stopped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = resuming.provenance.versions()
    monkeypatch.setattr(resuming.provenance, "versions", lambda: now | {"donkey-rl": "9.9.9"})
    with pytest.raises(InputError, match=r"Received: version 9\.9\.9\. Install that version"):
        resuming.find(stopped, [])
    monkeypatch.setattr(resuming.provenance, "versions", lambda: now | {"keras": "9.9"})
    (remark,) = resuming.find(stopped, []).remarks
    assert remark.endswith(f"keras {now['keras']} then, 9.9 now")


@pytest.mark.slow
def test_a_folder_that_is_gone_or_damaged_is_an_error(stopped: str) -> None:
    folder = place_of(stopped)
    away = folder.rename(folder.with_name("away"))
    with pytest.raises(InputError, match=re.escape(f"none in '{folder}'. Put the folder back")):
        resuming.find(stopped, [])
    away.rename(folder)
    settings = folder / "settings" / "manifest.json"
    text = settings.read_text()
    settings.write_text(text[:100])
    with pytest.raises(InputError, match=r"cannot be continued: .*manifest\.json"):
        resuming.find(stopped, [])
    settings.write_text(text)
    assert resuming.find(stopped, []).run_id == stopped


@pytest.mark.slow
def test_a_track_file_that_has_changed_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path("my.json").resolve()
    file.write_text((track.FOLDER / "warren.json").read_text())
    with tracking.start("on a track of my own") as run:
        resuming.begin(run, config("track=my.json"))
        run.end("KILLED")
    (place / "elsewhere").mkdir(exist_ok=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    monkeypatch.chdir(place / "elsewhere")
    # From another folder the run finds its track and its place all the same.
    assert resuming.find(run.id, []).config.track == str(file)
    file.write_text(file.read_text() + " ")
    with pytest.raises(InputError, match=r"my\.json' is not what it was"):
        resuming.find(run.id, [])


def test_a_latency_profile_that_has_changed_is_refused(place: Path) -> None:
    del place
    profile = Path("delays.csv").resolve()
    rows = [f"{0.05 * k:.2f},DELAY" for k in range(40)]
    text = "\n".join(["time_s,delay_ms", *rows, ""])
    profile.write_text(text.replace("DELAY", "50"))
    with tracking.start("late") as run:
        resuming.begin(run, config("latency.profile=delays.csv"))
        run.end("KILLED")
    assert resuming.find(run.id, []).config.latency.profile == str(profile)
    profile.write_text(text.replace("DELAY", "60"))
    with pytest.raises(InputError, match=r"latency\.profile names is not what it was"):
        resuming.find(run.id, [])


@pytest.mark.slow
def test_two_processes_do_not_go_on_with_the_same_run(stopped: str) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from donkey_rl.experiments.run_folder import RunFolder\n"
        "with RunFolder(pathlib.Path(sys.argv[1])).locked():\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(place_of(stopped))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="is being trained by another process"):
            resume(stopped)
        other.kill()
    # The system has taken the lock from the one that is dead; this process holds it once.
    folder = RunFolder(place_of(stopped))
    with (
        folder.locked(),
        pytest.raises(InputError, match="is being trained"),
        RunFolder(folder.path).locked(),
    ):
        pass
    assert stored_runs.find(stopped).status == "KILLED"


@pytest.mark.slow
def test_after_ctrl_c_and_with_the_last_checkpoint_damaged_it_comes_to_the_same(
    stopped: str,
) -> None:
    """It runs after the tests above, which leave the run as it is, and finishes it."""
    newest = place_of(stopped) / "checkpoints" / "2" / "arrays.npz"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    done, text = resume(stopped, "checkpoint.keep=false")
    assert "checkpoint 2 is damaged and is passed over" in text
    # Checkpoints come where a rollout of four cars begins: at step 300.
    assert done.resumed_at == 300
    whole = uninterrupted("sac")
    assert drivers_hash(done.run_id) == drivers_hash(whole.run_id)
    assert curve(done.run_id, "check/completion") == curve(whole.run_id, "check/completion")
    assert done.wall_s > 0.0
    assert stored_runs.find(stopped).status == "FINISHED"
    assert not (Path("runs") / stopped).exists()
    with pytest.raises(InputError, match="has finished: there is nothing to continue"):
        resume(stopped)


@pytest.mark.slow
def test_a_replay_buffer_of_images_comes_back() -> None:
    """The policy sees by its own network: the buffer holds frames, and rows that point at them."""
    settings = [each for each in SMALL if not each.startswith("encoder.")]
    seeing = configuration.with_settings(
        TrainingConfig(),
        [*settings, "encoder.name=cnn", "sac.cnn.filters=4,8", "sac.buffer_size=500", "steps=900"],
    )
    whole, _ = shown(lambda progress: training.train(seeing, progress))
    done, _ = resume(stop(seeing))
    assert done.resumed_at == 600
    # Frames gave way before the checkpoint: 600 steps and the starts of episodes, 500 places.
    pieces = [path.name for path in Path("runs", done.run_id, "checkpoints/rows").iterdir()]
    assert {name.split("-")[0] for name in pieces} == {"rows", "links", "frames"}
    assert drivers_hash(done.run_id) == drivers_hash(whole.run_id)


@pytest.mark.slow
def test_a_diverged_run_names_step_loss_and_the_last_good_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk is full at the second checkpoint: that is said, and the training goes on."""
    real = Checkpoints.write

    def write(self: Checkpoints, number: int, *rest: Any) -> None:
        if number == 2:
            raise StorageError("Received: No space left on device.")
        real(self, number, *rest)

    monkeypatch.setattr(Checkpoints, "write", write)
    # What is not allowed is not written as a configuration either.
    monkeypatch.setattr(resuming.beginning, "store", lambda begun, run: None)
    text = io.StringIO()
    usual = config("check.every=5000", "sac.learning_starts=800")
    rates = {"learning_rate": 1e30, "final_learning_rate": None}  # far outside what is allowed
    wild = usual.model_copy(update={"sac": usual.sac.model_copy(update=rates)})
    message = (
        r"critic_loss.* at step 8\d\d; the last good checkpoint is '.*checkpoints.1', "
        r"of step 300"
    )
    with ProgressDisplay(text) as progress, pytest.raises(DivergedError, match=message):
        training.train(wild, progress)
    assert "no checkpoint at step 600: Received: No space left on device." in text.getvalue()


def test_cars_that_are_seeded_anew_have_no_past() -> None:
    """What they do after `seed` and `reset` depends on nothing that came before."""
    small = config().environment()
    old, new = (vec_env.make(small, 3, seed) for seed in (1, 2))
    chance = np.random.default_rng(0)
    old.reset()
    for _ in range(60):
        old.step(chance.uniform(-1, 1, (3, 2)).astype(np.float32))
    seen = []
    for cars in (old, new):
        cars.seed(7)
        steps = [{name: part.copy() for name, part in cars.reset().items()}]
        moves = np.random.default_rng(1).uniform(-1, 1, (40, 3, 2)).astype(np.float32)
        for move in moves:
            observed, reward, done, _ = cars.step(move)
            steps.append({name: part.copy() for name, part in observed.items()})
            steps.append({"reward": reward, "done": done})
        seen.append(steps)
    for one, other in zip(*seen, strict=True):
        for name, part in one.items():
            np.testing.assert_array_equal(part, other[name], name)


def test_cars_that_start_anew_are_not_cut_for_an_interruption_before() -> None:
    cars = vec_env.make(config().environment(), 2, 0)
    cars.reset()
    cars.interrupt()
    cars.reset()
    _, _, done, _ = cars.step(np.zeros((2, 2), np.float32))
    assert not done.any()
