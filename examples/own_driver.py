"""A driver of your own: follows the yellow line of generated_track, in a few lines of NumPy.

donkey-rl evaluate examples/own_driver.py:YellowLine --races 2 --laps 1
"""

import numpy as np

ROWS = slice(48, 60)  # Of 120: the road some metres ahead.
RIGHT_OF_LINE = 5  # Pixels from the line to the middle of the picture.
SPEED = 1.2  # m/s as the car reports it, which is 9.6 u/s.


class YellowLine:
    """Whatever has a method `act` is a driver."""

    def reset(self):
        """A race begins."""
        self.steering = 0.0

    def act(self, observation):
        """Returns steering and throttle in [-1, 1]; right is positive, a throttle of -1 is none.

        `observation` is what a race gives: `image`, `speed`, `imu` and `last_actions`.
        """
        red, green, blue = np.moveaxis(observation["image"][ROWS].astype(int), -1, 0)
        columns = np.nonzero((red - blue > 50) & (green - blue > 25))[1]
        if len(columns) > 3:  # Else the wheel stays as it is.
            error = np.median(columns) + RIGHT_OF_LINE - 80
            self.steering = np.clip(error / 32, -1.0, 1.0)
        throttle = np.clip(0.3 * (SPEED - observation["speed"][0]), 0.0, 0.5)
        return self.steering, 2.0 * throttle - 1.0
