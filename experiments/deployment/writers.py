"""Drafts of what is exported, and how each is run to be checked."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
import pathlib
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from donkey_rl.agents import keras_files, lite_conversion, manifest
from donkey_rl.agents.deployment import conversion, donkeycar, eight_bit, pilots, plain_layers
from donkey_rl.agents.deployment.donkeycar import Held
from donkey_rl.agents.deployment.eight_bit import Rounded
from donkey_rl.agents.deployment.pilots import Pilot
from donkey_rl.agents.driver import Driver
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.experiments.deployment.frames import Observations

FloatArray = npt.NDArray[np.float32]

SUFFIXES: Final = {"litert": ".tflite", "onnx": ".onnx", "keras": ".keras"}
"""Of the targets that are one file."""

WITH_MEMORY, WITHOUT_MEMORY = "memory.tflite", "linear.tflite"
"""What a donkeycar loads; a driver that is blind to its last actions has none with memory."""

_PART, _PART_FACTS = "donkeycar_part.py", "driver.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
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
class Draft:
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


def _litert(work: Work) -> list[Draft]:
    seen = work.driver.observation
    model = _lite(work, lite_conversion.converted(work.driver.graph, seen.shapes))
    file = work.folder / manifest.LITE_MODEL
    file.write_bytes(model)
    load = functools.partial(pilots.litert, file, seen)
    return [Draft(file.name, "LiteRT: observation in, action out", load, work.expected)]


def _lite(work: Work, model: bytes) -> bytes:
    return eight_bit.packed(model, work.layers) if work.layers else model


def _onnx(work: Work) -> list[Draft]:
    file = work.folder / "driver.onnx"
    file.write_bytes(conversion.onnx_model(work.driver))
    load = functools.partial(pilots.onnx, file, work.driver.observation)
    return [Draft(file.name, "ONNX: observation in, action out", load, work.expected)]


def _keras(work: Work) -> list[Draft]:
    file = work.folder / "driver.keras"
    keras_files.save_model(conversion.keras_model(work.driver), file)
    load = functools.partial(pilots.keras_file, file, work.driver.observation)
    return [Draft(file.name, "Keras 3: observation in, action out", load, work.expected)]


def _donkeycar(work: Work) -> list[Draft]:
    """Writes what a donkeycar can load, from the one that is told least on."""
    folder, about = work.folder, work.driver.description
    drafts = []
    kept = {False: "linear", True: "memory"}
    if "last_actions" in work.driver.observation.scaling.blind_to:
        del kept[True]  # What it remembers would be read by nobody.
    for memory, name in kept.items():
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
            drafts.append(Draft(file.name, use, loader, expected, True, memory))
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
    (folder / _PART_FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    source = importlib.resources.files("donkey_rl.agents.deployment") / _PART
    (folder / _PART).write_bytes(source.read_bytes())
    part = functools.partial(pilots.donkeycar_part, folder)
    use = f"{_PART}: DriverPart, with speed and yaw rate where the car has them"
    return [*drafts, Draft(model_file.file, use, part, work.expected, commands=True)]


WRITERS: dict[str, Callable[[Work], list[Draft]]] = {
    "donkeycar": _donkeycar, "litert": _litert, "onnx": _onnx, "keras": _keras,
}  # fmt: skip
