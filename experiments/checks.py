"""Races of the deterministic policy while it learns; the best policy seen is kept."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from donkey_rl.agents import driving
from donkey_rl.agents.feature_env import Extractor
from donkey_rl.agents.ppo.ppo import PPO
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.envs import simulators
from donkey_rl.envs.batch import Observation
from donkey_rl.envs.joined_view import Cars
from donkey_rl.experiments import process_clock, racing
from donkey_rl.experiments.check_config import CheckConfig
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.logged_run import Run
from donkey_rl.experiments.progress import Phase
from donkey_rl.metrics import heat as heats
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics import registry
from donkey_rl.metrics.race import Race

CHECK_SEED = 50_021
"""Seed of the checks' starts; evaluations use others."""

_SURE = 0.95
"""From this share of counted laps on a policy has passed a check, see `PPOConfig.least_anchor`."""

_MEANS = (
    "race_score",
    "off_tracks",
    "hits",
    "distance_u",
    "mean_speed",
    "top_speed",
    "completion",
    "steering_change",
)


@dataclasses.dataclass
class Findings:
    """What the checks found so far.

    Attributes:
        first_clean_lap_wall_s: Wall time from the start of the process to the first clean lap.
        first_clean_lap_steps: Environment steps to it.
        best_lap_s: Best clean lap of any check.
        best_rank: How good the best policy was: `counted_share`, then minus its mean lap,
            then its completion.
        best_steps: Environment steps that it had learned from; None where that is not known.
        best_weights: The weights that it drove by, None before the first check.
        curve: One entry a check: environment steps and scores by name.
    """

    first_clean_lap_wall_s: float | None = None
    first_clean_lap_steps: int | None = None
    best_lap_s: float | None = None
    best_rank: tuple[float, float, float] = (-1.0, -math.inf, -math.inf)
    best_steps: int | None = None
    best_weights: list[Any] | None = None
    curve: list[tuple[int, dict[str, float]]] = dataclasses.field(default_factory=list)


class Hooks(NamedTuple):
    """What a check calls.

    Attributes:
        first_lap: Once, when a check sees the first clean lap.
        between: Between two steps; what it raises ends the training.
        before: Before a check, where the cars of the training may be the check's as well.
        checked: After a check, told the environment steps so far and the mean race score.
    """

    first_lap: Callable[[], object]
    between: Callable[[], None]
    before: Callable[[], None]
    checked: Callable[[int, float], object] = lambda steps, score: None


