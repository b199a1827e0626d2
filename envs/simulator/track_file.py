"""Reading track files: JSON, checked field by field; `track_fields` lists the fields."""

from __future__ import annotations

import itertools
import json
import math
import pathlib
import reprlib
from typing import get_args

import pydantic

from donkey_rl import errors
from donkey_rl.envs.simulator import script_road, track_fields
from donkey_rl.envs.simulator.track_fields import (
    MAX_GAP,
    MAX_LENGTH,
    MAX_WAYPOINTS,
    MIN_GAP,
    MIN_WAYPOINTS,
)

MAX_BYTES = 5_000_000


def read(file: pathlib.Path) -> track_fields.TrackFile:
    """Reads and checks the fields of a track file.

    What only the finished road shows (bends, touching edges) is checked by `road_shape`.

    Args:
        file: A JSON file.

    Raises:
        TrackError: The file cannot be read, is larger than 5 MB, is not JSON, or a field is
            unknown or wrong. The message names the file and the field.
    """
    content = _parse(file, _text(file))
    if not isinstance(content, dict):
        raise errors.TrackError(
            f"{file}: expected a JSON object with a field 'waypoints'. "
            f"Received: {type(content).__name__}. Put the track into {{...}}."
        )
    try:
        parsed = track_fields.TrackFile.model_validate(content)
    except pydantic.ValidationError as error:
        raise errors.TrackError(f"{file}: {_describe(error)}") from error
    _check_values(file, parsed)
    return parsed


def _text(file: pathlib.Path) -> str:
    """Returns the text of a file of at most 5 MB.

    Raises:
        TrackError: Names the file and the reason.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise errors.TrackError(
            f"{file}: expected a readable track file. Received: {reason}. Check the path."
        ) from error
    if len(content) > MAX_BYTES:
        raise errors.TrackError(
            f"{file}: expected a track file of at most {MAX_BYTES:,} bytes. Received: more. "
            "Check the path, or leave out points: one every 5 to 10 u is enough."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.TrackError(
            f"{file}: expected a readable track file. Received: not UTF-8 text. Check the path."
        ) from error


def _parse(file: pathlib.Path, text: str) -> object:
    """Returns what a JSON text holds.

    Raises:
        TrackError: Names the file and the place.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise errors.TrackError(
            f"{file}: expected JSON. Received: {error.msg} at line {error.lineno}, column "
            f"{error.colno}. Mend the text there."
        ) from error
    except RecursionError as error:
        raise errors.TrackError(
            f"{file}: expected JSON. Received: lists or objects nested too deeply. "
            "A track needs four levels."
        ) from error
    except ValueError as error:
        raise errors.TrackError(
            f"{file}: expected JSON. Received: a whole number with thousands of digits. "
            "Shorten it."
        ) from error


def wrong(file: pathlib.Path, field: str, expected: str, received: str, remedy: str) -> Exception:
    """Returns the error for one field of a track file."""
    return errors.TrackError(
        f"{file}: field '{field}': expected {expected}. Received: {received}. {remedy}"
    )


def _check_values(file: pathlib.Path, track: track_fields.TrackFile) -> None:
    """Checks what concerns more than one field.

    Raises:
        TrackError: Names the file and the field.
    """
    lines = ("waypoints", "script", "random_road")
    given = [name for name in lines if getattr(track, name) is not None]
    if len(given) != 1:
        expected = "one of 'waypoints', 'script' and 'random_road'"
        raise wrong(
            file, "waypoints", expected, " and ".join(given) or "neither", "Give exactly one."
        )
    if track.script is not None:
        _check_script(file, track.script)
    if track.waypoints is not None:
        _check_waypoints(file, track.waypoints, closed=track.closed)
    elif not track.closed:
        remedy = "Leave 'closed' out: a script is closed, a random road is open."
        raise wrong(file, "closed", "waypoints beside it", "closed without waypoints", remedy)
    if track.random_road is not None:
        _check_random_road(file, track.random_road)
    _check_stripes(file, track.stripes or ())
    _check_barriers(file, track.barriers)
    _check_hedges(file, track.hedges)
    _check_wear(file, track.look.wear)


