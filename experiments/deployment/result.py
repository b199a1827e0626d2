"""What is exported, and what is said of it."""

from __future__ import annotations

import pathlib
from typing import Final, Literal

import pydantic

from donkey_rl.agents.deployment.donkeycar import Held
from donkey_rl.configuration import Config
from donkey_rl.errors import InputError, UnknownNameError
from donkey_rl.experiments.deployment.checking import Checked

TARGETS: Final = ("donkeycar", "litert", "onnx", "keras")


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
        is_same_driver: Whether that is little enough for its drives to be those of the driver;
            None where the frames have no speed, so that what it changes is not seen.
    """

    file: str
    bytes: int
    use: str
    held: Held | None = None
    change: Change | None = None
    is_same_driver: bool | None = True


class ExportResult(Config):
    """What was exported.

    Attributes:
        run_id: The run that the driver is of, empty for none.
        largest_action_difference: Of all its models.
        tolerance: The most that was allowed.
        ms, highest_rate_hz: Of the first model.
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
