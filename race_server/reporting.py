"""How what happens to a car is written into its record and its log."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from donkey_rl.envs.link import reports
from donkey_rl.envs.link.frame import Frame
from donkey_rl.errors import LinkError, LinkNameError, LinkRefused
from donkey_rl.race_server.helm import Sent
from donkey_rl.race_server.orders import FRESH_S, Brake, ChangeDriver, Go, Order, Stop
from donkey_rl.race_server.race_state import VoidGo
from donkey_rl.race_server.status import Phase

MENU_TEXT = (
    "The host shows its menu: the car waits until somebody opens a scene there. To have the car "
    "open it, name the scene: --set scene=NAME, or in race.yaml."
)

_PICTURES = ("image", "image_b")
_TOLD = tuple(
    field.name for field in dataclasses.fields(reports.Telemetry) if field.name not in _PICTURES
)


def frame_fields(frame: Frame, refused: str) -> dict[str, Any]:
    """Returns a frame as a line of a record.

    Args:
        frame: The frame.
        refused: Why the driver does not see it, empty if it does.
    """
    told = {name: getattr(frame.telemetry, name) for name in _TOLD}
    found = {name: value for name, value in told.items() if value is not None}
    return found | {
        "hit": frame.hit,
        "number": frame.number,
        "skipped": frame.skipped,
        "arrived": frame.arrived,
        "refused": refused,
    }


def command_fields(sent: Sent) -> dict[str, Any]:
    """Returns a command as a line of a record."""
    return {
        "steering": sent.command.steering,
        "throttle": sent.command.throttle,
        "brake": sent.command.brake,
        "frame": sent.frame,
        "why": sent.why,
        "took_ms": None if sent.took_s is None else round(1000.0 * sent.took_s, 2),
    }


def event_fields(report: reports.Report) -> dict[str, Any]:
    """Returns what a host said as a line of a record.

    >>> event_fields(reports.CrossStart(12.5))
    {'name': 'cross_start', 'lap_time': 12.5}
    """
    fields = reports.to_fields(report)
    found = {"name": fields.pop("msg_type")}
    match report:
        case reports.CrossStart(lap_time):
            return found | {"lap_time": lap_time}
        case reports.Disqualified(missed_cp):
            return found | {"missed_cp": missed_cp}
        case reports.StartingLine(index, time_stamp):
            return found | {"index": index, "time_stamp": time_stamp}
    return found


def event_text(fields: Mapping[str, Any]) -> str:
    """Returns an event as a line of a log.

    >>> event_text({"name": "cross_start", "lap_time": 12.5})
    'host: cross_start, a lap of 12.500 s'
    >>> event_text({"name": "DQ", "missed_cp": True})
    'host: DQ, a checkpoint was missed'
    """
    match fields:
        case {"name": "cross_start", "lap_time": float(lap)}:
            return "host: cross_start, " + (f"a lap of {lap:.3f} s" if lap else "the clock runs")
        case {"name": "DQ", "missed_cp": bool(missed)}:
            return f"host: DQ, {'a checkpoint was missed' if missed else 'out of bounds'}"
    rest = "".join(f", {key} {value}" for key, value in fields.items() if key != "name")
    return f"host: {fields['name']}{rest}"


def order_fields(order: Order) -> dict[str, Any]:
    """Returns an order as a line of a record.

    >>> order_fields(Brake("page", True))
    {'order': 'brake', 'by': 'page', 'on': True}
    """
    names = {Go: "go", Stop: "stop", Brake: "brake", ChangeDriver: "change driver"}
    return {"order": names[type(order)], **dataclasses.asdict(order)}


def order_text(order: Order) -> str:
    """Returns an order as a line of a log.

    >>> order_text(ChangeDriver("page", "spare"))
    'change driver by page: spare'
    """
    fields = order_fields(order)
    rest = fields.get("name", "")
    if isinstance(order, Brake):
        rest = "on" if order.on else "off"
    return f"{fields['order']} by {fields['by']}" + (f": {rest}" if rest else "")


def phase_text(phase: Phase) -> str:
    """Returns what a log says of a new phase, empty where other lines tell enough."""
    match phase:
        case "waiting":
            return "connected, waits for a car"
        case "ready":
            return "has a car, waits for GO"
    return ""


def loss_text(error: Exception, *, has_raced: bool) -> str:
    """Returns why there is no connection, as a line of a log.

    Args:
        error: Why.
        has_raced: Whether the host has sent frames before: nothing is set up wrong then.
    """
    if isinstance(error, LinkNameError):
        return f"{error} The car tries again."
    if isinstance(error, LinkRefused) or (isinstance(error, LinkError) and has_raced):
        return f"{str(error).removesuffix(error.remedy)}The car tries again until it is back."
    return str(error)


def void_fault(void: VoidGo) -> tuple[str, str]:
    """Returns the kind of fault, and what a log says of it, where a GO was not followed.

    >>> void_fault(VoidGo("page", None))
    ('late GO', 'GO by page is void: for 2 s there was no car to follow it. Give it again.')
    """
    kind, again = "ended GO", "Give it again once the car is ready."
    match void.ended_by:
        case None:
            kind, again = "late GO", "Give it again."
            why = f"for {FRESH_S:g} s there was no car to follow it"
        case reports.SceneSelectionReady():
            why = "the host went to its menu before there was a car"
        case report:
            why = f"the host said {event_fields(report)['name']} before there was a car"
    return kind, f"GO by {void.by} is void: {why}. {again}"