def _check_script(file: pathlib.Path, script: track_fields.ScriptRoad) -> None:
    """Checks that a script has only known commands and lays a sensible number of nodes.

    Raises:
        TrackError: Names the file and the field.
    """
    known = "commands like 'S 11', 'L 9', 'R 9' and 'DY 15.5', separated by commas"
    try:
        nodes = script_road.count(script.commands)
    except ValueError as error:
        raise wrong(
            file, "script.commands", known, repr(str(error)), "Leave other commands out."
        ) from None
    if not MIN_WAYPOINTS <= nodes <= MAX_WAYPOINTS:
        expected = f"{MIN_WAYPOINTS} to {MAX_WAYPOINTS} nodes"
        remedy = "Change the numbers of nodes."
        raise wrong(file, "script.commands", expected, f"{nodes} nodes", remedy)


def _check_random_road(file: pathlib.Path, road: track_fields.RandomRoad) -> None:
    """Checks the length of a random road.

    Raises:
        TrackError: Names the file and the field.
    """
    length = (road.nodes - 1) * road.span
    if length > MAX_LENGTH:
        raise wrong(
            file,
            "random_road.span",
            f"a road of at most {MAX_LENGTH:g} u",
            f"{length:g} u from {road.nodes} nodes at {road.span:g} u",
            "Give fewer nodes or a smaller span.",
        )


def _check_stripes(file: pathlib.Path, stripes: tuple[track_fields.Stripe, ...]) -> None:
    """Checks the sides of stripes, and that all dashes follow one pattern.

    Raises:
        TrackError: Names the file and the stripe.
    """
    dashes: dict[tuple[float, float], int] = {}
    for index, stripe in enumerate(stripes):
        if not stripe.start < stripe.end:
            raise wrong(
                file,
                f"stripes[{index}]",
                "start < end (offsets are negative to the left)",
                f"start={stripe.start:g}, end={stripe.end:g}",
                "Exchange the two.",
            )
        if stripe.dash is not None:
            dashes.setdefault(stripe.dash, index)
        if len(dashes) > 1:
            pattern, first = next(iter(dashes.items()))
            raise wrong(
                file,
                f"stripes[{index}].dash",
                f"the pattern of stripes[{first}], {list(pattern)} (a track has one)",
                f"{list(stripe.dash or ())}",
                "Give all dashed stripes the same pattern.",
            )


def _check_wear(file: pathlib.Path, wear: tuple[tuple[float, float], ...]) -> None:
    """Checks that the wear of a road is given from left to right.

    Raises:
        TrackError: Names the file and the entry.
    """
    for index in range(1, len(wear)):
        if wear[index][0] <= wear[index - 1][0]:
            raise wrong(
                file,
                f"look.wear[{index}]",
                f"an offset above {wear[index - 1][0]:g}, that of the entry before",
                f"{wear[index][0]:g}",
                "Sort the entries from left to right.",
            )


def _check_hedges(file: pathlib.Path, hedges: tuple[track_fields.Hedge, ...]) -> None:
    """Checks the length of all hedges, which are drawn piece by piece.

    Raises:
        TrackError: Names the file and the field.
    """
    length = sum(
        math.dist(here, then)
        for hedge in hedges
        for here, then in itertools.pairwise(hedge.points)
    )
    if length > MAX_LENGTH:
        remedy = "Leave some of them out."
        raise wrong(file, "hedges", f"at most {MAX_LENGTH:g} u in all", f"{length:g} u", remedy)


