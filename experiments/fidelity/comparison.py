"""All comparisons of the embedded simulator with recordings in one folder."""

from __future__ import annotations

import math
import pathlib
from typing import Any, NamedTuple

from pydantic import Field

from donkey_rl.agents import ensemble
from donkey_rl.agents.encoders.config import LaneEncoderConfig
from donkey_rl.agents.encoders.lane import LaneEncoder
from donkey_rl.agents.ensemble import Ensemble
from donkey_rl.configuration import Config
from donkey_rl.envs.recordings import formats
from donkey_rl.envs.recordings import trace as traces
from donkey_rl.envs.recordings.recording import Recording
from donkey_rl.envs.recordings.trace import Trace
from donkey_rl.envs.simulator import track as tracks
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.envs.simulator.track import Track
from donkey_rl.envs.simulator.vehicle import Vehicle
from donkey_rl.errors import InputError
from donkey_rl.experiments import lane_training, stored_runs
from donkey_rl.experiments.config import TrainingConfig
from donkey_rl.experiments.fidelity import (
    frames,
    geometry,
    motion,
    pairs,
    picture,
    reading,
    sheet,
    summary,
)
from donkey_rl.experiments.fidelity.geometry import GeometryReport, Match
from donkey_rl.experiments.fidelity.picture import PictureReport
from donkey_rl.experiments.fidelity.reading import Reader, ReadingReport
from donkey_rl.experiments.fidelity.summary import RecordingReport
from donkey_rl.experiments.progress import ProgressDisplay

_NOT_WANTED = "not asked for"


class ComparisonRequest(Config):
    """What `donkey-rl tracks compare` is asked.

    Attributes:
        recording: A folder or a CSV file.
        track: Where it was driven; found by its positions by default.
        vehicle: Which car; found by its motion by default.
        run_id: Reads the frames with the encoder of that run, not with one trained now.
        training: Camera of the embedded simulator, and how the encoder is trained.
        read_frames: Whether frames are read by an encoder.
        sheet: Where to write pairs of frames (PNG).
    """

    recording: pathlib.Path
    track: str | None = None
    vehicle: str | None = None
    run_id: str | None = None
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    read_frames: bool = True
    sheet: pathlib.Path | None = None


class ComparisonResult(Config):
    """What `donkey-rl tracks compare` reports.

    With several recordings in a folder, each figure is that of the recording where it is worst.

    Attributes:
        track: None where the positions fit no track.
        scale: Unity units that a recorded unit is worth.
        geometry: ``cte``: ``correlation`` and ``mean_difference`` (u).
        motion: ``speed_error_1s`` (share) and ``position_error_1s`` (u), medians.
        picture: ``horizon_px``, ``centre_line_px``, ``edge_line_px``, medians.
        camera: The recording's camera as estimated; None without an estimate.
        reading: ``lateral_offset`` and ``heading``.
        not_measurable: Why parts were not measured, by part.
        recordings: Everything, for each of them.
        sheet: Where the pairs of frames were written.
    """

    recording: str
    track: str | None
    scale: float
    vehicle: str
    geometry: dict[str, Any]
    motion: dict[str, Any]
    picture: dict[str, Any]
    camera: CameraConfig | None
    reading: dict[str, Any]
    not_measurable: dict[str, str]
    recordings: tuple[RecordingReport, ...]
    sheet: str | None = None


