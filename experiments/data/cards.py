"""The data card: what is in a version of a data set, made from what its files say."""

from __future__ import annotations

import collections
import contextlib
import datetime
import re
from collections.abc import Iterable, Sequence

from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments.data.backends import Backend
from donkey_rl.experiments.data.dataset import SHORT, DataSet, changes_of
from donkey_rl.experiments.data.manifest import (
    MAX_MANIFEST,
    PARTS,
    SETS,
    STEERING_BINS,
    Entry,
    Text,
)

_WIDEST = 40
_MOST_LISTED = 12


class Amount(Config):
    """Races of one kind.

    Attributes:
        races: How many.
        minutes: Simulation time (min).
        laps: From line to line.
        clean_laps: Those of them that were clean.
        frames: Pictures.
    """

    races: int
    minutes: float
    laps: int
    clean_laps: int
    frames: int

    @classmethod
    def of(cls, races: Iterable[Entry]) -> Amount:
        """Adds races up."""
        facts = [race.facts for race in races if race.facts is not None]
        return cls(
            races=len(facts),
            minutes=round(sum(each.seconds for each in facts) / 60, 3),
            laps=sum(each.laps for each in facts),
            clean_laps=sum(each.clean_laps for each in facts),
            frames=sum(each.frames for each in facts),
        )

    @property
    def clean_share(self) -> float | None:
        """Clean laps of all laps; None where there is no lap."""
        return self.clean_laps / self.laps if self.laps else None


class Card(Config):
    """What is in a version of a data set.

    Attributes:
        name: Of the set.
        version: Which version.
        changes: Ids of the changes that make it up.
        created: When the first of them was written, UTC.
        updated: When the last was.
        authors: Who wrote them.
        messages: What for, the newest first.
        licenses: Terms under which files may be used.
        unlicensed: Changes that brought files and name no terms.
        sources: Versions that it was merged from.
        files: All its files.
        bytes: Their size.
        total: All its races.
        clean_share: Clean laps of all laps, None where there is no lap.
        best_lap_s: Shortest clean lap by track (s).
        tracks: Races by track.
        vehicles: Races by car.
        drivers: Races by what or who drove.
        simulators: Races by simulator.
        cameras: Races by camera.
        conditions: Races by what was changed on purpose.
        parts: Races by part of a split; `none` where one came after it.
        steering: Share of the rows by steering, in equal bins over [-1, 1].
        problems: What could not be read of the set.
    """

    name: str
    version: str
    changes: tuple[str, ...]
    created: datetime.datetime
    updated: datetime.datetime
    authors: tuple[Text, ...]
    messages: tuple[Text, ...]
    licenses: tuple[Text, ...]
    unlicensed: int
    sources: tuple[Text, ...]
    files: int
    bytes: int
    total: Amount
    clean_share: float | None
    best_lap_s: dict[str, float]
    tracks: dict[str, Amount]
    vehicles: dict[str, int]
    drivers: dict[str, int]
    simulators: dict[str, int]
    cameras: dict[str, int]
    conditions: dict[str, int]
    parts: dict[str, Amount]
    steering: tuple[float, ...] = Field(min_length=STEERING_BINS, max_length=STEERING_BINS)
    problems: tuple[str, ...] = ()


def card(dataset: DataSet) -> Card:
    """Returns the card of a data set."""
    changes, races = list(dataset.changes.values()), dataset.races
    total = Amount.of(races)
    brought = [change for change in changes if change.entries]
    return Card(
        name=dataset.name,
        version=dataset.version,
        changes=tuple(sorted(dataset.changes)),
        created=changes[0].created,
        updated=changes[-1].created,
        authors=_distinct(change.author for change in changes),
        messages=_distinct(change.message for change in reversed(changes)),
        licenses=_distinct(change.license for change in changes),
        unlicensed=sum(not change.license for change in brought),
        sources=_distinct(source for change in changes for source in change.sources),
        files=len(dataset.files),
        bytes=sum(entry.bytes for entry in dataset.files),
        total=total,
        clean_share=total.clean_share,
        best_lap_s=_best(races),
        tracks={name: Amount.of(group) for name, group in _by(races, "track").items()},
        vehicles=_counts(races, "vehicle"),
        drivers=_counts(races, "driver"),
        simulators=_counts(races, "simulator"),
        cameras=_counts(races, "camera"),
        conditions=_counts(races, "conditions"),
        parts=_parts(dataset),
        steering=_steering(races),
        problems=dataset.problems,
    )


def stored(backend: Backend, name: str, version: str) -> bytes | None:
    """Returns the JSON of the card that a store keeps of a version.

    Returns:
        None where there is none, or it does not say what the version is made of.

    Raises:
        StorageError: The store cannot be read.
    """
    try:
        content = backend.read(f"{SETS}/{name}/versions/{version}.json", MAX_MANIFEST)
    except (InputError, FileNotFoundError):
        return None
    with contextlib.suppress(StorageError):
        changes_of(content, version)
        return content
    return None


