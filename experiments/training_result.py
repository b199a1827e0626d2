"""The report of a training run."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.experiments.evaluation_result import Evaluation


class TrainingResult(Config):
    """What `donkey-rl train` reports.

    Attributes:
        steps: Environment steps taken.
        wall_s: Wall time since the start of the process; of a resumed run, of all its processes,
            each as far as it counts.
        cpu_s: Processor time in the same span, all cores together; None where a resumed run does
            not know that of its earlier processes.
        first_clean_lap_wall_s: The same until the deterministic policy drove a clean lap.
        first_clean_lap_steps: Environment steps until then.
        best_lap_s: Best clean lap of the finished driver's races.
        stopped: Whether Ctrl-C ended the training.
        driver_stored: Whether the run has a driver: it ended behind lessons or a check.
        laps: The laps of the finished driver's first race.
        missed_deadlines: Telemetry messages that came before the driver had answered the one
            before, while it learned; 0 in the embedded simulator, which waits.
        updates_dropped: Gradient steps left out because the simulator did not wait for them.
        resumed_at: Environment step of the checkpoint that a resumed run went on from.
        time_split: Share of the learning time by what it was spent on.
        failures: What went wrong with the finished driver's races, such as a metric that could
            not be computed.
        evaluation: All that the finished driver's races came to; not printed.
    """

    run_id: str
    steps: int
    wall_s: float
    cpu_s: float | None = None
    first_clean_lap_wall_s: float | None
    first_clean_lap_steps: int | None
    best_lap_s: float | None
    stopped: bool
    driver_stored: bool
    missed_deadlines: int = 0
    updates_dropped: int = 0
    resumed_at: int | None = None
    laps: tuple[dict[str, Any], ...] = ()
    time_split: dict[str, float] = Field(default_factory=dict)
    failures: tuple[str, ...] = ()
    evaluation: Evaluation | None = Field(default=None, exclude=True)
