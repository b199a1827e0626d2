"""What a training came to: its last figures, in its run and for its command."""

from __future__ import annotations

import dataclasses
import math

from donkey_rl.agents.feature_env import ExtractedVecEnv
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.experiments import process_clock
from donkey_rl.experiments.checks import Checks, Findings
from donkey_rl.experiments.continuation import Continuation
from donkey_rl.experiments.evaluation_result import Evaluation
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.training_result import TrainingResult


@dataclasses.dataclass(frozen=True, eq=False)
class Learned:
    """What a training has by its end; what it did not come to is None.

    Attributes:
        run: Its run.
        model: The agent.
        env: What it learned in.
        checks: What raced it meanwhile.
        continuation: What wrote its checkpoints.
        learn_s: Wall time of learning (s).
        missed: Commands that came too late.
    """

    run: Run
    model: SAC | PPO | None
    env: ExtractedVecEnv | None
    checks: Checks | None
    continuation: Continuation | None
    learn_s: float
    missed: int

    def _time_split(self) -> dict[str, float]:
        if self.model is None or self.env is None or self.checks is None:
            return {}
        seconds = {**self.env.seconds, **self.model.seconds, "check": self.checks.seconds}
        if self.continuation is not None:
            seconds["checkpoint"] = self.continuation.seconds
        split = {name: round(s / max(self.learn_s, 1e-9), 3) for name, s in seconds.items()}
        return split | {"other": round(max(0.0, 1.0 - sum(split.values())), 3)}

    def report(
        self, raced: Evaluation | None, best_lap: float | None, *, stored: bool
    ) -> TrainingResult:
        """Logs the last figures and returns all of them.

        Args:
            raced: The races of the finished driver, if it was raced.
            best_lap: Best clean lap (s), None for none.
            stored: Whether the run holds a driver.
        """
        findings = self.checks.findings if self.checks is not None else Findings()
        steps = self.model.num_timesteps if self.model is not None else 0
        wall = round(self.checks.wall_s if self.checks else process_clock.seconds(), 2)
        cpu = round(self.checks.cpu_s if self.checks else process_clock.cpu_seconds(), 2)
        split, model = self._time_split(), self.model
        dropped = model.updates_dropped if isinstance(model, SAC) else 0
        facts = {
            "result/wall_s": wall,
            "result/cpu_s": cpu,
            "result/learn_s": self.learn_s,
            "result/first_clean_lap_wall_s": findings.first_clean_lap_wall_s,
            "result/first_clean_lap_steps": findings.first_clean_lap_steps,
            "result/best_lap_s": best_lap,
            "result/missed_deadlines": self.missed,
            "result/updates_dropped": dropped,
            **self.run.cost.figures(),
            **{f"time_split/{name}": share for name, share in split.items()},
        }
        self.run.log_metrics({k: float(v) for k, v in facts.items() if v is not None}, steps)
        return TrainingResult(
            run_id=self.run.id,
            steps=steps,
            wall_s=wall,
            cpu_s=None if math.isnan(cpu) else cpu,
            first_clean_lap_wall_s=findings.first_clean_lap_wall_s,
            first_clean_lap_steps=findings.first_clean_lap_steps,
            best_lap_s=best_lap,
            stopped=False,
            driver_stored=stored,
            missed_deadlines=self.missed,
            updates_dropped=dropped,
            resumed_at=self.continuation.resumed_at if self.continuation else None,
            laps=raced.laps if raced else (),
            failures=raced.all_failures if raced else (),
            evaluation=raced,
            time_split=split,
        )
