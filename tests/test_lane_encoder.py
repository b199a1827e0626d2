import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from donkey_rl.agents.encoders import base
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.encoders.losses import huber
from donkey_rl.agents.encoders.training import cosine
from donkey_rl.agents.feature_env import FeatureVecEnv
from donkey_rl.agents.features import FeatureExtractor, FeatureScaling
from donkey_rl.errors import DriverError, InputError, UnknownNameError

SHAPE = (48, 64, 3)
SMALL = LaneEncoderConfig(filters=(8, 16), dense=32, epochs=8, batch_size=32)


def stripes(count, seed=0):
    """Noisy images with a bright stripe, and its column and colour as labels."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 80, (count, *SHAPE), dtype=np.uint8)
    columns = random.uniform(8, 56, count)
    brightness = random.uniform(120, 250, count)
    near = np.abs(np.arange(64)[None] - columns[:, None]) < 4
    images[:, 16:] = np.where(
        near[:, None, :, None], brightness[:, None, None, None], images[:, 16:]
    )
    images[:, :16] = random.integers(0, 256, (count, 16, 64, 3))  # the sky says nothing
    return images, np.stack([columns, 0.01 * brightness], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    encoder = LaneEncoder(SHAPE, ("column", "brightness"), SMALL)
    images, labels = stripes(3000)
    shares = []
    report = encoder.fit(
        encoder.preprocess(images), labels, lambda share, _loss: shares.append(share)
    )
    return encoder, report, shares


def test_it_learns_to_read_a_stripe(trained):
    encoder, report, shares = trained
    assert report.r2["column"] > 0.9
    assert report.mean_r2 == pytest.approx(sum(report.r2.values()) / 2)
    assert report.frames == 2700
    assert report.loss[-1] < report.loss[0] / 2
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    images, labels = stripes(300, seed=7)
    errors = encoder.predict_labels(images) - labels
    assert np.sqrt(np.mean(errors[:, 0] ** 2)) == pytest.approx(report.rmse["column"], rel=0.4)


def test_features_are_standardised_labels(trained):
    encoder, _, _ = trained
    images, labels = stripes(400, seed=8)
    features = encoder.encode(images)
    assert features.shape == (400, 2)
    assert features.dtype == np.float32
    # Columns are spread evenly over 8..56: mean 32, standard deviation 48 / sqrt(12) = 13.86.
    expected = (labels[:, 0] - 32) / 13.86
    assert np.abs(features[:, 0] - expected).mean() < 0.25


def test_the_sky_is_not_looked_at(trained):
    encoder, _, _ = trained
    images, _ = stripes(4)
    other = images.copy()
    other[:, :16] = 255 - other[:, :16]
    np.testing.assert_array_equal(encoder.encode(images), encoder.encode(other))
    other[:, 16:] = 255 - other[:, 16:]
    assert np.abs(encoder.encode(images) - encoder.encode(other)).max() > 0.1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_any_number_of_images_is_encoded_alike(trained, count):
    encoder, _, _ = trained
    images, _ = stripes(7)
    whole = encoder.encode(images)
    np.testing.assert_allclose(encoder.encode(images[:count]), whole[:count], atol=1e-4)


def test_preprocessing_averages_what_is_left_after_cropping():
    encoder = LaneEncoder(SHAPE, ("column",), SMALL)
    image = np.zeros((1, *SHAPE), np.uint8)
    image[0, 16:18, 0:2, 0] = [[10, 20], [30, 41]]  # mean 25.25
    image[0, :16] = 255
    reduced = encoder.preprocess(image)
    assert reduced.shape == (1, 16, 32, 3)
    assert reduced.dtype == np.uint8
    assert reduced[0, 0, 0].tolist() == [25, 0, 0]
    assert reduced.sum() == 25


def test_features_are_bounded():
    config = SMALL.model_copy(update={"clip": 0.01})
    encoder = LaneEncoder(SHAPE, ("column",), config)
    assert np.abs(encoder.encode(stripes(20)[0])).max() == pytest.approx(0.01)


def test_the_same_seed_gives_the_same_encoder():
    images, labels = stripes(200)
    results = []
    for seed in (1, 1, 2):
        config = SMALL.model_copy(update={"seed": seed, "epochs": 1, "noise": 0.05, "gamma": 0.2})
        encoder = LaneEncoder(SHAPE, ("column", "brightness"), config)
        encoder.fit(encoder.preprocess(images), labels)
        results.append(encoder.encode(images))
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() > 0.01


def test_frames_that_are_kept_for_the_report_teach_nothing():
    config = SMALL.model_copy(update={"epochs": 1})
    images, _ = stripes(100)
    read, errors = [], []
    for changed in (False, True):
        encoder = LaneEncoder(SHAPE, ("column", "brightness"), config)
        reduced, labels = encoder.preprocess(images), stripes(100)[1]
        if changed:
            kept = config.kept_back(100)
            reduced[-kept:], labels[-kept:] = 0, -3.0 * labels[-kept:]
        errors.append(encoder.fit(reduced, labels).rmse["column"])
        # In their own units: what standardises them comes of the same frames.
        read.append(encoder.predict_labels(images))
    np.testing.assert_array_equal(read[0], read[1])
    assert errors[0] != pytest.approx(errors[1], rel=1e-3)


def test_save_and_load(trained, tmp_path):
    encoder, _, _ = trained
    encoder.save(tmp_path)
    loaded = base.encoder_class("lane").load(tmp_path)
    images, _ = stripes(10)
    np.testing.assert_array_equal(encoder.encode(images), loaded.encode(images))
    np.testing.assert_array_equal(encoder.predict_labels(images), loaded.predict_labels(images))
    assert loaded.label_names == ("column", "brightness")
    assert loaded.config == SMALL


@pytest.mark.parametrize(
    "change",
    [
        {"format": 99},
        {"label_names": ["one"]},
        {"image_shape": [9, 9]},
        {"config": 3},
        {"mean": [0.0]},
        {"std": [1.0, 1.0, 1.0]},
    ],
)
def test_a_damaged_description_is_refused(trained, tmp_path, change):
    trained[0].save(tmp_path)
    path = tmp_path / "encoder.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DriverError, match="Expected the lane encoder of format 1"):
        LaneEncoder.load(tmp_path)


def test_bad_input_is_refused(trained):
    encoder, _, _ = trained
    images, labels = stripes(100)
    reduced = encoder.preprocess(images)
    with pytest.raises(InputError, match=r"Expected uint8 images \(n, 48, 64, 3\)"):
        encoder.encode(images.astype(np.float32))
    with pytest.raises(InputError, match=r"Expected uint8 images"):
        encoder.encode(images[:, 1:])
    with pytest.raises(InputError, match="through preprocess first"):
        encoder.fit(images, labels)
    with pytest.raises(InputError, match="Expected finite labels"):
        encoder.fit(reduced, np.full_like(labels, np.nan))
    with pytest.raises(InputError, match="Expected at least one batch of 32"):
        encoder.fit(reduced[:30], labels[:30])
    with pytest.raises(InputError, match="Expected images large enough"):
        LaneEncoder((16, 16, 3), ("column",))


def test_unknown_encoders_are_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'lane'"):
        base.encoder_class("lanes")


def test_huber_is_quadratic_then_linear():
    # 0.5 * 0.5^2 = 0.125 and 1 * (3 - 0.5) = 2.5; mean 1.3125.
    assert float(huber(np.array([0.5, -3.0], np.float32), 1.0)) == pytest.approx(1.3125)


def test_the_step_size_ends_where_it_is_told_to():
    rates = cosine(np.arange(0, 101), 100, 2e-3, 5e-5)
    assert rates[0] == pytest.approx(2e-3)
    assert rates[100] == pytest.approx(5e-5)
    assert (np.diff(rates) < 0).all()


class StripeEnv(gymnasium.Env):
    """Shows one stripe per step; an episode terminates after three steps."""

    observation_space = spaces.Dict(
        {
            "image": spaces.Box(0, 255, SHAPE, np.uint8),
            "imu": spaces.Box(-np.inf, np.inf, (6,), np.float32),
            "last_actions": spaces.Box(-1, 1, (6,), np.float32),
            "speed": spaces.Box(-np.inf, np.inf, (1,), np.float32),
        }
    )
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def _observe(self):
        return {
            "image": stripes(1, seed=self.clock)[0][0],
            "imu": np.arange(6, dtype=np.float32) + self.clock,
            "last_actions": np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], np.float32),
            "speed": np.array([20.0 + self.clock], np.float32),
        }

    def reset(self, *, seed=None, options=None):
        self.clock = 0
        return self._observe(), {}

    def step(self, action):
        self.clock += 1
        return self._observe(), 1.0, self.clock == 3, False, {}


def expected_features(encoder, clock):
    """What the docstring of donkey_rl.agents.features says, by hand."""
    image = stripes(1, seed=clock)[0]
    speed, yaw_rate = (20 + clock) / 10, 4 + clock
    rest = [speed, yaw_rate, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    return np.concatenate([encoder.encode(image)[0], rest])


def test_features_of_a_vector_environment(trained):
    encoder, _, _ = trained
    env = FeatureVecEnv(DummyVecEnv([StripeEnv, StripeEnv]), encoder)
    assert env.observation_space.shape == (2 + 1 + 1 + 6,)
    np.testing.assert_allclose(env.reset()[1], expected_features(encoder, 0), atol=1e-4)
    actions = np.zeros((2, 2), np.float32)
    for clock in (1, 2):
        features, _, _, _ = env.step(actions)
        np.testing.assert_allclose(features[0], expected_features(encoder, clock), atol=1e-4)
    features, _, dones, infos = env.step(actions)
    assert dones.all()
    np.testing.assert_allclose(features[0], expected_features(encoder, 0), atol=1e-4)
    np.testing.assert_allclose(
        infos[1]["terminal_observation"], expected_features(encoder, 3), atol=1e-4
    )
    assert env.seconds["encode"] > 0


def test_features_of_a_single_observation(trained):
    encoder, _, _ = trained
    env = StripeEnv()
    observation, _ = env.reset()
    extractor = FeatureExtractor(
        encoder, env.observation_space, FeatureScaling(speed=5.0, yaw_rate=2.0)
    )
    features = extractor(observation)
    assert features.shape == (10,)
    assert features[2:4].tolist() == [4.0, 2.0]


def test_observations_that_lack_something_are_refused(trained):
    encoder, _, _ = trained
    parts = dict(StripeEnv.observation_space.spaces)
    with pytest.raises(InputError, match=r"Expected 'imu' of shape \(6,\).*Received: nothing"):
        FeatureExtractor(encoder, spaces.Dict({k: v for k, v in parts.items() if k != "imu"}))
    parts["image"] = spaces.Box(0, 255, (120, 160, 3), np.uint8)
    with pytest.raises(InputError, match=r"Expected 'image' of shape \(48, 64, 3\)"):
        FeatureExtractor(encoder, spaces.Dict(parts))
    with pytest.raises(InputError, match="Expected a Dict"):
        FeatureExtractor(encoder, parts["imu"])
