"""Gradient steps of proximal policy optimisation, a whole update in one compiled call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import cnn, named_arrays
from donkey_rl.agents.adam import Adam
from donkey_rl.agents.augmentation import layers, mirroring
from donkey_rl.agents.compiled import Compiled
from donkey_rl.agents.observations import Layout, Parts
from donkey_rl.agents.ppo import losses, networks
from donkey_rl.agents.ppo.anchor import Anchor
from donkey_rl.agents.ppo.config import PPOConfig
from donkey_rl.agents.ppo.distributions import Categorical, Distribution, Gaussian
from donkey_rl.agents.ppo.rollout import Rollout, seen
from donkey_rl.agents.tensorflow_setup import batch_parts, tf

FloatArray = npt.NDArray[np.float32]

METRICS = (
    "policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction", "loss",
)  # fmt: skip
"""What `Learner.update` reports, averaged over its gradient steps."""

AGREEMENT_METRIC = "agreement_loss"
"""What it reports besides, where policy and critic are to agree on changed images."""

ANCHOR_METRIC = "anchor_kl"
"""What it reports besides, where the policy is held by the one that its updates began with."""

_EPSILON = 1e-5
_ACTOR_GAIN = 0.01
_KL_SLACK = 1.5
"""An update stops at this multiple of `target_kl`, as in Stable-Baselines3."""


class Learner:
    """Networks, optimiser and the compiled update.

    Attributes:
        cnn: Keras model, images (B, h, w, c) -> (B, D), None without images. Actor and critic
            share it, and the whole loss trains it.
        actor: Keras model, features (B, D + F), those of the image before the numbers -> means of
            a Gaussian or logits of choices, (B, A).
        critic: Keras model, features -> (B, 1).
        log_std: Logarithm of the Gaussian's deviation, (A,); not used for choices.
        anchor: The policy that it is held by, None where it is free.
        random: Of the noise and of the order of the steps.
    """

    def __init__(
        self, layout: Layout, outputs: int, config: PPOConfig, seed: int, *, choices: bool
    ) -> None:
        """Builds networks with seeded weights; compiles at the first use.

        Args:
            layout: Of the observations.
            outputs: Numbers of an action, or choices.
            config: Settings.
            seed: Decides the initial weights and every random number drawn later.
            choices: Whether an action is one of several choices.

        Raises:
            InputError: When the images are too small for the convolutions.
        """
        self._outputs, self._config, self._choices = outputs, config, choices
        self._cut = batch_parts(config.batch_size)
        self.random = np.random.default_rng(np.random.SeedSequence([seed, 1]))
        seeds = np.random.SeedSequence([seed, 0]).generate_state(3).tolist()
        hidden, features = config.hidden, layout.numbers
        self.cnn = None
        if layout.image is not None:
            self.cnn = cnn.network(layout.image, config.cnn, seeds[2])
            features += config.cnn.units
        self.actor = networks.network(features, outputs, hidden, _ACTOR_GAIN, seeds[0])
        self.critic = networks.network(features, 1, hidden, 1.0, seeds[1])
        self.log_std = tf.Variable(tf.fill((outputs,), float(config.initial_log_std)))
        self._distribution: Distribution = Categorical() if choices else Gaussian(self.log_std)
        trained = [*self.actor.trainable_variables, *self.critic.trainable_variables]
        if self.cnn is not None:
            trained += self.cnn.trainable_variables
        self._optimiser = Adam(trained if choices else [*trained, self.log_std], _EPSILON)
        # Apart, so that the actor's moments are still fresh when its turn comes.
        self._warming = Adam(self.critic.trainable_variables, _EPSILON)
        self._augmentation: layers.Augmentation | None = None
        self._signs: FloatArray | None = None
        if self.cnn is not None and config.agreement and config.augmentation.active:
            self._augmentation = layers.Augmentation(config.augmentation)
            if config.augmentation.mirror:
                self._signs = mirroring.signs(layout, 0 if choices else outputs)
        self.anchor: Anchor | None = None
        if config.anchor:
            least = config.anchor if config.least_anchor is None else config.least_anchor
            self.anchor = Anchor(self.actor, self.cnn, self.log_std, (least, config.anchor))
        self._metrics: tuple[str, ...] = (
            METRICS if self._augmentation is None else (*METRICS, AGREEMENT_METRIC)
        )
        self._metrics += () if self.anchor is None else (ANCHOR_METRIC,)
        self._compile(layout)

    def _compile(self, layout: Layout) -> None:
        """Fixes the signatures, so that no later call is traced again."""
        width = 1 if self._choices else self._outputs
        numbers = tf.TensorSpec((None,), tf.float32)
        flat = tf.TensorSpec((None, layout.numbers), tf.float32)
        image = None if layout.image is None else tf.TensorSpec((None, *layout.image), tf.uint8)
        observed = seen(Parts(flat, image))
        done = tf.TensorSpec((None, width), tf.float32)
        scalar = tf.TensorSpec((), tf.float32)
        rollout = Rollout(observed, done, numbers, numbers, numbers, numbers)
        order = tf.TensorSpec((None, None), tf.int32)
        seeds = tf.TensorSpec((None, None, 2), tf.int32)
        self._update = Compiled(self._update_many, [rollout, order, seeds, scalar, scalar])
        self._warm_up = Compiled(self._value_many, [observed, numbers, order, scalar])
        noise = tf.TensorSpec((None, self._outputs), tf.float32)
        self._act = Compiled(self._drawn, [observed, noise])
        self._decide = Compiled(
            lambda parts: self._distribution.most_likely(self.actor(self._features(parts))),
            [observed],
        )
        self._value = Compiled(lambda parts: self.critic(self._features(parts))[:, 0], [observed])

    def _features(self, observed: tuple[Any, ...], cut: int = cnn.SEEN_IN) -> Any:
        """Returns what actor and critic read of `rollout.seen`, (B, D + F).

        Args:
            observed: Numbers and, where there are some, images.
            cut: Parts of the batch that the cnn sees side by side.
        """
        numbers, *image = observed
        if self.cnn is None:
            return numbers
        return tf.concat([cnn.in_parts(self.cnn, image[0], cut), numbers], axis=-1)

    def act(self, observations: Parts) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Draws actions, (B, A) or (B, 1); returns their log-density and the values, (B,) each."""
        shape = (len(observations.numbers), self._outputs)
        if self._choices:
            # Never 0 or 1, whose double logarithm is infinite.
            noise = self.random.uniform(1e-7, 1.0 - 1e-7, shape).astype(np.float32)
        else:
            noise = self.random.standard_normal(shape, np.float32)
        actions, log_density, values = self._act(seen(observations), noise)
        return actions.numpy(), log_density.numpy(), values.numpy()

    def decide(self, observations: Parts) -> FloatArray:
        """Returns the most likely actions, (B, A) or (B, 1)."""
        return np.asarray(self._decide(seen(observations)).numpy())

    def values(self, observations: Parts) -> FloatArray:
        """Returns what the critic says, (B,)."""
        return np.asarray(self._value(seen(observations)).numpy())

    def update(
        self, rollout: Rollout, learning_rate: float, clip_range: float
    ) -> dict[str, float]:
        """Goes through a rollout `n_epochs` times in random batches, in one compiled call.

        Args:
            rollout: The steps.
            learning_rate: Step size.
            clip_range: How far the policy may move.

        Returns:
            The means of `METRICS`, and of `AGREEMENT_METRIC` and `ANCHOR_METRIC` where there are
            such.
        """
        if self.anchor is not None and not self.anchor.held:
            self.anchor.hold()
        count = len(rollout.advantages)
        order = np.stack([self.random.permutation(count) for _ in range(self._config.n_epochs)])
        seeds = np.zeros((0, 0, 2), np.int32)
        if self._augmentation is not None:
            limits, batches = np.iinfo(np.int32), -(-count // self._config.batch_size)
            shape = (len(order), batches, 2)
            seeds = self.random.integers(limits.min, limits.max, shape, np.int32)
        means = self._update(
            rollout,
            order.astype(np.int32),
            seeds,
            np.float32(learning_rate),
            np.float32(clip_range),
        )
        return dict(zip(self._metrics, means.numpy().tolist(), strict=True))

    def warm_up(self, rollout: Rollout, learning_rate: float) -> float:
        """Lets the critic alone learn from a rollout, `n_epochs` times; returns its mean loss.

        Args:
            rollout: The steps.
            learning_rate: Step size.
        """
        count = len(rollout.returns)
        order = np.stack([self.random.permutation(count) for _ in range(self._config.n_epochs)])
        loss = self._warm_up(
            rollout.seen, rollout.returns, order.astype(np.int32), np.float32(learning_rate)
        )
        return float(loss)

    def _drawn(self, parts: tuple[Any, ...], noise: Any) -> tuple[Any, Any, Any]:
        features = self._features(parts)
        outputs = self.actor(features)
        actions = tf.cast(self._distribution.draw(outputs, noise), tf.float32)
        density = self._distribution.log_density(outputs, actions)
        return actions, density, self.critic(features)[:, 0]

    def _update_many(
        self, rollout: Any, order: Any, seeds: Any, learning_rate: Any, clip: Any
    ) -> Any:
        count, batch = tf.shape(order)[1], self._config.batch_size
        totals = tf.zeros(len(self._metrics))
        steps = tf.constant(0)
        moved = tf.constant(0.0)
        target = self._config.target_kl
        limit = _KL_SLACK * target if target is not None else np.inf
        for epoch in tf.range(tf.shape(order)[0]):
            for start in tf.range(0, count, batch):
                if moved <= limit:
                    rows = order[epoch, start : start + batch]
                    seed = None
                    if self._augmentation is not None:
                        seed = seeds[epoch, start // batch]
                    found = self._step(_chosen(rollout, rows), seed, (learning_rate, clip), limit)
                    moved = found[3]
                    totals += found
                    steps += 1
        return totals / tf.cast(steps, tf.float32)

    def _value_many(self, seen: tuple[Any, ...], returns: Any, order: Any, rate: Any) -> Any:
        count, batch = tf.shape(order)[1], self._config.batch_size
        total, steps = tf.constant(0.0), tf.constant(0.0)
        for epoch in tf.range(tf.shape(order)[0]):
            for start in tf.range(0, count, batch):
                rows = order[epoch, start : start + batch]
                chosen = tuple(tf.gather(part, rows) for part in seen)
                features = self._features(chosen, self._cut)
                variables = self._warming.variables
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(variables)
                    errors = self.critic(features)[:, 0] - tf.gather(returns, rows)
                    loss = tf.reduce_mean(tf.square(errors))
                gradients, _ = tf.clip_by_global_norm(
                    tape.gradient(loss, variables), self._config.max_gradient_norm
                )
                self._warming.apply(gradients, rate)
                total += loss
                steps += 1.0
        return total / steps

    def _step(self, batch: Rollout, seed: Any, sizes: tuple[Any, Any], limit: float) -> Any:
        """Takes one gradient step, unless the policy has moved too far.

        Args:
            batch: The steps.
            seed: For changes of images, (2,); None where nothing changes.
            sizes: Step size and clip range, () each.
            limit: How far the policy may move.

        Returns:
            The metrics, (6,) to (8,).
        """
        (learning_rate, clip), config = sizes, self._config
        variables = self._optimiser.variables
        advantages = batch.advantages
        if config.normalise_advantage:
            advantages = losses.normalised(advantages)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            features = self._features(batch.seen, self._cut)
            outputs = self.actor(features)
            density = self._distribution.log_density(outputs, batch.actions)
            log_ratio = density - batch.log_density
            ratio = tf.exp(log_ratio)
            policy_loss = losses.policy_loss(ratio, advantages, clip)
            values = self.critic(features)[:, 0]
            value_loss = losses.value_loss(
                values, batch.values, batch.returns, config.clip_range_values
            )
            entropy_loss = -tf.reduce_mean(self._distribution.entropy(outputs))
            loss = (
                policy_loss
                + config.entropy_coefficient * entropy_loss
                + config.value_coefficient * value_loss
            )
            further = []
            if self._augmentation is not None:
                further.append(self._disagreement(batch.seen, outputs, values, seed))
                loss += config.agreement * further[-1]
            if self.anchor is not None:
                begun = self.anchor.outputs(*batch.seen)
                gone = self._distribution.divergence(begun, outputs, self.anchor.log_std)
                further.append(tf.reduce_mean(gone))
                loss += self.anchor.weight * further[-1]
        gradients, _ = tf.clip_by_global_norm(
            tape.gradient(loss, variables), config.max_gradient_norm
        )
        moved = losses.approximate_kl(log_ratio)
        if moved <= limit:
            self._optimiser.apply(gradients, learning_rate)
        fraction = losses.clip_fraction(ratio, clip)
        return tf.stack([policy_loss, value_loss, entropy_loss, moved, fraction, loss, *further])

    def _disagreement(self, seen: tuple[Any, ...], outputs: Any, values: Any, seed: Any) -> Any:
        """Returns how differently policy and critic answer changed images, ().

        Source: Raileanu et al. 2021, "Automatic Data Augmentation for Generalization in
        Reinforcement Learning", arXiv:2006.12862, section 4 (DrAC): what policy and critic say of
        the images as they are is the aim, and gets no gradient. The surrogate loss itself takes no
        changed images: its ratio would compare answers to different ones.

        Args:
            seen: Numbers (B, F) and images (B, h, w, c).
            outputs: Of the actor for them, (B, A).
            values: Of the critic, (B,).
            seed: Two integers, (2,).
        """
        numbers, images = seen
        images = self._augmentation(images, seed)  # type: ignore[misc]
        if self._signs is not None:
            chosen = mirroring.every_second(tf.shape(images)[0], seed + layers.MIRROR)
            numbers = mirroring.numbers(numbers, self._signs, chosen)
            images = mirroring.images(images, chosen)
            outputs = mirroring.numbers(outputs, mirroring.ACTION_SIGNS, chosen)
        features = self._features((numbers, images), self._cut)
        divergence = self._distribution.divergence(outputs, self.actor(features))
        gap = tf.stop_gradient(values) - self.critic(features)[:, 0]
        return tf.reduce_mean(divergence + tf.square(gap))

    def state(self) -> dict[str, FloatArray]:
        """Returns the deviation and the optimiser's moments, by name; the networks are apart."""
        moments = named_arrays.under("optimiser", self._optimiser.state())
        if self._config.critic_steps:
            moments |= named_arrays.under("warming", self._warming.state())
        if self.anchor is not None:
            moments |= named_arrays.under("anchor", self.anchor.state())
        return {"log_std": self.log_std.numpy(), **moments}

    def restore(self, state: Mapping[str, FloatArray]) -> None:
        """Puts back what `state` returned for networks of the same shapes."""
        self.log_std.assign(state["log_std"])
        self._optimiser.restore(named_arrays.of("optimiser", state))
        if self._config.critic_steps:
            self._warming.restore(named_arrays.of("warming", state))
        if self.anchor is not None:
            self.anchor.restore(named_arrays.of("anchor", state))


def _chosen(rollout: Rollout, rows: Any) -> Rollout:
    """Returns some steps of a rollout."""
    chosen: Rollout = tf.nest.map_structure(lambda part: tf.gather(part, rows), rollout)
    return chosen
