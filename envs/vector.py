"""Many cars at once, as a Gymnasium vector environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from donkey_rl.envs import batch as batches
from donkey_rl.envs import rendering
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import stepping

if TYPE_CHECKING:
    from donkey_rl.envs.vec_env import SB3View

Info = dict[str, Any]
Flags = npt.NDArray[np.bool_]


def privileged(batch: batches.Batch) -> dict[str, npt.NDArray[Any]]:
    """Returns what a race host does not send, and what a person wants to see, shape (N,) each.

    ``speed`` (as reported), ``distance``, ``progress``, ``cte``, ``lateral`` (u), ``time`` (s),
    ``off_track``, ``wheels_off``, ``hit``, ``node``, ``lap_count``, ``last_lap_time`` (s),
    ``missed_deadlines``.
    """
    sensed = batch.sensed
    return {
        "speed": batch.speed / batch.vehicle.report_scale,
        "distance": sensed[:, stepping.DISTANCE].copy(),
        "progress": sensed[:, stepping.PROGRESS].copy(),
        "cte": sensed[:, stepping.CTE].copy(),
        "lateral": sensed[:, stepping.LATERAL].copy(),
        "time": sensed[:, stepping.TIME].copy(),
        "off_track": batch.off_track.copy(),
        "wheels_off": batch.world.cars.wheels_off.copy(),
        "hit": np.array(batch.world.hit_names(), dtype=object),
        "node": batch.world.cars.node.copy(),
        "lap_count": batch.timer.count.copy(),
        "last_lap_time": batch.timer.last_time.copy(),
        "missed_deadlines": batch.world.missed.copy(),
    }


class DonkeyVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """N cars, each alone on the track unless they drive `together`.

    Episodes restart within the step that ends them (`AutoresetMode.SAME_STEP`); the last
    observation of an ended episode is in ``infos["final_obs"]``, its info in
    ``infos["final_info"]``.
    """

    metadata = {  # noqa: RUF012
        **rendering.METADATA,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        config: EnvironmentConfig | None = None,
        num_envs: int = 1,
        *,
        seed: int = 0,
        copy: bool = True,
        together: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """Builds the batch.

        Args:
            config: What to drive; `generated_track` by default.
            num_envs: Number of cars N.
            seed: Seed of all random streams.
            copy: Whether returned frames are copies. Without, they stay valid until the step
                after the next.
            together: Whether the cars share one scene and collide.
            render_mode: None or `rgb_array`.
        """
        config = EnvironmentConfig() if config is None else config
        batches.check_made(config, render_mode, num_envs)
        self.num_envs = num_envs
        self.config = config
        self.render_mode = render_mode
        self.single_observation_space = batches.observation_space(config)
        self.single_action_space = batches.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.batch = batches.Batch(config, num_envs, seed=seed, together=together)
        self._copy = copy

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: Info | None = None
    ) -> tuple[batches.Observation, Info]:
        """Starts all episodes anew; of a list of seeds the first counts for all cars."""
        chosen = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=chosen)
        if chosen is not None:
            self.batch.seed(chosen)
        self.batch.restart()
        return self._given(self.batch.observation()), _with_masks(privileged(self.batch), None)

    def step(
        self, actions: npt.ArrayLike
    ) -> tuple[batches.Observation, npt.NDArray[np.float64], Flags, Flags, Info]:
        """Drives all cars for one step.

        Raises:
            ActionError: The actions have the wrong shape or are not finite.
        """
        moved = self.batch.step(actions)
        infos = _with_masks(privileged(self.batch), None)
        infos |= _with_masks({f"reward_{k}": v for k, v in moved.terms.items()}, None)
        infos["reward_terms"] = _with_masks(dict(moved.terms), None)
        infos["_reward_terms"] = np.ones(self.num_envs, np.bool_)
        done = moved.terminated | moved.truncated
        observed = moved.observation
        if done.any():
            ended = np.flatnonzero(done)
            final = np.full(self.num_envs, None, dtype=object)
            for i in ended:
                final[i] = {name: np.array(value[i]) for name, value in observed.items()}
            infos["final_obs"], infos["_final_obs"] = final, done
            last = privileged(self.batch)
            last["ending"] = moved.ending_names
            infos["final_info"] = _with_masks(last, done)
            infos["final_info"]["reward_terms"] = _with_masks(dict(moved.terms), done)
            infos["final_info"]["_reward_terms"] = done.copy()
            infos["_final_info"] = done
            self.batch.reset(ended)
            infos |= _with_masks(privileged(self.batch), None)
            observed = self.batch.observation()
        return self._given(observed), moved.reward, moved.terminated, moved.truncated, infos

    def _given(self, observed: batches.Observation) -> batches.Observation:
        return {**observed, "image": observed["image"].copy()} if self._copy else observed

    def render(self) -> Any:
        """Returns the camera images of all cars in the mode `rgb_array`."""
        if self.render_mode != "rgb_array":
            return None
        return tuple(np.array(self.batch.observation()["image"]))

    def close_extras(self, **_: Any) -> None:
        """Gives up the cars."""
        self.batch.close()

    def as_vec_env(self) -> SB3View:
        """Returns this environment as Stable-Baselines3 wants it, over the same frames."""
        # Stable-Baselines3 brings torch, which takes seconds to import.
        from donkey_rl.envs.vec_env import SB3View

        return SB3View(self.batch)


def _with_masks(values: dict[str, npt.NDArray[Any]], mask: Flags | None) -> Info:
    """Adds Gymnasium's ``_key`` masks, which say for which cars a value is present."""
    infos: Info = dict(values)
    for name, value in values.items():
        infos[f"_{name}"] = np.ones(len(value), dtype=np.bool_) if mask is None else mask.copy()
    return infos
