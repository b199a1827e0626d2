"""Who may open a page that is served from here: the rules for a request's headers and token."""

from __future__ import annotations

import dataclasses
import hmac
import ipaddress
import secrets
import socket
import urllib.parse

from donkey_rl.errors import InputError

_TOKEN_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Access:
    """What a request must say to be answered.

    A page elsewhere on the web can send requests to this machine by way of somebody's browser,
    also under a name of its own that leads here (DNS rebinding). What it cannot change are the
    headers `Host` and `Origin`.

    Attributes:
        host: Address that the server is bound to.
        port: Its port.
        token: What the address of the page must carry; empty where only this machine can connect.
    """

    host: str
    port: int
    token: str = dataclasses.field(default="", repr=False)

    @classmethod
    def of(cls, host: str, port: int, token: str = "") -> Access:
        """Returns the rules for an address.

        Args:
            host: Address that the server is bound to.
            port: Its port.
            token: The token; by default a new random one, and none on loopback.
        """
        own = is_loopback(host)
        return cls(host, port, token or ("" if own else secrets.token_urlsafe(_TOKEN_BYTES)))

    @property
    def url(self) -> str:
        """Address of the page, to be opened in a browser."""
        host = self.host
        if _is_wildcard(host):
            host = socket.gethostname()
        query = f"?token={self.token}" if self.token else ""
        return f"http://{address(host, self.port)}/{query}"

    def allows_host(self, header: str | None) -> bool:
        """Whether a request is meant for this server, by its header `Host`."""
        try:
            parts = urllib.parse.urlsplit(f"//{header or ''}")
            name, port = (parts.hostname or ""), parts.port
        except ValueError:
            return False
        if (port or 80) != self.port or parts.username is not None or parts.path:
            return False
        if is_loopback(self.host):
            return name == "localhost" or is_loopback(name)
        if _is_wildcard(self.host):
            # A name that somebody else has made lead here is never one of these.
            return _is_address(name) or name in {"localhost", socket.gethostname().lower()}
        return name == self.host.lower()

    def allows_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether a connection was opened by this server's own page.

        Args:
            origin: The header `Origin`.
            host: The header `Host`, which is allowed.
        """
        return origin is not None and origin.lower() == f"http://{host}".lower()

    def allows_token(self, token: str | None) -> bool:
        """Whether the token is the right one; it takes the same time for every wrong one."""
        return hmac.compare_digest((token or "").encode(), self.token.encode())


def address(host: str, port: int) -> str:
    """Returns host and port as one text.

    >>> address("::1", 9091)
    '[::1]:9091'
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def headers(host: str) -> dict[str, str]:
    """Returns headers by which a browser loads and connects to nothing else.

    Args:
        host: The header `Host` of the request, which is allowed.
    """
    policy = f"default-src 'self'; connect-src 'self' ws://{host}; img-src 'self' blob: data:"
    return {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'; base-uri 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def listening(host: str, port: int, remedy: str) -> socket.socket:
    """Returns a socket that listens at an address.

    Args:
        host: The address.
        port: The port, 0 for a free one.
        remedy: What to do where that is not possible, a sentence.

    Raises:
        InputError: The port is in use, or the address is not one of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise InputError(
            f"The page cannot be served on {host}:{port}: {error.strerror or error}. {remedy}"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_wildcard(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
