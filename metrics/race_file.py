"""Race records on disk: one Parquet file each, with the header as JSON in its metadata.

A file may have two columns more than a `Race`: ``frame``, the camera's picture of the row as a
JPEG file, and ``source``, what an importer read the row from, in a form of its own. They are read
by `frames` and `sources` alone, a few rows at a time.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from donkey_rl import moving
from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics.race import COLUMNS, MAX_NAME, RIVALS, Race, columns_of
from donkey_rl.metrics.race_header import RaceHeader, read_header

METADATA_KEY = b"donkey_rl.race"
FRAME = "frame"
"""Column of the pictures, beside those of `COLUMNS`."""
SOURCE = "source"
"""Column of what an importer read each row from."""

MAX_BYTES = 4 << 30
MAX_ROWS = 2_000_000
"""28 hours of driving."""

MAX_METADATA = 1 << 20
MAX_GROUP_BYTES = 256 << 20
"""Of pictures, or of what rows were imported from, that are read in one piece."""

_MAX_FOOTER = 32 << 20
_MAX_COLUMNS_BYTES = 1 << 30
_FRAMES_AT_ONCE = 64
_EXTRA = {
    FRAME: (pa.binary(), "a JPEG file"),
    SOURCE: (pa.binary(), "what the row was imported from"),
}
_MOST_NAMED = 5
_ARROW_TYPES = {
    np.float64: pa.float64(),
    np.float32: pa.float32(),
    np.int32: pa.int32(),
    np.bool_: pa.bool_(),
    np.str_: pa.string(),
}


def schema(header: RaceHeader, *, frames: bool = False, sources: bool = False) -> Any:
    """Returns the Arrow schema of a record.

    Args:
        header: What the race is.
        frames: Whether there is a column of pictures.
        sources: Whether there is one of what the rows were imported from.

    Raises:
        InputError: If the header is larger than `load` reads.
    """
    text = header.model_dump_json().encode()
    if len(text) > MAX_METADATA:
        raise InputError(
            f"A race header has at most {MAX_METADATA} bytes. Received: one of {len(text)}."
        )
    fields = [
        pa.field(name, _ARROW_TYPES[kind], nullable=False, metadata={"unit": unit})
        for name, (kind, unit) in columns_of(header).items()
    ]
    for name, wanted in ((FRAME, frames), (SOURCE, sources)):
        if wanted:
            kind, unit = _EXTRA[name]
            fields.append(pa.field(name, kind, metadata={"unit": unit}))
    return pa.schema(fields, metadata={METADATA_KEY: text})


def save(race: Race, path: pathlib.Path) -> pathlib.Path:
    """Writes a race; a file of that name is replaced only once the new one is whole.

    Raises:
        StorageError: If the file cannot be written.
    """
    kept = schema(race.header)
    arrays = [pa.array(v, field.type) for v, field in zip(values(race), kept, strict=True)]
    with replaced(path) as file:
        parquet.write_table(pa.Table.from_arrays(arrays, schema=kept), file)
    return path


def values(race: Race) -> list[npt.NDArray[Any]]:
    """Returns the columns of a race in their order, as Arrow takes them."""
    # Arrow ends a NumPy text at its first NUL, a Python text at its end.
    names = columns_of(race.header)
    return [race[name].astype(object) if name == "hit" else race[name] for name in names]


@contextlib.contextmanager
def replaced(path: pathlib.Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Yields a file beside `path` that takes its place once the block has succeeded.

    Args:
        path: The file; its folder is made.
        durable: As in `moving.replacement`.

    Raises:
        StorageError: If the file cannot be written.
    """
    try:
        with moving.replacement(path, durable=durable, mode=0o644) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise StorageError(f"The race record {path} could not be written: {reason}.") from error


