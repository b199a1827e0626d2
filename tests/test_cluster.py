"""Work on a Ray cluster of two nodes on the loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

import donkey_rl
from donkey_rl import configuration
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.envs import joined_view
from donkey_rl.envs.latency import LatencyConfig
from donkey_rl.errors import DonkeyRLError, DriverError, InputError
from donkey_rl.experiments import drivers, race_latency, sight
from donkey_rl.experiments import evaluation_races as driving
from donkey_rl.experiments.cluster import connection, races, rollouts
from donkey_rl.experiments.cluster.ray_engine import RayEngine
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.evaluation_races import RacePlan
from donkey_rl.experiments.progress import ProgressDisplay
from donkey_rl.experiments.sweeps.queue import attempts
from donkey_rl.experiments.sweeps.storage import open_storage
from tests import light_sweep, small_drivers
from tests.ray_cluster import TwoNodes, two_nodes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    with two_nodes() as started:
        yield started


def test_a_client_with_the_token_sees_both_nodes(cluster: TwoNodes) -> None:
    with ProgressDisplay() as progress, connection.connected(cluster.address, progress) as nodes:
        assert [node.cpus for node in nodes] == [1.0, 1.0]
        assert connection.is_this_machine(nodes)
    import ray

    assert not ray.is_initialized()


def test_a_client_with_another_token_is_refused(
    cluster: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "not-the-token-" + "0" * 32)
    with (
        pytest.raises(InputError, match="asks for another token") as refused,
        ProgressDisplay() as progress,
        connection.connected(cluster.address, progress),
    ):
        pass
    assert "not-the-token" not in str(refused.value)


def test_a_sweep_survives_the_loss_of_a_node(cluster: TwoNodes, tmp_path: Path) -> None:
    cluster.add_second()
    url, gate = str(tmp_path / "study.journal"), tmp_path / "go"
    order = light_sweep.order(url, tmp_path, trials=4, workers=2, lease_s=15.0)
    longer = {"steps": 20, "step_s": 0.1, "gate": str(gate)}
    order = order.model_copy(update={"plan": {**order.plan, **longer}})
    storage = open_storage(order.storage)
    study = optuna.load_study(storage=storage, study_name="light")

    def kill_when_both_work() -> None:
        try:
            until = time.monotonic() + 300.0
            while sum(trial.state == TrialState.RUNNING for trial in study.get_trials()) < 2:
                assert time.monotonic() < until
                time.sleep(0.1)
            time.sleep(0.5)
            cluster.kill_second()
        finally:
            gate.touch()

    killer = threading.Thread(target=kill_when_both_work)
    killer.start()
    with ProgressDisplay() as progress:
        reports = RayEngine(cluster.address).run(order, progress)
    killer.join()
    jobs = attempts(study.get_trials())
    ends = [[trial.state for trial in each] for each in jobs.values()]
    assert len(jobs) == 4
    assert all(states.count(TrialState.COMPLETE) == 1 for states in ends)
    lost = [states for states in ends if len(states) > 1]
    # The node was in the middle of one.
    assert lost == [[TrialState.FAIL, TrialState.COMPLETE]]
    # The other worker has gone on from where it was.
    places = {Path(trial.user_attrs["place"]) for trial in study.get_trials()}
    assert [len(place.read_bytes()) for place in places] == [20] * 4
    # What the dead node's worker had completed is in no report.
    assert sum(report.complete for report in reports) >= 2


def test_races_on_the_cluster_are_those_of_this_machine(cluster: TwoNodes) -> None:
    cluster.add_second()
    entrant = drivers.load("untrained")
    pieces = [
        races.Piece(
            entrant.environment.model_copy(update={"track": name}),
            RacePlan(races=2, laps=1, latency=late, changes=race_latency.told(late)),
        )
        for name, late in (
            ("generated_track", LatencyConfig()),
            ("warren", race_latency.asked(50.0, 20.0, None)),
        )
    ]
    with ProgressDisplay() as progress:
        here = [driving.drive(entrant, *piece, progress, "here") for piece in pieces]
        with races.placed(cluster.address, entrant, pieces, progress) as drive:
            there = [drive(entrant, *piece, progress, "there") for piece in pieces]
    for near, far in zip(here, there, strict=True):
        for name, scores in near.table.values.items():
            np.testing.assert_array_equal(far.table.values[name], scores)
        for one, other in zip(near.races, far.races, strict=True):
            assert other.header == one.header
            for name, values in one.columns.items():
                np.testing.assert_array_equal(other[name], values)


def test_an_ensemble_goes_to_a_node_with_its_members(tmp_path: Path) -> None:
    two = [small_drivers.lane(seed) for seed in (0, 1)]
    joined = Ensemble(two)
    environment = drivers.environment_of(joined)
    there = drivers.of_run(joined, environment, "3f2a")
    files = races._files(there)
    assert {"ensemble.json", "member_00/manifest.json", "member_01/manifest.json"} <= set(files)
    found = races._entrant(files, races._facts(there), tmp_path / "driver")
    assert isinstance(found, drivers.LearnedEntrant)
    assert found.hash == joined.hash
    seen = small_drivers.noise(3)
    np.testing.assert_array_equal(found.driver.act(seen), joined.act(seen))
    with pytest.raises(DriverError, match="files of a driver's folder"):
        races._entrant({"../manifest.json": b""}, races._facts(there), tmp_path / "other")


def test_collectors_drive_as_this_machine_does_and_are_replaced(
    cluster: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    cluster.add_second()
    config = configuration.validate(
        TrainingConfig, {"cars": 4, "encoder": {"name": "cnn"}, "agent": "ppo"}
    )
    driven = joined_view.make(config.environments(), config.driven, config.seed)
    local = sight.environment(config, driven, None, sight.scaling(config))
    values = config.model_dump(mode="json")
    here = [rollouts.Collector(donkey_rl.__version__, values, None, {}, 2) for _ in range(2)]
    said: list[str] = []
    draw = np.random.default_rng(0)
    with ProgressDisplay() as progress, connection.connected(cluster.address, progress):
        there = rollouts._spread(config, local, None, 2, said.append)
        there.seed(7)
        seeds = [there._seed_of(number) for number in range(2)]
        assert len(set(seeds)) == 2
        _same(there.reset(), [one.reset(seed) for one, seed in zip(here, seeds, strict=True)])
        for _ in range(20):
            actions = draw.uniform(-1.0, 1.0, (4, 2)).astype(np.float32)
            seen, rewards, dones, _ = there.step(actions)
            parts = [here[0].step(actions[:2]), here[1].step(actions[2:])]
            _same(seen, [part[0] for part in parts])
            np.testing.assert_array_equal(rewards, np.concatenate([part[1] for part in parts]))
            np.testing.assert_array_equal(dones, np.concatenate([part[2] for part in parts]))
        cluster.kill_second()
        cluster.add_second()
        before = seen
        seen, rewards, dones, infos = there.step(actions)
        lost = [i for i, info in enumerate(infos) if info.get("ending") == rollouts.LOST]
        assert lost in ([0, 1], [2, 3])
        assert dones[lost].all()
        assert not rewards[lost].any()
        for i in lost:
            assert infos[i]["TimeLimit.truncated"]
            np.testing.assert_array_equal(
                infos[i]["terminal_observation"]["numbers"], before["numbers"][i]
            )
        assert len(said) == 1
        assert "placed again" in said[0]
        _, _, dones, infos = there.step(actions)
        assert not any(info.get("ending") == rollouts.LOST for info in infos)
        # They hold the cores that others need.
        for one in there._collectors:
            ray.kill(one)
        monkeypatch.setattr(donkey_rl, "__version__", "0.0.0")
        others = rollouts._spread(config, local, None, 2, said.append)
        with pytest.raises(DonkeyRLError, match=r"A collector failed: .*Install the same"):
            others.reset()


def _same(whole: dict[str, np.ndarray], parts: Sequence[dict[str, np.ndarray]]) -> None:
    for name, values in whole.items():
        np.testing.assert_array_equal(values, np.concatenate([part[name] for part in parts]))
