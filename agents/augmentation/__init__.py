"""Random changes of training images, as Keras layers that run inside the compiled updates."""
