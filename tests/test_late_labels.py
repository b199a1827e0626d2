"""Lessons under latency: a frame's label is what the expert does when its command arrives."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.features import FeatureScaling
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import labels, traffic, vec_env
from donkey_rl.envs.joined_view import Cars
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.errors import ConfigurationError
from donkey_rl.experiments import demonstrations, late_labels, school, sight
from donkey_rl.experiments.collection import Collection
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.recorded_drives import RecordedDrive

CARS, HISTORY = 3, 6
Actions = Any


def cars(latency: dict[str, float], **settings: Any) -> contextlib.closing[Any]:
    values = {
        "camera": {"img_w": 32, "img_h": 24},
        "history": HISTORY,
        "latency": latency,
        "task": {"end_off_track": False, "stuck_s": 60.0, **settings},
        "randomisation": {"start_anywhere": True},
    }
    config = configuration.validate(EnvironmentConfig, values)
    return contextlib.closing(vec_env.make(config, CARS, seed=1))


class Lessons:
    """Takes lessons in place of a collection."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, Actions]] = []

    def add(self, observation: Any, actions: Actions, *, kept: bool, read: Any = None) -> None:
        for k in range(len(actions)):
            self.rows.append(({n: np.array(v[k]) for n, v in observation.items()}, actions[k]))


def drive(view: Cars, lesson: late_labels.Lesson, steps: int) -> tuple[Any, Actions, Any]:
    """Drives by a known rule; returns what was seen, "expert's" actions, and ends, by step.

    The expert's action tells the step, and the car: throttle 0.001 for each step of the drive,
    steering 0.1 for each car.
    """
    seen, wanted, ends = [], [], []
    view.reset()
    for done in range(steps):
        observation = view.observation()
        seen.append({name: np.array(part) for name, part in observation.items()})
        wanted.append(np.stack([0.1 * np.arange(CARS), np.full(CARS, 0.001 * done)], axis=1))
        lesson.see(late_labels.Seen(observation, None), wanted[-1], kept=False)
        ends.append(view.step(wanted[-1].astype(np.float32))[2].copy())
        lesson.go_on(ends[-1])
    return seen, np.array(wanted), np.array(ends)


def rows_by_frame(taken: Lessons, seen: Any) -> list[tuple[int, int, Any, Actions]]:
    """Returns frame, car, observation and label of each row; frames are told by their images."""
    found = []
    for observation, action in taken.rows:
        car = round(float(action[0]) / 0.1)
        frames = [
            k for k, each in enumerate(seen) if (each["image"][car] == observation["image"]).all()
            and (each["speed"][car] == observation["speed"]).all()
        ]  # fmt: skip
        found.append((frames[-1], car, observation, action))
    return found


def test_frame_of_an_undelayed_drive_gets_the_action_and_the_commands_of_four_steps_later() -> (
    None
):
    taken: Any = Lessons()
    with cars({}) as view:
        latency = EnvironmentConfig(
            history=HISTORY, latency={"low_ms": 200, "high_ms": 200}
        ).latency
        lesson = late_labels.Shifted(taken, view, latency, np.random.default_rng(1))
        seen, wanted, ends = drive(view, lesson, 40)
    assert not ends.any()
    rows = [row for row in rows_by_frame(taken, seen) if row[0] >= 4]
    # 36 frames of each car have an answer four steps later; the first four still stand.
    assert len(taken.rows) == 36 * CARS
    assert len(rows) > 25 * CARS
    for frame, car, observation, action in rows:
        assert action == pytest.approx(wanted[frame + 4, car])
        last = observation["last_actions"].reshape(HISTORY, 2)
        sent = wanted[max(0, frame + 4 - HISTORY) : frame + 4, car]
        assert last[-len(sent) :] == pytest.approx(sent)


