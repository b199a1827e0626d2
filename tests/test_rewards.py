"""A reward of the user's own: what is refused, what it is told, and that agents learn by it."""

from __future__ import annotations

import inspect
import io
import pathlib
import re
import textwrap

import numpy as np
import pytest
from gymnasium import spaces

from donkey_rl import configuration
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import DonkeyEnv, EnvironmentConfig, TaskConfig, rewards, vec_env
from donkey_rl.envs.batch import Batch, Observation
from donkey_rl.envs.remote import RemoteWorld
from donkey_rl.envs.simulator import physics, stepping
from donkey_rl.envs.simulator.camera import CameraConfig
from donkey_rl.envs.tasks import Facts
from donkey_rl.errors import ConfigurationError, InputError
from donkey_rl.experiments import beginning, checks, resuming, stored_runs, tracking, training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.membership import Membership
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps import plan
from donkey_rl.experiments.sweeps.plan import SweepRequest
from tests import new_stores
from tests.embedded_source import EmbeddedSource

ROOT = pathlib.Path(__file__).parents[1]

MINE = """
import numpy as np

FIVE = 5.0
CALLS = []


def planted(step, failed):
    return step.speed + 10.0 * step.left_edge - 1000.0 * failed


def steer_right(step, failed):
    return -abs(step.steering - 0.5)


def unfinished(step, failed):
    return step.sped


def one_number(step, failed):
    return 1.0


def by_speed(step, failed):
    return np.divide(step.gain, step.speed, where=step.speed > -1, out=np.full(len(failed), 0.0))


def too_much(step, failed):
    return 1e39 * step.gain


def words(step, failed):
    return ["good"] * len(failed)


def changes(step, failed):
    step.speed[:] = 0.0
    return step.speed


def counts(step, failed):
    CALLS.append(1)
    return step.gain + len(CALLS)


def leaves(step, failed):
    raise SystemExit("bye")


def late(step, failed):
    return np.where(step.still_s > 0.5, np.nan, step.gain)
"""


@pytest.fixture
def mine(tmp_path: pathlib.Path) -> pathlib.Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


