"""The commands of `donkey-rl data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from donkey_rl import shell, user_paths
from donkey_rl.cli_output import JsonOption, at_work, check_suffix, print_json
from donkey_rl.errors import InputError, StorageError

if TYPE_CHECKING:
    from donkey_rl.experiments.data.manifest import Note

app = typer.Typer(
    help="Share recorded races as data sets: in a folder, on S3, over SFTP, on an MLflow server.",
    epilog="Example: donkey-rl data push races --name evenings --store sftp://host/srv/data",
    no_args_is_help=True,
    add_completion=False,
)

StoreOption = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        help="A folder, s3://, sftp:// or another address of fsspec, or mlflow:. "
        "Default: DONKEY_RL_DATA, or the folder data.",
    ),
]
MessageOption = Annotated[str, typer.Option("--message", "-m", help="What for; on the card.")]
AuthorOption = Annotated[
    str | None, typer.Option(help="Who; on the card. Default: your user name.")
]
LicenseOption = Annotated[
    str,
    typer.Option("--license", help="Terms under which the files may be used, such as CC-BY-4.0."),
]
SetArgument = Annotated[
    str, typer.Argument(metavar="SET", help="Its name; NAME@VERSION for an older version.")
]


@app.command("list", epilog="Example: donkey-rl data list --store s3://bucket/data --json")
def list_sets(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the data sets of a store."""
    with at_work(as_json) as progress:
        from donkey_rl.experiments.data import cards
        from donkey_rl.experiments.data.store import open_store

        _check_there(store)
        shared = open_store(store)
        sets, unreadable = [], []
        with progress.phase("reading the data sets", None, "sets") as phase:
            for count, name in enumerate(shared.names(), 1):
                try:
                    sets.append(cards.card(shared.dataset(name)).model_dump(mode="json"))
                except StorageError as error:
                    unreadable.append(str(error))
                phase.update(count)
        result = {"store": shared.shown, "sets": sets, "unreadable": unreadable}
    if as_json:
        print_json(result)
        return
    from donkey_rl import data_tables

    data_tables.show_sets(result)


@app.command(epilog="Example: donkey-rl data push races --name evenings --license CC-BY-4.0")
def push(
    places: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Races, and folders with all in them.")
    ],
    name: Annotated[
        str, typer.Option(metavar="SET", help="Of the data set; made where there is none.")
    ],
    store: StoreOption = None,
    message: MessageOption = "",
    license_: LicenseOption = "",
    author: AuthorOption = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Read back what the store has already, and send again what is damaged there.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add races and other files to a data set.

    Races that it has already are passed over. After a push that was cut off,
    the same command sends only what is missing.
    """
    with at_work(as_json) as progress:
        from donkey_rl.experiments.data.store import open_store

        about = note(author, message, license_)
        report = open_store(store).push(places, name, about, progress, check=check)
        result = report.model_dump(mode="json")
    if as_json:
        print_json(result)
        return
    from donkey_rl import data_tables

    data_tables.show_push(result, named=store is not None)


@app.command(epilog="Example: donkey-rl data pull evenings/train --out lessons")
def pull(
    reference: Annotated[
        str, typer.Argument(metavar="SET", help="NAME, NAME@VERSION, or NAME/PART of its split.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to. Default: pulled/NAME-VERSION."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a data set into a folder.

    Every file is compared with its hash. After a pull that was cut off, the
    same command goes on where it ended. Other files in the folder stay.
    """
    with at_work(as_json) as progress:
        from donkey_rl.experiments.data import reference as references
        from donkey_rl.experiments.data.store import open_store

        named = references.parse(reference)
        shared = open_store(store)
        report = shared.pull(named.name, out, progress, version=named.version, part=named.part)
        result = report.model_dump(mode="json")
    if as_json:
        print_json(result)
    else:
        from donkey_rl import data_tables

        data_tables.show_pull(result, shared.shown if store else None)
    if report.problems:
        raise typer.Exit(1)