@pytest.mark.parametrize(("delay", "later"), [(100.0, 2), (240.0, None)])
def test_frame_of_a_delayed_drive_waits_for_the_step_at_which_its_command_lands(
    delay: float, later: int | None
) -> None:
    taken: Any = Lessons()
    with cars({"low_ms": delay, "high_ms": delay}, time_limit_s=1.5) as view:
        lesson = late_labels.Landed(taken, view, view.batch.config.latency)
        seen, _, ends = drive(view, lesson, 70)
    # Episodes of 30 steps: two have ended.
    assert np.flatnonzero(ends[:, 0]).tolist() == [29, 59]
    steps = [round(1000 * float(action[1])) for _, action in taken.rows]
    # 240 ms are 12 physics steps: from frame 0 to tick 12, nearest to frame 5 (tick 13); from
    # frame 1 (tick 3) to 15, frame 6; never into the next episode.
    most = later or 5
    by_episode = [30 - most, 30 - most, 10 - most]
    assert len(taken.rows) == CARS * sum(by_episode)
    assert min(steps) == most
    for (observation, action), step in zip(taken.rows, steps, strict=True):
        car = round(float(action[0]) / 0.1)
        frame = step - most
        assert (seen[frame]["image"][car] == observation["image"]).all()
        assert (seen[frame]["last_actions"][car] == observation["last_actions"]).all()
    assert not set(steps) & {30 + k for k in range(most)}


def settings(**imitation: Any) -> TrainingConfig:
    return configuration.validate(
        TrainingConfig,
        {
            "cars": 4,
            "camera": {"img_w": 80, "img_h": 60},
            "history": HISTORY,
            "latency": {"low_ms": 100, "high_ms": 200},
            "sac": {"hidden": (16,), "buffer_size": 1_000},
            "imitation": {
                "expert": "pursuit",
                "steps": 160,
                "copies": 0,
                "epochs": 1,
                **imitation,
            },
        },
    )


def test_replay_is_seeded_by_the_policys_own_delayed_drive_alone() -> None:
    config = settings(rounds=1, round_steps=20 * 4, noise=0.0)
    encoder = LaneEncoder(config.camera.shape, labels.LANE_LABELS, LaneEncoderConfig())
    told = io.StringIO()
    with contextlib.closing(vec_env.make(config.environment(), 4, 1)) as view:
        env = sight.environment(config, view, encoder, FeatureScaling())
        agent = SAC(env, config.sac, seed=1)
        progress = ProgressDisplay(told)
        parts = config, env, view, agent, progress
        found = demonstrations.imitate(*parts, lambda: None, lambda: None)
        assert view.batch.link is not None
        assert not view.batch.link.paused
    assert agent.replay_buffer.size() <= 20 * 4
    assert agent.replay_buffer.size() > 10 * 4
    assert "the replay buffer begins with the rounds" in told.getvalue()
    # 36 of 40 steps to learn from, of which the first two to four have no answer; 18 of 20.
    assert 4 * (32 + 14) <= found["imitation/rows"] <= 4 * (34 + 16)


@pytest.mark.parametrize("late", [False, True])
def test_lessons_encode_each_frame_once(late: bool) -> None:
    config = settings(rounds=1, round_steps=20 * 4)
    if not late:
        config = config.model_copy(update={"latency": LatencyConfig()})
    encoder = LaneEncoder(config.camera.shape, labels.LANE_LABELS, LaneEncoderConfig())
    with contextlib.closing(vec_env.make(config.environment(), 4, 1)) as view:
        env = sight.environment(config, view, encoder, FeatureScaling())
        extractor, read = env.extractor, []

        def watched(observation: Any) -> Any:
            read.append(extractor(observation))
            return read[-1]

        watched.space = extractor.space  # type: ignore[attr-defined]
        env.extractor = watched  # type: ignore[assignment]
        collection = Collection(config, env)
        agent = SAC(env, config.sac, seed=1)
        lessons = school.School(config, env, view, collection, agent)
        lessons.correct(lambda _: None)
    rows = np.concatenate(read)
    # What stands at the beginning and after each of 20 steps, and the last of ended episodes.
    assert 4 * 21 <= len(rows) < 4 * 25
    taught = collection.joined().seen.numbers
    assert len(taught) > 40
    assert all((rows == each).all(axis=1).any() for each in taught)


