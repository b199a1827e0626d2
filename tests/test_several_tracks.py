"""One run on several tracks: cars, frames and races of each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.envs import joined_view, vec_env
from donkey_rl.envs.joined_view import JoinedView
from donkey_rl.envs.labels import Sampling
from donkey_rl.envs.simulator import scene, track
from donkey_rl.envs.vec_env import SB3View
from donkey_rl.errors import ConfigurationError
from donkey_rl.experiments import encoder_frames
from donkey_rl.experiments.config import TrainingConfig

TWO = "generated_track,warren"
SMALL_CAMERA = ("camera.img_w=80", "camera.img_h=60")


def config(*settings: str) -> TrainingConfig:
    return configuration.with_settings(TrainingConfig(), [f"track={TWO}", "cars=3", *settings])


def test_the_environments_differ_in_their_tracks_alone() -> None:
    first, second = config().environments()
    assert (first.track, second.track) == ("generated_track", "warren")
    assert second == first.model_copy(update={"track": "warren"})
    assert first == config().environment()
    alone = [
        configuration.with_settings(config(), [f"track={name}"]).highest_throttle
        for name in config().tracks
    ]
    assert first.throttle_max == min(alone)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["track=warren,waren"], "Did you mean 'warren'"),
        (["cars=1"], "cars must be one for each track at least, received cars=1 for 2 tracks"),
        (["simulator=127.0.0.1:9091"], "several are driven in the embedded simulator only"),
    ],
)
def test_tracks_that_cannot_be_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        config(*settings)
    assert configuration.with_settings(config(), ["track=warren, warren"]).tracks == ("warren",)


def test_joined_cars_do_what_they_do_apart() -> None:
    wanted = config(*SMALL_CAMERA, "task.time_limit_s=0.5")
    both = joined_view.make(wanted.environments(), 3, seed=5)
    assert isinstance(both, JoinedView)
    assert [view.num_envs for view in both.views] == [2, 1]
    assert both.metadata["render_fps"] == 20
    apart = [
        vec_env.make(environment, cars, seed)
        for environment, cars, seed in zip(wanted.environments(), (2, 1), (5, 7), strict=True)
    ]
    both.seed(11)
    apart[0].seed(11)
    apart[1].seed(13)
    seen = both.reset()
    assert [image.shape for image in both.get_images()] == [seen["image"].shape[1:]] * 3
    parts = [view.reset() for view in apart]
    actions = np.random.default_rng(0).uniform(-1, 1, (15, 3, 2)).astype(np.float32)
    ended = 0
    for action in actions:
        for name, part in seen.items():
            np.testing.assert_array_equal(part, np.concatenate([p[name] for p in parts]))
            np.testing.assert_array_equal(both.observation()[name], part)
        seen, rewards, done, infos = both.step(action)
        moved = [
            view.step(each) for view, each in zip(apart, (action[:2], action[2:]), strict=True)
        ]
        parts = [each[0] for each in moved]
        np.testing.assert_array_equal(rewards, np.concatenate([each[1] for each in moved]))
        np.testing.assert_array_equal(done, np.concatenate([each[2] for each in moved]))
        assert [info["progress"] for info in infos] == [
            info["progress"] for each in moved for info in each[3]
        ]
        ended += int(done.sum())
    # Each episode is cut after 0.5 s at the latest, which is ten steps.
    assert ended >= 3
    both.close()


def test_one_track_is_the_usual_view() -> None:
    alone = configuration.with_settings(config(*SMALL_CAMERA), ["track=warren"])
    made = joined_view.make(alone.environments(), 2, seed=0)
    assert isinstance(made, SB3View)
    assert made.views == (made,)


def test_frames_come_from_all_tracks_in_turn() -> None:
    wanted = config(*SMALL_CAMERA)
    parts = list(encoder_frames.labelled(wanted, 601, seed=3))
    assert [len(part.images) for part in parts] == [256, 256, 45, 44]
    first, second = ([part.labels for part in parts[k::2]] for k in range(2))
    for name, found, count in (
        ("generated_track", first, 301), ("warren", second, 300)
    ):  # fmt: skip
        alone = configuration.with_settings(wanted, [f"track={name}"])
        expected = [part.labels for part in encoder_frames.labelled(alone, count, seed=3)]
        np.testing.assert_array_equal(np.concatenate(found), np.concatenate(expected))


def test_many_alike_share_what_few_would_get() -> None:
    names = ["warren", "warehouse", "warehouse:mirror", *(f"random_circuit:{k}" for k in range(9))]
    found = joined_view.shares(names, 600)
    assert sum(found) == 600
    assert found[0] == pytest.approx(2 * found[1] / 2**0.5, abs=2)
    assert sum(found[3:]) == pytest.approx(3 * found[0], abs=9)
    assert joined_view.shares(names, len(names)) == [1] * len(names)


def test_frames_of_all_tracks_come_at_the_same_rate() -> None:
    wanted = config(*SMALL_CAMERA, "track=warren,random_circuit:1-2", "cars=3")
    parts = list(encoder_frames.labelled(wanted, 1400, seed=3))
    assert sum(len(part.images) for part in parts) == 1400
    widths = [part.labels[:, 0] + part.labels[:, 1] for part in parts]
    assert max(np.ptp(width) for width in widths) < 0.01, "a batch is of one track, of one width"
    tracks = [round(float(width[0]), 1) for width in widths]
    assert len(set(tracks)) == len(set(tracks[:3])) == 3, "no track is kept for the end"


def test_scenes_of_many_tracks_are_baked_once_while_they_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    baked: list[str] = []

    def noted(road: track.Track) -> str:
        baked.append(road.name)
        return road.name

    monkeypatch.setattr(scene, "_bake", noted)
    roads = [track.load(f"random_circuit:{number}") for number in range(6)]
    with scene.kept():
        for road in (*roads, *roads):
            assert scene.bake(road) == road.name
        with scene.kept():
            scene.bake(roads[0])
    assert baked == [road.name for road in roads]
    scene.bake(roads[0])
    assert len(baked) == 7


def test_pictures_of_many_tracks_are_taken_of_few_cars_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches: list[int] = []

    def noted(*args: object, sampling: Sampling, **options: object) -> Iterator[None]:
        batches.append(sampling.batch)
        return iter(())

    monkeypatch.setattr(encoder_frames.labels, "sample_frames", noted)
    for tracks, expected in (("warren", 256), ("random_circuit:1-64", 32)):
        batches.clear()
        wanted = TrainingConfig(track=tracks, cars=64)
        assert next(encoder_frames.labelled(wanted, 0, 0), None) is None
        assert set(batches) == {expected}
