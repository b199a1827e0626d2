"""The one place where TensorFlow and Keras are imported and set up.

Every module of ``donkey_rl.agents`` that computes with tensors writes
``from donkey_rl.agents.tensorflow_setup import keras, tf``.

* **Threads.** One thread per operation and one operation per core. The networks are small: two
  threads that share one small matrix product wait for each other more than they work, while
  operations that do not depend on each other (the twin critics, the parts of a batch) fill the
  cores. Measured on two cores, for 256 transitions and two hidden layers of 128 units: 1,050
  updates of soft actor-critic per second, against 900 with two threads per operation; on 16 cores
  660 against 520 to 590 with two to eight. So what learns from many images cuts its batches
  (`batch_parts`). Fewer cores are used where ``OMP_NUM_THREADS`` says so, as in a sweep's workers.
* **GPU.** Hidden. The simulator and the loop run on the processor, and a GPU has not been tried
  with these networks; ``docs/benchmarks.md`` has what one did for other implementations.
* **Messages.** TensorFlow writes start-up lines to file descriptor 2 before any of its settings
  can stop it. They are held back while it is imported, everything else passes on.
"""

from __future__ import annotations

import contextlib
import os

from donkey_rl import cores
from donkey_rl.agents import start_up_lines
from donkey_rl.errors import InputError

_MOST_PARTS = 16
"""To compile another part takes a tenth of a second; more of them were not measured."""

_LEAST_ROWS = 4
"""Images of a part."""


def _threads() -> int:
    """Returns how many operations can go on at a time; two at least, as one may wait."""
    usable = len(cores.usable())
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(2, min(usable, int(limit)) if limit.isdecimal() else usable)


def batch_parts(rows: int) -> int:
    """Returns into how many parts a batch of images is cut that is learned from.

    The parts are seen by the same network, side by side. What came out on 16 cores, frames per
    second of the lane encoder's training, batches of 64: 4,900 in two parts, 8,000 in four,
    11,900 in eight and 14,400 in sixteen.

    Args:
        rows: Of the batch.
    """
    return max(1, min(_threads(), _MOST_PARTS, rows // _LEAST_ROWS))


def _set_up_devices() -> None:
    """Sets threads and devices, unless the process already uses TensorFlow."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(_threads())
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        return
    tf.config.list_logical_devices()


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
with start_up_lines.held_back():
    import tensorflow as tf

    _set_up_devices()
    import keras

if keras.backend.backend() != "tensorflow":
    raise InputError(
        "Expected Keras to run on TensorFlow. "
        f"Received: backend '{keras.backend.backend()}'. "
        "Unset KERAS_BACKEND, or set it to 'tensorflow', and start again."
    )

__all__ = ["batch_parts", "in_this_thread", "keras", "tf"]


def in_this_thread() -> contextlib.AbstractContextManager[None]:
    """Has the compiled functions that this thread calls run in it, one operation after the other.

    Otherwise they take their turn in TensorFlow's pool of threads, behind the operations of an
    update that goes on beside them. What other threads call stays in the pool.
    """
    context: contextlib.AbstractContextManager[None] = tf.experimental.function_executor_type(
        "SINGLE_THREADED_EXECUTOR"
    )
    return context