def load(path: pathlib.Path) -> Race:
    """Reads a race.

    Raises:
        InputError: If the file is missing, too large, damaged, or no race record.
        StorageError: If it cannot be read.
    """
    with opened(path) as file:
        header, names = described(path, file)
        table = file.read(columns=[name for name in names if name not in _EXTRA])
    try:
        return Race(header, {name: _values(table, name) for name in table.column_names})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def frames(path: str | pathlib.Path) -> Iterator[bytes | None]:
    """Yields the picture of each row as a JPEG file, None where there is none.

    The bytes are as they were recorded; whoever decodes them bounds their size in pixels.

    Raises:
        InputError: If the file is missing, damaged, no race record, or one without pictures.
        StorageError: If it cannot be read.
    """
    return _extra(pathlib.Path(path), FRAME, "pictures. Record it with a picture for each row.")


def sources(path: str | pathlib.Path) -> Iterator[bytes | None]:
    """Yields what an importer read each row from, None where it says nothing.

    Raises:
        InputError: If the file is missing, damaged, no race record, or was not imported.
        StorageError: If it cannot be read.
    """
    return _extra(pathlib.Path(path), SOURCE, "sources: it was not imported.")


def has(path: pathlib.Path, name: str) -> bool:
    """Whether a record has a further column, `FRAME` or `SOURCE`.

    Raises:
        InputError: If the file is missing, damaged, or no race record.
        StorageError: If it cannot be read.
    """
    with opened(path) as file:
        return name in described(path, file)[1]


def _extra(path: pathlib.Path, name: str, lacking: str) -> Iterator[bytes | None]:
    """Yields the contents of one of the further columns, a group of bounded size at a time."""
    with opened(path) as file:
        if name not in described(path, file)[1]:
            raise InputError(f"The race record {path} holds no {lacking}")
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(_FRAMES_AT_ONCE, row_groups=[group], columns=[name]):
                for content in batch.column(0):
                    yield content.as_py()


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[Any]:
    """Yields a Parquet file of bounded size.

    Raises:
        InputError: If the file is missing, too large or damaged.
        StorageError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise InputError(
                    f"A race record has at most {MAX_BYTES} bytes. Received: {path} with {size}."
                )
            _check_footer(path, file, size)
            with _readable(path):
                limits = {
                    "thrift_string_size_limit": 2 * MAX_METADATA,
                    "thrift_container_size_limit": MAX_METADATA,
                }
                plain = parquet.ParquetFile(file, **limits)
                # A name or a picture is kept once, however many rows have it.
                found = plain.schema_arrow.names
                repeated = [name for name in ("hit", *_EXTRA) if name in found]
                yield parquet.ParquetFile(file, read_dictionary=repeated, **limits)
    except FileNotFoundError as error:
        hint = "Check the path."
        if path.with_name(path.name + ".parts").is_dir():
            hint = f"It was not finished: load the folder {path.name}.parts beside it."
        raise InputError(f"There is no race record at {path}. {hint}") from error
    except OSError as error:
        raise StorageError(
            f"The race record {path} could not be read: {error.strerror or error}."
        ) from error


@contextlib.contextmanager
def _readable(path: pathlib.Path) -> Iterator[None]:
    """Turns what Arrow says of a damaged file into one line that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is no readable Parquet file: {_first_line(error)}. Record the race again."
        ) from error


def _check_footer(path: pathlib.Path, file: IO[bytes], size: int) -> None:
    """Refuses a file whose description of itself would take much to read."""
    if size < 12:
        raise InputError(f"{path} is no readable Parquet file: it has {size} bytes.")
    file.seek(size - 8)
    footer = int.from_bytes(file.read(4), "little")
    ending = file.read(4)
    file.seek(0)
    if ending != b"PAR1":
        raise InputError(
            f"{path} is no readable Parquet file: its end is missing. Copy it again, or record "
            "the race again."
        )
    if footer > _MAX_FOOTER:
        raise InputError(
            f"{path} is no readable Parquet file: it describes itself in {footer} bytes, more "
            f"than {_MAX_FOOTER}."
        )


