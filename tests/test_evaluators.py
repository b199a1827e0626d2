"""What makes one action of several proposals: in numbers, in folders, and in every export."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

from donkey_rl.agents import ensemble, evaluators, manifest
from donkey_rl.agents.deployment import conversion, donkeycar, pilots, plain_layers
from donkey_rl.agents.deployment.donkeycar import Held
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.agents.evaluators import Evaluator
from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.agents.sac import networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.saliency import Saliency
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.errors import DriverError
from donkey_rl.race_server.garage import checks
from tests import small_drivers

CRITICS = (
    SACConfig(hidden=(16, 16)),
    SACConfig(hidden=(16,), critic_dropout=0.1, critic_layer_norm=True),
    SACConfig(hidden=(8,), critics=3, quantiles=5),
)
SCALES = (0.05, 0.1, 0.2)
KINDS = {
    "median": Evaluator(kind="median"),
    "critic": Evaluator(kind="critic", scales=SCALES, temperature=0.5),
    "slowed": Evaluator(slowing=2.0, threshold=0.1),
    "slowed critic": Evaluator(kind="critic", scales=SCALES, slowing=2.0, threshold=0.1),
}


@pytest.fixture(scope="module")
def three() -> tuple[Driver, ...]:
    """Drivers with critics of three kinds: plain, DroQ's and TQC's."""
    return tuple(small_drivers.lane(seed, critic=critic) for seed, critic in enumerate(CRITICS))


@pytest.fixture(scope="module")
def made(three: tuple[Driver, ...]) -> dict[str, Ensemble]:
    return {name: Ensemble(three, evaluator=kind) for name, kind in KINDS.items()}


@pytest.fixture(scope="module")
def folder(made: dict[str, Ensemble], tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of an ensemble that weighs by critics and slows."""
    place = tmp_path_factory.mktemp("ensembles") / "driver"
    made["slowed critic"].save(place)
    return place


SEEN = small_drivers.noise(6)


def proposals(drivers: tuple[Driver, ...], seen: dict[str, Any] = SEEN) -> np.ndarray:
    """Actions of each driver, (n, K, 2)."""
    return np.stack([each.act(seen) for each in drivers], axis=1)


def values(drivers: tuple[Driver, ...], seen: dict[str, Any] = SEEN) -> np.ndarray:
    """What critic j says of proposal k, (n, J, K)."""
    found = np.zeros((len(seen["image"]), len(drivers), len(drivers)))
    for j, judge in enumerate(drivers):
        assert judge.critic is not None
        read = np.asarray(judge.seen(*judge.observation.parts(seen)[0]))
        for k, driver in enumerate(drivers):
            both = np.concatenate([read, driver.act(seen)], axis=1)
            found[:, j, k] = np.asarray(judge.critic(both))[:, 0]
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_median_is_that_of_each_part(count: int) -> None:
    drawn = np.random.default_rng(count).uniform(-1, 1, (7, count, 2)).astype(np.float32)
    model = evaluators.model(KINDS["median"], [1 / count] * count, [None] * count, [1] * count)
    found = np.asarray(model([drawn[:, k] for k in range(count)]))
    np.testing.assert_allclose(found, np.median(drawn, axis=1), atol=1e-6)


def test_critics_weigh_what_is_proposed(
    three: tuple[Driver, ...], made: dict[str, Ensemble]
) -> None:
    shown = proposals(three)
    mean = (values(three) / np.array(SCALES)[:, None]).mean(axis=1)
    weights = np.exp((mean - mean.max(axis=1, keepdims=True)) / 0.5)
    weights /= weights.sum(axis=1, keepdims=True)
    assert weights.max() - weights.min() > 0.2
    expected = (weights[..., None] * shown).sum(axis=1)
    np.testing.assert_allclose(made["critic"].act(SEEN), expected, atol=1e-4)
    cold = Evaluator(kind="critic", scales=SCALES, temperature=0.01)
    best = shown[np.arange(6), mean.argmax(axis=1)]
    np.testing.assert_allclose(Ensemble(three, evaluator=cold).act(SEEN), best, atol=0.05)


