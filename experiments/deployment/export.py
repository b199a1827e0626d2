"""Export of a driver to another program, checked against the original and timed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.resources
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from donkey_rl.agents import ensemble, keras_files, lite_conversion
from donkey_rl.agents.deployment import conversion, donkeycar, eight_bit, pilots, plain_layers
from donkey_rl.agents.deployment.donkeycar import Held
from donkey_rl.agents.deployment.eight_bit import Rounded
from donkey_rl.agents.deployment.pilots import Pilot
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.configuration import Config
from donkey_rl.errors import DonkeyRLError, InputError, StorageError, UnknownNameError
from donkey_rl.experiments import drivers, recorded_drives
from donkey_rl.experiments.deployment import frames
from donkey_rl.experiments.deployment.checking import (
    EIGHT_BIT_TOLERANCE,
    FLOAT_TOLERANCE,
    Checked,
    check,
)
from donkey_rl.experiments.deployment.frames import Observations
from donkey_rl.experiments.drivers import LearnedEntrant
from donkey_rl.experiments.progress import ProgressDisplay

FloatArray = npt.NDArray[np.float32]

TARGETS: Final = ("donkeycar", "litert", "onnx", "keras")
EIGHT_BIT: Final = "8bit"

SUFFIXES: Final = {"litert": ".tflite", "onnx": ".onnx", "keras": ".keras"}
PART, PART_MODEL, PART_FACTS = "donkeycar_part.py", "driver.tflite", "driver.json"

_SAME = 0.1
"""Of actions in [-1, 1], root mean square: more makes another driver of it."""

_TO_ROUND_ON = 4 * frames.FRAMES
_ROUNDED_WITHIN = 0.8 * EIGHT_BIT_TOLERANCE
"""Of the frames that weights are rounded on, so that others keep within the whole."""


class ExportRequest(Config):
    """What to export, and how.

    Attributes:
        driver: As `drivers.load` takes it.
        to: The program.
        output: File or folder; in the current folder by default.
        quantise: `8bit`, or None for single precision.
        frames: Recorded drives to check on; frames are rendered by default.
        speed: Held in place of a measured one, as the car reports it; the usual one by default.
    """

    driver: str
    to: str
    output: pathlib.Path | None = None
    quantise: Literal["8bit"] | None = None
    frames: pathlib.Path | None = None
    speed: float | None = pydantic.Field(default=None, ge=0.0, allow_inf_nan=False)

    @pydantic.model_validator(mode="after")
    def _known(self) -> ExportRequest:
        if self.to not in TARGETS:
            raise UnknownNameError("target", self.to, TARGETS)
        if self.quantise and self.to in ("onnx", "keras"):
            raise InputError(
                f"8 bits are LiteRT's: expected --to litert or donkeycar with --quantise. "
                f"Received: --to {self.to}. Leave --quantise out, or use --to litert."
            )
        return self


class Change(Config):
    """What it does to commands that a car does not show something: of the range of commands.

    Attributes:
        steering: Root of the mean square, as actions in [-1, 1].
        throttle: The same.
        largest: Of both, over all frames.
    """

    steering: float
    throttle: float
    largest: float


class ExportedModel(Checked):
    """One exported model.

    Attributes:
        file: Where it is.
        bytes: Its size.
        use: What runs it.
        held: What is held in place of what the program does not show; None for nothing.
        change: What that does to the driver's actions on the frames; None for nothing.
        is_same_driver: Whether that is little enough for its drives to be those of the driver.
    """

    file: str
    bytes: int
    use: str
    held: Held | None = None
    change: Change | None = None
    is_same_driver: bool = True


class ExportResult(Config):
    """What was exported.

    Attributes:
        run_id: The run that the driver is of, empty for none.
        largest_action_difference: Of all its models.
        tolerance: The most that was allowed.
        ms, highest_rate_hz: Of the model that takes longest.
        frames: What it was checked on.
        rounded: Share of the weights that are in 8 bits.
    """

    driver: str
    run_id: str
    hash: str
    to: str
    quantise: str | None
    output: str
    files: tuple[str, ...]
    largest_action_difference: float
    tolerance: float
    ms: dict[str, float]
    highest_rate_hz: float
    frames: dict[str, int | str]
    rounded: float
    models: tuple[ExportedModel, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class _Work:
    """A driver that is being exported.

    Attributes:
        original: What it is held against.
        driver: What is written: the original, or its copy with rounded weights.
        seen: Frames to check on.
        held: What a donkeycar does not show.
        layers: Those with rounded weights.
        folder: Where drafts are written.
    """

    original: Driver | Ensemble
    driver: Driver | Ensemble
    seen: Observations
    held: Held
    layers: list[Rounded]
    folder: pathlib.Path

    @property
    def expected(self) -> FloatArray:
        """The original's actions on the frames, (n, 2)."""
        return self.original.act(self.seen.parts)


