"""Export of a driver to another program, checked against the original and timed."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import tempfile
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from donkey_rl import moving
from donkey_rl.agents import ensemble, manifest
from donkey_rl.agents.deployment import conversion, donkeycar, eight_bit
from donkey_rl.agents.deployment.donkeycar import Held
from donkey_rl.agents.deployment.eight_bit import Rounded
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.errors import DonkeyRLError, DriverError, InputError, StorageError
from donkey_rl.experiments import drivers, recorded_drives
from donkey_rl.experiments.deployment import frames, writers
from donkey_rl.experiments.deployment.checking import EIGHT_BIT_TOLERANCE, FLOAT_TOLERANCE, check
from donkey_rl.experiments.deployment.frames import Observations
from donkey_rl.experiments.deployment.result import (
    Change,
    ExportedModel,
    ExportRequest,
    ExportResult,
)
from donkey_rl.experiments.deployment.writers import Draft, Work
from donkey_rl.experiments.drivers import LearnedEntrant
from donkey_rl.experiments.progress import ProgressDisplay

FloatArray = npt.NDArray[np.float32]

_SAME: Final = 0.1
"""Of actions in [-1, 1], root mean square: more makes another driver of it."""

_TO_ROUND_ON = 4 * frames.FRAMES
_FEWEST_TO_ROUND_ON = 20
_ROUNDED_WITHIN = tuple(EIGHT_BIT_TOLERANCE * share for share in (0.75, 0.4, 0.2))
"""How far actions may move on the frames that weights are rounded on: the next where the frames of
the check show that it was too far."""


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
        folder = pathlib.Path(name) / "drafts"
        folder.mkdir()
        held = _held(request, seen, driver)
        written: tuple[Driver | Ensemble, list[Rounded], float] = (driver, [], 0.0)
        if rounding is not None:
            shown = held if request.to == "donkeycar" else None
            written = _rounded(
                driver, rounding, seen, shown, pathlib.Path(name) / "copy", progress
            )
        rounded, layers, share = written
        work = Work(driver, rounded, seen, held, layers, folder)
        with progress.phase(f"writing for {request.to}", None, ""):
            drafts = writers.WRITERS[request.to](work)
        models = [_checked(work, draft, request, progress) for draft in drafts]
        files = _moved(folder, target, single)
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
        ms=models[0].ms.model_dump(),
        highest_rate_hz=models[0].highest_rate_hz,
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
        if driver.description.camera.get("img_d") == 1:
            raise DriverError(
                "donkeycar's camera gives colours: expected a driver that sees them. Received: "
                "one that sees gray. Export it with --to litert, which takes its own images, or "
                "train one with --set camera.img_d=3."
            )
    if to == "onnx":
        conversion.check_onnx()


def _place(
    request: ExportRequest, entrant: LearnedEntrant
) -> tuple[pathlib.Path, pathlib.Path | None]:
    """Returns the folder for what is exported, and the only file if one is named.

    Raises:
        InputError: A file is in the way, or is named for what is several.
    """
    output = request.output or pathlib.Path(f"{(entrant.run_id or entrant.hash)[:8]}-{request.to}")
    suffix = writers.SUFFIXES.get(request.to)
    if output.suffix == "" and output.exists() and not output.is_dir():
        raise InputError(f"--out is a folder. Received: the file '{output}'. Give another name.")
    # A folder that is still to be made changes nothing of the one that it is made in.
    is_file = suffix is not None and output.suffix == suffix and not output.is_dir()
    if (output.parent if is_file else output).joinpath(manifest.FILE_NAME).exists():
        raise InputError(
            f"--out is a folder that holds no driver, which the export would change. Received: "
            f"'{output}', with a {manifest.FILE_NAME}. Give another name."
        )
    if output.is_dir() or output.suffix == "":
        return output, None
    if suffix is None and not output.exists():
        return output, None
    if suffix is None or output.suffix != suffix:
        expected = f"a file *{suffix}, or a folder" if suffix else "a folder"
        raise InputError(
            f"--out for {request.to} is {expected}. Received: '{output}'. Give another name."
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
    if len(found) < _FEWEST_TO_ROUND_ON:
        raise InputError(
            f"--quantise rounds on some frames and is checked on others: expected at least "
            f"{_FEWEST_TO_ROUND_ON} with all that the driver reads. Received: {len(found)}. Give "
            "a longer recording, or leave --tub out."
        )
    # Neighbours are alike: what is kept for the check is a piece of its own.
    cut = len(found) * 4 // 5
    return found.taken(slice(cut)), found.taken(slice(cut, None))


def _rounded(
    driver: Driver | Ensemble,
    to_round_on: Observations,
    seen: Observations,
    held: Held | None,
    folder: pathlib.Path,
    progress: ProgressDisplay,
) -> tuple[Driver | Ensemble, list[Rounded], float]:
    """Returns a copy of a driver with rounded weights, as `eight_bit.rounded` does.

    Where measurements are held, the weights are rounded on what is seen then, too.
    """
    driver.save(folder, lite=False)
    fitted, judged = to_round_on.parts, [seen.parts]
    if held is not None:
        fitted = _alternating(fitted, held.applied(fitted, memory=False))
        judged += [held.applied(seen.parts, memory=memory) for memory in (False, True)]
    expected = [driver.act(each) for each in judged]
    for within in _ROUNDED_WITHIN:
        copy = ensemble.load(folder)
        with progress.phase("rounding weights", None, "layers") as phase:
            layers, share = eight_bit.rounded(copy, fitted, within, phase.update)
        moved = [
            float(np.abs(copy.act(each) - action).max())
            for each, action in zip(judged, expected, strict=True)
        ]
        if max(moved) <= EIGHT_BIT_TOLERANCE:
            break
    return copy, layers, share


def _alternating(first: eight_bit.Parts, second: eight_bit.Parts) -> dict[str, npt.NDArray[Any]]:
    """Returns every other observation of each."""
    mixed = {name: np.array(part) for name, part in first.items()}
    for name, part in mixed.items():
        part[1::2] = second[name][1::2]
    return mixed


def _held(request: ExportRequest, seen: Observations, driver: Driver | Ensemble) -> Held:
    """Returns what a car without sensors shows: what was usual on the frames."""
    usual = float(np.median(seen.parts["speed"])) if request.speed is None else request.speed
    steering, throttle = np.median(driver.act(seen.parts), axis=0)
    return Held(speed=usual, action=(float(steering), float(throttle)))


def _checked(
    work: Work, draft: Draft, request: ExportRequest, progress: ProgressDisplay
) -> ExportedModel:
    """Holds a model against the original.

    Raises:
        DonkeyRLError: It does something else.
    """
    expected, scale = draft.expected, np.ones(2)
    blind_to = work.driver.observation.scaling.blind_to
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
    is_same = changed is None or max(changed.steering, changed.throttle) <= _SAME
    # A speed that was assumed for every frame is the one that is held: what it does is not seen.
    # Ensembles read it to slow down, whatever their members are blind to.
    slows = isinstance(work.original, Ensemble) and work.original.evaluator.slowing > 0.0
    reads = slows or "speed" not in blind_to
    is_unknown = changed is not None and work.seen.speed_is_assumed and reads
    return ExportedModel(
        **found.model_dump(),
        file=draft.file,
        bytes=(work.folder / draft.file).stat().st_size,
        use=draft.use,
        held=None if changed is None else work.held,
        change=changed,
        is_same_driver=None if is_same and is_unknown else is_same,
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
    """Moves finished files to where they belong, each in one step, once all are beside it.

    Raises:
        StorageError: They cannot be written.
    """
    drafts: dict[pathlib.Path, pathlib.Path] = {}
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(folder.iterdir()):
            place = single or target / file.name
            drafts[place] = place.with_name(f".{place.name}.part")
            shutil.copyfile(file, drafts[place])
        # Only once all are there: files of two exports do not go together.
        for place, draft in drafts.items():
            moving.moved(draft, place)
        stale = target / writers.WITH_MEMORY
        if single is None and target / writers.WITHOUT_MEMORY in drafts and stale not in drafts:
            stale.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"The export could not be written to {target}: {error.strerror or error}."
        ) from error
    finally:
        for draft in drafts.values():
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
    return list(drafts)
