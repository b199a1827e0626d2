"""`encoder.fresh`: each pass of the encoder's training is over frames rendered anew."""

import numpy as np
import pytest

from donkey_rl import configuration
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import Frames, LaneEncoder
from donkey_rl.errors import InputError
from donkey_rl.experiments import lane_training
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.progress import ProgressDisplay

SHAPE = (32, 32, 1)
SMALL = LaneEncoderConfig(
    crop=0, pool=1, filters=(4, 8), dense=16, epochs=3, batch_size=10, frames=100
)


def dots(value: int) -> Frames:
    images = np.full((100, *SHAPE), value, np.uint8)
    images[np.arange(100), np.arange(100) % 32] = 255
    labels = (np.arange(100) % 32).astype(np.float32)[:, None]
    return Frames(images, labels)


def fitted(anew, first: Frames | None = None, config: LaneEncoderConfig = SMALL):
    encoder = LaneEncoder(SHAPE, ("row",), config)
    given = first if first is not None else dots(0)
    report = encoder.fit(given.reduced, given.labels, anew=anew)
    return encoder, report


def test_every_pass_after_the_first_asks_for_other_frames():
    asked: list[int] = []

    def anew() -> Frames:
        asked.append(1)
        return dots(0)

    other, _ = fitted(anew)
    assert len(asked) == SMALL.epochs - 1
    same, _ = fitted(None)
    for left, right in zip(other.reader.get_weights(), same.reader.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    changed, _ = fitted(lambda: Frames(dots(9).reduced, -dots(9).labels))
    pairs = zip(changed.reader.get_weights(), same.reader.get_weights(), strict=True)
    assert any(np.abs(left - right).max() > 1e-4 for left, right in pairs)


@pytest.mark.parametrize(("epochs", "repeats", "times"), [(6, 2, 2), (7, 3, 2), (3, 5, 0)])
def test_frames_are_gone_over_as_often_as_they_are_to_be(epochs, repeats, times):
    asked: list[int] = []

    def anew() -> Frames:
        asked.append(1)
        return dots(0)

    settings = SMALL.model_copy(update={"epochs": epochs, "repeats": repeats})
    _, report = fitted(anew, config=settings)
    assert len(asked) == times
    assert len(report.loss) == epochs


def test_frames_kept_back_are_of_the_first_even_where_others_take_their_place():
    first = dots(0)

    def over_it() -> Frames:
        first.reduced[:] = 0
        first.labels[:] = 1000.0
        return first

    encoder, report = fitted(over_it, first)
    kept = SMALL.kept_back(100)
    truth = dots(0)
    errors = encoder.reader(truth.reduced[-kept:].astype(np.float32)).numpy()
    errors = errors * encoder._std + encoder._mean - truth.labels[-kept:]
    assert report.rmse["row"] == pytest.approx(float(np.sqrt(np.mean(errors**2))), rel=1e-4)


def test_frames_of_another_shape_are_refused():
    with pytest.raises(InputError, match="Expected finite labels"):
        fitted(lambda: Frames(dots(0).reduced, np.full((100, 1), np.nan, np.float32)))


def test_a_run_renders_other_frames_for_each_pass_and_the_same_for_a_seed(monkeypatch):
    config = configuration.validate(
        TrainingConfig,
        {
            "agent": "ppo",
            "track": "generated_track",
            "encoder": {
                "frames": 300,
                "epochs": 2,
                "batch_size": 16,
                "filters": [4],
                "dense": 8,
                "fresh": True,
            },
        },
    )
    passes: list[Frames] = []
    rendered = lane_training._Source.rendered

    def noted(self) -> Frames:
        found = rendered(self)
        passes.append(Frames(found.reduced.copy(), found.labels))
        return found

    monkeypatch.setattr(lane_training._Source, "rendered", noted)
    trained = []
    for _ in range(2):
        found, report = lane_training.train_encoder(
            config, config.encoder, ProgressDisplay(), lambda: None
        )
        assert len(report.loss) == 2
        trained.append(found)
    first, second, *again = passes
    assert first.labels.shape == second.labels.shape
    assert np.abs(first.labels - second.labels).max() > 0.1
    assert (first.reduced != second.reduced).any(axis=(1, 2, 3)).all()
    for one, other in zip((first, second), again, strict=True):
        np.testing.assert_array_equal(one.reduced, other.reduced)
    weights = [each.reader.get_weights() for each in trained]
    for left, right in zip(*weights, strict=True):
        np.testing.assert_array_equal(left, right)
