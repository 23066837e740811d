"""Other people's datasets, row by row: JSON lines, a JSON array, Parquet, Arrow, and folders of them as Hugging Face
has them (a repository that was cloned, or what `save_to_disk` wrote).

    for row in read(Path("alpaca.jsonl")): row.place, row.value       # "line 1", {...}

A row that cannot be read is told by `Row.fault`; whoever takes rows in decides what becomes of the rest.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trueseed.core.canonical import file_digest
from trueseed.errors import ConfigError

SUFFIXES = (".jsonl", ".json", ".ndjson", ".parquet", ".arrow")
SPLITS = ("train", "validation", "valid", "val", "dev", "test", "eval")
LONGEST = 16 * 2**20  # bytes of a line: no chat is longer, and what is not JSON lines may have no end of line at all
NOT_DATA = ("dataset_info.json", "dataset_dict.json", "dataset_infos.json", "state.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """place: where it stands, in words. fault: why it cannot be read, '' when it can."""

    place: str
    value: dict[str, Any]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Files that make up one dataset, in order. left_out: splits that are there and were not chosen."""

    root: Path
    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the files' bytes, in order."""
        return sha256("".join(file_digest(file) for file in self.files).encode()).hexdigest()

    def rows(self) -> Iterator[Row]:
        """Raises `ConfigError` for a file that is not what its name says."""
        for file in self.files:
            where = "" if len(self.files) == 1 else f"{file.relative_to(self.root)}, "
            try:
                yield from _RowsOf[file.suffix.lower()](file, where)
            except (OSError, pa.ArrowException) as err:
                raise ConfigError(
                    f"{file} cannot be read ({err}). Nothing was imported; write the file anew, or give another"
                ) from err


def find(path: Path, split: str | None = None) -> Foreign:
    """The files to read. Of a folder with several splits, `split`, or `train` when that is not said.

    Raises `ConfigError` when there is nothing to read, or no such split.
    """
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"{path} is none of {', '.join(SUFFIXES)}, nor a folder of such; convert it first")
        return Foreign(path.parent, (path,))
    if not path.is_dir():
        raise ConfigError(f"there is no dataset at {str(path)!r}; give a file or a folder")
    found: dict[str, list[Path]] = {}
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_file() and not hidden and file.suffix.lower() in SUFFIXES and file.name not in NOT_DATA:
            found.setdefault(_split_of(file.relative_to(path)), []).append(file)
    if not found:
        raise ConfigError(f"there is no data in {str(path)!r}: no file ends with {', '.join(SUFFIXES)}")
    chosen = split or ("train" if "train" in found else next(iter(found)) if len(found) == 1 else "")
    if chosen not in found:
        named = ", ".join(sorted(filter(None, found))) or "none that is named"
        raise ConfigError(f"{str(path)!r} holds the splits {named}; say which one is meant (--split)")
    return Foreign(path, tuple(found[chosen]), tuple(sorted(set(found) - {chosen})))


def _split_of(file: Path) -> str:
    """As Hugging Face names them: the folder it lies in, or what its name begins with; '' when neither says."""
    for word in (file.name.split(".")[0].split("-")[0].split("_")[0], *(part.lower() for part in file.parts[:-1])):
        if word.lower() in SPLITS:
            return word.lower()
    return ""


def _json_lines(file: Path, where: str) -> Iterator[Row]:
    with file.open("rb") as lines:
        first = lines.read(1)
        lines.seek(0)
        if first == b"[" and file.suffix.lower() == ".json":
            yield from _json_array(lines.read(), where)
            return
        for number, line in enumerate(iter(lambda: lines.readline(LONGEST + 1), b""), start=1):
            place = f"{where}line {number}"
            if len(line) > LONGEST:
                yield Row(place=place, value={}, fault=f"longer than {LONGEST:,} bytes; give one object a line")
                while line and not line.endswith(b"\n"):
                    line = lines.readline(LONGEST)
            elif line.strip():
                value, fault = _parsed(line)
                yield Row(place=place, value={}, fault=fault) if fault else _checked(value, place)


def _json_array(text: bytes, where: str) -> Iterator[Row]:
    values, fault = _parsed(text)
    if fault:
        yield Row(place=f"{where}the file", value={}, fault=fault)
        return
    for number, value in enumerate(values, start=1):
        yield _checked(value, f"{where}item {number}")


def _parsed(text: bytes) -> tuple[Any, str]:
    """What JSON holds, and why it cannot be read, '' when it can."""
    try:
        return json.loads(text.decode("utf-8-sig")), ""
    except UnicodeDecodeError as err:
        return None, f"not UTF-8 (byte {err.object[err.start]:#04x} after {err.start}); save the file as UTF-8"
    except (ValueError, RecursionError) as err:
        return None, f"not JSON ({err})"


def _checked(value: Any, place: str) -> Row:
    if isinstance(value, dict):
        return Row(place=place, value=value)
    return Row(place=place, value={}, fault="not a JSON object")


def _parquet(file: Path, where: str) -> Iterator[Row]:
    number = 0
    for batch in pq.ParquetFile(file).iter_batches(batch_size=1024):
        yield from _of_batch(batch, where, number)
        number += len(batch)


def _arrow(file: Path, where: str) -> Iterator[Row]:
    number = 0
    with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            yield from _of_batch(batch, where, number)
            number += len(batch)


def _of_batch(batch: Any, where: str, before: int) -> Iterator[Row]:
    """Its rows, each by itself where one holds what Python has no word for (text that is no UTF-8, a year 300000)."""
    try:
        values = batch.to_pylist()
    except (ValueError, OverflowError):
        values = [_value(batch, i) for i in range(len(batch))]
    for number, value in enumerate(values, start=before + 1):
        fault = value if isinstance(value, str) else ""
        yield Row(place=f"{where}row {number}", value={} if fault else value, fault=fault)


def _value(batch: Any, row: int) -> dict[str, Any] | str:
    """The row, or why it cannot be read."""
    try:
        found: dict[str, Any] = batch.slice(row, 1).to_pylist()[0]
    except (ValueError, OverflowError) as err:
        return f"it cannot be read ({err})"
    return found


_RowsOf = {
    ".jsonl": _json_lines,
    ".json": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
