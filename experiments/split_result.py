"""What an evaluation on a split of tracks reports: a row for each track and each part."""

from __future__ import annotations

from donkey_rl.configuration import Config
from donkey_rl.experiments.course_scores import Figure
from donkey_rl.experiments.splits import Part


class TrackRow(Config):
    """How a driver did on one track of a split.

    Attributes:
        track: Its name.
        part: Of the split.
        seen: Whether the driver was trained on it; None where it does not say on what.
        races: Races driven.
        clean: Share of the races with all laps clean, with Wilson's interval.
        disqualified: Share of the races that a race host would have ended, likewise.
        score: Mean `race_score`, with a bootstrap interval over the races.
        pace: Mean `pace` of the races' best laps, likewise; unknown where the limit is.
    """

    track: str
    part: Part
    seen: bool | None
    races: int
    clean: Figure
    disqualified: Figure
    score: Figure
    pace: Figure


class PartRow(Config):
    """How a driver did on one part of a split.

    The intervals of shares say how sure they are on these very tracks, not on others; those of
    score and pace, how far the tracks differ.

    Attributes:
        part: Of the split.
        tracks: How many it has.
        races: Races driven on all of them.
        clean: Share of the races with all laps clean, with Wilson's interval.
        disqualified: Share of the races that a race host would have ended, likewise.
        score: Mean over the tracks of their mean scores, with a bootstrap interval over tracks.
        pace: The same of the pace, of the tracks whose limit is known.
        weakest: The track with the least share of clean races.
        weakest_clean: That share.
    """

    part: Part
    tracks: int
    races: int
    clean: Figure
    disqualified: Figure
    score: Figure
    pace: Figure
    weakest: str
    weakest_clean: float


class SplitReport(Config):
    """How a driver did on a split.

    Attributes:
        name: Of the split.
        look: What the world looked like, None for nominal looks.
        parts: One row a part.
        tracks: One row a track.
        warnings: Held-out tracks that the driver was trained on, one line each.
    """

    name: str
    look: str | None
    parts: tuple[PartRow, ...]
    tracks: tuple[TrackRow, ...]
    warnings: tuple[str, ...]
