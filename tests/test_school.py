"""What the expert's lessons are made of: its own actions, and what was really driven."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.features import FeatureScaling
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import labels, traffic, vec_env
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.experiments import school, sight
from donkey_rl.experiments.config import TrainingConfig
from tests.test_late_labels import Lessons, settings

CARS = 4


class Buffer:
    """Keeps what is put into a replay buffer, step by step."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, ...]] = []

    def add(self, seen: Any, last: Any, *others: Any) -> None:
        self.steps.append((np.array(seen), np.array(last), *others))


@contextlib.contextmanager
def opened(config: TrainingConfig) -> Iterator[tuple[school.School, Lessons, Buffer]]:
    """A school of a policy that always does the same."""
    encoder = LaneEncoder(config.camera.shape, labels.LANE_LABELS, LaneEncoderConfig())
    own = np.full((CARS, 2), 0.125, np.float32)
    with contextlib.closing(vec_env.make(config.environment(), CARS, 1)) as view:
        env = sight.environment(config, view, encoder, FeatureScaling())
        agent: Any = SAC(env, config.sac, seed=1)
        agent.predict = lambda seen, **_: (own, None)
        agent.replay_buffer = buffer = Buffer()
        taken: Any = Lessons()
        yield school.School(config, env, view, taken, agent), taken, buffer


def rows(actions: Any) -> set[tuple[float, ...]]:
    return {tuple(row) for row in np.reshape(actions, (-1, 2)).tolist()}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("lesson", ["show", "correct"])
def test_labels_are_what_the_expert_wanted_not_what_was_driven(
    monkeypatch: pytest.MonkeyPatch, lesson: str, late: bool
) -> None:
    config = settings(steps=16 * CARS, rounds=1, round_steps=16 * CARS, noise=0.3, batch_size=32)
    if not late:
        config = config.model_copy(update={"latency": LatencyConfig()})
    wanted: list[Any] = []

    def watched(expert: Any, batch: Any, pace: Any) -> Any:
        wanted.append(traffic.shown(expert, batch, pace))
        return wanted[-1]

    monkeypatch.setattr(school, "shown", watched)
    with opened(config) as (lessons, taken, _):
        getattr(lessons, lesson)(lambda _: None)
    taught = rows([action for _, action in taken.rows])
    # Of 16 steps, two to four have no answer under latency.
    assert len(taken.rows) >= 11 * CARS
    assert taught <= rows(wanted)
    assert (0.125, 0.125) not in taught


def test_a_cut_episode_goes_on_from_its_own_end_in_the_replay_buffer() -> None:
    config = configuration.with_settings(
        settings(rounds=1, round_steps=16 * CARS), ["task.time_limit_s=0.5"]
    )
    with opened(config) as (lessons, _, buffer):
        lessons.correct(lambda _: None)
    ended = np.array([step[4] for step in buffer.steps])
    # After ten steps of 0.05 s, if not before.
    assert ended[:10].any(axis=0).all()
    for (_, last, _, _, ends, infos), (following, *_) in zip(
        buffer.steps, buffer.steps[1:], strict=False
    ):
        for car in range(CARS):
            if ends[car]:
                np.testing.assert_array_equal(last[car], infos[car]["terminal_observation"])
                assert np.abs(last[car] - following[car]).max() > 0.01
            else:
                np.testing.assert_array_equal(last[car], following[car])


@pytest.mark.parametrize("parts", [False, True])
def test_only_of_ended_episodes_something_else_was_seen_last(parts: bool) -> None:
    following: Any = np.zeros((3, 2), np.float32)
    final: Any = np.array([3.0, 4.0], np.float32)
    if parts:
        image = np.zeros((3, 2, 2, 1), np.uint8)
        following = {"image": image, "numbers": following}
        final = {"image": np.full((2, 2, 1), 9, np.uint8), "numbers": final}
    assert school._last(following, [{}, {}, {}]) is following
    found = school._last(following, [{}, {"terminal_observation": final}, {}])
    numbers = found["numbers"] if parts else found
    assert numbers.tolist() == [[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]
    if parts:
        assert found["image"][:, 0, 0, 0].tolist() == [0, 9, 0]
    # What the episodes go on with stays as it is.
    kept = following["numbers"] if parts else following
    assert not kept.any()