def markdown(card: Card) -> str:
    """Returns a card for people."""
    total = card.total
    lines = [
        f"# Data set {card.name}",
        "",
        f"Version `{card.version[:SHORT]}`, {card.updated:%Y-%m-%d %H:%M} UTC.",
        "",
        f"- {total.races:,} races, {total.minutes:,.1f} minutes, {total.frames:,} frames",
        f"- {total.laps:,} laps, {_share(card.clean_share)} of them clean",
        f"- {card.files:,} files, {card.bytes / 1e6:,.1f} MB",
        f"- License: {_license(card)}",
        f"- By {_cell(', '.join(card.authors)) or 'nobody who gave a name'}, "
        f"since {card.created:%Y-%m-%d %H:%M} UTC",
    ]
    if card.sources:
        lines.append(f"- Merged from {_cell(', '.join(card.sources))}")
    lines += [f"- {_cell(message)}" for message in card.messages[:_MOST_LISTED]]
    lines += _amounts("track", card.tracks, card.best_lap_s)
    lines += _amounts("part", card.parts, {}) if card.parts else []
    for title, counts in (
        ("Drivers", card.drivers),
        ("Cars", card.vehicles),
        ("Simulators", card.simulators),
        ("Cameras", card.cameras),
        ("Conditions", card.conditions),
    ):
        lines += _listed(title, counts)
    if total.races:
        lines += ["", "## Steering", "", "```", *_bars(card.steering), "```"]
    lines += ["", *(f"**Problem**: {_cell(problem)}" for problem in card.problems)]
    lines += [f"Version, in full: `{card.version}`", ""]
    return "\n".join(lines)


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _by(races: Sequence[Entry], field: str) -> dict[str, list[Entry]]:
    """Returns races by one of their facts, the most frequent first."""
    groups: dict[str, list[Entry]] = {}
    for race in races:
        groups.setdefault(str(getattr(race.facts, field)) or "not recorded", []).append(race)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def _counts(races: Sequence[Entry], field: str) -> dict[str, int]:
    return {name: len(group) for name, group in _by(races, field).items()}


def _best(races: Sequence[Entry]) -> dict[str, float]:
    best: dict[str, float] = {}
    for race in races:
        if race.facts is not None and race.facts.best_lap_s is not None:
            track = race.facts.track
            best[track] = min(best.get(track, race.facts.best_lap_s), race.facts.best_lap_s)
    return best


def _parts(dataset: DataSet) -> dict[str, Amount]:
    if not any(race.sha256 in dataset.parts for race in dataset.races):
        return {}
    parts: dict[str, Amount] = {name: Amount.of(dataset.part(name)) for name in PARTS}
    rest = [race for race in dataset.races if race.sha256 not in dataset.parts]
    return parts | ({"none": Amount.of(rest)} if rest else {})


def _steering(races: Sequence[Entry]) -> tuple[float, ...]:
    sums = collections.Counter[int]()
    for race in races:
        if race.facts is not None:
            sums.update(dict(enumerate(race.facts.steering)))
    total = sum(sums.values()) or 1
    return tuple(round(sums[bin_] / total, 6) for bin_ in range(STEERING_BINS))


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.0%}"


def _license(card: Card) -> str:
    if not card.licenses:
        return "not stated: ask before you use it elsewhere"
    states = "push states" if card.unlicensed == 1 else "pushes state"
    rest = f"; {card.unlicensed} {states} none" if card.unlicensed else ""
    return _cell("; ".join(card.licenses)) + rest


def _cell(text: str) -> str:
    """Returns a text that is no markup, whoever wrote it."""
    # Names such as `generated_road:7` stay as they are typed.
    text = re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", text).replace("<", "&lt;")
    text = re.sub(r"^(\s*)(?=>|#|[+-]\s)", r"\1\\", text)
    return re.sub(r"^(\s*\d+)(?=[.)]\s)", r"\1\\", text)


def _amounts(kind: str, amounts: dict[str, Amount], best: dict[str, float]) -> list[str]:
    if not amounts:
        return []
    rows = [
        f"| {_cell(name)} | {each.races:,} | {each.minutes:,.1f} | {each.laps:,} | "
        f"{_share(each.clean_share)} | {each.frames:,} |"
        + (f" {best[name]:.2f} |" if name in best else " - |" if best else "")
        for name, each in amounts.items()
    ]
    head = f"| {kind} | races | minutes | laps | clean | frames |"
    rule = "|---|---|---|---|---|---|"
    if best:
        head, rule = f"{head} best lap (s) |", f"{rule}---|"
    return ["", f"## Races by {kind}", "", head, rule, *rows]


def _listed(title: str, counts: dict[str, int]) -> list[str]:
    if not counts or list(counts) == ["not recorded"]:
        return []
    shown = [f"- {_cell(name)}: {count:,}" for name, count in [*counts.items()][:_MOST_LISTED]]
    more = len(counts) - len(shown)
    return ["", f"## {title}", "", *shown, *([f"- and {more:,} more"] if more else [])]


def _bars(shares: Sequence[float]) -> list[str]:
    """Returns a histogram as lines of text: left is -1, right is 1."""
    widest = max(shares) or 1.0
    width = 2.0 / len(shares)
    return [
        f"{-1.0 + width * (bin_ + 0.5):+.2f} {share:6.1%} {'#' * round(_WIDEST * share / widest)}"
        for bin_, share in enumerate(shares)
    ]
