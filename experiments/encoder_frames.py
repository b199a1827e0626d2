"""Frames without labels: of the embedded simulator, of others that are driven, of recordings."""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from donkey_rl.agents.encoders.config import AutoencoderConfig
from donkey_rl.envs import joined_view, labels, simulators, vec_env
from donkey_rl.envs.labels import LabelledFrames, Sampling
from donkey_rl.envs.recordings import frames as frame_files
from donkey_rl.envs.recordings import race_records
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments.config import TrainingConfig

ImageArray = npt.NDArray[np.uint8]

MOST_FILES = 1_000_000
"""Images in a folder that are listed; behind it the rest is left out."""

_SUFFIXES = (".jpg", ".jpeg", ".png")
_AT_A_TIME = 256

_CARS = 2048
"""Cars that stand for their pictures at a time, on all tracks together."""

_SMOOTH = 0.9
"""Share of a random command that stays from one step to the next."""

_COMMANDS = np.array([[0.0, 0.25], [-0.4, 0.15]])
"""Mean and what is added in each step of steering and throttle, of 1 at their limits."""


def collect(config: TrainingConfig, count: int, seed: int) -> Iterator[ImageArray]:
    """Yields frames that a run collects itself.

    In the embedded simulator they are taken at random places. A car in another simulator is driven
    by random commands that change smoothly, at that simulator's pace.

    Args:
        config: The run.
        count: Frames in all.
        seed: Decides places, looks and commands.

    Yields:
        Some frames, (n, h, w, 3).

    Raises:
        LinkError: A simulator cannot be reached, or was lost.
    """
    if simulators.count(config.simulator) is None:
        for part in labelled(config, count, seed):
            yield part.images
        return
    random = np.random.default_rng(seed)
    opened = vec_env.make(config.environment(), config.driven, seed)
    with contextlib.closing(opened) as cars:
        cars.reset()
        commands = np.zeros((cars.num_envs, 2))
        while count > 0:
            yield np.array(cars.batch.observation()["image"][:count])
            count -= cars.num_envs
            pushed = _COMMANDS[:, 1] * random.standard_normal(commands.shape)
            commands = _SMOOTH * commands + pushed
            wanted = np.clip(_COMMANDS[:, 0] + commands, -1.0, 1.0)
            cars.step(wanted.astype(np.float32))


def labelled(
    config: TrainingConfig,
    count: int,
    seed: int,
    *,
    with_surfaces: bool = False,
    farther: Sequence[float] = (),
    bends: float = 0.0,
) -> Iterator[LabelledFrames]:
    """Yields frames of the embedded simulator with their labels, of all tracks of a run.

    Args:
        config: The run.
        count: Frames in all.
        seed: Decides places and looks.
        with_surfaces: As in `labels.sample_frames`.
        farther: As in `labels.sample_frames`.
        bends: As in `labels.Sampling`.

    Yields:
        Some frames, all of one track.
    """
    tracks = config.environments()
    shares = joined_view.shares([each.track for each in tracks], count)
    usual = Sampling(bends=bends)
    sampling = usual._replace(batch=min(usual.batch, max(1, _CARS // len(tracks))))
    sources = [
        labels.sample_frames(
            each,
            share,
            seed=seed,
            with_surfaces=with_surfaces,
            farther=farther,
            sampling=sampling,
        )
        for each, share in zip(tracks, shares, strict=True)
    ]
    # All at the same rate, since encoders keep the last frames for their report.
    done = [0] * len(tracks)
    while sum(done) < count:
        behind = min(range(len(tracks)), key=lambda i: done[i] / shares[i])
        part = next(sources[behind])
        done[behind] += len(part.images)
        yield part


def recorded(
    places: Sequence[pathlib.Path], count: int, shape: tuple[int, int, int]
) -> Iterator[ImageArray]:
    """Yields the frames of recordings: JPEG and PNG files, and the pictures of race records.

    So a folder of pictures will do, and a donkeycar tub of any version. They come in the order of
    the numbers in their names; of more than `count` an even choice is taken. Files that are
    damaged, too large or of another size are left out.

    Args:
        places: Race records, and folders with all in them.
        count: Frames at most.
        shape: Height, width and channels of the camera's images.

    Yields:
        Some frames, (n, h, w, 3).

    Raises:
        InputError: There is no such folder, no readable image, or none of the camera's size.
    """
    files = [frame for place in places for frame in _frames(place)]
    chosen = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).astype(np.int64))
    sizes: set[tuple[int, ...]] = set()
    found = False
    for first in range(0, len(chosen), _AT_A_TIME):
        images = [frame_files.read(files[k]) for k in chosen[first : first + _AT_A_TIME]]
        sizes |= {image.shape for image in images if image is not None}
        fitting = [image for image in images if image is not None and image.shape == shape]
        if fitting:
            found = True
            yield np.stack(fitting)
    if not found:
        seen = ", ".join(f"{size[1]}x{size[0]}" for size in sorted(sizes)[:3]) or "none readable"
        raise InputError(
            f"encoder.data: expected images of {shape[1]}x{shape[0]} in '{places[0]}'. Received: "
            f"{seen}. Set camera.img_w and camera.img_h to the size of the recorded ones."
        )


def check(
    places: Sequence[pathlib.Path], settings: AutoencoderConfig, shape: tuple[int, int, int]
) -> None:
    """Refuses recordings that an auto-encoder cannot learn from.

    Args:
        places: As in `recorded`.
        settings: Of the encoder.
        shape: As in `recorded`.

    Raises:
        InputError: As `recorded`, or there are too few frames.
    """
    count = sum(len(_frames(place)) for place in places)
    next(recorded(places, settings.frames, shape))
    settings.kept_back(min(count, settings.frames))


def _frames(place: pathlib.Path) -> list[frame_files.FrameSource]:
    """Returns the frames of a folder or of a race record."""
    if place.is_file() and place.suffix.lower() == race_records.SUFFIX:
        return [frame for frame in race_records.read(place).frames if frame is not None]
    return _in_folder(place)


def _in_folder(folder: pathlib.Path) -> list[frame_files.FrameSource]:
    if not folder.is_dir():
        raise InputError(
            f"encoder.data: expected a folder with recorded images. Received: '{folder}'. "
            "Check the path."
        )
    files, races = [], []
    for path in folder.rglob("*"):
        if path.suffix.lower() == race_records.SUFFIX:
            races.append(path)
        if path.suffix.lower() in _SUFFIXES:
            files.append(path)
        if len(files) == MOST_FILES:
            break
    inside = []
    for race in sorted(races, key=_by_numbers):
        # Damaged, or recorded without pictures.
        with contextlib.suppress(InputError, StorageError):
            inside += _frames(race)
    if not files and not inside:
        raise InputError(
            f"encoder.data: expected JPEG or PNG files, or races, in '{folder}'. Received: none. "
            "Name the folder of a recording."
        )
    return [*sorted(files, key=_by_numbers), *inside]


def _by_numbers(path: pathlib.Path) -> list[tuple[int, int, str]]:
    """A key by which frame_10 comes after frame_9."""
    parts = re.split(r"(\d{1,18})", str(path))
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
