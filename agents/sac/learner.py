"""Gradient steps of soft actor-critic, many of them in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.adam import Adam, unwrapped
from donkey_rl.agents.sac import losses, networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.tensorflow_setup import tf

FloatArray = npt.NDArray[np.float32]

METRICS = ("critic_loss", "actor_loss", "ent_coef_loss", "ent_coef", "q_mean", "entropy")
"""What `Learner.update` reports, averaged over the gradient steps of the call."""


class Learner:
    """Networks, optimisers and the compiled update.

    The update is compiled by ``tf.function`` without XLA. On two cores, with 2 x 128 units, the
    plain graph made 1,050 updates per second; XLA made 520 with the thread settings of
    `donkey_rl.agents.tensorflow_setup` and 770 with those that suit it best, since it runs the
    twin critics one after the other. It also takes a second longer to compile.

    Actor and critics step at the same time, from the same old weights, as brax does it: the two
    halves of the update then run side by side on two cores.

    Attributes:
        actor: Keras model, (B, F) -> mean and log standard deviation, (B, A) each.
        critics: Keras model, (B, F + A) -> (B, 2).
        target_critics: Slowly following copy of ``critics``.
    """

    def __init__(self, features: int, actions: int, config: SACConfig, seed: int) -> None:
        """Builds networks with seeded weights; compiles at the first use.

        Args:
            features: Length F of an observation.
            actions: Number A of actions.
            config: Settings.
            seed: Decides the initial weights and every random number drawn later.
        """
        self._features, self._actions, self._config = features, actions, config
        self.random = np.random.default_rng(np.random.SeedSequence([seed, 1]))
        actor_seed, critic_seed = np.random.SeedSequence([seed, 0]).generate_state(2)
        hidden = config.hidden
        self.actor = networks.actor(features, actions, hidden, int(actor_seed))
        self.critics = networks.critics(features, actions, hidden, int(critic_seed))
        self.target_critics = networks.critics(features, actions, hidden, int(critic_seed))
        self._log_alpha = tf.Variable(math.log(config.entropy), trainable=False)
        self._optimisers = {
            "actor": Adam(self.actor.trainable_variables),
            "critics": Adam(self.critics.trainable_variables),
            "entropy": Adam([self._log_alpha]),
        }
        self._target_variables = [unwrapped(v) for v in self.target_critics.trainable_variables]
        self.target_entropy = (
            -float(actions) if config.target_entropy is None else config.target_entropy
        )
        self._compile()

    def _compile(self) -> None:
        """Fixes the signatures, so that no later call is traced again."""
        width = 2 * self._features + self._actions + 2
        noise = tf.TensorSpec((None, 2, None, self._actions), tf.float32)
        rows = tf.TensorSpec((None, None, width), tf.float32)
        self._update = tf.function(
            self._update_many, input_signature=[rows, noise, tf.TensorSpec((), tf.float32)]
        )
        self._act = tf.function(
            self._draw,
            input_signature=[
                tf.TensorSpec((None, self._features), tf.float32),
                tf.TensorSpec((None, self._actions), tf.float32),
            ],
        )

    def act(self, observations: FloatArray, *, deterministic: bool) -> FloatArray:
        """Returns actions in [-1, 1], (B, A), for observations (B, F)."""
        shape = (len(observations), self._actions)
        noise = (
            np.zeros(shape, np.float32)
            if deterministic
            else self.random.standard_normal(shape, np.float32)
        )
        actions: FloatArray = self._act(observations, noise).numpy()
        return actions

    def update(self, rows: FloatArray, learning_rate: float) -> dict[str, float]:
        """Takes one gradient step per batch, all inside one compiled call.

        Args:
            rows: Batches of transitions, (steps, B, 2 F + A + 2), each row laid out as
                `donkey_rl.agents.replay` describes.
            learning_rate: Step size of every optimiser.

        Returns:
            The means of `METRICS` over the steps.
        """
        steps, batch_size, _ = rows.shape
        noise = self.random.standard_normal((steps, 2, batch_size, self._actions), np.float32)
        means = self._update(rows, noise, np.float32(learning_rate)).numpy()
        return dict(zip(METRICS, means.tolist(), strict=True))

    def _draw(self, observations: Any, noise: Any) -> Any:
        actions, _ = self._squashed(observations, noise)
        return actions

    def _squashed(self, observations: Any, noise: Any) -> tuple[Any, Any]:
        mean, log_std = self.actor(observations)
        return losses.squashed_gaussian(mean, networks.clipped(log_std), noise)

    def _update_many(self, rows: Any, noise: Any, learning_rate: Any) -> Any:
        steps = tf.shape(rows)[0]
        totals = tf.zeros(len(METRICS))
        for step in tf.range(steps):
            totals += self._update_once(rows[step], noise[step], learning_rate)
        return totals / tf.cast(steps, tf.float32)

    def _update_once(self, rows: Any, noise: Any, learning_rate: Any) -> Any:
        """One gradient step of every network.

        Args:
            rows: (B, 2 F + A + 2).
            noise: Standard normal numbers for s and for s', (2, B, A).
            learning_rate: ().

        Returns:
            `METRICS`, (6,).
        """
        sizes = [self._features, self._actions, 1, 1, self._features]
        observations, actions, returns, discounts, following = tf.split(rows, sizes, axis=-1)
        alpha = tf.exp(self._log_alpha)

        next_actions, next_log_density = self._squashed(following, noise[1])
        targets = losses.soft_target(
            returns[:, 0],
            discounts[:, 0],
            self.target_critics(tf.concat([following, next_actions], -1)),
            next_log_density,
            alpha,
        )
        critic_variables = self._optimisers["critics"].variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(critic_variables)
            values = self.critics(tf.concat([observations, actions], -1))
            critic_loss = losses.critic_loss(values, targets)
        critic_gradients = tape.gradient(critic_loss, critic_variables)

        actor_variables = self._optimisers["actor"].variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(actor_variables)
            drawn, log_density = self._squashed(observations, noise[0])
            drawn_values = self.critics(tf.concat([observations, drawn], -1))
            actor_loss = losses.actor_loss(log_density, drawn_values, alpha)
        actor_gradients = tape.gradient(actor_loss, actor_variables)

        entropy_loss = self._update_entropy(log_density, learning_rate)
        self._optimisers["critics"].apply(critic_gradients, learning_rate)
        self._optimisers["actor"].apply(actor_gradients, learning_rate)
        for target, variable in zip(self._target_variables, critic_variables, strict=True):
            target.assign_add(self._config.tau * (variable - target))
        entropy = -tf.reduce_mean(log_density)
        return tf.stack(
            [critic_loss, actor_loss, entropy_loss, alpha, tf.reduce_mean(values), entropy]
        )

    def _update_entropy(self, log_density: Any, learning_rate: Any) -> Any:
        if not self._config.entropy_learned:
            return tf.constant(0.0)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._log_alpha)
            loss = losses.entropy_loss(self._log_alpha, log_density, self.target_entropy)
        gradient = tape.gradient(loss, self._log_alpha)
        self._optimisers["entropy"].apply([gradient], learning_rate)
        return loss

    def state(self) -> dict[str, FloatArray]:
        """Returns the entropy coefficient and the optimisers' moments, by name.

        The networks' weights are not among them: they are Keras models and are saved as such.
        """
        state = {"log_alpha": np.asarray(self._log_alpha.numpy(), np.float32)}
        for group, optimiser in self._optimisers.items():
            state |= {f"{group}.{name}": value for name, value in optimiser.state().items()}
        return state

    def restore(self, state: Mapping[str, FloatArray]) -> None:
        """Puts back what `state` returned for networks of the same shapes."""
        self._log_alpha.assign(float(state["log_alpha"]))
        for group, optimiser in self._optimisers.items():
            prefix = f"{group}."
            optimiser.restore(
                {
                    name.removeprefix(prefix): value
                    for name, value in state.items()
                    if name.startswith(prefix)
                }
            )