def test_disagreement_takes_off_throttle_while_the_car_moves(
    three: tuple[Driver, ...], made: dict[str, Ensemble]
) -> None:
    seen = {**SEEN, "speed": np.array([[0], [1], [2], [4], [4], [400]], np.float32)}
    plain, slowed = Ensemble(three).act(seen), made["slowed"].act(seen)
    unusual = np.maximum(proposals(three, seen)[..., 0].std(axis=1) - 0.1, 0.0)
    assert unusual.max() > 0.05
    taken = 2.0 * unusual * seen["speed"][:, 0] / small_drivers.SCALING.speed
    np.testing.assert_allclose(slowed[:, 0], plain[:, 0], atol=1e-5)
    expected = np.maximum(plain[:, 1] - taken, -1.0)
    np.testing.assert_allclose(slowed[:, 1], expected, atol=1e-4)
    assert slowed[0, 1] == pytest.approx(plain[0, 1], abs=1e-6)
    assert slowed[-1, 1] == pytest.approx(-1.0)
    same = Ensemble([three[0]] * 2, evaluator=Evaluator(slowing=100.0))
    np.testing.assert_allclose(same.act(seen), three[0].act(seen), atol=1e-4)


def test_slowing_reads_the_speed_that_its_members_do_not(three: tuple[Driver, ...]) -> None:
    scaling = small_drivers.SCALING.model_copy(update={"blind_to": ("speed",)})
    blind = [
        Driver(each.encoder, each.actor, each.description, history=2, scaling=scaling)
        for each in three
    ]
    slowed = Ensemble(blind, evaluator=KINDS["slowed"])
    parts = {"image": SEEN["image"], "speed": np.full((6, 1), 6.0, np.float32)}
    seen = {**SEEN, **parts}
    expected = slowed.act(seen)
    assert np.abs(expected - Ensemble(blind).act(seen)).max() > 0.05
    exported = np.asarray(conversion.keras_model(slowed)(seen)[conversion.OUTPUT])
    np.testing.assert_allclose(exported, expected, atol=1e-4)


def test_scales_are_of_differences_between_proposals() -> None:
    random = np.random.default_rng(0)
    apart = random.normal(size=(500, 2, 3)) * np.array([1.0, 5.0])[:, None]
    apart -= apart.mean(axis=2, keepdims=True)
    found = evaluators.scales((apart + random.normal(0, 50, (500, 2, 1))).astype(np.float32))
    np.testing.assert_allclose(found, np.sqrt(np.square(apart).mean(axis=(0, 2))), rtol=1e-3)
    assert evaluators.scales(np.zeros((4, 1, 2), np.float32))[0] > 0
    assert evaluators.usual_disagreement(np.arange(101, dtype=np.float32)) == pytest.approx(99.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"critic_dropout": 0.3, "critic_layer_norm": True},
        {"quantiles": 5, "critics": 3},
        {"critics": 1, "critic_precision": "bfloat16"},
    ],
)
def test_a_critic_is_what_the_policy_learned_to_raise(settings: dict[str, Any]) -> None:
    config = SACConfig(hidden=(8, 8), **settings)
    critics = networks.critics(5, 2, config, seed=1)
    random = np.random.default_rng(1)
    critics.set_weights([random.normal(0, 0.5, each.shape) for each in critics.get_weights()])
    shown = random.normal(size=(4, 7)).astype(np.float32)
    sober = networks.critics(5, 2, config.model_copy(update={"critic_dropout": 0.0}), seed=1)
    sober.set_weights(critics.get_weights())
    said = np.asarray(sober(shown))
    expected = said.mean(axis=(1, 2)) if config.quantiles else said.min(axis=1)
    value = networks.value(critics, 5, 2, config)
    close = 0.1 if config.critic_precision == "bfloat16" else 1e-5
    np.testing.assert_allclose(np.asarray(value(shown))[:, 0], expected, atol=close)


def test_a_folder_keeps_critics_and_evaluator(
    folder: pathlib.Path, made: dict[str, Ensemble], three: tuple[Driver, ...]
) -> None:
    loaded = ensemble.load(folder)
    assert isinstance(loaded, Ensemble)
    assert loaded.evaluator == KINDS["slowed critic"]
    assert loaded.hash == made["slowed critic"].hash
    np.testing.assert_array_equal(loaded.act(SEEN), made["slowed critic"].act(SEEN))
    assert len({each.hash for each in (*made.values(), Ensemble(three))}) == len(made) + 1
    others = (*three[:2], small_drivers.lane(2, critic=SACConfig(hidden=(16, 16), critics=1)))
    assert others[2].hash == three[2].hash
    changed = Ensemble(others, evaluator=KINDS["slowed critic"])
    assert changed.hash != made["slowed critic"].hash


