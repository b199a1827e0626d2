"""Gradient steps of soft actor-critic, many of them in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import named_arrays
from donkey_rl.agents.adam import Adam, unwrapped
from donkey_rl.agents.augmentation import layers, mirroring
from donkey_rl.agents.observations import Layout, Parts
from donkey_rl.agents.replay import Batch
from donkey_rl.agents.sac import losses, networks
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.performer import Performer, both
from donkey_rl.agents.tensorflow_setup import batch_parts, tf

FloatArray = npt.NDArray[np.float32]

CRITIC_METRICS = ("critic_loss", "q_mean")
ACTOR_METRICS = ("actor_loss", "ent_coef_loss", "ent_coef", "entropy")
"""What `Learner.update` reports, averaged over the gradient steps of the call."""


class Update(NamedTuple):
    """What a call of the compiled update did.

    Attributes:
        metrics: See `Learner.update`.
        weights: Of the policy after it, for `Learner.adopt`; empty if no other one acts.
    """

    metrics: dict[str, float]
    weights: list[FloatArray]


_CHANGE, _TARGET, _CRITICS, _ACTOR = range(4)
"""What the four seeds of a gradient step are for."""


class Learner:
    """Networks, optimisers and the compiled update.

    The update is compiled by ``tf.function`` without XLA. On two cores, with 2 x 128 units, the
    plain graph made 1,050 updates per second; XLA made 520 with the thread settings of
    `donkey_rl.agents.tensorflow_setup` and 770 with those that suit it best, since it runs the
    twin critics one after the other. It also takes a second longer to compile.

    Actor and critics step at the same time, from the same old weights, as brax does it: the two
    halves of the update then run side by side on two cores.

    With images, the networks read features: what the cnn makes of the image, then the numbers.
    Only the critics' loss trains the cnn, and it has no slow copy (Yarats et al. 2022,
    arXiv:2107.09645, DrQ-v2).

    Attributes:
        actor: Keras model, features (B, D) -> mean and log standard deviation, (B, A) each.
        critics: Keras model, (B, D + A) -> (B, N), see `networks.critics`.
        target_critics: Slowly following copy of ``critics``.
        cnn: Keras model, images (B, h, w, c) -> features, or None without images.
        random: Draws all noise.
    """

    def __init__(
        self, layout: Layout, actions: int, config: SACConfig, seed: int, *, apart: bool = False
    ) -> None:
        """Builds networks with seeded weights; compiles at the first use.

        Args:
            layout: What observations are made of.
            actions: Number A of actions.
            config: Settings.
            seed: Decides the initial weights and every random number drawn later.
            apart: Whether a policy of its own can act while this one learns.

        Raises:
            InputError: When images are too small for the cnn.
        """
        self._layout, self._actions, self._config = layout, actions, config
        self._cut = batch_parts(config.batch_size)
        self.random = np.random.default_rng(np.random.SeedSequence([seed, 1]))
        seeds = [int(s) for s in np.random.SeedSequence([seed, 0]).generate_state(3)]
        policy_seeds = seeds[0], seeds[2]
        self._policy = Performer(layout, actions, config, policy_seeds)
        self._apart = Performer(layout, actions, config, policy_seeds) if apart else None
        self.actor, self.cnn = self._policy.actor, self._policy.cnn
        features = self._policy.features
        self.critics = networks.critics(features, actions, config, seeds[1])
        self.target_critics = networks.critics(features, actions, config, seeds[1])
        self._log_alpha = tf.Variable(math.log(config.entropy), trainable=False)
        seeing = [] if self.cnn is None else self.cnn.trainable_variables
        self._optimisers = {
            "actor": Adam(self.actor.trainable_variables),
            "critics": Adam([*self.critics.trainable_variables, *seeing]),
            "entropy": Adam([self._log_alpha]),
        }
        self._target_variables = [unwrapped(v) for v in self.target_critics.trainable_variables]
        self.target_entropy = (
            -float(actions) if config.target_entropy is None else config.target_entropy
        )
        self._augmentation: layers.Augmentation | None = None
        self._signs: FloatArray | None = None
        if self.cnn is not None and config.augmentation.active:
            self._augmentation = layers.Augmentation(config.augmentation)
            if config.augmentation.mirror:
                numbers, rest = mirroring.signs(layout, actions), np.ones(2, np.float32)
                self._signs = np.concatenate([numbers, mirroring.ACTION_SIGNS, rest, numbers])
        self._seeded = bool(config.critic_dropout) or self._augmentation is not None
        self._steps = 0
        self._matrices: FloatArray = np.zeros((0, config.hidden[-1], actions), np.float32)
        self._compile()

    def _compile(self) -> None:
        """Fixes the signatures, so that no later call is traced again."""
        layout, actions = self._layout, self._actions
        width = 2 * layout.numbers + actions + 2
        image = [] if layout.image is None else [tf.TensorSpec((None, *layout.image), tf.uint8)]
        images = [tf.TensorSpec((None, None, 2, *spec.shape[1:]), tf.uint8) for spec in image]
        self._update = tf.function(
            self._update_many,
            input_signature=[
                [tf.TensorSpec((None, None, width), tf.float32), *images],
                tf.TensorSpec((None, 2, None, actions), tf.float32),
                tf.TensorSpec((None, 4, 2), tf.int32),
                tf.TensorSpec((), tf.int32),
                tf.TensorSpec((), tf.float32),
            ],
        )

    def act(self, parts: Parts, *, deterministic: bool, apart: bool = False) -> FloatArray:
        """Returns actions in [-1, 1], (B, A), for B observations.

        Args:
            parts: The observations.
            deterministic: Whether to take the most likely actions.
            apart: Whether the policy of the last `adopt` acts, while this one learns.
        """
        performer = self._apart if apart and self._apart is not None else self._policy
        count = len(parts.numbers)
        if self._config.sde and not deterministic:
            if not len(self._matrices):
                self.reset_noise(count)
            fitting = self._matrices if len(self._matrices) == count else self._matrices[:1]
            return performer.explore(parts, fitting)
        shape = (count, self._actions)
        if deterministic:
            return performer.act(parts, np.zeros(shape, np.float32))
        return performer.act(parts, self.random.standard_normal(shape, np.float32))

    def adopt(self, weights: Sequence[FloatArray] | None = None) -> None:
        """Lets the policy that acts apart have the weights of an `Update`, or today's."""
        if self._apart is not None:
            self._apart.adopt(self._policy.weights() if weights is None else weights)

    def narrow(self) -> None:
        """Has the policy explore alike everywhere, as widely as its target entropy asks for.

        Learning comes to about that width; an actor begins by chance with some ten times of it,
        at which a car does not stay on the road. State-dependent exploration begins narrow.
        """
        if self._config.sde:
            return
        layer = self.actor.get_layer(networks.LOG_STD)
        kernel, bias = layer.get_weights()
        log_std = self.target_entropy / self._actions - 0.5 * math.log(2.0 * math.pi * math.e)
        layer.set_weights([np.zeros_like(kernel), np.full_like(bias, log_std)])
        self.adopt()

    def reset_noise(self, count: int) -> None:
        """Draws what state-dependent exploration does until the next draw.

        Args:
            count: Environments, each of which explores in its own way.
        """
        shape = (count, self._config.hidden[-1], self._actions)
        self._matrices = self.random.standard_normal(shape, np.float32)

    def get_std(self) -> FloatArray:
        """Returns the weights of state-dependent exploration, (H, A), which are logged."""
        acting = self._policy if self._apart is None else self._apart
        weights: FloatArray = np.exp(acting.actor.get_layer(networks.LOG_STD).log_weight.numpy())
        return weights

    def update(self, batch: Batch, learning_rate: float) -> dict[str, float]:
        """Takes one gradient step per batch, all inside one compiled call.

        Args:
            batch: Transitions with the axes (steps, B, ...).
            learning_rate: Step size of every optimiser.

        Returns:
            The means of the metrics over the steps; those of the actor only where it took one.
        """
        return self.prepared(batch, learning_rate)().metrics

    def prepared(self, batch: Batch, learning_rate: float) -> Callable[[], Update]:
        """Draws the random numbers of `update`; what is returned does the rest, in any thread.

        One such call must end before the next one begins.
        """
        steps, batch_size, _ = batch.rows.shape
        noise = self.random.standard_normal((steps, 2, batch_size, self._actions), np.float32)
        seeds = np.zeros((steps, 4, 2), np.int32)
        if self._seeded:
            limits = np.iinfo(np.int32)
            seeds = self.random.integers(limits.min, limits.max, seeds.shape, np.int32)
        parts = [part for part in batch if part is not None]
        done = np.int32(self._steps)
        self._steps += steps

        def take() -> Update:
            totals, actor_steps = self._update(
                parts, noise, seeds, done, np.float32(learning_rate)
            )
            metrics = _means(totals.numpy().tolist(), steps, int(actor_steps))
            return Update(metrics, [] if self._apart is None else self._policy.weights())

        return take

    def _values(self, model: Any, features: Any, actions: Any, seed: Any) -> Any:
        """Returns what critics say, (B, N) or (B, N, M)."""
        inputs = tf.concat([features, actions], -1)
        return model([inputs, seed] if self._config.critic_dropout else inputs)

    def _update_many(
        self, batch: Any, noise: Any, seeds: Any, done: Any, learning_rate: Any
    ) -> tuple[Any, Any]:
        steps = tf.shape(noise)[0]
        totals = tf.zeros(len(CRITIC_METRICS) + len(ACTOR_METRICS))
        delay = self._config.policy_delay
        for step in tf.range(steps):
            acts = (done + step + 1) % delay == 0
            parts = [part[step] for part in batch]
            totals += self._update_once(parts, noise[step], seeds[step], acts, learning_rate)
        return totals, (done + steps) // delay - done // delay

    def _update_once(
        self, batch: Any, noise: Any, seeds: Any, acts: Any, learning_rate: Any
    ) -> Any:
        """One gradient step.

        Args:
            batch: Rows (B, 2 F + A + 2), and images (B, 2, h, w, c).
            noise: Standard normal numbers for s and for s', (2, B, A).
            seeds: For what else is random, (4, 2).
            acts: Whether the actor steps as well, ().
            learning_rate: ().

        Returns:
            The metrics, (6,).
        """
        rows, images = both(batch)
        features = self._layout.numbers
        sizes = [features, self._actions, 1, 1, features]
        rows, images = self._changed(rows, images, seeds[_CHANGE])
        numbers, actions, returns, discounts, following = tf.split(rows, sizes, axis=-1)
        image, next_image = (None, None) if images is None else (images[:, 0], images[:, 1])
        targets = self._targets(
            returns[:, 0],
            discounts[:, 0],
            self._policy.read(following, next_image, self._cut),
            noise[1],
            seeds[_TARGET],
        )
        variables = self._optimisers["critics"].variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            seen = self._policy.read(numbers, image, self._cut)
            values = self._values(self.critics, seen, actions, seeds[_CRITICS])
            if self._config.quantiles:
                loss = losses.quantile_loss(values, targets)
            else:
                loss = losses.critic_loss(values, targets)
        gradients = tape.gradient(loss, variables)

        # The actor reads the critics before they step.
        seen = tf.stop_gradient(seen)
        if self._config.policy_delay == 1:
            actor_metrics = self._update_actor(seen, noise[0], seeds[_ACTOR], learning_rate)
        else:
            actor_metrics = tf.cond(
                acts,
                lambda: self._update_actor(seen, noise[0], seeds[_ACTOR], learning_rate),
                lambda: tf.zeros(len(ACTOR_METRICS)),
            )
        self._optimisers["critics"].apply(gradients, learning_rate)
        # The cnn's variables come last and have no slow copy.
        for target, variable in zip(self._target_variables, variables, strict=False):
            target.assign_add(self._config.tau * (variable - target))
        return tf.concat([tf.stack([loss, tf.reduce_mean(values)]), actor_metrics], axis=0)

    def _changed(self, rows: Any, images: Any, seed: Any) -> tuple[Any, Any]:
        """Returns transitions with what was seen at the start and after changed at random."""
        if self._augmentation is None:
            return rows, images
        shape = tf.shape(images)
        flat = tf.reshape(images, (-1, *images.shape[2:]))
        images = tf.reshape(self._augmentation(flat, seed), shape)
        if self._signs is None:
            return rows, images
        chosen = mirroring.every_second(shape[0], seed + layers.MIRROR)
        turned = mirroring.numbers(rows, self._signs, chosen)
        return turned, mirroring.images(images, chosen)

    def _targets(self, returns: Any, discounts: Any, features: Any, noise: Any, seed: Any) -> Any:
        actions, log_density = self._policy.squashed(features, noise)
        values = self._values(self.target_critics, features, actions, seed)
        alpha = tf.exp(self._log_alpha)
        if not self._config.quantiles:
            return losses.soft_target(returns, discounts, values, log_density, alpha)
        dropped = self._config.dropped_quantiles
        return losses.quantile_target(returns, discounts, values, log_density, alpha, dropped)

    def _update_actor(self, seen: Any, noise: Any, seed: Any, learning_rate: Any) -> Any:
        """One step of actor and entropy coefficient; returns `ACTOR_METRICS`, (4,)."""
        alpha = tf.exp(self._log_alpha)
        variables = self._optimisers["actor"].variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            drawn, log_density = self._policy.squashed(seen, noise)
            values = self._values(self.critics, seen, drawn, seed)
            if self._config.quantiles:
                loss = losses.quantile_actor_loss(log_density, values, alpha)
            else:
                loss = losses.actor_loss(log_density, values, alpha)
        gradients = tape.gradient(loss, variables)
        entropy_loss = self._update_entropy(log_density, learning_rate)
        self._optimisers["actor"].apply(gradients, learning_rate)
        return tf.stack([loss, entropy_loss, alpha, -tf.reduce_mean(log_density)])

    def _update_entropy(self, log_density: Any, learning_rate: Any) -> Any:
        if not self._config.entropy_learned:
            return tf.constant(0.0)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._log_alpha)
            loss = losses.entropy_loss(self._log_alpha, log_density, self.target_entropy)
        gradient = tape.gradient(loss, self._log_alpha)
        self._optimisers["entropy"].apply([gradient], learning_rate)
        return loss

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the entropy coefficient, moments, step count and exploration, by name.

        The networks' weights are not among them: they are Keras models and are saved as such.
        """
        state: dict[str, npt.NDArray[Any]] = {
            "log_alpha": np.asarray(self._log_alpha.numpy(), np.float32),
            "steps": np.asarray(self._steps),
        }
        if self._config.sde:
            state["matrices"] = self._matrices
        for group, optimiser in self._optimisers.items():
            state |= named_arrays.under(group, optimiser.state())
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Puts back what `state` returned; the networks have their weights already.

        Raises:
            KeyError: Something is missing.
            ValueError: Something has another shape.
        """
        self._log_alpha.assign(float(state["log_alpha"]))
        self._steps = int(state["steps"])
        if self._config.sde:
            matrices = np.asarray(state["matrices"], np.float32)
            if matrices.shape[1:] != self._matrices.shape[1:]:
                raise ValueError(f"matrices of shape {matrices.shape}")
            self._matrices = matrices
        for group, optimiser in self._optimisers.items():
            optimiser.restore(named_arrays.of(group, state))
        self.adopt()


def _means(totals: list[float], steps: int, actor_steps: int) -> dict[str, float]:
    """Returns metrics by name; those of the actor only where it took a step."""
    count = len(CRITIC_METRICS)
    metrics = {n: value / steps for n, value in zip(CRITIC_METRICS, totals, strict=False)}
    if actor_steps:
        taken = zip(ACTOR_METRICS, totals[count:], strict=True)
        metrics |= {name: value / actor_steps for name, value in taken}
    return metrics