@dataclasses.dataclass(frozen=True, eq=False)
class _Draft:
    """A model that is written and still to be checked.

    Attributes:
        file: Its name in the folder.
        use: What runs it.
        pilot: Loads it.
        expected: What it is to answer, as actions, (n, 2).
        commands: Whether it answers commands, else actions.
        memory: Whether it is told the last actions; None where it is told all.
    """

    file: str
    use: str
    pilot: Callable[[], Pilot]
    expected: FloatArray
    commands: bool = False
    memory: bool | None = None


def export(request: ExportRequest, progress: ProgressDisplay) -> ExportResult:
    """Exports a driver.

    Args:
        request: What to export.
        progress: Shows how far it is.

    Raises:
        InputError: There is no such driver, or the program cannot hold it.
        DonkeyRLError: The export does not do what the driver does; nothing is written then.
        StorageError: It cannot be written.
    """
    entrant = drivers.load(request.driver)
    if not isinstance(entrant, LearnedEntrant):
        raise InputError(
            f"Expected a driver that is a network: a run, a driver folder or a registered model. "
            f"Received: {request.driver}, which is code. Record its drives with donkey-rl record, "
            "and train one on them."
        )
    driver = entrant.driver
    _refuse(request.to, driver)
    target, single = _place(request, entrant)
    rounding, seen = _observations(request, driver, progress)
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as name:
        folder = pathlib.Path(name)
        with _rounded(request, driver, rounding, folder, progress) as (rounded, layers, share):
            held = _held(request, seen, driver)
            work = _Work(driver, rounded, seen, held, layers, folder)
            with progress.phase(f"writing for {request.to}", None, ""):
                drafts = _WRITERS[request.to](work)
            models = [_checked(work, draft, request, progress) for draft in drafts]
        files = _moved(folder, target, single)
    slowest = max(models, key=lambda each: each.ms.p99)
    return ExportResult(
        driver=entrant.name,
        run_id=entrant.run_id,
        hash=driver.hash,
        to=request.to,
        quantise=request.quantise,
        output=str(target),
        files=tuple(map(str, files)),
        largest_action_difference=max(each.largest_action_difference for each in models),
        tolerance=_tolerance(request),
        ms=slowest.ms.model_dump(),
        highest_rate_hz=slowest.highest_rate_hz,
        frames={"count": len(seen), "source": seen.source},
        rounded=round(share, 4),
        models=tuple(
            each.model_copy(update={"file": str(single or target / each.file)}) for each in models
        ),
    )


def _tolerance(request: ExportRequest) -> float:
    return EIGHT_BIT_TOLERANCE if request.quantise else FLOAT_TOLERANCE


def _refuse(to: str, driver: Driver | Ensemble) -> None:
    """Refuses what a program cannot hold, before anything takes time.

    Raises:
        InputError: It cannot hold the driver, or nothing is installed that writes it.
    """
    if to == "donkeycar":
        donkeycar.shrink(driver.observation.image_shape)
    if to == "onnx":
        conversion.check_onnx()