@pytest.mark.parametrize("pace_of", ["expert", "limit"])
def test_expert_drives_slower_the_later_commands_are(
    monkeypatch: pytest.MonkeyPatch, pace_of: str
) -> None:
    config = settings(rounds=1, round_steps=64, pace=1.0, late_pace=0.6, pace_of=pace_of)
    expert = school.teacher(config.environment(), config.imitation)
    reserve = school.reserve(expert, config.environment()) if pace_of == "limit" else 1.0
    assert (reserve > 1.1) == (pace_of == "limit")
    encoder = LaneEncoder(config.camera.shape, labels.LANE_LABELS, LaneEncoderConfig())
    paces: list[Any] = []

    def watched(expert: Any, batch: Any, pace: Any) -> Any:
        paces.append(pace)
        return traffic.shown(expert, batch, pace)

    monkeypatch.setattr(school, "shown", watched)
    with contextlib.closing(vec_env.make(config.environment(), 4, 1)) as view:
        env = sight.environment(config, view, encoder, FeatureScaling())
        agent = SAC(env, config.sac, seed=1)
        lessons = school.School(config, env, view, Lessons(), agent)  # type: ignore[arg-type]
        lessons.show(lambda _: None)
        shown = list(paces)
        paces.clear()
        lessons.correct(lambda _: None)
        assert view.batch.link is not None
        late = (view.batch.link.episode_ms - 100.0) / 100.0
    # Demonstrations are for delays in whole steps; between 100 and 200 ms these are 2, 3 and 4.
    whole = {round(min(1.0, reserve * share), 6) for share in (1.0, 0.8, 0.6)}
    assert {round(float(pace), 6) for each in shown for pace in each} <= whole
    assert len({float(pace) for each in shown for pace in each}) > 1
    assert np.ptp(late) > 0.1
    assert paces[-1] == pytest.approx(np.minimum(1.0, reserve * (1.0 - 0.4 * late)))


def test_lessons_that_are_quicker_where_commands_are_later_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"late_pace must not exceed pace.*1 and 0\.9"):
        settings(pace=0.9, late_pace=1.0)


def test_recorded_frame_gets_the_action_of_the_record_that_much_later() -> None:
    """Two drives of five and four records, the first with a record that came late."""
    time_s = np.array([0.0, 0.05, 0.10, 0.18, 0.20, 9.0, 9.05, 9.10, 9.15])
    numbers = np.arange(9, dtype=np.float32)

    def images(chosen: Any) -> tuple[Any, Any]:
        # The image of record 6 is damaged.
        kept = chosen[chosen != 6]
        return kept, np.repeat(kept, 12).reshape(-1, 2, 2, 3).astype(np.uint8)

    drive = RecordedDrive(
        recording=SimpleNamespace(time_s=time_s, images=images),  # type: ignore[arg-type]
        shape=(2, 2),
        records=np.arange(9),
        speed=10.0 * numbers,
        yaw_rate=numbers,
        actions=np.stack([0.01 * numbers, numbers], axis=1),
        last_actions=np.stack([0.01 * (numbers - 1), numbers - 1], axis=1),
        drive=np.array([1] * 5 + [2] * 4),
    )
    observation, actions = drive.observations(np.arange(9), 0.1)
    # Of the first drive records 0 and 2 have one 0.1 s later, and of 0.15 s that of 0.18 is the
    # nearest; of the second drive only 5 is left beside the damaged one.
    assert observation["speed"][:, 0].tolist() == [0.0, 10.0, 20.0, 50.0]
    assert observation["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 5]
    assert actions[:, 1].tolist() == [2.0, 3.0, 4.0, 7.0]
    assert observation["last_actions"][:, 1].tolist() == [1.0, 2.0, 3.0, 6.0]
    plain, same = drive.observations(np.arange(9))
    assert same[:, 1].tolist() == plain["image"][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 7, 8]