class Checks(BaseCallback):
    """Races the policy every so many steps, logs the scores and keeps the best policy.

    Attributes:
        findings: What they found.
        seconds: Wall time that they took in this process.
    """

    def __init__(
        self,
        setting: CheckConfig,
        fields: Sequence[racing.Field],
        extractor: Extractor,
        run: Run,
        phase: Phase,
        hooks: Hooks,
    ) -> None:
        """Prepares the checks.

        Args:
            setting: How often, and how long.
            fields: The cars to race, of each track.
            extractor: Observation to what the policy reads.
            run: Where scores are logged.
            phase: The progress bar of the training.
            hooks: Called at certain moments.
        """
        super().__init__()
        self.findings = Findings()
        self.seconds = 0.0
        self._earlier_s = self._earlier_cpu_s = 0.0
        self._setting = setting
        self._extractor = extractor
        self._run = run
        self._phase = phase
        self._hooks = hooks
        self._fields = tuple(fields)
        self._next = setting.every

    @property
    def wall_s(self) -> float:
        """Wall time of the run (s): that of this process, and of those that it continues."""
        return self._earlier_s + process_clock.seconds()

    @property
    def cpu_s(self) -> float:
        """Processor time of the run (s), as `wall_s`; NaN where that before is not known."""
        return self._earlier_cpu_s + process_clock.cpu_seconds()

    def state(self) -> dict[str, Any]:
        """Returns the findings, the best weights left out, as JSON knows them."""
        findings = {
            field.name: getattr(self.findings, field.name)
            for field in dataclasses.fields(self.findings)
            if field.name != "best_weights"
        }
        spent = {"wall_s": self.wall_s, "cpu_s": self.cpu_s}
        return {"findings": findings, "next": self._next, **spent}

    def restore(self, stored: Mapping[str, Any], best_weights: list[Any] | None) -> None:
        """Puts back what `state` returned.

        Args:
            stored: What it returned, or what JSON made of it.
            best_weights: Weights of the best policy.
        """
        findings = dict(stored["findings"])
        findings["best_rank"] = tuple(findings["best_rank"])
        findings["curve"] = [(step, scores) for step, scores in findings["curve"]]
        self.findings = Findings(**findings, best_weights=best_weights)
        self._next = int(stored["next"])
        self._earlier_s = float(stored["wall_s"])
        # Older checkpoints do not say.
        self._earlier_cpu_s = float(stored.get("cpu_s", math.nan))

    def _on_step(self) -> bool:
        self._hooks.between()
        self._phase.update(self.num_timesteps, best_lap_s=self.findings.best_lap_s)
        if self.num_timesteps >= self._next:
            self.check()
            lapped = self.findings.first_clean_lap_steps is not None
            pause = self._setting.every_later if lapped else self._setting.every
            self._next = self.num_timesteps + pause
        return True

    def check(self) -> None:
        """Races the policy as it is now."""
        started = time.perf_counter()
        self._hooks.before()
        lapped = self.findings.first_clean_lap_steps is not None
        model: SAC | PPO = self.model  # type: ignore[assignment]
        wanted = self._setting.laps if lapped else 1
        found = summary(
            [
                race
                for field in self._fields
                for race in field.race(self._act, wanted, until_spoiled=True)
            ]
        )
        self.findings.curve.append((self.num_timesteps, found))
        best = found["best_lap_s"]
        if not math.isnan(best):
            self.findings.best_lap_s = min(best, self.findings.best_lap_s or math.inf)
        rank = (found["counted_share"], -_or(found["mean_lap_s"], math.inf), found["completion"])
        # Before the first clean lap whoever comes farther is better; after it only who laps.
        if rank >= self.findings.best_rank and (found["clean_laps"] > 0.0 or not lapped):
            self.findings.best_rank, self.findings.best_steps = rank, self.num_timesteps
            self.findings.best_weights = driving.weights(model)
        if isinstance(model, PPO):
            model.checked(sure=found["counted_share"] >= _SURE)
        self.seconds += time.perf_counter() - started
        logged = found | {"wall_s": self.wall_s, "cpu_s": self.cpu_s}
        self._run.log_metrics({f"check/{k}": v for k, v in logged.items()}, self.num_timesteps)
        if found["clean_laps"] > 0.0 and not lapped:
            self.findings.first_clean_lap_wall_s = round(self.wall_s, 2)
            self.findings.first_clean_lap_steps = self.num_timesteps
            # One lap of a short check says nothing of three: the ranking starts anew.
            self.findings.best_rank = (0.0, -math.inf, -math.inf)
            self._hooks.first_lap()
        self._hooks.checked(self.num_timesteps, found["race_score"])

    def _act(self, observation: Observation) -> Any:
        self._hooks.between()
        model: SAC | PPO = self.model  # type: ignore[assignment]
        return model.predict(self._extractor(observation), deterministic=True)[0]


def check_fields(config: TrainingConfig, trained: Cars) -> tuple[racing.Field, ...]:
    """Returns the cars of the checks: cars of their own, or those of the other simulators."""
    environments = config.check_environments()
    scene = config.check_scene
    if simulators.count(config.simulator) is not None:
        return tuple(
            racing.Field(
                environment,
                config.driven * config.check.rounds,
                seed=CHECK_SEED,
                world=view.batch.world,
                disturbance=scene,
            )
            for environment, view in zip(environments, trained.views, strict=True)
        )
    races = -(-config.check.races // len(environments))
    return tuple(
        racing.Field(environment, races, seed=CHECK_SEED, disturbance=scene)
        for environment in environments
    )


def summary(races: Sequence[Race]) -> dict[str, float]:
    """Returns the scores of some races as one number each.

    `clean_share` is the share of the laps to drive that were driven clean, `clean_laps` their
    number, `counted_share` the share of those in races that no host would have ended because the
    car was too slow; lap times are means and bests over all races; the rest are means.
    """
    clean: list[float] = []
    counted = 0
    for race in races:
        driven = [lap.time_s for lap in lap_times.laps(race) if lap.clean]
        clean += driven
        if driven and heats.heat(race).fault != "missed checkpoint":
            counted += len(driven)
    wanted = sum(race.header.laps for race in races)
    means = {
        name: float(np.mean(values))
        for name, values in registry.score_races(races, map(registry.load, _MEANS)).values.items()
    }
    return {
        "clean_laps": float(len(clean)),
        "clean_share": len(clean) / wanted,
        "counted_share": counted / wanted,
        "best_lap_s": min(clean, default=math.nan),
        "mean_lap_s": float(np.mean(clean)) if clean else math.nan,
        **means,
    }


def _or(value: float, fallback: float) -> float:
    return fallback if math.isnan(value) else value


class MlflowWriter(KVWriter):
    """Sends what Stable-Baselines3 logs to the run, against environment steps."""

    def __init__(self, run: Run) -> None:
        """Writes to a run."""
        self._run = run

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """Logs the numbers among the values."""
        numbers = {
            name: float(value)
            for name, value in key_values.items()
            if isinstance(value, int | float | np.number)
        }
        self._run.log_metrics(numbers, step)

    def close(self) -> None:
        """Writes what waits."""
        self._run.flush()
