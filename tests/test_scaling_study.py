"""How far a sweep scales, measured on this machine: small, but all of it."""

from __future__ import annotations

import functools
import pathlib

import pytest
from PIL import Image

from donkey_rl.experiments import bench
from donkey_rl.experiments.cluster import scaling_measurements, scaling_picture, scaling_study
from tests.data_sets import quiet


@pytest.mark.slow
def test_what_a_sweep_costs_is_measured_simulated_and_drawn(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = functools.partial(scaling_measurements.storage_costs, there=(0, 30), calls=6)
    monkeypatch.setattr(scaling_measurements, "storage_costs", few)
    tracked = functools.partial(scaling_measurements.tracking_costs, calls=3)
    monkeypatch.setattr(scaling_measurements, "tracking_costs", tracked)
    monkeypatch.setattr(scaling_study, "CHECKED", (2,))
    monkeypatch.setattr(scaling_study, "WORKERS", (1, 20, 300))
    found = bench.run(quiet(), ["scaling"]).scaling
    assert found is not None
    costs = found.costs["journal"].model_dump()
    # What a proposal costs beyond a random one may drown in the noise of the disk.
    assert all(cost["fixed_s"] > 0.0 for name, cost in costs.items() if name != "sample")
    (check,) = found.checks["journal"]
    # Two that wait 0.2 s each come to ten trials a second at most; counted over a short time, to
    # one or two more. A busy disk takes its part.
    assert 0.5 < check.measured_per_s < 12.0
    assert 0.5 < check.modelled_per_s < 10.0
    assert len(found.curves) == 3
    for curve in found.curves:
        assert curve.workers == scaling_study.WORKERS
        # More workers never come to more each.
        assert curve.efficiency[0] > 0.9
        assert curve.efficiency[-1] < curve.efficiency[0]
    picture = scaling_picture.draw(found, tmp_path / "scaling.png")
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 500
