"""Race records on disk: one Parquet file each, with the header as JSON in its metadata."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pydantic
from pyarrow import parquet

from donkey_rl.errors import InputError, StorageError
from donkey_rl.metrics.race import COLUMNS, FORMAT, Race, RaceHeader

METADATA_KEY = b"donkey_rl.race"
MAX_BYTES = 1 << 30
MAX_ROWS = 20_000_000
_MAX_METADATA = 1 << 20
_ARROW_TYPES = {
    np.float64: pa.float64(),
    np.float32: pa.float32(),
    np.int32: pa.int32(),
    np.bool_: pa.bool_(),
    np.str_: pa.string(),
}


def save(race: Race, path: pathlib.Path) -> pathlib.Path:
    """Writes a race; a file of that name is replaced only once the new one is whole.

    Raises:
        StorageError: If the file cannot be written.
    """
    fields = [
        pa.field(name, _ARROW_TYPES[kind], nullable=False, metadata={"unit": unit})
        for name, (kind, unit) in COLUMNS.items()
    ]
    schema = pa.schema(fields, metadata={METADATA_KEY: race.header.model_dump_json().encode()})
    arrays = [pa.array(race[field.name], type=field.type) for field in fields]
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = pathlib.Path(file.name)
            parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except (OSError, pa.ArrowException) as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"The race record {path} could not be written: {reason}.") from error
    return path


def load(path: pathlib.Path) -> Race:
    """Reads a race.

    Raises:
        InputError: If the file is missing, too large, damaged, or no race record.
        StorageError: If it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"A race record has at most {MAX_BYTES} bytes. Received: {path} with {size}."
            )
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"There is no race record at {path}. Check the path.") from error
    except OSError as error:
        raise StorageError(
            f"The race record {path} could not be read: {error.strerror}."
        ) from error
    try:
        table = _read_table(path, content)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is no readable Parquet file: {_first_line(error)}. Record the race again."
        ) from error
    header = _header(path, table.schema.metadata or {})
    try:
        return Race(header, {name: _values(table, name) for name in table.column_names})
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_table(path: pathlib.Path, content: bytes) -> Any:
    """Returns the table after its size and its column types were checked."""
    file = parquet.ParquetFile(
        pa.BufferReader(content),
        thrift_string_size_limit=_MAX_METADATA,
        thrift_container_size_limit=_MAX_METADATA,
    )
    if file.metadata.num_rows > MAX_ROWS:
        raise InputError(
            f"A race has at most {MAX_ROWS} rows. Received: {path} with {file.metadata.num_rows}."
        )
    for field in file.schema_arrow:
        kind = COLUMNS[field.name][0] if field.name in COLUMNS else None
        if kind is not None and not field.type.equals(_ARROW_TYPES[kind]):
            raise InputError(
                f"{path}: column '{field.name}' must be {_ARROW_TYPES[kind]}. "
                f"Received: {field.type}."
            )
    return file.read()


def _values(table: Any, name: str) -> npt.NDArray[Any]:
    column = table.column(name)
    if column.null_count:
        raise InputError(f"Column '{name}' must have no gaps. Received: {column.null_count}.")
    values: npt.NDArray[Any] = column.to_numpy()
    return values.astype(np.str_) if name == "hit" and len(values) else values


def _header(path: pathlib.Path, metadata: dict[bytes, bytes]) -> RaceHeader:
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise InputError(
            f"{path} is a Parquet file without a race header. Pass a file that Race.save wrote."
        )
    try:
        return RaceHeader.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "header"
        raise InputError(
            f"{path}: the race header is not of format {FORMAT}: '{field}': {first['msg']}. "
            "Record the race again, or use the version of this package that wrote it."
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
