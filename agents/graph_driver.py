"""Drivers that are one TensorFlow graph from observation to action, and how they are stored."""

from __future__ import annotations

import abc
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from donkey_rl.agents import lite_conversion, manifest
from donkey_rl.agents.acting import Acting, FloatArray
from donkey_rl.agents.manifest import DriverDescription, Manifest, ObservationSpec
from donkey_rl.agents.tensorflow_setup import tf


class GraphDriver(Acting):
    """A driver whose `graph` is compiled once.

    Attributes:
        observation: What it sees.
        description: Where it comes from and what it was made for.
    """

    description: DriverDescription

    def __init__(self, observation: ObservationSpec, description: DriverDescription) -> None:
        """Prepares to compile the graph, which happens at the first action."""
        self.observation = observation
        self.description = description
        self._compiled = tf.function(
            self.graph, input_signature=lite_conversion.signature(observation.shapes, None)
        )

    @property
    @abc.abstractmethod
    def hash(self) -> str:
        """SHA-256 of all that decides its actions, 64 hexadecimal digits."""

    @abc.abstractmethod
    def graph(self, image: Any, speed: Any, imu: Any, last_actions: Any) -> Any:
        """Returns the actions of several cars, (n, 2), as a part of a TensorFlow graph."""

    def _actions(self, parts: Sequence[npt.NDArray[Any]]) -> FloatArray:
        actions: FloatArray = self._compiled(*parts).numpy()
        return actions

    def _sealed(self, draft: Path, encoder: str, *, lite: bool) -> Manifest:
        """Writes what every driver folder ends with.

        Args:
            draft: The folder, all else in it.
            encoder: How the manifest calls what reads the image.
            lite: Whether to make the LiteRT model as well.

        Returns:
            The manifest written.
        """
        if lite:
            model = lite_conversion.converted(self.graph, self.observation.shapes)
            (draft / manifest.LITE_MODEL).write_bytes(model)
        written = Manifest(
            format=manifest.FORMAT,
            hash=self.hash,
            created=datetime.datetime.now(datetime.UTC),
            encoder=encoder,
            observation=self.observation,
            description=self.description,
            versions=manifest.installed_versions(),
            files=manifest.entries(draft),
        )
        manifest.write(draft, written)
        return written