def _check_barriers(file: pathlib.Path, barriers: tuple[track_fields.Barrier, ...]) -> None:
    """Checks that each barrier says in one way where it stands, and the gaps between points.

    Raises:
        TrackError: Names the file and the barrier.
    """
    for index, barrier in enumerate(barriers):
        given = [
            field
            for field in ("offset", "margin", "points")
            if getattr(barrier, field) is not None
        ]
        if len(given) != 1:
            raise wrong(
                file,
                f"barriers[{index}]",
                "exactly one of 'offset', 'margin' and 'points'",
                ", ".join(given) or "none",
                "Say in one way where the barrier stands.",
            )
        points = barrier.points or ()
        for place in range(1, len(points)):
            gap = math.dist(points[place - 1], points[place])
            if not MIN_GAP <= gap <= MAX_GAP:
                raise wrong(
                    file,
                    f"barriers[{index}].points[{place}]",
                    f"a point {MIN_GAP:g} to {MAX_GAP:g} u from the one before",
                    f"{list(points[place - 1])} and {list(points[place])}",
                    "Remove one of them." if gap < MIN_GAP else "Add points between them.",
                )


def _check_waypoints(
    file: pathlib.Path, waypoints: tuple[track_fields.Point, ...], *, closed: bool
) -> None:
    """Checks the number of waypoints and that neighbours are apart.

    Raises:
        TrackError: Names the file and the waypoint.
    """
    if len(waypoints) < MIN_WAYPOINTS:
        raise wrong(
            file,
            "waypoints",
            f"at least {MIN_WAYPOINTS} points",
            f"{len(waypoints)} points",
            "Add points along the centre line, one every 5 to 10 u.",
        )
    for index, point in enumerate(waypoints if closed else waypoints[:-1]):
        following = (index + 1) % len(waypoints)
        if math.dist(point, waypoints[following]) < MIN_GAP:
            remedy = (
                "Remove one of them."
                if following
                else "Remove the last: the road is closed without it."
            )
            raise wrong(
                file,
                f"waypoints[{index}]",
                f"a point other than waypoints[{following}], at least {MIN_GAP} u away",
                f"{list(point)} and {list(waypoints[following])}",
                remedy,
            )


def _describe(error: pydantic.ValidationError) -> str:
    """Says in one sentence what is wrong with the first wrong field."""
    first = error.errors(include_url=False)[0]
    received = reprlib.repr(first["input"])
    field = ""
    for part in first["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{_shown(part)}"
    field = field.lstrip(".")
    if first["type"] == "extra_forbidden":
        known = _fields_beside(first["loc"])
        unknown = str(first["loc"][-1])
        near = errors.nearest(unknown, known)
        hint = f"Did you mean '{near}'?" if near else f"Choose from: {', '.join(known)}."
        return f"field '{field}': expected a known field. Received: '{_shown(unknown)}'. {hint}"
    if first["type"] == "missing":
        return f"field '{field}': expected a value. Received: nothing. Add the field."
    context = first.get("ctx", {})
    if first["type"] in ("too_short", "too_long"):
        few = first["type"] == "too_short"
        limit = context["min_length"] if few else context["max_length"]
        return (
            f"field '{field}': expected at {'least' if few else 'most'} {limit} "
            f"{'entry' if limit == 1 else 'entries'}. Received: {context['actual_length']}. "
            f"{'Add some, or leave out the field.' if few else 'Remove some.'}"
        )
    expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return (
        f"field '{field}': expected {expected}. Received: {received}. "
        "See docs/tracks.md for the format."
    )


def _shown(key: str) -> str:
    """Returns a key of a file such that it fits into one line of a message."""
    return key if key.isprintable() and len(key) <= 40 else reprlib.repr(key).strip("'")


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    """Returns the fields of the model in which an unknown key stands."""
    model: type[pydantic.BaseModel] = track_fields.TrackFile
    for part in location[:-1]:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: object) -> type[pydantic.BaseModel] | None:
    """Returns the model within an annotation such as ``tuple[Stripe, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    found = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)
