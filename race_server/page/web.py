"""The web application: the page's files, its WebSocket, orders, and what monitors ask for."""

from __future__ import annotations

import contextlib
import hmac
import importlib.resources
import time
from collections.abc import Callable, Sequence

import fastapi
import pydantic
from fastapi import Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from donkey_rl import web_access
from donkey_rl.errors import nearest
from donkey_rl.race_server.page import messages, monitoring
from donkey_rl.race_server.page.guard import (
    KEY_HEADER,
    Attempts,
    Guard,
    Tally,
    address_of,
    cookie_name,
)
from donkey_rl.race_server.page.messages import OrderRequest
from donkey_rl.race_server.page.scene import Scene
from donkey_rl.race_server.page.viewers import Viewers
from donkey_rl.web_access import Access

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_COOKIE_S = 7 * 24 * 3600


class _Refused(Exception):  # noqa: N818
    """An order that is not followed.

    Attributes:
        status: Status code of the answer.
        kind: What it is counted as.
        text: What the viewer reads.
    """

    def __init__(self, status: int, kind: str, text: str) -> None:
        super().__init__(text)
        self.status, self.kind, self.text = status, kind, text


def application(
    scene: Scene,
    access: Access,
    key: str,
    order: Callable[[OrderRequest], None],
    refusals: Tally,
) -> tuple[Guard, Viewers]:
    """Returns the application, behind its guard, and who looks on.

    Args:
        scene: What is known of the race.
        access: Whom to answer.
        key: What orders must carry.
        order: Follows an order to one car.
        refusals: Counts what is refused.
    """
    viewers = Viewers(scene, key, refusals)
    app = fastapi.FastAPI(openapi_url=None)
    _add_files(app, access)
    _add_monitoring(app, scene, refusals, viewers)

    @app.websocket("/watch")
    async def watch(connection: WebSocket) -> None:
        await viewers.serve(connection)

    @app.post("/order")
    async def take(request: Request) -> Response:
        try:
            _check_key(request.headers.get(KEY_HEADER, ""), key)
            each = _orders(await _body(request), scene)
        except _Refused as refused:
            refusals.add(refused.kind, address_of(request))
            return PlainTextResponse(refused.text, refused.status)
        for one in each:
            order(one)
        return JSONResponse({"sent": len(each)}, 202)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        kind = "a method that is not known" if error.status_code == 405 else "an unknown address"
        refusals.add(kind, address_of(request))
        return PlainTextResponse(error.detail, error.status_code, error.headers)

    return Guard(app, access, Attempts(), refusals, key), viewers


def _add_files(app: fastapi.FastAPI, access: Access) -> None:
    """Adds the files of the page, each under its own name and nothing else."""

    def add(path: str, content: bytes, kind: str) -> None:
        async def file(request: Request) -> Response:
            host = request.headers.get("host", "")
            answer = Response(content, media_type=kind, headers=web_access.headers(host))
            if path == "/" and access.allows_token(request.query_params.get("token")):
                _keep_token(answer, access)
            return answer

        app.add_api_route(path, file, methods=["GET"])

    folder = importlib.resources.files(__package__).joinpath("static")
    for place, prefix in ((folder, "/"), (folder.joinpath("vendor"), "/vendor/")):
        for each in place.iterdir():
            kind = _KINDS.get(each.name[each.name.rfind(".") :])
            if kind and each.is_file():
                path = "/" if each.name == "race.html" else prefix + each.name
                add(path, each.read_bytes(), kind)


def _keep_token(answer: Response, access: Access) -> None:
    """Has the browser keep the token, so that the page can be loaded again without it."""
    if access.token:
        answer.set_cookie(
            cookie_name(access.port),
            access.token,
            max_age=_COOKIE_S,
            httponly=True,
            samesite="strict",
        )


def _add_monitoring(app: fastapi.FastAPI, scene: Scene, refusals: Tally, viewers: Viewers) -> None:
    """Adds what monitors ask for."""
    plain = {"Cache-Control": "no-store"}

    @app.get("/health")
    async def health() -> Response:
        is_well, told = monitoring.health(scene.cars, time.perf_counter())
        return Response(messages.as_json(told), 200 if is_well else 503, plain, "application/json")

    @app.get("/metrics")
    async def metrics() -> Response:
        text = monitoring.metrics(
            scene.cars, dict(refusals.counts), len(viewers), time.perf_counter()
        )
        return Response(text, 200, {**plain, "Content-Type": monitoring.CONTENT_TYPE})


async def _body(request: Request) -> bytes:
    """Returns the body of an order.

    Raises:
        _Refused: It is too large, whatever length it claims to have.
    """
    body = b""
    async with contextlib.aclosing(request.stream()) as parts:
        async for part in parts:
            body += part
            if len(body) > messages.MOST_ORDER_BYTES:
                raise _Refused(413, "a body that is too large", "Too large.")
    return body


def _check_key(given: str, key: str) -> None:
    """Sees to it that an order comes from the page, before any of it is read.

    Raises:
        _Refused: It does not.
    """
    if not hmac.compare_digest(given.encode(), key.encode()):
        raise _Refused(403, "an order without the page's key", "Load the page again.")


def _orders(body: bytes, scene: Scene) -> Sequence[OrderRequest]:
    """Returns the order to each car that is meant.

    Raises:
        _Refused: It is none, or cannot be followed now.
    """
    try:
        wanted = OrderRequest.model_validate_json(body)
    except pydantic.ValidationError:
        text = 'Expected {"do": "go", "stop", "brake" or "driver", "car": NAME, ...}.'
        raise _Refused(400, "what is no order", text) from None
    now = time.perf_counter()
    wanted = wanted.model_copy(update={"at": now})
    cars = scene.cars
    if wanted.car is None:
        if wanted.do not in ("stop", "brake"):
            raise _Refused(400, "what is no order", "Only stop and brake go to all cars.")
        return [wanted.model_copy(update={"car": name}) for name in cars]
    if wanted.car not in cars:
        close = nearest(wanted.car, cars)
        text = f"There is no such car here.{f' Did you mean {close}?' if close else ''}"
        raise _Refused(404, "an order to an unknown car", text)
    status = cars[wanted.car].status
    if wanted.do == "driver" and wanted.name not in status["drivers"]:
        text = f"Expected one of its drivers: {', '.join(status['drivers'])}."
        raise _Refused(404, "an order to an unknown driver", text)
    if not wanted.is_safe and now - cars[wanted.car].at > messages.FRESH_S:
        raise _Refused(503, "an order while the racer was silent", "The racer does not answer.")
    return [wanted]