def described(path: pathlib.Path, file: Any) -> tuple[RaceHeader, list[str]]:
    """Returns header and column names of an opened file after its sizes and types were checked.

    Raises:
        InputError: If it is no race record, or too large.
    """
    _check_sizes(path, file.metadata)
    found = file.schema_arrow
    metadata = (found.metadata or {}).get(METADATA_KEY)
    # First: a record of a later format has other columns as well.
    header = None if metadata is None else _header(path, metadata)
    for name in found.names:
        if found.names.count(name) > 1:
            raise InputError(f"{path}: a race has each column once. Received: '{name}' twice.")
    wanted = {name: _ARROW_TYPES[kind] for name, (kind, _) in (COLUMNS | RIVALS).items()}
    wanted |= {name: kind for name, (kind, _) in _EXTRA.items()}
    unknown = sorted(set(found.names) - wanted.keys())
    if unknown:
        # Before it is read: a text of another column may be repeated without end.
        raise InputError(
            f"{path}: a race has the columns {', '.join(COLUMNS)}, and pictures as {FRAME}. "
            f"Received: unknown={unknown[:_MOST_NAMED]}."
        )
    for field in found:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not kind.equals(wanted[field.name]):
            raise InputError(
                f"{path}: column '{field.name}' must be {wanted[field.name]}. "
                f"Received: {field.type}."
            )
    if header is None:
        raise InputError(
            f"{path} is a Parquet file without a race header. Pass a file that Race.save wrote."
        )
    return header, list(found.names)


def _header(path: pathlib.Path, metadata: bytes) -> RaceHeader:
    """Reads the header of a record, which is bounded.

    Raises:
        InputError: It is too long, damaged, or of another format.
    """
    if len(metadata) > MAX_METADATA:
        raise InputError(
            f"A race header has at most {MAX_METADATA} bytes. "
            f"Received: {path} with {len(metadata)}."
        )
    try:
        return read_header(metadata)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_sizes(path: pathlib.Path, found: Any) -> None:
    """Refuses what would take much memory to read, by the file's own description."""
    if not 0 <= found.num_rows <= MAX_ROWS:
        raise InputError(
            f"A race has at most {MAX_ROWS} rows. Received: {path} with {found.num_rows}."
        )
    total = 0
    for k in range(found.num_row_groups):
        group = found.row_group(k)
        for i in range(group.num_columns):
            column = group.column(i)
            if column.path_in_schema not in _EXTRA:
                total += column.total_uncompressed_size
            elif column.total_uncompressed_size > MAX_GROUP_BYTES:
                raise InputError(
                    f"Pictures lie in groups of at most {MAX_GROUP_BYTES} bytes. "
                    f"Received: {path} with one of {column.total_uncompressed_size}."
                )
    if total > _MAX_COLUMNS_BYTES:
        raise InputError(
            f"The columns of a race have at most {_MAX_COLUMNS_BYTES} bytes. "
            f"Received: {path} with {total}."
        )


def _values(table: Any, name: str) -> npt.NDArray[Any]:
    """Returns one column.

    Raises:
        InputError: If it has gaps, or names that are too long.
    """
    column = table.column(name)
    if column.null_count:
        raise InputError(f"Column '{name}' must have no gaps. Received: {column.null_count}.")
    if name != "hit":
        values: npt.NDArray[Any] = column.to_numpy()
        return values
    named = [[each or "" for each in chunk.dictionary.to_pylist()] for chunk in column.chunks]
    longest = max((len(each) for names in named for each in names), default=0)
    # All rows are as wide as the longest name.
    if longest > MAX_NAME or longest * 4 * len(column) > _MAX_COLUMNS_BYTES:
        raise InputError(
            f"The names of what was hit may have {MAX_NAME} characters, fewer in a long race. "
            f"Received: one of {longest} in {len(column)} rows."
        )
    parts = [
        np.array(names or [""], np.str_)[chunk.indices.to_numpy()]
        for names, chunk in zip(named, column.chunks, strict=True)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.str_)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
