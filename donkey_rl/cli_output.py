"""What the commands share: options, progress, and one JSON object on standard output."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from donkey_rl import cli_completion
from donkey_rl.errors import InputError

if TYPE_CHECKING:
    from donkey_rl.experiments.progress import ProgressDisplay

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.")
]
SimulatorOption = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        help="Where to drive: embedded, HOST:PORT of a running simulator, or the PATH of one to "
        "start; several with commas. Default: embedded.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Of the Ray cluster. Default: this machine."),
]
TracksOption = Annotated[
    str | None,
    typer.Option(
        help="Scene name or track file, several with commas; see 'donkey-rl tracks'.",
        autocompletion=cli_completion.tracks,
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        help="A recipe of the package ('donkey-rl recipes'), or a YAML file.",
        autocompletion=cli_completion.recipe,
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; may be repeated."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Let --out replace a file that is no page of ours.")
]


@contextlib.contextmanager
def at_work(as_json: bool) -> Iterator[ProgressDisplay]:
    """Shows progress on standard error and keeps standard output free for a JSON object."""
    from donkey_rl.experiments.progress import ProgressDisplay

    redirect = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    with redirect, ProgressDisplay() as progress:
        yield progress


@contextlib.contextmanager
def loading(progress: ProgressDisplay, what: str = "loading") -> Iterator[None]:
    """Shows on a terminal that something takes seconds, such as libraries; elsewhere nothing."""
    if not progress.is_interactive:
        yield
        return
    with progress.phase(what, None, "") as phase:
        phase.update(0)
        yield


@contextlib.contextmanager
def until_up(progress: ProgressDisplay, what: str) -> Iterator[Callable[[], None]]:
    """Shows that something starts, until the function that is yielded is called.

    Args:
        progress: Where.
        what: What is done, such as `"starting the simulator"`.
    """
    with contextlib.ExitStack() as shown:
        shown.enter_context(progress.phase(what, None, "")).update(0)
        yield shown.close


def is_coloured(stream: TextIO) -> bool:
    """Whether a stream takes colours: a terminal that can, unless the environment says else.

    ``NO_COLOR`` set to anything wins, then ``FORCE_COLOR``; ``TERM=dumb`` is a terminal that
    cannot.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def check_suffix(what: str, file: Path | None, suffix: str) -> None:
    """Refuses a file of another kind than is written, before any work is done.

    Args:
        what: What the file is, such as `"video"`.
        file: The file; None for none.
        suffix: How its name must end, such as `".mp4"`.

    Raises:
        InputError: It ends otherwise.
    """
    if file is not None and file.suffix.lower() != suffix:
        article = "an" if suffix == ".mp4" else "a"
        raise InputError(f"The {what} is {article} {suffix} file. Received: '{file}'.")


def check_there(option: str, path: Path | None) -> None:
    """Refuses a path of which nothing is there, before any work is done.

    Raises:
        InputError: Nothing is there.
    """
    if path is not None and not path.exists():
        raise InputError(f"{option}: there is nothing at '{path}'. Check the path.")


def print_json(values: Mapping[str, Any]) -> None:
    """Prints one JSON object; what JSON cannot say is null."""
    import json

    typer.echo(json.dumps(_finite(values), allow_nan=False))
    # Servers print theirs when they are up, and go on.
    sys.stdout.flush()


def _finite(value: Any) -> Any:
    """Replaces what JSON cannot say, such as the best lap of no laps, by null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value
