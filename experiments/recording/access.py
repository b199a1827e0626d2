"""Who may open the page: the rules for the headers and the token of a request."""

from __future__ import annotations

import dataclasses
import hmac
import ipaddress
import secrets
import socket
import urllib.parse

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
    token: str = ""

    @classmethod
    def of(cls, host: str, port: int) -> Access:
        """Returns the rules for an address: with a new random token unless it is loopback."""
        own = is_loopback(host)
        return cls(host, port, "" if own else secrets.token_urlsafe(_TOKEN_BYTES))

    @property
    def url(self) -> str:
        """Address of the page, to be opened in a browser."""
        host = self.host
        if _is_wildcard(host):
            host = socket.gethostname()
        text = f"[{host}]" if ":" in host else host
        return f"http://{text}:{self.port}/" + (f"?token={self.token}" if self.token else "")

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
