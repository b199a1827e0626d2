"""The phase of a run that learns from an expert, on the embedded simulator."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from donkey_rl import cli, configuration
from donkey_rl.agents import driving
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.features import FeatureScaling
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import labels, vec_env
from donkey_rl.errors import InputError
from donkey_rl.experiments import demonstrations, sight, stored_runs
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay

CARS = 4
STEPS = 160


def settings(**imitation: Any) -> TrainingConfig:
    return configuration.validate(
        TrainingConfig,
        {
            "cars": CARS,
            "camera": {"img_w": 80, "img_h": 60},
            "sac": {"hidden": (16,), "buffer_size": 1_000},
            "ppo": {"hidden": (16,), "n_steps": 8, "batch_size": 32},
            "imitation": {
                "expert": "pursuit", "steps": STEPS, "batch_size": 32, "epochs": 4, **imitation,
            },
        },
    )  # fmt: skip


def imitated(config: TrainingConfig, kind: type[SAC] | type[PPO], *, sees: bool = False) -> Any:
    """Runs the phase; returns the agent, the metrics and the weights before."""
    if sees:
        config = configuration.with_settings(config, ["encoder.name=cnn"])
        encoder = None
    else:
        encoder = LaneEncoder(config.camera.shape, labels.LANE_LABELS, LaneEncoderConfig())
    with contextlib.closing(vec_env.make(config.environment(), CARS, 1)) as cars:
        env = sight.environment(config, cars, encoder, FeatureScaling())
        part: Any = config.ppo if kind is PPO else config.sac
        agent = kind(env, part, seed=1)
        before = driving.weights(agent)
        with display() as progress:
            metrics = demonstrations.imitate(
                config, env, cars, agent, progress, lambda: None, lambda: None
            )
    return agent, metrics, before


@contextlib.contextmanager
def display() -> Iterator[ProgressDisplay]:
    yield ProgressDisplay(io.StringIO())


def test_an_expert_that_holds_back_shows_a_slower_drive() -> None:
    gained = [
        imitated(settings(noise=0.0, pace=pace), SAC)[1]["imitation/reward_per_step"]
        for pace in (1.0, 0.5)
    ]
    # The reward is that of the way driven; cars that start fast need some time to slow down.
    assert 0.3 * gained[0] < gained[1] < 0.9 * gained[0]


def test_expert_fills_the_replay_buffer_by_the_environments_own_steps() -> None:
    agent, metrics, _ = imitated(settings(noise=0.0), SAC)
    buffer, gamma = agent.replay_buffer, agent.config.gamma
    # 40 rounds of 4 cars with 3-step returns: the last two steps of a car that drives on wait
    # for their rewards, an episode that ends leaves nothing open.
    assert STEPS - 2 * CARS <= buffer.size() <= STEPS
    rows = buffer.sample(200).rewards.numpy().ravel()
    # The expert drives at 1 to 30 u/s: 0.3 for each u, over three steps of 0.05 s.
    assert 0.05 < rows.mean() < 3 * 0.3 * 0.05 * 30.0
    discounts = buffer.sample(200).discounts.numpy().ravel()  # type: ignore[union-attr]
    assert np.isclose(discounts, gamma**3).mean() > 0.9
    assert metrics["imitation/steps"] == STEPS
    assert metrics["imitation/reward_per_step"] == pytest.approx(rows.mean() / 3.0, rel=0.3)


def test_policy_moves_towards_the_expert_and_critics_stay() -> None:
    agent, metrics, before = imitated(settings(), SAC)
    untouched = SAC(agent.env, agent.config, seed=1).learner.critics.get_weights()
    for old, new in zip(untouched, agent.learner.critics.get_weights(), strict=True):
        assert (old == new).all()
    assert any((a != b).any() for a, b in zip(before, driving.weights(agent), strict=True))
    # 36 rounds to learn from and their copies, of 4 cars; four are kept for the report.
    assert metrics["imitation/rows"] == 2 * 36 * CARS
    assert 0.0 < metrics["imitation/steering_rmse"] < 1.0


def test_phase_is_the_same_for_the_same_seed_and_leaves_an_empty_buffer_if_told() -> None:
    config = settings(seed_replay=False, mirror=True)
    one, first, _ = imitated(config, SAC)
    other, second, _ = imitated(config, SAC)
    assert first == second
    pairs = zip(driving.weights(one), driving.weights(other), strict=True)
    assert all((a == b).all() for a, b in pairs)
    assert one.replay_buffer.size() == 0


def test_policy_drives_and_the_expert_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that always does the same drives the rounds, and none of it is to be imitated."""
    own = np.full((CARS, 2), 0.125, np.float32)
    monkeypatch.setattr(SAC, "predict", lambda self, seen, **_: (own, None))
    config = settings(rounds=2, round_steps=20 * CARS, round_epochs=1, copies=0, noise=0.0)
    agent, metrics, _ = imitated(config, SAC)
    assert metrics["imitation/own_steps"] == 2 * 20 * CARS
    # Of 40 steps of the expert 36 are learned from, of 20 steps of each round 18.
    assert metrics["imitation/rows"] == (36 + 2 * 18) * CARS
    driven = agent.replay_buffer.sample(2_000).actions.numpy()
    share = (driven == 0.125).all(axis=1).mean()
    # Half of what was driven; of the expert's part nothing is exactly so.
    assert 0.4 < share < 0.6
    alone = configuration.with_settings(config, ["imitation.rounds=0"])
    _, before, _ = imitated(alone, SAC)
    assert "imitation/own_steps" not in before