@app.command(epilog="Example: donkey-rl data show evenings@1f3c22 --card evenings.md")
def show(
    reference: SetArgument,
    store: StoreOption = None,
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the card to this .md file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the card of a data set: what is in it, from whom, and how it may be used."""
    check_suffix("card", card, ".md")
    with at_work(as_json) as progress:
        from donkey_rl.agents import folders
        from donkey_rl.experiments.data import cards
        from donkey_rl.experiments.data import reference as references
        from donkey_rl.experiments.data.store import open_store

        named = references.parse_whole(reference)
        shared = open_store(store)
        found = shared.dataset(named.name, named.version)
        shared.keep_card(found, progress)
        made = cards.card(found)
        text = cards.markdown(made)
        if card is not None:
            with folders.writing(card):
                card.write_text(text, encoding="utf-8")
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    from donkey_rl import data_tables

    data_tables.show_card(text)


@app.command(epilog="Example: donkey-rl data split evenings --shares 80,10,10 --seed 1")
def split(
    name: Annotated[str, typer.Argument(metavar="SET", help="Name of the data set.")],
    shares: Annotated[
        str, typer.Option(help="Of train, validation and test, as they relate.")
    ] = "80,10,10",
    seed: Annotated[int, typer.Option(min=0, help="Same seed and races, same parts.")] = 0,
    store: StoreOption = None,
    author: AuthorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Split a data set into train, validation and test, race by race.

    Each track is split in the same shares. Races that have a part keep it, so
    that none gets from a test into a training: split again after each push.
    """
    with at_work(as_json) as progress:
        from donkey_rl.experiments.data import cards, splitting
        from donkey_rl.experiments.data.store import open_store

        wanted = splitting.check_shares(_numbers(shares))
        percent = "/".join(f"{share:.0%}" for share in wanted.values())
        about = note(author, f"split {percent}, seed {seed}", "")
        found, count = open_store(store).split(name, wanted, seed, about, progress)
        parts = cards.card(found).parts
        result = {
            "name": found.name,
            "version": found.version,
            "assigned": count,
            "parts": {part: amount.model_dump(mode="json") for part, amount in parts.items()},
        }
    if as_json:
        print_json(result)
        return
    from donkey_rl import data_tables

    data_tables.show_split(result)


@app.command(epilog="Example: donkey-rl data merge evenings club@1f3c22 --name everything")
def merge(
    references: Annotated[
        list[str], typer.Argument(metavar="SET...", help="Names, or NAME@VERSION.")
    ],
    name: Annotated[
        str, typer.Option(metavar="SET", help="Of the set that takes all; may be new.")
    ],
    store: StoreOption = None,
    message: MessageOption = "",
    license_: LicenseOption = "",
    author: AuthorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put several data sets of a store into one; a race in two of them is there once."""
    with at_work(as_json) as progress:
        from donkey_rl.experiments.data import cards
        from donkey_rl.experiments.data import reference as parsing
        from donkey_rl.experiments.data.store import open_store

        named = [parsing.parse_whole(each) for each in references]
        shared = open_store(store)
        found = shared.merge(
            [(each.name, each.version) for each in named],
            name,
            note(author, message, license_),
            progress,
        )
        card = cards.card(found)
        result = {
            "store": shared.shown,
            "name": card.name,
            "version": card.version,
            "files": card.files,
            "races": card.total.races,
            "sources": card.sources,
        }
    if as_json:
        print_json(result)
        return
    from donkey_rl import data_tables

    data_tables.show_merge(result)


@app.command(epilog="Example: donkey-rl data verify evenings --repair /mnt/backup/data")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SET]...", help="Names. Default: all sets.")
    ] = None,
    store: StoreOption = None,
    repair: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE", help="A store to take whole files from; this one is mended."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read every file of a store and compare it with its hash."""
    with at_work(as_json) as progress:
        from donkey_rl.experiments.data import checking
        from donkey_rl.experiments.data.store import open_store

        other = None if repair is None else open_store(repair)
        shared = open_store(store)
        report = checking.verify(shared, names or (), other, progress)
        result = report.model_dump(mode="json")
    if as_json:
        print_json(result)
    else:
        from donkey_rl import data_tables

        data_tables.show_verify(result, shared.shown if store else None)
    if report.problems:
        raise typer.Exit(1)


def _check_there(store: str | None) -> None:
    """Refuses a folder that is not there: a push makes it, nothing else is found in it."""
    if store is None or ":" in store.removeprefix(Path(store).drive):
        return
    if not user_paths.path_of(store).is_dir():
        where = shell.quoted("--store", store)
        raise InputError(
            f"There is no data store '{store}': no folder of that name. Check --store; a push "
            f"makes a new one: donkey-rl data push FOLDER --name NAME {where}."
        )


def _numbers(shares: str) -> list[float]:
    try:
        return [float(share) for share in shares.split(",")]
    except ValueError:
        raise InputError(
            f"--shares are numbers with commas, such as 80,10,10. Received: '{shares}'."
        ) from None


def note(author: str | None, message: str, license_: str) -> Note:
    """Returns what a change says of itself; the user's name where none is given."""
    import getpass

    from donkey_rl.experiments.data.manifest import Note, shown

    if author is None:
        try:
            author = getpass.getuser()
        except (OSError, KeyError):
            author = ""
    return Note(author=shown(author), message=shown(message), license=shown(license_))
