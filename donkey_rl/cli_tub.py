"""Import and export of donkeycar's tubs: two commands of `donkey-rl data`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from donkey_rl import cli_completion
from donkey_rl.cli_data import (
    AuthorOption,
    LicenseOption,
    MessageOption,
    StoreOption,
    note,
)
from donkey_rl.cli_output import JsonOption, at_work, print_json
from donkey_rl.errors import InputError

if TYPE_CHECKING:
    from donkey_rl.experiments.progress import ProgressDisplay


def register(app: typer.Typer) -> None:
    """Adds the commands to those of `donkey-rl data`."""
    app.command("import", epilog="Example: donkey-rl data import mycar/data --name evenings")(
        import_tub
    )
    app.command("export", epilog="Example: donkey-rl data export evenings --to-tub mycar/data")(
        export
    )


def import_tub(
    tub: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of a donkeycar tub (v2).")],
    name: Annotated[
        str | None, typer.Option(metavar="SET", help="Add its races to this data set.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write its races here instead.")
    ] = None,
    driver: Annotated[str | None, typer.Option(metavar="DRIVER", help="Who drove.")] = None,
    vehicle: Annotated[
        str | None, typer.Option(help="Car generation of the simulator, if one was driven.")
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            help="Scene name or track file. Default: unknown.", autocompletion=cli_completion.track
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a tub with anything broken or missing.")
    ] = False,
    store: StoreOption = None,
    message: MessageOption = "",
    license_: LicenseOption = "",
    author: AuthorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make races of a donkeycar tub, one for each stretch that was driven.

    They carry the whole tub: data export writes it again as it was.
    What is broken or missing is left out, and said.
    """
    if (name is None) == (out is None):
        raise InputError(
            "A tub is imported into a data set (--name) or a folder (--out). "
            f"Received: {'neither' if name is None else 'both'}."
        )
    if out is not None and (store is not None or message or license_ or author is not None):
        raise InputError(
            "--store, --message, --license and --author are of a data set. Received: --out, which "
            "makes files alone. Name a data set with --name, or push the files later."
        )
    with at_work(as_json) as progress, _place(out) as folder:
        from donkey_rl.experiments.data import tub_import
        from donkey_rl.experiments.data.tub import Tub
        from donkey_rl.experiments.data.tub_races import Origin

        origin = Origin(driver or "", vehicle or "", track or "")
        imported = tub_import.write(Tub(tub), folder, progress, origin, strict=strict)
        result = imported.model_dump(mode="json")
        if name is not None:
            from donkey_rl.experiments.data.store import open_store

            result["files"] = []
            about = note(
                author, message or f"imported from the tub {tub.resolve().name}", license_
            )
            pushed = open_store(store).push([folder], name, about, progress)
            result["pushed"] = pushed.model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import tub_tables

    tub_tables.show_import(result, named=store is not None)


def export(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SET|RACE...", help="Data sets, race files, folders of races."),
    ],
    to_tub: Annotated[Path, typer.Option(metavar="FOLDER", help="The new tub.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write races as a donkeycar tub, which donkeycar's own tools read.

    Races that were imported from one tub give back that tub. Others make a
    new one, and carry what donkeycar has no key for in keys of their own.
    """
    with at_work(as_json) as progress:
        from donkey_rl.experiments.data import tub_export

        files = [file for source in sources for file in _races(source, store, progress)]
        with progress.phase("writing the tub", None, "records") as phase:
            written = tub_export.write(files, to_tub, phase.update)
        result: dict[str, Any] = written.model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import tub_tables

    tub_tables.show_export(result)


@contextlib.contextmanager
def _place(out: Path | None) -> Iterator[Path]:
    """Yields the folder for races, one that is removed afterwards where none is named."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="donkey-rl-") as folder:
        yield Path(folder)


def _races(source: str, store: str | None, progress: ProgressDisplay) -> Sequence[Path]:
    """Returns the race records that somebody named."""
    path = Path(source)
    if path.is_dir():
        # A folder NAME.parts holds pieces of a race that is still being recorded.
        races = (file for file in path.rglob("*.parquet") if file.parent.suffix != ".parts")
        found = sorted(races)
        if not found:
            raise InputError(
                f"{path}: expected a folder with race records (*.parquet). Received: one "
                "without. Name the folder that holds them."
            )
        return found
    if path.exists() or path.suffix == ".parquet":
        return [path]
    from donkey_rl.experiments.data import reference

    return reference.source(source, progress, store).races