class _Drive(NamedTuple):
    recording: Recording
    trace: Trace

    @property
    def frames(self) -> int:
        """Number of records with a frame."""
        return sum(frame is not None for frame in self.recording.frames)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the frames, if any can be read."""
        return self.recording.frame_size()


class _Yardstick(NamedTuple):
    """What recordings are held against; `source` is what the track can be loaded by."""

    track: Track | None
    source: str
    why_no_track: str
    vehicle: Vehicle
    camera: CameraConfig


def compare(request: ComparisonRequest, progress: ProgressDisplay) -> ComparisonResult:
    """Holds the embedded simulator against all recordings in a folder.

    Raises:
        InputError: There is no recording, no such track, vehicle or run, or no folder for the
            sheet.
        StorageError: The sheet could not be written.
    """
    if request.track is not None:
        tracks.load(request.track)
    if request.vehicle is not None:
        vehicles.load(request.vehicle)
    if request.sheet is not None and not request.sheet.parent.is_dir():
        raise InputError(
            f"Expected a file in a folder that exists, for the sheet. Received: "
            f"'{request.sheet}'. Make the folder first."
        )
    with progress.phase("reading recordings", 1, "folder") as phase:
        drives, match = _drives(request)
        phase.update(1)
    found = _yardstick(request, drives, match)
    reader = _reader(request, found, drives, progress)
    reports = []
    shown: pairs.Pairs | None = None
    most = 0
    with progress.phase("comparing", len(drives), "recordings") as phase:
        for k, drive in enumerate(drives):
            report, made = _report(drive, found, reader)
            if made is not None and drive.frames > most:
                shown, most = made, drive.frames
            reports.append(report)
            phase.update(k + 1)
    written = None
    if request.sheet is not None and shown is not None:
        sheet.save(request.sheet, shown)
        written = str(request.sheet)
    return _result(request, found, match, tuple(reports), written)


def _drives(request: ComparisonRequest) -> tuple[list[_Drive], Match | None]:
    """Reads the recordings and brings them to Unity units."""
    recorded = formats.read(request.recording)
    names = None if request.track is None else [request.track]
    drives = [_Drive(each, traces.trace(each)) for each in recorded]
    match = geometry.identify(drives, names)
    if (scale := _scale(match)) != 1.0:
        scaled = [each.scaled(scale) for each in recorded]
        drives = [_Drive(each, traces.trace(each)) for each in scaled]
    return drives, match


def _scale(match: Match | None) -> float:
    """Returns the scale of a track that fits; one that does not says nothing of it."""
    return match.scale if match is not None and geometry.fits(match) else 1.0


def _yardstick(
    request: ComparisonRequest, drives: list[_Drive], match: Match | None
) -> _Yardstick:
    """Decides what the recordings are held against."""
    track, source, why = None, "", ""
    if match is None:
        why = "no record has a position"
    elif not geometry.fits(match):
        which = f"'{request.track}'" if request.track else "any track"
        why = (
            f"the positions do not lie on {which}; on '{match.name}' they would be "
            f"up to {match.distance:.1f} u off and the car {math.degrees(match.angle):.0f} "
            "degrees across the road"
        )
    else:
        track, source = tracks.load(match.name), match.name
    camera = request.training.camera
    size = max(drives, key=lambda drive: drive.frames).size
    if size is not None and frames.unsuitable_size(size) is None:
        camera = camera.model_copy(update={"img_h": size[0], "img_w": size[1]})
    return _Yardstick(track, source, why, _vehicle(request, drives, track), camera)


def _road(track: Track | None) -> dict[str, Any]:
    """Returns what the motion must know of the road, where it is known."""
    if track is None:
        return {}
    return {
        "ground_friction": track.road_friction,
        "road": (track.road_left, track.road_right),
    }


def _vehicle(request: ComparisonRequest, drives: list[_Drive], track: Track | None) -> Vehicle:
    """Returns the car that was named, or the one that moves most like the recorded ones."""
    if request.vehicle is not None:
        return vehicles.load(request.vehicle)
    totals: dict[str, float] = {}
    for drive in drives:
        choice = motion.best_vehicle(drive.recording, drive.trace, **_road(track))
        for name, errors in choice.errors.items():
            after_a_second = next(each for each in errors if each.seconds == 1.0)
            totals[name] = totals.get(name, 0.0) + after_a_second.position_median
    return vehicles.load(min(totals, key=lambda name: totals[name])) if totals else (
        vehicles.load(request.training.vehicle)
    )  # fmt: skip


def _reader(
    request: ComparisonRequest, found: _Yardstick, drives: list[_Drive], progress: ProgressDisplay
) -> Reader | str:
    """Returns an encoder for frames of the recordings' size, or why there is none."""
    if not request.read_frames:
        return _NOT_WANTED
    reasons = [_why_unread(drive, found) for drive in drives]
    if None not in reasons:
        # That of the recording with most frames, not of one that has none.
        most = max(range(len(drives)), key=lambda k: drives[k].frames)
        return reasons[most] or ""
    if request.run_id is not None:
        return _stored_encoder(request.run_id, found.camera)
    config = request.training.model_copy(
        update={
            "track": found.source,
            "vehicle": found.vehicle.name,
            "camera": found.camera,
        }
    )
    settings = config.encoder
    if not isinstance(settings, LaneEncoderConfig):
        return f"encoder.name={settings.name} reads no lane; set encoder.name=lane"
    try:
        settings.check_image(config.camera.shape)
    except InputError as error:
        return str(error).rstrip(".")
    encoder, _ = lane_training.train_encoder(config, settings, progress, lambda: None)
    return encoder


