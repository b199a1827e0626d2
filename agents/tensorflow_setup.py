"""The one place where TensorFlow and Keras are imported and set up.

Every module of ``donkey_rl.agents`` that computes with tensors writes
``from donkey_rl.agents.tensorflow_setup import keras, tf``.

* **Threads.** One thread per operation and one operation per core. The networks are small: two
  threads that share one small matrix product wait for each other more than they work, while two
  operations that do not depend on each other (the twin critics, the two halves of a batch) fill
  two cores. Measured on two cores, for 256 transitions and two hidden layers of 128 units: 1,050
  updates of soft actor-critic per second, against 900 with two threads per operation. Fewer cores
  are used where ``OMP_NUM_THREADS`` says so, as in the workers of a sweep.
* **GPU.** Hidden. Copying small batches to a GPU and back costs more than it saves.
* **Messages.** TensorFlow writes start-up lines to file descriptor 2 before any of its settings
  can stop it. They are held back while it is imported, everything else passes on.
"""

from __future__ import annotations

import contextlib
import os

from donkey_rl import cores
from donkey_rl.agents import start_up_lines
from donkey_rl.errors import InputError


def _set_up_devices() -> None:
    """Sets threads and devices, unless the process already uses TensorFlow."""
    threads = len(cores.usable())
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal():
        threads = min(threads, int(limit))
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))
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

__all__ = ["in_this_thread", "keras", "tf"]


def in_this_thread() -> contextlib.AbstractContextManager[None]:
    """Has the compiled functions that this thread calls run in it, one operation after the other.

    Otherwise they take their turn in TensorFlow's pool of threads, behind the operations of an
    update that goes on beside them. What other threads call stays in the pool.
    """
    context: contextlib.AbstractContextManager[None] = tf.experimental.function_executor_type(
        "SINGLE_THREADED_EXECUTOR"
    )
    return context
