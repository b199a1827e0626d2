"""Every error that this package raises on purpose.

```
DonkeyRLError                  the run failed                  exit code 1
├── DivergedError              a loss or a weight is no number any more
├── StorageError               a disk is full, a folder cannot be written
│   └── StoreAwayError         a run store does not answer; it may do so later
├── LinkError                  a simulator cannot be reached or used; names host, port and scene
│   ├── LinkRefused            nobody answers at the address
│   │   └── LinkNameError      the host's name cannot be found
│   ├── LinkTimeout            an answer did not come in time
│   ├── LinkClosed             the simulator closed the connection, or it broke
│   └── LinkProtocolError      what came is not the simulator's protocol
├── MessageError               one message that does not fit; who receives it goes on
└── InputError                 the user can mend it            exit code 2
    ├── UnknownNameError       a name that does not exist; carries the nearest one
    ├── ConfigurationError     a setting outside its range, an unknown key
    ├── TrackError             a track file that cannot be driven
    ├── ActionError            an action of the wrong shape, or not finite
    ├── UnknownColumnError     a column of a race that nobody recorded
    └── DriverError            a driver folder that is incomplete or does not fit
```
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_NAMED = 16
"""Names of which all are named to whoever typed none of them."""


class DonkeyRLError(Exception):
    """The root of all errors of this package."""


class DivergedError(DonkeyRLError):
    """Learning has come to a loss or a weight that is not finite."""


class NothingLearnedError(DonkeyRLError):
    """A training has left the policy as it was."""


class StorageError(DonkeyRLError):
    """Something could not be written or read back."""


class StoreAwayError(StorageError):
    """A store on a server or in a database does not answer, or takes nothing for now."""


class LinkError(DonkeyRLError):
    """A simulator at the other end of a connection cannot be reached or used.

    Attributes:
        host: Its host.
        port: Its port.
        scene: The scene that was wanted, None for whichever is loaded.
        awaited: What was waited for, such as ``"telemetry"``.
        remedy: What to do, the last sentence of the message.
    """

    def __init__(
        self, what: str, *, host: str, port: int, scene: str | None, awaited: str, remedy: str
    ) -> None:
        """Builds the message.

        Args:
            what: What happened, a sentence without its stop.
            host: The simulator's host.
            port: Its port.
            scene: The wanted scene, if any.
            awaited: What was waited for.
            remedy: What to do, a sentence.
        """
        self.host = host
        self.port = port
        self.scene = scene
        self.awaited = awaited
        self.remedy = remedy
        where = f"{host}:{port}" + (f", scene '{scene}'" if scene else "")
        super().__init__(f"{what} ({where}; awaited: {awaited}). {remedy}")


class LinkRefused(LinkError):  # noqa: N818
    """Nobody answers at the address."""


class LinkNameError(LinkRefused):
    """The host's name cannot be found: it is mistyped, or no name is found for now."""


class LinkTimeout(LinkError):  # noqa: N818
    """An answer did not come in time."""


class LinkClosed(LinkError):  # noqa: N818
    """The simulator closed the connection, or it broke."""


class LinkProtocolError(LinkError):
    """What came is not the simulator's protocol."""


class MessageError(DonkeyRLError):
    """One message does not fit the protocol; whoever receives it drops it and goes on.

    Attributes:
        type_name: Its `msg_type`, ``"?"`` where there is none.
        field: The field that does not fit.
    """

    def __init__(self, type_name: str, field: str, expected: str) -> None:
        """Builds the message.

        Args:
            type_name: The `msg_type`.
            field: The field that does not fit.
            expected: What was expected and received.
        """
        self.type_name = type_name
        self.field = field
        super().__init__(f"Message '{type_name}': {field} {expected}.")


class InputError(DonkeyRLError, ValueError):
    """A mistake in what the user typed or passed."""


class RunBusyError(InputError):
    """A run that another process trains."""


class UnknownNameError(InputError):
    """A name that does not exist.

    Attributes:
        kind: What was looked for, such as ``"track"``.
        name: The name received.
        nearest: The closest existing name, or None.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        choices: Iterable[str],
        *,
        remedy: str = "See the list in --help.",
    ) -> None:
        """Builds the message from what exists.

        Args:
            kind: What was looked for, such as ``"track"``.
            name: The name received.
            choices: The names that exist.
            remedy: What to do where none is near and they are too many to be named.
        """
        known = sorted(choices)
        self.kind = kind
        self.name = name
        self.nearest = nearest(name, known)
        hint = f"Did you mean '{self.nearest}'?" if self.nearest else remedy
        if not self.nearest and 0 < len(known) <= _MOST_NAMED:
            hint = f"Choose one of: {', '.join(known)}."
        super().__init__(f"Unknown {kind} '{name}'. {hint}")


class ConfigurationError(InputError):
    """A setting with a wrong name, type or range."""


class TrackError(InputError):
    """A track that cannot be driven."""


class ActionError(InputError):
    """An action that no car can carry out."""


class UnknownColumnError(InputError):
    """A column of a race that nobody recorded."""


class DriverError(InputError):
    """A driver folder that is incomplete, damaged or made for something else."""


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Returns the existing name closest to a mistyped one, or to the start of one, or None.

    >>> nearest("generated_trak", ["generated_track", "warehouse"])
    'generated_track'
    >>> nearest("57010czz", ["57010ce991ae4e888b1e8f67bc8ecf16"])
    '57010ce991ae4e888b1e8f67bc8ecf16'
    >>> nearest("", ["warren"]) is None
    True
    """
    if not name:
        return None
    whole = {choice: choice for choice in choices}
    starts = {choice[: len(name)]: choice for choice in whole}
    for known in (whole, starts):
        found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
        if found:
            return known[found[0]]
    return None
