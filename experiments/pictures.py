"""Pictures and videos of stored runs: of their races, of their learning, of what they look at."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field

from donkey_rl import shell
from donkey_rl.configuration import Config
from donkey_rl.envs.simulator import track
from donkey_rl.envs.simulator.track import Track
from donkey_rl.errors import InputError
from donkey_rl.experiments import (
    driver_plots,
    learning_curves,
    learning_plots,
    plots,
    race_frames,
    side_by_side,
    splits,
    stored_races,
    stored_runs,
    track_plot,
    video,
)
from donkey_rl.experiments.driver_plots import Drives
from donkey_rl.experiments.progress import Phase, ProgressDisplay
from donkey_rl.experiments.stored_races import Course
from donkey_rl.experiments.stored_runs import StoredRun
from donkey_rl.metrics import limits
from donkey_rl.metrics.race import Race

if TYPE_CHECKING:
    from donkey_rl.experiments.saliency_pictures import Seen

What = Literal[
    "trajectory", "speed", "cte", "laps", "learning", "saliency", "video", "saliency-video"
]

KINDS: tuple[What, ...] = get_args(What)
USUAL: tuple[What, ...] = ("trajectory", "speed", "cte", "laps", "learning", "saliency")
SIDE_BY_SIDE = "side-by-side"

_OF_RACES = frozenset({"trajectory", "speed", "cte", "laps", "video"})
_SALIENCY_SEED = 1_000
_ID = 8


class PicturesRequest(Config):
    """What `donkey-rl plot` is asked.

    Attributes:
        runs: Ids, beginnings of ids, or names.
        what: Kinds of pictures; the usual ones if empty.
        track: Of the races; the one that all runs raced most by default.
        video_with: A run that is shown beside the first one.
        out: Folder for the files.
    """

    runs: tuple[str, ...] = Field(min_length=1, max_length=12)
    what: tuple[What, ...] = ()
    track: str | None = None
    video_with: str | None = None
    out: pathlib.Path


class PicturesResult(Config):
    """What `donkey-rl plot` reports.

    Attributes:
        runs: Ids of the runs.
        track: Track of the races; None where none was looked at.
        files: The files by their names without the ending, such as ``trajectory-3f2a9c01``.
        left_out: What could not be drawn, with the reason.
        problems: One line for each race record that was passed over, with its reason.
    """

    runs: tuple[str, ...]
    track: str | None
    files: dict[str, str]
    left_out: dict[str, str]
    problems: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Raced:
    """A run with its races on one track."""

    run: StoredRun
    label: str
    races: tuple[Race, ...]


def draw(request: PicturesRequest, progress: ProgressDisplay) -> PicturesResult:
    """Draws pictures of stored runs.

    What was asked for by its name must be there; of the usual pictures those that a run has
    nothing for are left out, and named.

    Args:
        request: What is asked.
        progress: Shows what is being drawn.

    Raises:
        InputError: Unknown runs, or nothing to draw; or something asked for cannot be drawn; or
            a file is in the folder's place.
        StorageError: The store cannot be read or a file cannot be written.
    """
    if request.out.exists() and not request.out.is_dir():
        raise InputError(
            f"Pictures are written into a folder. Received a file: '{request.out}'. Choose "
            "another place with --out."
        )
    given = [stored_runs.find(each) for each in request.runs]
    runs = list({run.id: run for run in given}.values())
    other = stored_runs.find(request.video_with) if request.video_with is not None else None
    wanted = request.what or USUAL
    studio = _Studio(runs, request.out, request.track)
    if other is not None or _OF_RACES & set(wanted):
        raced = [*runs, *([other] if other is not None else [])]
        with progress.phase("reading races", len(raced), "runs") as phase:
            studio.read(raced, phase)
    kinds = len(wanted) + (other is not None)
    with progress.phase("drawing", kinds, "kinds") as phase:
        for done, kind in enumerate(wanted):
            phase.update(done)
            studio.attempt(kind, must=bool(request.what))
        if other is not None:
            studio.side_by_side(other)
        phase.update(kinds)
    if not studio.files:
        reasons = "; ".join(f"{what}: {reason}" for what, reason in studio.left_out.items())
        raise InputError(f"Nothing of these runs can be drawn. Received: {reasons}")
    return PicturesResult(
        runs=tuple(run.id for run in runs),
        track=studio.track,
        files={name: str(path) for name, path in studio.files.items()},
        left_out=studio.left_out,
        problems=tuple(studio.problems),
    )


class _Studio:
    """Draws pictures of some runs into one folder.

    Attributes:
        files: What was drawn.
        left_out: What could not be, with the reason.
        problems: Race records that were passed over.
        track: Track of the races: the one asked for, or the one found in them.
    """

    def __init__(self, runs: Sequence[StoredRun], folder: pathlib.Path, place: str | None) -> None:
        """Has drawn nothing yet.

        Args:
            runs: The runs.
            folder: For the files.
            place: Name or file of the track that is asked for, if one is.

        Raises:
            InputError: There is no such track.
        """
        self.files: dict[str, pathlib.Path] = {}
        self.left_out: dict[str, str] = {}
        self.problems: list[str] = []
        # A track of one's own is known by its file, and races on it by its name.
        self.track = track.load(place).name if place is not None else None
        self._runs, self._folder, self._place = runs, folder, place
        self._raced: dict[str, _Raced] = {}

    def read(self, runs: Sequence[StoredRun], phase: Phase) -> None:
        """Reads the races of runs on one track."""
        labels = stored_runs.labels(runs)
        courses: dict[str, dict[Course, dict[int, Race]]] = {}
        for done, run in enumerate(runs, 1):
            stored = stored_races.read(run)
            self.problems += stored.problems
            courses[run.id] = stored.courses
            phase.update(done)
        digest = track.load(self._place).digest if self._place is not None else ""
        if self.track is None:
            self.track, digest = _common_track(list(courses.values()))
        for run in runs:
            races = races_on(courses[run.id], self.track, digest) if self.track else ()
            if races:
                self._raced[run.id] = _Raced(run, labels[run.id], races)

    def attempt(self, kind: What, *, must: bool) -> None:
        """Draws pictures of one kind, or notes why not.

        Raises:
            InputError: It cannot be drawn, and it must be.
        """
        makers: dict[str, Callable[[], None]] = {
            "trajectory": self._trajectories,
            "speed": self._speed,
            "cte": self._cte,
            "laps": self._laps,
            "learning": self._learning,
            "saliency": self._saliency,
            "video": self._videos,
            "saliency-video": self._saliency_videos,
        }
        try:
            makers[kind]()
        except InputError as error:
            if must:
                raise
            self.left_out[kind] = str(error)

    def side_by_side(self, other: StoredRun) -> None:
        """Writes the video of the first run and another one, over the first seed of both.

        Raises:
            InputError: They have no race of one seed on one track.
        """
        first = self._races_of(self._runs[0])
        second = self._races_of(other)
        rivals = {race.header.seed: race for race in second.races}
        pairs = [(r, rivals[r.header.seed]) for r in first.races if r.header.seed in rivals]
        if not pairs:
            raise InputError(
                "Two runs beside each other need a race of one seed. "
                f"Received: {first.label} with {_seeds(first.races)}, {second.label} with "
                f"{_seeds(second.races)}. Evaluate both with the same --seed."
            )
        left, right = (
            side_by_side.Side(each.label, race, race_frames.frames(race, self._road()))
            for each, race in zip((first, second), pairs[0], strict=True)
        )
        path = self._path(SIDE_BY_SIDE, ending="mp4")
        self._keep(side_by_side.write(path, left, right))

    def _trajectories(self) -> None:
        raced = self._all_raced()
        lines = track_plot.lines(self._road())
        for each in raced:
            race = each.races[0]
            path = self._path("trajectory", each.run)
            self._keep(plots.trajectory(race, lines, path, plots.optimal(race)))

    def _speed(self) -> None:
        race = self._race_of_all()
        best = plots.optimal(race) if race is not None else None
        self._keep(driver_plots.speed(self._drives(), self._path("speed"), best))

    def _cte(self) -> None:
        self._keep(driver_plots.cte(self._drives(), self._path("cte")))

    def _laps(self) -> None:
        race = self._race_of_all()
        limit_s = limits.lap_s(race.header) if race is not None else math.nan
        self._keep(driver_plots.laps(self._drives(), self._path("laps"), limit_s))

    def _learning(self) -> None:
        groups = learning_curves.groups(self._runs)
        self._keep(learning_plots.learning_bands(groups, self._path("learning")))

    def _saliency(self) -> None:
        from donkey_rl.experiments import saliency_pictures

        for run in self._runs:
            seen = self._seen(run)
            title = f"What moves the steering · {run.name} · {seen.race.header.track}"
            self._keep(saliency_pictures.sheet(seen, self._path("saliency", run), title))

    def _videos(self) -> None:
        for each in self._all_raced():
            race = each.races[0]
            path = self._path("video", each.run, "mp4")
            self._keep(video.write_race(path, race_frames.frames(race, self._road()), race))

    def _saliency_videos(self) -> None:
        from donkey_rl.experiments import saliency_pictures

        for run in self._runs:
            path = self._path("saliency-video", run, "mp4")
            self._keep(saliency_pictures.write_video(path, self._seen(run)))

    def _seen(self, run: StoredRun) -> Seen:
        # TensorFlow takes seconds to load, and no other picture needs it.
        from donkey_rl.agents import ensemble
        from donkey_rl.experiments import drivers, saliency_pictures

        driver = ensemble.load(stored_runs.download_driver(run))
        config = drivers.environment_of(driver)
        if self._place is not None:
            config = config.model_copy(update={"track": self._place})
        return saliency_pictures.drive(driver, config, _SALIENCY_SEED)

    def _path(self, name: str, run: StoredRun | None = None, ending: str = "png") -> pathlib.Path:
        whose = f"-{run.id[:_ID]}" if run is not None else ""
        return self._folder / f"{name}{whose}.{ending}"

    def _keep(self, file: pathlib.Path) -> None:
        self.files[file.stem] = file

    def _road(self) -> Track:
        """Returns the track of the races that were found, of a file where a run names it.

        Raises:
            InputError: It is in no file that is known.
        """
        if self._place is not None:
            return track.load(self._place)
        digest = self._all_raced()[0].races[0].header.track_digest
        named = (place for run in self._runs for place in splits.named_by(run.params))
        road = track_plot.road(self.track or "", digest, named)
        if road is not None:
            return road
        raise InputError(
            f"The races are on '{self.track}', a track of your own, or of another version. Name "
            "its file: --track FILE.json."
        )

    def _races_of(self, run: StoredRun) -> _Raced:
        if run.id not in self._raced:
            stored_runs.check_holds_driver(run)
            where = f"on {self.track}" if self.track else "on a track that all of them raced"
            there = f" {shell.quoted('--track', self._place or self.track)}" if self.track else ""
            raise InputError(
                f"A picture of races needs some of each run {where}. Received: none of {run.name} "
                f"({run.id[:_ID]}). Drive them: `donkey-rl evaluate {run.id[:_ID]}{there}`."
            )
        return self._raced[run.id]

    def _all_raced(self) -> list[_Raced]:
        return [self._races_of(run) for run in self._runs]

    def _race_of_all(self) -> Race | None:
        """Returns a race that stands for all: what is optimal in it is so for each run.

        There is none where runs drove several cars.
        """
        races = [each.races[0] for each in self._all_raced()]
        cars = {race.header.vehicle for race in races}
        return races[0] if len(cars) == 1 else None

    def _drives(self) -> list[Drives]:
        return [Drives(each.label, each.races) for each in self._all_raced()]


def races_on(
    courses: dict[Course, dict[int, Race]], name: str, digest: str = ""
) -> tuple[Race, ...]:
    """Returns a run's races on a track, by seed, of its one course there that says most.

    That is one without changed conditions, and of those the one with the most races.

    Args:
        courses: The run's races.
        name: Of the track.
        digest: Of its road, where a file is meant as it is now.
    """
    on_it = (course for course in courses if course.track == name)
    found = [each for each in on_it if not digest or each.track_digest in ("", digest)]
    if not found:
        return ()
    best = max(found, key=lambda course: (not course.conditions, len(courses[course])))
    return tuple(courses[best][seed] for seed in sorted(courses[best]))


def _common_track(runs: Sequence[dict[Course, dict[int, Race]]]) -> tuple[str | None, str]:
    """Returns the track that all runs raced, with the most races of each, and its road.

    A file of one's own may have been another road for each run: what is common is name and road.

    Returns:
        Name and digest, None for no such track; no digest where none of the races has one.
    """
    roads = {(course.track, course.track_digest) for courses in runs for course in courses}
    known = {name for name, digest in roads if digest}
    roads = {(name, digest) for name, digest in roads if digest or name not in known}
    most = {
        (name, digest): min(len(races_on(courses, name, digest)) for courses in runs)
        for name, digest in roads
    }
    best = max(sorted(most), key=most.__getitem__, default=("", ""))
    return best if most.get(best) else (None, "")


def _seeds(races: Sequence[Race]) -> str:
    seeds = [str(race.header.seed) for race in races]
    return f"seeds {', '.join(seeds[:5])}{' and more' if len(seeds) > 5 else ''}"
