"""What the convolutional network of a policy can be told; without TensorFlow, for recipes."""

from __future__ import annotations

from typing import Annotated

import pydantic

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError

Filters = Annotated[int, pydantic.Field(ge=1, le=1024)]


class CnnConfig(Config):
    """The network between an image and the layers of a policy; not used without an image."""

    filters: tuple[Filters, ...] = pydantic.Field(
        default=(16, 32, 32),
        min_length=1,
        max_length=6,
        description="Filters of the convolutions; the first is 5x5, the others 3x3, stride 2.",
    )
    units: int = pydantic.Field(
        default=64, ge=1, le=4096, description="Numbers that an image becomes."
    )

    def check_image(self, image: tuple[int, int, int]) -> None:
        """Checks that images are large enough for the convolutions.

        Args:
            image: Height, width and channels.

        Raises:
            InputError: When they are not.
        """
        smallest = 2 ** len(self.filters)
        if min(image[:2]) < smallest:
            raise InputError(
                f"Expected images large enough for {len(self.filters)} convolutions, "
                f"{smallest}x{smallest}. Received: {image[0]}x{image[1]}. "
                "Use larger images or fewer cnn.filters."
            )