def _place(
    request: ExportRequest, entrant: LearnedEntrant
) -> tuple[pathlib.Path, pathlib.Path | None]:
    """Returns the folder for what is exported, and the only file if one is named.

    Raises:
        InputError: A file is in the way, or is named for what is several.
    """
    output = request.output or pathlib.Path(
        f"{(entrant.run_id or entrant.hash)[:8]}-{request.to}"
    )
    suffix = SUFFIXES.get(request.to)
    if output.is_dir() or output.suffix == "":
        return output, None
    if suffix is None and not output.exists():
        return output, None
    if suffix is None or output.suffix != suffix:
        expected = f"a file *{suffix}, or a folder" if suffix else "a folder"
        raise InputError(
            f"--output for {request.to} is {expected}. Received: '{output}'. Give another name."
        )
    return output.parent, output


def _observations(
    request: ExportRequest, driver: Driver | Ensemble, progress: ProgressDisplay
) -> tuple[Observations | None, Observations]:
    """Returns what to round weights on, if they are, and what to check on: other frames."""
    if request.frames is None:
        seen = frames.rendered(driver, progress)
        if not request.quantise:
            return None, seen
        return frames.rendered(driver, progress, _TO_ROUND_ON, seed=1), seen
    usual = recorded_drives.usual_speed(driver.observation.scaling)
    speed = usual if request.speed is None else request.speed
    with progress.phase("reading frames", None, ""):
        if not request.quantise:
            return None, frames.recorded(request.frames, driver, speed)
        found = frames.recorded(request.frames, driver, speed, _TO_ROUND_ON + frames.FRAMES)
    # Every fifth is kept for the check.
    kept = np.arange(len(found)) % 5 == 0
    return found.taken(~kept), found.taken(kept)


@contextlib.contextmanager
def _rounded(
    request: ExportRequest,
    driver: Driver | Ensemble,
    seen: Observations | None,
    folder: pathlib.Path,
    progress: ProgressDisplay,
) -> Iterator[tuple[Driver | Ensemble, list[Rounded], float]]:
    """Yields the driver to write: itself, or a copy with rounded weights."""
    if seen is None:
        yield driver, [], 0.0
        return
    copied = folder / "copy"
    driver.save(copied, lite=False)
    copy = ensemble.load(copied)
    shutil.rmtree(copied)
    with progress.phase("rounding weights", None, "layers") as phase:
        layers, share = eight_bit.rounded(
            copy, seen.parts, _ROUNDED_WITHIN, lambda done, _: phase.update(done)
        )
    yield copy, layers, share


def _held(request: ExportRequest, seen: Observations, driver: Driver | Ensemble) -> Held:
    """Returns what a car without sensors shows: what was usual on the frames."""
    usual = float(np.median(seen.parts["speed"])) if request.speed is None else request.speed
    steering, throttle = np.median(driver.act(seen.parts), axis=0)
    return Held(speed=usual, action=(float(steering), float(throttle)))


def _litert(work: _Work) -> list[_Draft]:
    seen = work.driver.observation
    model = _lite(work, lite_conversion.converted(work.driver.graph, seen.shapes))
    file = work.folder / "driver.tflite"
    file.write_bytes(model)
    load = functools.partial(pilots.litert, file, seen)
    return [_Draft(file.name, "LiteRT: observation in, action out", load, work.expected)]


def _lite(work: _Work, model: bytes) -> bytes:
    return eight_bit.packed(model, work.layers) if work.layers else model


def _onnx(work: _Work) -> list[_Draft]:
    file = work.folder / "driver.onnx"
    file.write_bytes(conversion.onnx_model(work.driver))
    load = functools.partial(pilots.onnx, file, work.driver.observation)
    return [_Draft(file.name, "ONNX: observation in, action out", load, work.expected)]


def _keras(work: _Work) -> list[_Draft]:
    file = work.folder / "driver.keras"
    keras_files.save_model(conversion.keras_model(work.driver), file)
    load = functools.partial(pilots.keras_file, file, work.driver.observation)
    return [_Draft(file.name, "Keras 3: observation in, action out", load, work.expected)]


