"""Checks race at all latencies that are trained for, the same ones in every check."""

import numpy as np

from donkey_rl import configuration
from donkey_rl.envs import joined_view
from donkey_rl.experiments.checks import check_fields
from donkey_rl.experiments.config import TrainingConfig


def test_races_of_a_check_are_late_by_what_their_seeds_draw() -> None:
    config = configuration.validate(
        TrainingConfig,
        {
            "history": 8,
            "latency": {"high_ms": 300},
            "check": {"races": 12},
            "camera": {"img_w": 48, "img_h": 36},
            "encoder": {"filters": [4], "pool": 1},
            "cars": 2,
        },
    )
    cars = joined_view.make(config.environments(), config.driven, config.seed)
    (field,) = check_fields(config, cars)
    link = field.batch.link
    assert link is not None
    delays = []
    for _ in range(2):
        field.line_up(field.seeds)
        # The longest delay is six steps.
        for _ in range(8):
            field.batch.step(np.zeros((12, 2), np.float32))
        delays.append(np.array(link.delay_ms))
    field.close()
    cars.close()
    np.testing.assert_array_equal(delays[0], delays[1])
    assert len(delays[0]) == 12
    assert delays[0].min() < 75.0
    assert delays[0].max() > 225.0
    assert len(set(delays[0].tolist())) >= 4
