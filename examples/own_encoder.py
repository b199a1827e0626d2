"""An encoder of your own: a class with a Keras model from an image to numbers to drive by.

donkey-rl train --steps 40000 --set encoder.name=own --set encoder.code=examples/own_encoder.py:Eye
"""

import numpy as np

from donkey_rl.agents.tensorflow_setup import keras

READ = ("left_edge", "right_edge", "heading_error", "right_6.5", "right_16")
SCALE = 8.0


class Eye:
    """Five numbers of the road, read from a small picture by a small network."""

    def __init__(self, image_shape):
        image = keras.Input(image_shape, dtype="uint8")
        x = keras.layers.Cropping2D(((image_shape[0] // 3, 0), (0, 0)))(image)  # Without the sky.
        x = keras.layers.Rescaling(1 / 64, offset=-2.0)(x)
        x = keras.layers.AveragePooling2D(4)(x)
        for filters in (16, 32):
            x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
        x = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(x))
        self.model = keras.Model(image, keras.layers.Dense(len(READ))(x))

    def fit(self, images, labels):
        """Learns from the simulator's own labels; leave it out where there is nothing to learn."""
        wanted = np.stack([labels[name] for name in READ], axis=1) / SCALE
        self.model.compile(keras.optimizers.Adam(2e-3), "mse")
        self.model.fit(images, wanted, batch_size=64, epochs=8, verbose=2)
