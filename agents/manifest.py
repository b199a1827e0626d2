"""What a driver folder says about itself."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pydantic
from gymnasium import spaces

from donkey_rl import formatting
from donkey_rl.agents import features, folders
from donkey_rl.agents.features import FeatureScaling
from donkey_rl.configuration import Config
from donkey_rl.errors import DriverError, InputError

ENSEMBLE: Final = "ensemble"
"""`DriverDescription.agent` and `Manifest.encoder` of drivers that drive as one."""

FORMAT: Final = 1
"""Version of the driver folder."""

FILE_NAME = "manifest.json"
LITE_MODEL = "driver.tflite"
_LARGEST_MANIFEST = 1_000_000
_PACKAGES = ("keras", "tensorflow", "stable-baselines3", "gymnasium", "numpy")
_Limits = tuple[float, float]
_Latency = Annotated[float, pydantic.Field(ge=0.0, le=1000.0)]
_Pixels = Annotated[int, pydantic.Field(ge=1, le=4096)]

ACTIONS = 2
"""Steering and throttle."""


class ObservationSpec(Config):
    """What a driver sees."""

    image_shape: tuple[_Pixels, _Pixels, _Pixels] = pydantic.Field(
        description="Height, width and channels of the camera image, uint8."
    )
    history: int = pydantic.Field(ge=1, le=100, description="Last actions seen, oldest first.")
    scaling: FeatureScaling = pydantic.Field(description="Divisors of the measurements.")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part of one observation; the image is uint8, the others float32."""
        return {
            "image": self.image_shape,
            "speed": (1,),
            "imu": (6,),
            "last_actions": (ACTIONS * self.history,),
        }

    def parts(
        self, observation: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[list[npt.NDArray[Any]], bool]:
        """Returns the parts in the order of `shapes`, and whether they are of a single car.

        Args:
            observation: Of one car, or of n cars with a leading axis; what else it holds is not
                looked at.

        Returns:
            Arrays with a leading axis, of length 1 for a single car.

        Raises:
            DriverError: When a part is missing, or of another shape or type.
        """
        image = observation.get("image")
        single = image is not None and np.ndim(image) == 3
        lead = () if image is None or single else np.shape(image)[:1]
        found = []
        for name, shape in self.shapes.items():
            part = observation.get(name)
            if part is None or np.shape(part) != (*lead, *shape):
                raise DriverError(
                    f"Expected '{name}' of shape {(*lead, *shape)}. "
                    f"Received: {'nothing' if part is None else np.shape(part)}. "
                    "Configure camera and history as in the driver's manifest.json."
                )
            if name == "image" and np.asarray(part).dtype != np.uint8:
                raise DriverError(
                    f"Expected 'image' as uint8. Received: {np.asarray(part).dtype}. "
                    "Pass the camera image as it comes."
                )
            array = np.asarray(part, np.uint8 if name == "image" else np.float32)
            found.append(array[None] if single else array)
        return found, single

    def check(self, space: spaces.Space[Any]) -> None:
        """Checks that an environment shows what the driver sees.

        Raises:
            DriverError: When a part is missing or of another shape.
        """
        try:
            features.check_observation_space(space, self.image_shape, self.history)
        except InputError as error:
            raise DriverError(str(error)) from error


class DriverDescription(Config):
    """Where a driver comes from and what it was made for; see the manifest."""

    agent: str = pydantic.Field(description="Algorithm that trained it.")
    vehicle: str = pydantic.Field(description="Car generation it drove.")
    tracks: tuple[str, ...] = pydantic.Field(
        min_length=1, description="Tracks it was trained on, at least one."
    )
    simulator: str = pydantic.Field(description="Simulator it was trained in, with its version.")
    camera: dict[str, Any] = pydantic.Field(description="Camera configuration, as in ``conf``.")
    steering_limits: _Limits = pydantic.Field(
        default=(-1.0, 1.0), description="Steering command at action -1 and +1."
    )
    throttle_limits: _Limits = pydantic.Field(
        default=(-1.0, 1.0), description="Throttle command at action -1 and +1."
    )
    latency_ms: tuple[_Latency, _Latency] = pydantic.Field(
        default=(0.0, 0.0),
        description="Two-way latency from frame to command that it was trained for: lowest, "
        "highest (ms).",
    )
    notes: dict[str, Any] = pydantic.Field(
        default_factory=dict, description="Anything else: seed, run id, environment steps."
    )

    @pydantic.field_validator("latency_ms")
    @classmethod
    def _lowest_first(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"should be the lowest and the highest, received {value}")
        return value


class FileEntry(Config):
    """One file of the folder."""

    sha256: str = pydantic.Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of its bytes.")
    size: int = pydantic.Field(ge=0, description="Bytes.")


class Manifest(Config):
    """All of ``manifest.json``."""

    format: Literal[1] = pydantic.Field(description="Version of the folder's format.")
    hash: str = pydantic.Field(description="SHA-256 of weights and specification.")
    created: datetime.datetime = pydantic.Field(description="When it was written, UTC.")
    encoder: str = pydantic.Field(description="Name of the encoder, or `ensemble`.")
    observation: ObservationSpec = pydantic.Field(description="What the driver sees.")
    description: DriverDescription = pydantic.Field(description="What it was made for.")
    versions: dict[str, str] = pydantic.Field(description="Packages that wrote it.")
    files: dict[str, FileEntry] = pydantic.Field(description="Files, by name.")


def installed_versions() -> dict[str, str]:
    """Returns the versions of the packages that a driver depends on."""
    found = {}
    for name in ("donkey-rl", *_PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def entries(folder: Path) -> dict[str, FileEntry]:
    """Describes the files of a folder; the manifest and folders in it are left out."""
    return {
        path.name: FileEntry(sha256=folders.sha256(path), size=path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.name != FILE_NAME and path.is_file()
    }


def write(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest into a folder.

    A latency of 0 is left out: versions of this package that know no latency read such a folder.
    """
    without_latency = manifest.description.latency_ms == (0.0, 0.0)
    left_out = {"description": {"latency_ms"}} if without_latency else None
    text = manifest.model_dump_json(indent=2, exclude=left_out) + "\n"
    (folder / FILE_NAME).write_text(text, encoding="utf-8")


def read(folder: Path) -> Manifest:
    """Reads a manifest and checks every file that it names.

    Raises:
        DriverError: When the folder is no driver, is of another format, or was changed.
    """
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > _LARGEST_MANIFEST:
            raise ValueError(f"{path.stat().st_size} bytes")
        data = json.loads(path.read_bytes())
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT:
            raise ValueError(f"format {found}")
        manifest = Manifest.model_validate(data)
    except (OSError, ValueError, RecursionError) as error:
        raise DriverError(
            f"Expected a driver folder with a {FILE_NAME} of format {FORMAT}. "
            f"Received: '{folder}' ({formatting.reason(error)}). "
            "Give the folder that Driver.save wrote, or use the version that wrote it."
        ) from error
    for name, entry in manifest.files.items():
        _check_file(folder, name, entry)
    return manifest


def _check_file(folder: Path, name: str, entry: FileEntry) -> None:
    """Compares one file with its entry."""
    path = folder / name
    if Path(name).name != name or path.is_symlink() or not path.is_file():
        raise DriverError(
            f"Expected the file '{name}' in the driver folder '{folder}'. Received: nothing "
            "of that kind. Copy the folder again, whole."
        )
    size = path.stat().st_size
    received = folders.sha256(path) if size == entry.size else f"{size} bytes"
    if received != entry.sha256:
        raise DriverError(
            f"Expected '{name}' in '{folder}' with {entry.size} bytes and SHA-256 "
            f"{entry.sha256[:12]}. Received: {received[:12]}. The file was changed or cut short: "
            "copy the driver again, or train it anew."
        )
