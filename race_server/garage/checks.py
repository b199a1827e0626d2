"""Whether a driver folder may be raced: what lies in it, and whether it fits car and camera."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from donkey_rl import configuration
from donkey_rl.agents import manifest, model_contents
from donkey_rl.agents.lite_driver import LiteDriver
from donkey_rl.agents.manifest import Manifest
from donkey_rl.envs.registration import IDS
from donkey_rl.envs.simulator import track_names, vehicle
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.errors import ConfigurationError, DriverError, UnknownNameError, nearest

_KERAS = ".keras"
_DESCRIPTIONS = {"encoder.json", "ensemble.json"}
_MODELS = {"encoder.keras", "actor.keras", "critic.keras", manifest.LITE_MODEL}
_ALLOWED = {manifest.FILE_NAME} | _DESCRIPTIONS | _MODELS
_MEMBER = re.compile("member_[0-9]{2}")
_MOST_ENTRIES = 64
_LARGEST_DESCRIPTION = 1_000_000
_LARGEST_FILE = 500_000_000
_KINDS = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a compressed archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x7fELF", "a program"),
    (b"#!", "a program"),
)
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclasses.dataclass(frozen=True)
class Fit:
    """What drivers must fit.

    Attributes:
        generation: Of the host's messages and of the car; None for that of the first driver.
        scene: Track that is raced; empty if it is not known.
    """

    generation: int | None = None
    scene: str = ""


def load(folder: Path) -> LiteDriver:
    """Returns a folder's driver once everything in it has been looked at.

    Raises:
        DriverError: It holds something that no driver folder holds, such as a pickle, a file was
            changed, or a model has parts that no driver uses.
    """
    found = _checked(folder)
    content = (folder / manifest.LITE_MODEL).read_bytes()
    # What was looked at is what is run, also if somebody writes into the folder meanwhile.
    if hashlib.sha256(content).hexdigest() != found.files[manifest.LITE_MODEL].sha256:
        raise DriverError(f"'{folder}' was changed while it was read. Copy it again.")
    model_contents.check_lite(content, str(folder / manifest.LITE_MODEL))
    return LiteDriver(content, found)


def camera(driver: LiteDriver) -> CameraConfig:
    """Returns the camera that a driver was trained with.

    Raises:
        DriverError: No simulator has such a camera, or the driver's pictures are not its own.
    """
    try:
        found = configuration.validate(CameraConfig, driver.description.camera)
    except ConfigurationError as error:
        raise DriverError(
            f"Expected a camera that the simulator's protocol can ask for. Received: {error} "
            "Choose a driver that was trained with one."
        ) from error
    if found.shape != driver.observation.image_shape:
        raise DriverError(
            f"Expected a driver that sees the pictures of its camera, {found.shape}. Received: "
            f"one that sees {driver.observation.image_shape}. Train it again."
        )
    return found


def generation(driver: LiteDriver) -> int:
    """Returns the generation of the car that a driver was trained on, such as 2022.

    Raises:
        DriverError: There is no such car.
    """
    try:
        name = driver.description.vehicle
        vehicle.load(name)
    except UnknownNameError as error:
        raise DriverError(
            f"The driver was trained on a car that is not known here. {error}"
        ) from (error)
    return int(name.rpartition("_")[2])


def check(name: str, driver: LiteDriver, fit: Fit) -> Iterator[str]:
    """Checks whether a driver fits a race; yields what people should know though it does.

    Args:
        name: Of the driver.
        driver: The driver.
        fit: What it must fit.

    Raises:
        DriverError: It fits no camera of the simulator, or another car.
    """
    camera(driver)
    own = generation(driver)
    if fit.generation is not None and own != fit.generation:
        raise DriverError(
            f"Expected drivers of the car of {fit.generation}. Received: '{name}', trained on "
            f"{driver.description.vehicle}. Choose another driver, or set `generation` in "
            "race.yaml to what the host speaks."
        )
    tracks = sorted({track_names.plain(track) for track in driver.description.tracks})
    if fit.scene and track_names.plain(fit.scene) not in tracks:
        yield f"{name} has never driven {fit.scene}: it was trained on {', '.join(tracks)}."


def scene_warning(scene: str) -> str:
    """Returns what is odd about the name of a scene; empty if it is known.

    >>> scene_warning("generated_trak")
    "The scene 'generated_trak' is not known here. Did you mean 'generated_track'?"
    """
    known = sorted(IDS.values())
    if not scene or track_names.plain(scene) in known:
        return ""
    near = nearest(track_names.plain(scene), known)
    hint = f"Did you mean '{near}'?" if near else f"Known are {', '.join(known)}."
    return f"The scene '{scene}' is not known here. {hint}"


def _checked(folder: Path, *, member: bool = False) -> Manifest:
    """Looks at everything in a folder before any of it is read as a model."""
    inside = _listed(folder)
    folders = [each for each in inside if each.is_dir() and not each.is_symlink()]
    for path in inside:
        if path not in folders:
            _check_kind(path)
        elif member or not _MEMBER.fullmatch(path.name):
            raise _stray(path, "a folder")
    found = manifest.read(folder)
    names = {path.name for path in inside if path not in folders} - {manifest.FILE_NAME}
    if unsaid := sorted(names - set(found.files)):
        raise _stray(folder / unsaid[0], "a file that the manifest does not name")
    if not member and manifest.LITE_MODEL not in names:
        raise DriverError(
            f"Expected '{manifest.LITE_MODEL}' in '{folder}': races are driven by it. Received: "
            "none. Save the driver again with Driver.save."
        )
    for name in sorted(names):
        if name.endswith(_KERAS):
            model_contents.check_keras(folder / name)
    for path in folders:
        _checked(path, member=True)
    return found


def _listed(folder: Path) -> list[Path]:
    """Returns what lies in a driver folder, in order."""
    try:
        found = list(itertools.islice(folder.iterdir(), _MOST_ENTRIES + 1))
        named = (folder / manifest.FILE_NAME).is_file()
    except OSError as error:
        raise DriverError(
            f"Expected a driver folder. Received: '{folder}' ({error.strerror or error}). Check "
            "its path."
        ) from error
    if not named:
        raise DriverError(
            f"Expected a driver folder with a {manifest.FILE_NAME}. Received: '{folder}', which "
            "has none. Give the folder that Driver.save wrote."
        )
    if len(found) > _MOST_ENTRIES:
        raise _stray(folder, f"over {_MOST_ENTRIES} files")
    return sorted(found)


def _check_kind(path: Path) -> None:
    """Refuses what is no file of a driver folder, by its name, kind, beginning and size."""
    if path.is_symlink():
        raise _stray(path, "a link")
    if not path.is_file():
        raise _stray(path, "no regular file")
    if path.name not in _ALLOWED:
        raise _stray(path, _kind(path))
    size = path.stat().st_size
    text = path.name in _DESCRIPTIONS
    if size > (_LARGEST_DESCRIPTION if text else _LARGEST_FILE):
        raise _stray(path, f"{size:,} bytes")


def _kind(path: Path) -> str:
    """Returns what a file is that should not be there."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(_PICKLES) or path.suffix in (".pkl", ".pickle", ".joblib"):
        return "a pickle, which can run any code"
    if start[257:262] == b"ustar":
        return "an archive"
    return next((kind for magic, kind in _KINDS if start.startswith(magic)), "a stray file")


def _stray(path: Path, received: str) -> DriverError:
    return DriverError(
        f"Expected only a manifest and the models that it names in a driver folder. Received: "
        f"'{path}', {received}. Copy the driver again from where it was trained, and put nothing "
        "beside it."
    )