def _why_unread(drive: _Drive, found: _Yardstick) -> str | None:
    """Returns why no encoder can read the frames of a recording, however it is trained."""
    if not drive.frames:
        return "no record has a frame"
    if found.track is None:
        return found.why_no_track
    size = drive.size
    if size is None:
        return "none of the frames can be read"
    if (reason := frames.unsuitable_size(size)) is not None:
        return reason
    if size != found.camera.shape[:2]:
        return (
            f"frames are {size[1]} x {size[0]}, those of another recording in the folder, for "
            f"which the encoder is, {found.camera.img_w} x {found.camera.img_h}; move it out"
        )
    usable = len(reading.usable_frames(drive.recording, drive.trace))
    if usable < reading.FEWEST_FRAMES:
        return f"{usable} frames with a position, at least {reading.FEWEST_FRAMES} needed"
    return None


def _stored_encoder(run_id: str, camera: CameraConfig) -> Reader | str:
    """Returns the encoder of a run, or why it cannot read the frames."""
    stored = stored_runs.find(run_id)
    driver = ensemble.load(stored_runs.download_driver(stored))
    if isinstance(driver, Ensemble):
        return f"run {stored.id} is an ensemble, whose members read each for themselves: name one"
    encoder = driver.encoder
    if not isinstance(encoder, LaneEncoder):
        return f"the encoder of run {stored.id} reads no lane"
    if encoder.image_shape != camera.shape:
        expected, received = encoder.image_shape, camera.shape
        return (
            f"the encoder of run {stored.id} reads frames of {expected[1]}x{expected[0]}, "
            f"these are {received[1]}x{received[0]}"
        )
    return encoder


def _report(
    drive: _Drive, found: _Yardstick, reader: Reader | str
) -> tuple[RecordingReport, pairs.Pairs | None]:
    """Measures one recording; returns the pairs of frames, too, where there are some."""
    recording, trace = drive
    pictured, made = _picture(drive, found)
    shape = GeometryReport(reason=found.why_no_track)
    unread = reader if reader == _NOT_WANTED else _why_unread(drive, found) or reader
    read = ReadingReport(reason=unread if isinstance(unread, str) else None)
    if found.track is not None:
        shape = geometry.compare(recording, trace, found.track)
        if not isinstance(unread, str):
            read = reading.compare(unread, recording, trace, found.track, found.vehicle)
    moved = motion.compare(recording, trace, found.vehicle, **_road(found.track))
    seconds = sum(float(trace.time[part][-1]) for part in trace.stretches())
    return RecordingReport(
        name=recording.name,
        records=len(recording),
        samples=len(trace),
        frames=drive.frames,
        seconds=seconds,
        notes=recording.notes,
        geometry=shape,
        motion=moved,
        picture=pictured,
        reading=read,
    ), made


def _picture(drive: _Drive, found: _Yardstick) -> tuple[PictureReport, pairs.Pairs | None]:
    if not drive.frames:
        return PictureReport(reason="no record has a frame"), None
    if found.track is None:
        return PictureReport(reason=found.why_no_track), None
    made = pairs.pair(drive.recording, drive.trace, found.track, found.vehicle, found.camera)
    if isinstance(made, str):
        return PictureReport(reason=made), None
    return picture.measure(made), made


def _result(
    request: ComparisonRequest,
    found: _Yardstick,
    match: Match | None,
    reports: tuple[RecordingReport, ...],
    written: str | None,
) -> ComparisonResult:
    estimates = [each.picture.estimate.camera for each in reports]
    reasons = summary.reasons(reports)
    if request.sheet is not None and written is None:
        reasons["sheet"] = "no recording has frames that could be compared"
    return ComparisonResult(
        recording=str(request.recording),
        track=None if found.track is None else found.track.name,
        scale=_scale(match),
        vehicle=found.vehicle.name,
        geometry=summary.geometry(reports),
        motion=summary.motion(reports),
        picture=summary.picture(reports),
        camera=next((each for each in estimates if each is not None), None),
        reading=summary.reading(reports),
        not_measurable=reasons,
        recordings=reports,
        sheet=written,
    )