def test_a_mean_is_written_as_it_was_before_there_were_evaluators(
    three: tuple[Driver, ...], tmp_path: pathlib.Path
) -> None:
    Ensemble(three).save(tmp_path / "driver", lite=False)
    assert set(json.loads((tmp_path / "driver" / "ensemble.json").read_text())) == {"members"}
    assert "critic.keras" not in manifest.read(tmp_path / "driver" / "member_00").files
    loaded = ensemble.load(tmp_path / "driver")
    assert isinstance(loaded, Ensemble)
    assert loaded.evaluator == Evaluator()


def test_a_driver_keeps_its_hash_with_or_without_critic(
    three: tuple[Driver, ...], tmp_path: pathlib.Path
) -> None:
    assert small_drivers.lane(1).hash == three[1].hash
    three[1].save(tmp_path / "driver", lite=False)
    loaded = Driver.load(tmp_path / "driver")
    assert loaded.critic is not None
    assert loaded.critic_hash == three[1].critic_hash
    with pytest.raises(DriverError, match=r"Expected a critic from \(11,\) to \(1,\) numbers"):
        Driver(
            loaded.encoder, loaded.actor, loaded.description,
            history=small_drivers.HISTORY, critic=loaded.actor,
        )  # fmt: skip


def test_the_race_server_drives_by_its_lite_model(
    folder: pathlib.Path, made: dict[str, Ensemble]
) -> None:
    driver = checks.load(folder)
    assert isinstance(driver, LiteDriver)
    np.testing.assert_allclose(driver.act(SEEN), made["slowed critic"].act(SEEN), atol=1e-4)


@pytest.mark.parametrize("name", ["median", "slowed critic"])
def test_exports_hold_all_of_it(
    name: str, made: dict[str, Ensemble], tmp_path: pathlib.Path
) -> None:
    driver = made[name]
    expected = driver.act(SEEN)
    model = conversion.keras_model(driver)
    found = model({key: SEEN[key] for key in driver.observation.shapes})
    np.testing.assert_allclose(np.asarray(found["action"]), expected, atol=1e-4)
    held = Held(speed=3.0)
    plain = donkeycar.model(driver, held, memory=False)
    images = np.kron(SEEN["image"], np.ones((1, 2, 2, 1), np.uint8))
    told = held.applied(SEEN, memory=False)
    commands = donkeycar.commands(driver.act(told), driver.description)
    plain_layers.save(plain, tmp_path / "linear.h5.keras")
    again = keras.saving.load_model(tmp_path / "linear.h5.keras", compile=False, safe_mode=True)
    for each in (plain, again):
        answer = np.concatenate([np.asarray(part) for part in each([images / 255.0])], axis=1)
        np.testing.assert_allclose(answer, commands, atol=1e-3)


@pytest.mark.slow
def test_onnx_holds_all_of_it(made: dict[str, Ensemble], tmp_path: pathlib.Path) -> None:
    driver = made["slowed critic"]
    (tmp_path / "driver.onnx").write_bytes(conversion.onnx_model(driver))
    pilot = pilots.onnx(tmp_path / "driver.onnx", driver.observation)
    for row, expected in enumerate(driver.act(SEEN)):
        one = {name: part[row] for name, part in SEEN.items()}
        np.testing.assert_allclose(pilot(one), expected, atol=1e-3)


def test_saliency_is_that_of_the_evaluator(
    three: tuple[Driver, ...], made: dict[str, Ensemble]
) -> None:
    seen = {name: part[0] for name, part in SEEN.items()}
    middle = int(np.argsort(proposals(three)[0, :, 0])[1])
    found = Saliency(made["median"], samples=1, noise=0.0).maps(seen)
    expected = Saliency(three[middle], samples=1, noise=0.0).maps(seen)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert expected.max() > 0


def test_what_does_not_fit_an_evaluator_is_refused(three: tuple[Driver, ...]) -> None:
    with pytest.raises(DriverError, match=r"asks the critic of every member.*take median or mean"):
        Ensemble(
            [three[0], small_drivers.lane(5)], evaluator=Evaluator(kind="critic", scales=(1, 1))
        )
    with pytest.raises(DriverError, match=r"a scale for each of the 3 members. Received: 2"):
        Ensemble(three, evaluator=Evaluator(kind="critic", scales=(1, 1)))
    with pytest.raises(DriverError, match=r"Weights count in a mean only. Received: 2, 1, 1"):
        Ensemble(three, [2, 1, 1], Evaluator(kind="median"))
