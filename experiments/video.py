"""Videos of what the driver saw, with its instruments, as MP4 that browsers play."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from donkey_rl import moving
from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics import laps as lap_times
from donkey_rl.metrics.race import Race

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

Frame = npt.NDArray[np.uint8]

_TEXT = (255, 255, 255)
_PANEL = (0, 0, 0)
_STEERING = (86, 180, 233)
_FORWARD = (0, 158, 115)
_BACKWARD = (213, 94, 0)
_MARGIN = 10
_SAME_S = 1e-6


@dataclasses.dataclass(frozen=True)
class Instruments:
    """What is drawn over a frame.

    Attributes:
        lines: Lines of text, top left.
        steering: From -1, left, to 1, right.
        throttle: From -1 to 1.
        alarm: Text in a red band, such as ``off track``; none if empty.
    """

    lines: tuple[str, ...] = ()
    steering: float = 0.0
    throttle: float = 0.0
    alarm: str = ""


class NoEncoderError(StorageError):
    """There is no program that makes videos."""


def check(path: pathlib.Path) -> None:
    """Refuses a video that cannot be written, before any work is done for it.

    Raises:
        InputError: There is a folder of that name.
        NoEncoderError: This machine has no FFmpeg.
        StorageError: Its folder cannot be written.
    """
    _ffmpeg()
    if path.is_dir():
        raise InputError(f"A video is a file. Received: '{path}', which is a folder.")
    try:
        moving.check_place(path)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"The video {path} could not be written: {reason}.") from error


class VideoWriter:
    """Writes frames to an MP4 file (H.264, yuv420p), which appears once it is whole.

    Args:
        path: The file.
        fps: Frames per second.
        size: Width and height of the frames; each must be even, as H.264 wants it.

    Raises:
        InputError: If a size or the rate cannot be.
        NoEncoderError: If this machine has no FFmpeg.
        StorageError: If the file cannot be written.
    """

    def __init__(
        self, path: str | pathlib.Path, fps: float = 20.0, size: tuple[int, int] = (640, 480)
    ) -> None:
        """Starts the encoder."""
        if min(size) < 16 or size[0] % 2 or size[1] % 2 or not 0 < fps <= 240:
            raise InputError(
                "A video needs an even width and height from 16 on, and at most 240 frames/s. "
                f"Received: size={size}, fps={fps}."
            )
        self.path = pathlib.Path(path)
        self.size = size
        self.frames = 0
        program = _ffmpeg()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # FFmpeg's words go to a file: a pipe that nobody empties would stop it.
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the encoder
            handle, name = tempfile.mkstemp(
                dir=self.path.parent, prefix=f".{self.path.stem}.", suffix=".mp4"
            )
            os.close(handle)
            self._temporary = pathlib.Path(name)
            try:
                self._encoder = _start_encoder(program, name, fps, size, self._log)
            except OSError:
                self._log.close()
                self._temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"The video {self.path} could not be written: {reason}.") from error

    def append(self, frame: Frame) -> None:
        """Adds a frame of shape (height, width, 3).

        Raises:
            InputError: If the frame has another shape or type.
            StorageError: If it cannot be written.
        """
        expected = (self.size[1], self.size[0], 3)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise InputError(
                f"A frame of this video must be uint8 of shape {expected}. "
                f"Received: {frame.dtype} of shape {frame.shape}."
            )
        try:
            self._input.write(np.ascontiguousarray(frame).data)
        except OSError as error:
            raise self._failure(error) from error
        self.frames += 1

    def close(self) -> None:
        """Finishes the file.

        Raises:
            InputError: If it has no frame.
            StorageError: If it cannot be written.
        """
        if not self.frames:
            self.discard()
            raise InputError(f"A video needs at least one frame. Received: none for {self.path}.")
        try:
            self._input.close()
            if self._encoder.wait():
                raise OSError(f"exit status {self._encoder.returncode}")
            self._temporary.chmod(0o644)
            moving.moved(self._temporary, self.path)
        except OSError as error:
            raise self._failure(error) from error
        self._log.close()

    def discard(self) -> None:
        """Gives the file up; one that was there before stays."""
        self._encoder.kill()
        with contextlib.suppress(OSError):
            self._input.close()
        self._encoder.wait()
        self._log.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Returns the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finishes the file, or gives it up after an error."""
        if kind is None:
            self.close()
        else:
            self.discard()

    @property
    def _input(self) -> IO[bytes]:
        """Where the encoder takes its frames."""
        if self._encoder.stdin is None:
            raise StorageError(f"The video {self.path} has no encoder. Write it anew.")
        return self._encoder.stdin

    def _failure(self, error: OSError) -> StorageError:
        """Gives the file up and returns the error, by FFmpeg's first words if it said any."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._encoder.wait(timeout=5)
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        self.discard()
        reason = said[0] if said else error.strerror or error
        return StorageError(f"The video {self.path} could not be written: {reason}.")


def overlay(frame: Frame, instruments: Instruments, size: tuple[int, int] = (640, 480)) -> Frame:
    """Enlarges a camera frame and draws the instruments over it.

    Args:
        frame: Camera frame of shape (H, W, 3) or, gray, (H, W, 1).
        instruments: What to draw.
        size: Width and height of the result.

    Returns:
        A frame of shape (height, width, 3).

    Raises:
        InputError: If `frame` is no such image.
    """
    from PIL import Image, ImageDraw

    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (1, 3):
        raise InputError(
            "A camera frame must be uint8 of shape (H, W, 3) or (H, W, 1). "
            f"Received: {frame.dtype} of shape {frame.shape}."
        )
    colour = np.broadcast_to(frame, (*frame.shape[:2], 3))
    picture = Image.fromarray(np.ascontiguousarray(colour))
    # The driver's own pixels: smoothing would show more than it saw, and takes twice the time.
    picture = picture.resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture, "RGBA")
    _draw_text(draw, instruments.lines, size)
    _draw_bars(draw, instruments, size)
    if instruments.alarm:
        _draw_alarm(draw, instruments.alarm, size)
    return np.array(picture)


def write_race(
    path: str | pathlib.Path,
    frames: Iterable[Frame],
    race: Race,
    size: tuple[int, int] = (640, 480),
) -> pathlib.Path:
    """Writes a race as a video in real time, one camera frame per row of its record.

    Args:
        path: The file.
        frames: Camera frames of shape (H, W, 3) or (H, W, 1), one per row of the race.
        race: The race.
        size: Width and height of the video.

    Raises:
        InputError: If the frames are more or fewer than the race's rows.
        StorageError: If the file cannot be written.
    """
    with VideoWriter(path, 1.0 / race.header.time_step, size) as writer:
        for frame, shown in itertools.zip_longest(frames, instruments_of(race)):
            if frame is None or shown is None:
                count = f"{writer.frames} frames" if frame is None else "more frames"
                raise InputError(
                    f"A race's video needs one frame per row. Received: {count} for "
                    f"{len(race)} rows."
                )
            writer.append(overlay(frame, shown, size))
    return writer.path


def instruments_of(race: Race) -> Iterator[Instruments]:
    """Yields what to draw at each row of a race.

    Speed, cross-track error (positive to the right) where it is known, lap, its time so far, the
    last lap, and the commands.
    """
    crossings = lap_times.crossings(race)
    laps = lap_times.laps(race)
    done = np.searchsorted(crossings, race["time_s"], side="right")
    ended = np.searchsorted([lap.end_s for lap in laps], race["time_s"] + _SAME_S, side="right")
    for row in range(len(race)):
        time, count, driven = float(race["time_s"][row]), int(done[row]), int(ended[row])
        lines = [f"speed   {race['speed'][row]:.1f} u/s"]
        if "cte" not in race.header.unknown:
            lines.append(f"cte     {race['cte'][row]:+.2f} u")
        if count:
            lines.append(f"lap {driven + 1}   {time - crossings[count - 1]:6.2f} s")
        else:
            lines.append(f"start   {time:6.2f} s")
        if driven:
            last = laps[driven - 1]
            lines.append(f"last    {last.time_s:6.2f} s{'' if last.clean else ' (not clean)'}")
        yield Instruments(
            lines=tuple(lines),
            steering=float(race["steering"][row]),
            throttle=float(race["throttle"][row]),
            alarm="off track" if race["off_track"][row] else str(race["hit"][row]),
        )


def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise NoEncoderError(
            "A video needs the program FFmpeg, which imageio-ffmpeg brings for most systems. "
            "Received: none. Install ffmpeg, or name it: IMAGEIO_FFMPEG_EXE=/path/to/ffmpeg."
        ) from error


def _start_encoder(
    program: str, path: str, fps: float, size: tuple[int, int], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(program, "-y", "-v", "error"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}"),
            *("-r", f"{fps:g}", "-i", "-", "-an"),
            *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "veryfast", "-crf", "23"),
            *("-movflags", "+faststart", path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=log,
        # Ctrl-C is for us: the file so far is given up or finished by `__exit__`.
        start_new_session=True,
    )


def _draw_text(draw: ImageDraw.ImageDraw, lines: tuple[str, ...], size: tuple[int, int]) -> None:
    height = max(size[1] // 22, 10)
    face = font(height)
    text = "\n".join(lines)
    left, top, right, bottom = draw.multiline_textbbox((2 * _MARGIN, 2 * _MARGIN), text, font=face)
    if lines:
        box = (left - _MARGIN, top - _MARGIN, right + _MARGIN, bottom + _MARGIN)
        draw.rectangle(box, fill=(*_PANEL, 120))
        draw.multiline_text((2 * _MARGIN, 2 * _MARGIN), text, fill=_TEXT, font=face)


def _draw_bars(draw: ImageDraw.ImageDraw, instruments: Instruments, size: tuple[int, int]) -> None:
    """Draws the steering along the bottom and the throttle along the right, zero in the middle."""
    width, height = size
    thick = max(height // 40, 6)
    middle, half = width // 2, width // 4
    top = height - 2 * _MARGIN - thick
    draw.rectangle((middle - half, top, middle + half, top + thick), fill=(*_PANEL, 140))
    tip = middle + round(half * min(max(instruments.steering, -1.0), 1.0))
    draw.rectangle((min(middle, tip), top, max(middle, tip), top + thick), fill=_STEERING)
    draw.line((middle, top - 3, middle, top + thick + 3), fill=_TEXT)
    middle, half = height // 2, height // 4
    left = width - 2 * _MARGIN - thick
    draw.rectangle((left, middle - half, left + thick, middle + half), fill=(*_PANEL, 140))
    tip = middle - round(half * min(max(instruments.throttle, -1.0), 1.0))
    colour = _FORWARD if instruments.throttle >= 0 else _BACKWARD
    draw.rectangle((left, min(middle, tip), left + thick, max(middle, tip)), fill=colour)
    draw.line((left - 3, middle, left + thick + 3, middle), fill=_TEXT)


def _draw_alarm(draw: ImageDraw.ImageDraw, text: str, size: tuple[int, int]) -> None:
    face = font(max(size[1] // 18, 11))
    box = draw.textbbox((size[0] // 2, 2 * _MARGIN), text, font=face, anchor="ma")
    grown = (box[0] - _MARGIN, box[1] - _MARGIN, box[2] + _MARGIN, box[3] + _MARGIN)
    draw.rectangle(grown, fill=(*_BACKWARD, 210))
    draw.text((size[0] // 2, 2 * _MARGIN), text, fill=_TEXT, font=face, anchor="ma")


@functools.cache
def font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Returns the font of videos, of a height in pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size=height)
