"""A replay buffer of n-step transitions for many environments at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from donkey_rl.agents import observations
from donkey_rl.agents.observations import FloatArray, ImageArray, Layout, Observation
from donkey_rl.agents.ring import Numbers, Ring
from donkey_rl.errors import InputError


class Batch(NamedTuple):
    """Transitions to learn from, B of them.

    Attributes:
        rows: Shape (B, 2 F + A + 2), each row as `NStepBuffer` describes it.
        images: What was seen at the start and after, (B, 2, h, w, c), or None without images.
    """

    rows: FloatArray
    images: ImageArray | None


def stored_bytes(layout: Layout, actions: int) -> int:
    """Returns what a transition takes in the buffer.

    Args:
        layout: What observations are made of.
        actions: Number of actions.
    """
    image = 0 if layout.image is None else math.prod(layout.image) + 16
    return 4 * (2 * layout.numbers + actions + 2) + image


class NStepBuffer(BaseBuffer):
    """Transitions over up to n steps, one row of floats each.

    A row is ``[observation (F), action (A), return (1), discount (1), following (F)]``: taking
    ``action`` at ``observation`` earned ``return``, the discounted sum of up to n rewards, before
    ``following`` was seen; ``discount`` is gamma to the number of those rewards, and 0 where the
    episode **terminated** at ``following``. Where it was cut by a time limit (Stable-Baselines3's
    ``TimeLimit.truncated``), the discount stays: the critics bootstrap from the last observation.

    Sums are taken when a step is stored, so that a batch is one gather of rows: seven times
    faster than Stable-Baselines3's ``NStepReplayBuffer``, which sums at every sampling. A
    transition is stored once its n-th reward is known, or at the end of its episode.

    Of an observation, a row holds the numbers. An image is stored once, as bytes, in a ring of
    frames: what each step saw, and the last observation of each episode. A row's link names its
    first and its following frame; a row whose first frame has given way does not count.

    A transition takes `stored_bytes`; the memory is claimed page by page as it is written.

    Attributes:
        layout: How observations are taken apart.
        rings: ``rows``, and with images ``links`` (two frame numbers per row) and ``frames``.
        random: Draws the samples.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: Any = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        **settings: Any,
    ) -> None:
        """Makes an empty buffer; the signature is Stable-Baselines3's.

        Args:
            buffer_size: Rows held, and frames; the oldest give way.
            observation_space: As `donkey_rl.agents.observations` describes.
            action_space: A flat Box.
            device: Where `sample` puts its tensors.
            n_envs: Environments N that step together.
            optimize_memory_usage: Not available, must be False: images are stored once anyway.
            **settings: ``n_steps`` (default 1), ``gamma`` (default 0.99), ``seed``.

        Raises:
            InputError: On another observation or action space.
        """
        if not isinstance(action_space, spaces.Box) or len(action_space.shape) != 1:
            raise InputError(
                f"Expected a flat Box as action space. Received: {action_space}. "
                "Flatten the space first."
            )
        if optimize_memory_usage:
            raise InputError(
                "Expected optimize_memory_usage=False. Received: True. Lower buffer_size instead."
            )
        self.layout = observations.layout(observation_space)
        super().__init__(buffer_size, observation_space, action_space, device, n_envs=n_envs)
        self.n_steps = int(settings.pop("n_steps", 1))
        self.gamma = float(settings.pop("gamma", 0.99))
        self.random = np.random.default_rng(settings.pop("seed", None))
        if settings:
            raise InputError(
                f"Expected n_steps, gamma or seed. Received: {', '.join(settings)}. Remove it."
            )
        features, actions = self.layout.numbers, action_space.shape[0]
        self._columns = np.cumsum([features, actions, 1, 1])
        self._rows = Ring(buffer_size, (2 * features + actions + 2,), np.float32)
        self.rings = {"rows": self._rows}
        if self.layout.image is not None:
            self.rings["links"] = Ring(buffer_size, (2,), np.int64)
            self.rings["frames"] = Ring(buffer_size, self.layout.image, np.uint8)
        self._recent_starts: FloatArray = np.zeros(
            (self.n_steps, n_envs, features + actions), np.float32
        )
        self._recent_rewards: FloatArray = np.zeros((self.n_steps, n_envs), np.float32)
        self._recent_frames: Numbers = np.zeros((self.n_steps, n_envs), np.int64)
        self._newest_frames: Numbers = np.zeros(n_envs, np.int64)
        self._slot = 0
        self._lengths = np.zeros(n_envs, np.int64)

    def forget_recent(self) -> None:
        """Drops the steps that wait for later rewards; call it after a reset from outside."""
        self._lengths[:] = 0

    def add(
        self,
        obs: Observation,
        next_obs: Observation,
        action: npt.NDArray[Any],
        reward: npt.NDArray[Any],
        done: npt.NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Stores one step of every environment.

        Args:
            obs: What was seen, N observations. Within an episode it is what was passed as
                ``next_obs`` the step before.
            next_obs: What was seen next; at the end of an episode its last observation.
            action: What was done, (N, A), in [-1, 1].
            reward: What it earned, (N,).
            done: Whether the episode ended, (N,).
            infos: One per environment; ``TimeLimit.truncated`` tells a time limit from an end.
        """
        ended = np.asarray(done, bool)
        terminated = ended.copy()
        for index in np.flatnonzero(ended):
            terminated[index] = not infos[index].get("TimeLimit.truncated", False)
        (numbers, image), _ = self.layout.split(obs)
        (following, next_image), _ = self.layout.split(next_obs)
        if image is not None and next_image is not None:
            self._store_frames(image, next_image)
        features = self._columns[0]
        self._recent_starts[self._slot, :, :features] = numbers
        self._recent_starts[self._slot, :, features:] = action
        self._recent_rewards[self._slot] = reward
        self._lengths = np.minimum(self._lengths + 1, self.n_steps)

        returns = np.zeros(self.n_envs, np.float32)
        for lag in range(self.n_steps):
            slot = (self._slot - lag) % self.n_steps
            returns = self._recent_rewards[slot] + np.float32(self.gamma) * returns
            complete = ended | (lag == self.n_steps - 1)
            chosen = np.flatnonzero((self._lengths > lag) & complete)
            if len(chosen):
                discounts = np.where(terminated[chosen], 0.0, self.gamma ** (lag + 1))
                self._store(slot, chosen, returns[chosen], discounts, following[chosen])
        self._slot = (self._slot + 1) % self.n_steps
        self._lengths[ended] = 0

    def _store_frames(self, image: ImageArray, next_image: ImageArray) -> None:
        """Stores what was seen next, and what was seen first where an episode begins."""
        frames = self.rings["frames"]
        beginning = np.flatnonzero(self._lengths == 0)
        self._newest_frames[beginning] = frames.append(image[beginning])
        self._recent_frames[self._slot] = self._newest_frames
        self._newest_frames = frames.append(next_image)

    def _store(
        self,
        slot: int,
        chosen: Numbers,
        returns: FloatArray,
        discounts: npt.NDArray[Any],
        following: FloatArray,
    ) -> None:
        """Appends the rows of the chosen environments, which begin at a recent step."""
        starts = self._recent_starts[slot, chosen]
        self._rows.append(np.column_stack([starts, returns, discounts, following]))
        if "links" in self.rings:
            links = np.stack([self._recent_frames[slot], self._newest_frames], axis=1)
            self.rings["links"].append(links[chosen])
        self._mark()

    @property
    def row_bytes(self) -> int:
        """Bytes of one transition once it is drawn, with both its images."""
        frames = self.rings.get("frames")
        images = 0 if frames is None else 2 * frames.rows[0].nbytes
        return int(self._rows.rows[0].nbytes + images)

    def _mark(self) -> None:
        """Keeps what Stable-Baselines3 reads."""
        self.pos = self._rows.written % self.buffer_size
        self.full = len(self._rows) == self.buffer_size

    def _usable(self) -> Numbers | None:
        """Returns where in memory the rows are whose frames are all there; None means all."""
        if "links" not in self.rings or self.rings["frames"].oldest == 0:
            return None
        starts = self.rings["links"].rows[: len(self._rows), 0]
        return np.flatnonzero(starts >= self.rings["frames"].oldest)

    def size(self) -> int:
        """Returns how many transitions can be drawn."""
        usable = self._usable()
        return len(self._rows) if usable is None else len(usable)

    def _draw(self, count: int) -> Numbers:
        """Returns where in memory rows lie that are drawn evenly, with replacement, (count,)."""
        usable = self._usable()
        if usable is None:
            return self.random.integers(0, len(self._rows), count)
        chosen: Numbers = usable[self.random.integers(0, len(usable), count)]
        return chosen

    def draw(self, count: int) -> Batch:
        """Returns transitions drawn evenly, with replacement; the buffer must not be empty."""
        drawn = self._draw(count)
        rows = np.take(self._rows.rows, drawn, axis=0)
        if "links" not in self.rings:
            return Batch(rows, None)
        return Batch(rows, self.rings["frames"].take(self.rings["links"].rows[drawn]))

    def sample(self, batch_size: int, env: Any | None = None) -> ReplayBufferSamples:
        """Returns transitions in Stable-Baselines3's form, whose observations are their numbers.

        Raises:
            InputError: When observations hold an image.
        """
        if self.layout.image is not None:
            raise InputError(
                "Expected a buffer without images. Received: observations with one. "
                "Use NStepBuffer.draw instead of sample."
            )
        return self._get_samples(self._draw(batch_size), env)

    def _get_samples(
        self, batch_inds: npt.NDArray[Any], env: Any | None = None
    ) -> ReplayBufferSamples:
        parts = np.split(self._rows.rows[batch_inds], self._columns, axis=1)
        numbers, actions, returns, discounts, following = map(self.to_torch, parts)
        ended = (discounts == 0).float()
        return ReplayBufferSamples(numbers, actions, following, ended, returns, discounts)

    def reset(self) -> None:
        """Empties the buffer."""
        super().reset()
        for ring in self.rings.values():
            ring.clear()
        self.forget_recent()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the contents of the rings, oldest first; links count from the oldest frame.

        Rows whose first frame has given way are left out.
        """
        found = {name: ring.since(0) for name, ring in self.rings.items()}
        if "links" in found:
            links = found["links"] - self.rings["frames"].oldest
            there = links[:, 0] >= 0
            found |= {"rows": found["rows"][there], "links": links[there]}
        return found

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Puts back what `arrays` returned, the newest rows if there are more than fit.

        Raises:
            InputError: When something is missing or of another shape.
        """
        for name, ring in self.rings.items():
            expected, found = ring.rows, arrays.get(name)
            if (
                found is None
                or found.shape[1:] != expected.shape[1:]
                or (found.dtype != expected.dtype)
            ):
                received = "nothing" if found is None else f"{found.dtype} {found.shape}"
                raise InputError(
                    f"Expected '{name}' as {expected.dtype} of shape (k, "
                    f"{', '.join(map(str, expected.shape[1:]))}). Received: {received}. "
                    "Load the buffer of an agent with the same spaces."
                )
        if "links" in self.rings:
            links = arrays["links"]
            if (
                len(links) != len(arrays["rows"])
                or np.any(links[:, 0] < 0)
                or np.any(links[:, 1] < links[:, 0])
                or (np.any(links[:, 1] >= len(arrays["frames"])))
            ):
                raise InputError(
                    f"Expected links of {len(arrays['rows'])} rows to {len(arrays['frames'])} "
                    f"frames. Received: {len(links)} that lead elsewhere. Save the buffer again."
                )
        self.reset()
        for name, ring in self.rings.items():
            ring.restore(0, arrays[name])
        self._mark()