@pytest.mark.parametrize("kind", [SAC, PPO])
def test_policy_that_sees_by_itself_learns_to_see(kind: type[SAC] | type[PPO]) -> None:
    agent, metrics, before = imitated(settings(), kind, sees=True)
    count = len(agent.learner.cnn.weights)
    after = driving.weights(agent)
    changed = [(a != b).any() for a, b in zip(before, after, strict=True)]
    assert all(changed[:count])
    assert metrics["imitation/loss"] < 1.0


def test_recording_that_is_not_there_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(InputError, match="nothing of that name"):
        demonstrations.check(settings(expert="none", data="no/such/tub"), ProgressDisplay())
    demonstrations.check(settings(), ProgressDisplay())


def test_too_short_a_recording_is_refused_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demonstrations.reference, "recordings", lambda *_: ("tub",))
    for records, accepted in ((70, False), (72, True)):
        monkeypatch.setattr(
            demonstrations.recorded_drives, "read", lambda *_, n=records: (range(n - 9), range(9))
        )
        # With a copy of each, and a tenth kept back: 126, and 129.6.
        config = settings(expert="none", data="tub", batch_size=128, copies=1)
        if accepted:
            demonstrations.check(config, ProgressDisplay())
        else:
            with pytest.raises(InputError, match=r"at least one batch.*Received: 70 records"):
                demonstrations.check(config, ProgressDisplay())


class Recorded:
    """600 records, of which the image of record 7 is damaged; notes how late they were asked."""

    def __init__(self) -> None:
        self.late_s: list[float] = []

    def __len__(self) -> int:
        return 600

    def observations(
        self, rows: npt.NDArray[np.int64], late_s: float
    ) -> tuple[dict[str, Any], npt.NDArray[np.float32]]:
        self.late_s.append(late_s)
        readable = rows[rows != 7]
        return {"record": readable}, np.zeros((len(readable), 2), np.float32)


class Lessons:
    """Takes the numbers of the records in place of a collection."""

    def __init__(self) -> None:
        self.records: dict[bool, list[int]] = {False: [], True: []}

    def add(self, observation: Any, actions: Any, *, kept: bool) -> None:
        assert len(observation["record"]) == len(actions)
        self.records[kept] += observation["record"].tolist()


def test_the_end_of_a_recording_is_kept_back_and_all_of_it_comes_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drive, lessons, pauses = Recorded(), Lessons(), []
    monkeypatch.setattr(demonstrations.recorded_drives, "read", lambda *_: (drive,))
    config = configuration.with_settings(
        settings(expert="none", data="tub"), ["latency.low_ms=100", "latency.high_ms=100"]
    )
    taken: Any = lessons
    counted = demonstrations._read(
        config, pathlib.Path("tub"), taken, lambda: pauses.append(len(drive.late_s))
    )
    # A tenth of 600 is kept; a record that cannot be read is not counted.
    assert lessons.records[False] == [k for k in range(540) if k != 7]
    assert lessons.records[True] == list(range(540, 600))
    assert counted == 599
    # Of 256 records at most: three pieces to learn from, and one that is kept.
    assert drive.late_s == pytest.approx([0.1] * 4)
    assert pauses == [1, 2, 3, 4]


def test_cars_that_were_lent_out_begin_anew_at_a_reset() -> None:
    with contextlib.closing(vec_env.make(settings().environment(), 1, 1)) as cars:
        cars.reset()
        cars.interrupt()
        cars.reset()
        _, _, ended, _ = cars.step(np.zeros((1, 2), np.float32))
        # Nothing of the interrupted episode is left to be cut.
        assert not ended[0]
        assert cars.batch.steps[0] == 1


@pytest.mark.usefixtures("own_store")
@pytest.mark.slow
def test_run_imitates_races_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = (
        "cars=4", "encoder.frames=512", "encoder.epochs=1", "sac.learning_starts=8",
        "imitation.expert=pursuit", "imitation.steps=128", "imitation.batch_size=32",
        "imitation.epochs=1", "check.races=1", "evaluation.races=1", "evaluation.laps=1",
    )  # fmt: skip
    words = [word for setting in chosen for word in ("--set", setting)]
    assert cli.main(["train", "--json", "--steps", "64", *words]) == 0
    stored = stored_runs.find(json.loads(capsys.readouterr().out)["run_id"])
    assert stored.metrics["imitation/steps"] == 128
    assert stored.metrics["imitation/rows"] > 128