@pytest.fixture
def store(mine: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of runs in the folder of the file, which is the current one."""
    new_stores.make(mine.parent)
    monkeypatch.chdir(mine.parent)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def line_of(what: str) -> int:
    return MINE[: MINE.index(what)].count("\n") + 1


def config(reward: str, **task: object) -> EnvironmentConfig:
    return EnvironmentConfig(
        camera=CameraConfig(img_w=16, img_h=16),
        task=TaskConfig(reward=reward, **task),  # type: ignore[arg-type]
        throttle_max=0.3,
    )


@pytest.mark.parametrize(
    ("name", "place", "said"),
    [
        ("unfinished", "return step.sped", "AttributeError: 'Facts' object has no attribute"),
        ("one_number", "def one_number", "shape (3,). Received: shape ()"),
        ("by_speed", "return np.divide", "RuntimeWarning: invalid value"),
        ("too_much", "def too_much", "expected finite numbers. Received: 5e+38 for gain=0.5"),
        ("words", None, "ValueError: could not convert string to float"),
        ("changes", "step.speed[:]", "ValueError: assignment destination is read-only"),
        ("counts", "def counts", "expected the same for the same step. Received: [1.5, 1.0, 0.9]"),
        ("leaves", "raise SystemExit", "SystemExit: bye"),
        ("late", "def late", "Received: nan for gain=0,"),
    ],
)
def test_a_broken_reward_is_refused_with_its_line(
    mine: pathlib.Path, name: str, place: str | None, said: str
) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as found:
        Batch(config(f"{mine}:{name}"), 1)
    text = str(found.value)
    assert text.startswith(f"The reward '{name}' of {mine}: ")
    assert "\n" not in text
    if place is not None:
        assert f": line {line_of(place)}: " in text


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("mine.py:planed", "Unknown reward 'planed'. Did you mean 'planted'?"),
        ("mine.py:FIVE", "Unknown reward 'FIVE'"),
        ("empty.py:f", "Unknown reward 'f'. Define that function in it."),
        ("syntax.py:f", "could not be imported: line 1: SyntaxError"),
        ("large.py:f", "holds at most 1000000 bytes"),
    ],
)
def test_a_file_without_the_reward_is_refused(
    mine: pathlib.Path, monkeypatch: pytest.MonkeyPatch, reference: str, said: str
) -> None:
    monkeypatch.chdir(mine.parent)
    pathlib.Path("empty.py").write_text("")
    pathlib.Path("syntax.py").write_text("def f(:\n")
    pathlib.Path("large.py").write_text("#" * 1_000_001)
    with pytest.raises(InputError, match=re.escape(said)):
        rewards.load(reference)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("mine.py", "A reward of a file is given as PATH.py:NAME. Received: 'mine.py'"),
        ("nowhere.py:f", "There is no file 'nowhere.py'"),
    ],
)
def test_a_setting_that_names_no_file_is_refused_before_anything_is_run(
    reference: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"task.reward: {said}")):
        configuration.with_settings(TrainingConfig(), [f"task.reward={reference}"])


def full_ahead(env: DonkeyEnv) -> None:
    for _ in range(100):
        env.step([0.0, 1.0])


def test_a_reward_that_fails_while_driving_names_the_car_it_failed_for(
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / "late.py"
    # None of the cars that it is tried on goes faster than 10 u/s.
    file.write_text("def late(step, failed):\n    return step.gain / (step.speed < 10.5)\n")
    env = DonkeyEnv(config(f"{file}:late"))
    env.reset(seed=0)
    with (
        np.errstate(divide="ignore"),
        pytest.raises(InputError, match=r"line 1: expected finite .*: inf for gain=0\.[\d]+, "),
    ):
        full_ahead(env)


def test_the_planted_reward_replaces_all_terms_and_the_endings_stay(mine: pathlib.Path) -> None:
    env = DonkeyEnv(config(f"{mine}:planted"))
    env.reset(seed=0)
    batch = env.batch
    for step in range(100):
        _, reward, terminated, _, info = env.step([1.0 if step > 20 else 0.0, 0.3])
        speed = np.hypot(*batch.motion[0, [physics.FORWARD, physics.RIGHTWARD]])
        beside = batch.sensed[0, stepping.LATERAL] - batch.track.road_left
        assert reward == pytest.approx(speed + 10.0 * beside - 1000.0 * terminated)
        assert info["reward_terms"] == {"planted": reward}
        if terminated:
            break
    assert info["ending"] == "off_track"


def test_the_facts_are_those_of_the_step(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Facts] = []

    def record(self: rewards.OwnReward, facts: Facts, failed: np.ndarray) -> np.ndarray:
        seen.append(facts)
        return np.zeros(len(failed))

    file = tmp_path / "nothing.py"
    file.write_text("def nothing(step, failed):\n    return 0.0 * step.gain\n")
    batch = Batch(config(f"{file}:nothing"), 2)
    monkeypatch.setattr(rewards.OwnReward, "__call__", record)
    batch.reset(np.arange(2))
    batch.step([[0.2, 0.5], [-0.4, 1.0]])
    batch.step([[0.3, 0.5], [0.4, 1.0]])
    facts = seen[-1]
    np.testing.assert_allclose(facts.steering, [0.3, 0.4])
    np.testing.assert_allclose(facts.throttle, [0.5, 1.0])
    np.testing.assert_allclose(facts.steering_change, [0.1, 0.8], atol=1e-6)
    road = batch.track.road_width
    np.testing.assert_allclose(facts.left_edge + facts.right_edge, road)
    np.testing.assert_allclose(facts.heading, batch.sensed[:, stepping.HEADING_ERROR])
    np.testing.assert_allclose(facts.speed, batch.speed)
    assert (facts.gain > 0.0).all()


def test_another_simulator_is_rewarded_alike(mine: pathlib.Path) -> None:
    settings = config(f"{mine}:planted")
    found = []
    for world in (None, RemoteWorld(settings, [EmbeddedSource(settings)])):
        batch = Batch(settings, 1, world=world)
        batch.reset(np.array([0]))
        found.append([float(batch.step([[0.1, 0.6]]).reward[0]) for _ in range(40)])
    # Positions come in seven digits, and the speed of a car is that of its last message.
    np.testing.assert_allclose(found[0], found[1], atol=0.05)
    assert np.ptp(found[0]) > 1.0


def test_the_page_explains_every_fact() -> None:
    page = (ROOT / "docs/environments.md").read_text(encoding="utf-8")
    table = page.partition("## A reward of your own")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE) == [*Facts._fields, "failed"]


class Speeds:
    """What a policy of this file sees of a car: its speed."""

    space = spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def __call__(self, observation: Observation) -> np.ndarray:
        return np.asarray(observation["speed"], np.float32) / 10.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sac", "ppo"])
def test_agents_learn_what_the_planted_reward_wants(mine: pathlib.Path, kind: str) -> None:
    """It pays for a steering of 0.5, whatever becomes of the car: one that laps has none."""
    settings = config(f"{mine}:steer_right", end_off_track=False, stuck_s=100.0, time_limit_s=2.0)
    env = ExtractedVecEnv(vec_env.make(settings, 8, 0), Speeds())
    agent: SAC | PPO
    if kind == "sac":
        small = SACConfig(
            hidden=(16,), batch_size=64, learning_rate=1e-2, learning_starts=160, n_steps=3,
            gradient_steps=2, buffer_size=5000, gamma=0.5, entropy=0.01, entropy_learned=False,
        )  # fmt: skip
        agent = SAC(env, small, seed=0).learn(1200)
    else:
        agent = PPO(
            env,
            PPOConfig(
                hidden=(16,), n_steps=16, batch_size=64, learning_rate=2e-2, gamma=0.5, n_epochs=8
            ),
            seed=0,
        ).learn(2000)
    # Within two seconds none comes to more than 2 m/s.
    actions = agent.predict(np.array([[0.0], [0.1], [0.2]], np.float32), deterministic=True)[0]
    np.testing.assert_allclose(actions[:, 0], 0.5, atol=0.2)


@pytest.mark.usefixtures("store")
def test_a_run_goes_on_with_the_reward_that_it_began_with(mine: pathlib.Path) -> None:
    told = configuration.with_settings(TrainingConfig(), ["task.reward=mine.py:planted"])
    with tracking.start("with a reward of my own") as run:
        resuming.begin(run, told)
        run.end("KILLED")
    assert resuming.find(run.id, []).config.task.reward == f"{mine}:planted"
    assert resuming.find(run.id, ["task.reward=mine.py:planted"]).run_id == run.id
    with pytest.raises(InputError, match=r"task\.reward=.*mine\.py:planted, not null"):
        resuming.find(run.id, ["task.reward=null"])
    mine.write_text(MINE + "\n")
    with pytest.raises(InputError, match=r"mine\.py:planted' is not what it was .* reward\.py"):
        resuming.find(run.id, [])


def test_a_study_is_another_where_the_file_of_its_reward_has_changed(mine: pathlib.Path) -> None:
    asked = SweepRequest(study="s", agent="sac", settings=(f"task.reward={mine}:planted",))
    before = plan.make(asked).identity()
    assert before == plan.make(asked).identity()
    mine.write_text(MINE + "\n")
    after = plan.make(asked).identity()
    assert [key for key in before if before[key] != after[key]] == ["reward_file"]


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_a_training_keeps_its_reward_and_by_choice_the_last_policy(
    mine: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = (
        "cars=4", "steps=300", "encoder.frames=256", "encoder.epochs=1", "evaluation.races=1",
        "evaluation.laps=1", "check.every=150", "check.races=1", "sac.learning_starts=100",
        "sac.batch_size=64", "sac.gradient_steps=1", "sac.hidden=16,16",
        "task.reward=mine.py:steer_right", "check.keep=last",
    )  # fmt: skip
    told = configuration.with_settings(TrainingConfig(), small)
    # Every check is worse than the one before: the first policy stays the best.
    falling = iter(range(100, 0, -1))
    real = checks.summary
    monkeypatch.setattr(
        checks, "summary", lambda races: real(races) | {"completion": next(falling) / 1000.0}
    )
    last = []
    learned = training.algorithms.check_learned
    monkeypatch.setattr(
        training.algorithms,
        "check_learned",
        lambda config, before, after, taken: (
            last.append(after),
            learned(config, before, after, taken),
        ),
    )
    with ProgressDisplay(io.StringIO()) as progress:
        done = training.train(told, progress, Membership(shown=False))
    driver = Driver.load(stored_runs.download_driver(done.run_id))
    kept = driver.actor.get_weights()
    assert any(
        all(any(np.array_equal(part, weights) for weights in after) for part in kept)
        for after in last
    )
    stored = stored_runs.find(done.run_id)
    assert stored_runs.download(stored, beginning.REWARD_FILE).read_text() == MINE
    begun = beginning.read(stored)
    assert begun.config["task"]["reward"] == f"{mine}:steer_right"
    assert begun.reward_file == beginning.hashes_of_code(told)["task.reward"]


def test_what_stands_in_the_module_works() -> None:
    (example,) = re.findall(r"::\n\n(.*?)\n\n\S", inspect.getdoc(rewards) or "", re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(textwrap.dedent(example), "rewards.py", "exec"), names)
    found = rewards.OwnReward("keep_pace", pathlib.Path("rewards.py"), names["keep_pace"])  # type: ignore[arg-type]
    facts = Facts(*(np.array([value]) for value in (0.25,) * len(Facts._fields)))
    # 1 - |0.25 - 5| / 5 - 10.
    assert found(facts, np.array([True])).tolist() == pytest.approx([0.05 - 10.0])
