"""Cars on several tracks as one Stable-Baselines3 vector environment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from donkey_rl.envs import batch as batches
from donkey_rl.envs import rendering, vec_env
from donkey_rl.envs.settings import EnvironmentConfig
from donkey_rl.envs.simulator import track_names
from donkey_rl.envs.vec_env import Flags, Info, SB3View, View


class JoinedView(View):
    """The cars of several views, one view after the other; each may have a track of its own.

    Attributes:
        views: The views; all see the same and act alike.
    """

    def __init__(self, views: Sequence[SB3View]) -> None:
        """Joins views.

        Args:
            views: Two or more, of one observation space.
        """
        self.views = tuple(views)
        self.render_mode = "rgb_array"
        counts = [view.num_envs for view in views]
        self._firsts = np.cumsum([0, *counts])[:-1]
        super().__init__(sum(counts), views[0].observation_space, views[0].action_space)
        # For whoever films it; Stable-Baselines3 sets the modes alone.
        self.metadata = {**self.metadata, "render_fps": rendering.METADATA["render_fps"]}

    @property
    def missed(self) -> int:
        """Commands that came too late so far."""
        return sum(view.missed for view in self.views)

    def reset(self) -> batches.Observation:
        """Starts all episodes anew, with the seed given before, if any."""
        if self._seeds[0] is not None:
            for view, first in zip(self.views, self._firsts, strict=True):
                view.seed(self._seeds[first])
        self._reset_seeds()
        return _joined([view.reset() for view in self.views])

    def observation(self) -> batches.Observation:
        """Returns what all cars see now."""
        return _joined([view.observation() for view in self.views])

    def interrupt(self) -> None:
        """See `SB3View.interrupt`."""
        for view in self.views:
            view.interrupt()

    def step_async(self, actions: npt.NDArray[np.float32]) -> None:
        """Takes the actions of the next step."""
        for view, part in zip(self.views, np.split(actions, self._firsts[1:]), strict=True):
            view.step_async(part)

    def step_wait(
        self,
    ) -> tuple[batches.Observation, npt.NDArray[np.float32], Flags, list[Info]]:
        """Drives all cars for one step."""
        moved = [view.step_wait() for view in self.views]
        observed, rewards, done, infos = zip(*moved, strict=True)
        return (
            _joined(observed),
            np.concatenate(rewards),
            np.concatenate(done),
            [info for part in infos for info in part],
        )

    def get_images(self) -> list[npt.NDArray[np.uint8] | None]:
        """Returns the camera images of all cars."""
        return [image for view in self.views for image in view.get_images()]

    def close(self) -> None:
        """Gives up the cars."""
        for view in self.views:
            view.close()


Cars = SB3View | JoinedView
"""What a policy learns in: on one track, or on several."""


def make(configs: Sequence[EnvironmentConfig], cars: int, seed: int) -> Cars:
    """Returns N cars, spread over environments as `shares` says.

    Args:
        configs: The environments; they differ in their tracks alone.
        cars: Number of cars, at least one for each.
        seed: Seed of all random streams.
    """
    if len(configs) == 1:
        return vec_env.make(configs[0], cars, seed)
    counts = shares([config.track for config in configs], cars)
    firsts = np.cumsum([0, *counts])[:-1].tolist()
    return JoinedView(
        [
            vec_env.make(config, share, seed + first)
            for config, share, first in zip(configs, counts, firsts, strict=True)
        ]
    )


def shares(tracks: Sequence[str], count: int) -> list[int]:
    """Returns how many of so many cars, or frames, each of some tracks gets.

    Random roads are alike, scenes are not: n tracks of one name together get the square root of n
    times what a track alone gets, each of them the same.

    Args:
        tracks: Their names, see `track_names`.
        count: What is spread, at least one for each track.

    >>> shares(["warren", "warehouse"], 5)
    [3, 2]
    >>> shares(["warren", "random_circuit:1", "random_circuit:2:mirror"], 12)
    [5, 4, 3]
    """
    names = [track_names.plain(track) for track in tracks]
    alike = Counter(names)
    weights = [1.0 / math.sqrt(alike[name]) for name in names]
    wanted = [(count - len(tracks)) * weight / sum(weights) for weight in weights]
    found = [1 + math.floor(each) for each in wanted]
    fullest = sorted(range(len(tracks)), key=lambda i: math.floor(wanted[i]) - wanted[i])
    for i in fullest[: count - sum(found)]:
        found[i] += 1
    return found


def _joined(parts: Sequence[batches.Observation]) -> batches.Observation:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
