"""The simulation of many sweep workers, against queues whose answers are known."""

from __future__ import annotations

import pytest

from donkey_rl.experiments.cluster.scaling_model import Cost, Costs, Sweep, simulate

FREE = Cost(fixed_s=0.0)


def costs(**given: Cost) -> Costs:
    names = ("take", "sample", "write", "report", "beat", "finish")
    return Costs(**{**dict.fromkeys(names, FREE), **given})


def test_workers_that_share_nothing_are_all_efficient() -> None:
    found = simulate(costs(), Sweep(trial_s=(100.0,), night_s=10_000.0), [1, 10])
    # 100 trials of 100 s in 10,000 s; ten workers begin within the first 100 s.
    assert found[0].trials == 100
    assert found[0].efficiency == pytest.approx(1.0)
    assert found[1].efficiency == pytest.approx(1.0, abs=0.01)
    assert found[1].busy == {"queue": 0.0, "storage": 0.0, "tracking": 0.0}


def test_one_worker_alone_waits_only_for_itself() -> None:
    given = costs(take=Cost(fixed_s=10.0), sample=Cost(fixed_s=5.0), finish=Cost(fixed_s=5.0))
    [found] = simulate(given, Sweep(trial_s=(80.0,), night_s=10_000.0), [1])
    # 10 + 5 + 80 + 5 = 100 s a trial, of which 80 are training.
    assert found.trials == 100
    assert found.efficiency == pytest.approx(0.8)
    assert found.busy["queue"] == pytest.approx(0.1, abs=0.002)
    assert found.busy["storage"] == pytest.approx(0.05, abs=0.002)
    assert found.waited_s["queue"] == pytest.approx(10.0, rel=0.02)
    assert found.sampling_s == pytest.approx(5.0, rel=0.02)


def test_a_saturated_queue_sets_the_throughput() -> None:
    given = costs(take=Cost(fixed_s=2.0))
    bends = simulate(given, Sweep(trial_s=(98.0,), night_s=5_000.0), [10, 500])
    # 2 s of the queue for a trial: 2,500 trials in 5,000 s, however many workers there are.
    assert bends[0].efficiency > 0.95
    assert bends[1].trials == pytest.approx(2_500, rel=0.1)
    assert bends[1].busy["queue"] == pytest.approx(1.0, abs=0.02)
    assert bends[1].bottleneck == "queue"


def test_more_lanes_and_a_closer_network_help() -> None:
    given = costs(finish=Cost(fixed_s=2.0))
    one, two = (
        simulate(given, Sweep(trial_s=(98.0,), night_s=5_000.0, storage_lanes=lanes), [200])[0]
        for lanes in (1, 2)
    )
    assert two.trials == pytest.approx(2 * one.trials, rel=0.1)
    near, far = (
        simulate(given, Sweep(trial_s=(98.0,), night_s=26_000.0, round_trip_s=trip), [1])[0]
        for trip in (0.0, 40.0)
    )
    # Four calls of 40 s more in a trial of 100 s: taking, writing, uploading, giving back.
    assert near.trials == 260
    assert far.trials == 100


def test_a_growing_study_slows_down() -> None:
    given = costs(sample=Cost(fixed_s=0.0, per_trial_s=0.1))
    flat, grown = (
        simulate(given, Sweep(trial_s=(10.0,), night_s=1_000.0, trials_there=there), [1])[0]
        for there in (0, 1000)
    )
    # With 1,000 trials there each takes 100 s and more to propose: 9 in 1,000 s.
    assert grown.trials == 9
    assert flat.trials > 40
    assert grown.bottleneck == "proposing parameters"


def test_heartbeats_and_metrics_load_the_servers_without_being_waited_for() -> None:
    given = costs(beat=Cost(fixed_s=0.2), log=Cost(fixed_s=0.1))
    [found] = simulate(
        given, Sweep(trial_s=(100.0,), reports=0, night_s=10_000.0, beat_every_s=20.0), [4]
    )
    # 4 workers x 0.2 s / 20 s, and 4 x 0.1 s / 2 s.
    assert found.busy["storage"] == pytest.approx(0.04, abs=0.003)
    assert found.busy["tracking"] == pytest.approx(0.2, abs=0.01)
    assert found.efficiency > 0.98


def test_uploads_wait_behind_metrics_of_others() -> None:
    given = costs(log=Cost(fixed_s=0.2), upload=Cost(fixed_s=1.0))
    calm, busy = simulate(given, Sweep(trial_s=(100.0,), night_s=10_000.0), [1, 9])
    # Nine workers keep the tracking server busy for 9 x (0.2 / 2 + 1 / 100) = 0.99 of the time.
    assert calm.waited_s["tracking"] < 4.0
    assert busy.waited_s["tracking"] > 2.0 * calm.waited_s["tracking"]
    assert busy.bottleneck == "tracking"
