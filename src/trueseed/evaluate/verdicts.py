"""Who answered better, as one judge said of one sample: the line that pairwise judging writes and the arena reads.

    write(folder / VERDICTS_FILE, verdicts)      # in a `scores` artifact of the step that asked the judge
    verdicts = read(folder / VERDICTS_FILE)      # .parquet, or .jsonl; other programs' own: `formats.reading`

Only what was decided is a verdict: a judge's refusal or prose is none, and whoever asked it counts those apart. Reading
is strict: what is no verdict, and the same verdict twice, is told with its line, and nothing is computed on the rest.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from trueseed.core.durable import write_atomic
from trueseed.errors import ConfigError
from trueseed.evaluate.lines import json_lines, told

VERDICTS_FILE = "verdicts.parquet"

Winner = Literal["a", "b", "tie"]
Order = Literal["ab", "ba", ""]
_WINNERS, _ORDERS = get_args(Winner), get_args(Order)
_FEW = ("a", "b", "winner", "order", "judge")  # columns of few different values


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """sample: id of the prompt. a, b: the models, by name. winner: which of the two, whatever was shown first. order:
    `ab` when the judge saw a's answer first, '' where nobody wrote it down. judge: its source. reason: None where it
    was asked for none. length_a, length_b: of the answers, in characters. much: the winner is much better, where the
    judge was asked for five grades. share: how much of the win is a's, where the judge told its odds; None is all, half
    or nothing.
    """

    sample: str
    a: str
    b: str
    winner: Winner
    order: Order
    judge: str
    reason: str | None = ""
    length_a: int = 0
    length_b: int = 0
    much: bool = False
    share: float | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for what is no verdict."""
        for name in ("sample", "a", "b", "judge"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"{name!r} must be a string that is not empty, not {getattr(self, name)!r}")
        if self.winner not in _WINNERS:
            raise ValueError(f"'winner' must be 'a', 'b' or 'tie', not {self.winner!r}")
        if self.order not in _ORDERS:
            raise ValueError(f"'order' must be 'ab', 'ba' or '' where it is not known, not {self.order!r}")
        if self.a == self.b:
            raise ValueError(f"{self.a!r} is compared with itself")
        if not isinstance(self.reason, str | None):
            raise ValueError(f"'reason' must be a string, not {self.reason!r}")
        for length in (self.length_a, self.length_b):
            if isinstance(length, bool) or not isinstance(length, int) or length < 0:
                raise ValueError(f"a length is a number of characters, not {length!r}")
        if not isinstance(self.much, bool) or (self.much and self.winner == "tie"):
            raise ValueError(f"'much' is whether the winner is much better, and not {self.much!r} of a {self.winner!r}")
        if not (self.share is None or _is_share(self.share, self.winner)):
            raise ValueError(f"'share' must be from 0 to 1, and more than half the winner's, not {self.share!r}")

    @property
    def first_won(self) -> bool | None:
        """Whether the answer won that the judge saw first; None of a tie, and where that is not known."""
        return None if self.winner == "tie" or not self.order else (self.winner == "a") == (self.order == "ab")

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same for the same question: sample, the answers in the order in which they were shown, judge."""
        first, second = (self.b, self.a) if self.order == "ba" else (self.a, self.b)
        return self.sample, first, second, self.judge

    @property
    def worth(self) -> float:
        """Of the win, what is a's: 1, ½ or 0, or its share."""
        return _WORTH[self.winner] if self.share is None else self.share

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Verdict":
        """Raises `ValueError` for members that are missing or unknown, and for what is no verdict."""
        if not isinstance(value, Mapping):
            raise ValueError("not a JSON object")
        if unknown := value.keys() - _MEMBERS:
            raise ValueError(f"unknown members {sorted(unknown)}; a verdict has {', '.join(_MEMBERS)}")
        if missing := [name for name in _MEMBERS[:6] if name not in value]:
            raise ValueError(f"{', '.join(map(repr, missing))} missing")
        return cls(**value)


_MEMBERS = tuple(field.name for field in fields(Verdict))
_WORTH: Mapping[Winner, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}


def _is_share(value: object, winner: Winner) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= 1 and winner in ("tie", _likelier(value))


def _likelier(share: float) -> Winner:
    return "tie" if share == 0.5 else "a" if share > 0.5 else "b"


def write(path: Path, verdicts: Iterable[Verdict]) -> None:
    """Parquet or JSON lines, by the end of the name. Raises `ConfigError` for the same verdict twice."""
    rows = list(_once(((number, verdict) for number, verdict in enumerate(verdicts, start=1)), str(path)))
    if path.suffix != ".parquet":
        lines = (json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows)
        write_atomic(path, "".join(lines).encode())
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [getattr(row, name) for row in rows] for name in _MEMBERS}
    pq.write_table(pa.table(columns, schema=_schema()), path, compression="zstd", use_dictionary=["sample", *_FEW])


def read(path: Path, *, may_be_none: bool = False) -> list[Verdict]:
    """Raises `ConfigError` naming every line (up to ten) that is none, or was there before, and for an empty file,
    unless there may be none: of a judge that answered in prose.
    """
    rows = _parquet(path) if path.suffix == ".parquet" else json_lines(path, "verdicts")
    found = list(_once(rows, str(path)))
    if not found and not may_be_none:
        raise ConfigError(f"{str(path)!r} holds no verdicts")
    return found


def merged(parts: Iterable[Sequence[Verdict]]) -> list[Verdict]:
    """Of several files. Raises `ConfigError` for a verdict that is in two of them."""
    return list(_once(enumerate(chain.from_iterable(parts), start=1), "the verdicts of all files together"))


def _once(rows: Iterable[tuple[int, Any]], where: str) -> Iterator[Verdict]:
    seen: set[tuple[str, ...]] = set()
    wrong: list[str] = []
    for number, row in rows:
        try:
            if isinstance(row, ValueError):
                raise row
            verdict = row if isinstance(row, Verdict) else Verdict.from_json(row)
            if verdict.key in seen:
                raise ValueError(f"{verdict.judge} judged {verdict.a} and {verdict.b} on {verdict.sample!r} before")
        except ValueError as err:
            wrong.append(f"line {number}: {err}")
            continue
        seen.add(verdict.key)
        if not wrong:
            yield verdict
    if wrong:
        raise told(wrong, f"{where!r} does not hold verdicts")


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as err:
        raise ConfigError(f"verdicts: {str(path)!r} cannot be read: {err}") from err
    plain = (
        c.cast(pa.string()) if pa.types.is_dictionary(c.type) else c for c in table.columns
    )  # else 10 times slower
    columns = [column.to_pylist() for column in plain]
    rows = zip(*columns, strict=True)
    yield from enumerate((dict(zip(table.column_names, row, strict=True)) for row in rows), start=1)


def _schema() -> Any:
    import pyarrow as pa

    few = pa.dictionary(pa.int32(), pa.string())
    kinds = {
        "sample": few,
        **dict.fromkeys(_FEW, few),
        "reason": pa.string(),
        "much": pa.bool_(),
        "share": pa.float64(),
    }
    return pa.schema([(name, kinds.get(name, pa.int32())) for name in _MEMBERS])