def _donkeycar(work: _Work) -> list[_Draft]:
    """Writes what a donkeycar can load, from the one that is told least on."""
    folder, about = work.folder, work.driver.description
    drafts = []
    for memory, name in ((False, "linear"), (True, "memory")):
        model = donkeycar.model(work.driver, work.held, memory=memory)
        file = folder / f"{name}.tflite"
        file.write_bytes(_lite(work, lite_conversion.of_keras(model)))
        expected = work.original.act(work.held.applied(work.seen.parts, memory=memory))
        kinds = [(file, f"tflite_{name}", pilots.donkeycar_lite)]
        if not memory:
            # donkeycar takes a file for a model of Keras where its name has '.h5' in it.
            kinds.append((folder / f"{name}.h5.keras", name, pilots.donkeycar_keras))
            plain_layers.save(model, kinds[-1][0])
        for file, kind, load in kinds:
            use = f"manage.py drive --model {file.name} --type {kind}"
            loader = functools.partial(load, file, about)
            drafts.append(_Draft(file.name, use, loader, expected, True, memory))
    (model_file,) = _litert(work)
    facts = {
        "hash": work.original.hash,
        "tracks": about.tracks,
        "vehicle": about.vehicle,
        "image_shape": work.driver.observation.image_shape,
        "history": work.driver.observation.history,
        "steering_limits": about.steering_limits,
        "throttle_limits": about.throttle_limits,
        "speed": work.held.speed,
    }
    (folder / PART_FACTS).write_text(json.dumps(facts, indent=2) + "\n")
    source = importlib.resources.files("donkey_rl.agents.deployment") / PART
    (folder / PART).write_bytes(source.read_bytes())
    part = functools.partial(pilots.donkeycar_part, folder)
    use = f"{PART}: DriverPart, with speed and yaw rate where the car has them"
    return [*drafts, _Draft(model_file.file, use, part, work.expected, commands=True)]


_WRITERS: dict[str, Callable[[_Work], list[_Draft]]] = {
    "donkeycar": _donkeycar, "litert": _litert, "onnx": _onnx, "keras": _keras,
}  # fmt: skip


def _checked(
    work: _Work, draft: _Draft, request: ExportRequest, progress: ProgressDisplay
) -> ExportedModel:
    """Holds a model against the original.

    Raises:
        DonkeyRLError: It does something else.
    """
    expected, scale = draft.expected, np.ones(2)
    if draft.commands:
        about = work.original.description
        expected, (scale, _) = donkeycar.commands(expected, about), donkeycar.limits(about)
    with progress.phase(f"checking {draft.file}", len(work.seen), "frames") as phase:
        found = check(draft.pilot(), expected, scale, work.seen, phase.update)
    tolerance = _tolerance(request)
    if not found.largest_action_difference <= tolerance:
        remedy = "Leave --quantise out." if request.quantise else "Report it as an error."
        raise DonkeyRLError(
            f"Expected of {draft.file} the driver's actions, within {tolerance:g}. Received: a "
            f"difference of {found.largest_action_difference:.4f} on {work.seen.source}. Nothing "
            f"was written. {remedy}"
        )
    changed = None if draft.memory is None else _change(draft.expected, work.expected)
    return ExportedModel(
        **found.model_dump(),
        file=draft.file,
        bytes=(work.folder / draft.file).stat().st_size,
        use=draft.use,
        held=None if changed is None else work.held,
        change=changed,
        is_same_driver=changed is None or max(changed.steering, changed.throttle) <= _SAME,
    )


def _change(held: FloatArray, told: FloatArray) -> Change:
    difference = np.abs(held - told)
    steering, throttle = np.sqrt(np.mean(np.square(difference), axis=0))
    return Change(
        steering=round(float(steering), 4),
        throttle=round(float(throttle), 4),
        largest=round(float(difference.max()), 4),
    )


def _moved(
    folder: pathlib.Path, target: pathlib.Path, single: pathlib.Path | None
) -> list[pathlib.Path]:
    """Moves finished files to where they belong, each in one step.

    Raises:
        StorageError: They cannot be written.
    """
    moved = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.iterdir()):
            place = single or target / file.name
            draft = place.with_name(f".{place.name}.part")
            shutil.copyfile(file, draft)
            os.replace(draft, place)
            moved.append(place)
    except OSError as error:
        raise StorageError(
            f"The export could not be written to {target}: {error.strerror or error}."
        ) from error
    return moved
