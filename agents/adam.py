"""Adam with one fused kernel per variable.

Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", arXiv:1412.6980, algorithm 1,
with the bias corrections folded into the step size (end of section 2).

``keras.optimizers.Adam`` computes the same numbers, as about ten small operations per variable.
An update of soft actor-critic takes a fifth longer with it (2 x 128 units, batch 256).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.tensorflow_setup import tf

BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-8


def unwrapped(variable: Any) -> Any:
    """Returns the TensorFlow variable inside a Keras variable."""
    return variable if isinstance(variable, tf.Variable) else variable.value


class Adam:
    """The moments of a group of variables, and the step that uses them.

    Attributes:
        variables: The TensorFlow variables that `apply` changes.
    """

    def __init__(self, variables: Sequence[Any], epsilon: float = EPSILON) -> None:
        """Starts with zero moments.

        Args:
            variables: Keras or TensorFlow variables.
            epsilon: Keeps steps bounded where gradients are tiny.
        """
        self._epsilon = epsilon
        self.variables = [unwrapped(variable) for variable in variables]
        self._first = [tf.Variable(tf.zeros_like(v), trainable=False) for v in self.variables]
        self._second = [tf.Variable(tf.zeros_like(v), trainable=False) for v in self.variables]
        self._step = tf.Variable(0.0, trainable=False)

    def apply(self, gradients: Sequence[Any], learning_rate: Any) -> None:
        """Takes one step; call it inside a compiled function.

        Args:
            gradients: One tensor per variable, of its shape.
            learning_rate: Step size, ().
        """
        self._step.assign_add(1.0)
        power_1, power_2 = tf.pow(BETA_1, self._step), tf.pow(BETA_2, self._step)
        slots = zip(self.variables, self._first, self._second, gradients, strict=True)
        for variable, first, second, gradient in slots:
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=power_1,
                beta2_power=power_2,
                lr=learning_rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=self._epsilon,
                grad=gradient,
            )

    def state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Returns the step count and both moments of every variable, by name."""
        state = {"step": np.asarray(self._step.numpy(), np.float32)}
        for index, (first, second) in enumerate(zip(self._first, self._second, strict=True)):
            state[f"first_{index}"] = first.numpy()
            state[f"second_{index}"] = second.numpy()
        return state

    def restore(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Puts back what `state` returned for variables of the same shapes."""
        self._step.assign(float(state["step"]))
        for index, (first, second) in enumerate(zip(self._first, self._second, strict=True)):
            first.assign(state[f"first_{index}"])
            second.assign(state[f"second_{index}"])
