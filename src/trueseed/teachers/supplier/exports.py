"""The usage that a maker lets people export as CSV: OpenAI's, DeepSeek's, Azure's cost details, the simulator's.

`export_forms` says of each form which column means what. A file with a column that no form knows is refused with what
was found in it: a column that is passed over by guess may be the one that says that the rest means something else.
"""

import csv
import io
from decimal import Decimal
from pathlib import Path

from trueseed.core.canonical import sha256
from trueseed.errors import ConfigError
from trueseed.teachers.supplier.bill import Bill, Figure
from trueseed.teachers.supplier.export_forms import EMPTY, FORMS, OPENAI_TIME, Form, Row, Sums, shown

MOST_BYTES = 256 << 20


def read(path: Path) -> Bill:
    """The bill in a file. Raises `ConfigError`, with the line, when it cannot be read or may be misunderstood."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path} is larger than {MOST_BYTES >> 20} MiB; export one month, by day")
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as err:
        raise ConfigError(f"{path} cannot be read ({err.strerror}); give the file that the maker exported") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path} is not UTF-8; export it as CSV in UTF-8 (not as a workbook)") from err
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(table, [])]
        form = _form(path, header)
        sums, seen = Sums(), dict[tuple[str, ...], int]()
        for cells in table:
            if any(cell.strip() for cell in cells):
                form.read(_row(path, table.line_num, header, form, cells, seen), sums)
    except csv.Error as err:
        raise ConfigError(f"{path}, line {table.line_num}: {err}; export it again as CSV") from err
    return Bill(kind=form.kind, digest=sha256(raw), figures=_figures(path, form, sums), notes=_notes(sums))


def _form(path: Path, header: list[str]) -> Form:
    """Raises `ConfigError` with the columns found."""
    names = [name.casefold() for name in header]
    if not any(names):
        raise ConfigError(f"{path} is empty; give the file that the maker exported")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{path} has column {twice[0]!r} more than once; export it again")
    if sorted(names) == sorted(OPENAI_TIME):
        return EMPTY
    fitting = [form for form in FORMS if not form.missing(names)]
    for form in fitting:
        if not form.unknown(names):
            return form
    found = ", ".join(shown(name) for name in header[:60])
    if fitting:
        strange = ", ".join(shown(name) for name in fitting[0].unknown(names))
        raise ConfigError(f"{path} looks like {fitting[0].kind}, but nobody said what {strange} means; found: {found}")
    hint = "; it says what was paid, not what was used: export the usage" if "amount_value" in names else ""
    known = "; ".join(f"{form.kind}: {', '.join(form.columns)}" for form in FORMS)
    raise ConfigError(f"{path} is no export that we know{hint}. Its columns: {found}. Known are: {known}")


def _row(
    path: Path, line: int, header: list[str], form: Form, cells: list[str], seen: dict[tuple[str, ...], int]
) -> Row:
    if len(cells) != len(header):
        raise ConfigError(f"{path}, line {line} has {len(cells)} cells, the first line {len(header)}; export it again")
    if (first := seen.setdefault(tuple(cells), line)) != line:
        raise ConfigError(
            f"{path}, line {line} is the same as line {first}; nobody can tell whether it was meant twice. Take one "
            f"out, or export with more columns (project, key) so that rows differ"
        )
    named = zip((form.columns.get(name.casefold()) for name in header), cells, strict=True)
    return Row({name: cell for name, cell in named if name}, f"{path}, line {line}")


def _figures(path: Path, form: Form, sums: Sums) -> tuple[Figure, ...]:
    if len(sums.currencies) > 1:
        raise ConfigError(
            f"{path} has money in {' and '.join(sorted(sums.currencies))}; give one file for each billing account"
        )
    money = form.says_money and sums.currencies == {"USD"}
    return tuple(
        Figure(
            span=at[0],
            model=at[1],
            calls=sums.calls[at] if form.says_calls else None,
            tokens=sums.tokens[at],
            micros=round(sums.money.get(at, Decimal(0)) * 1_000_000) if money else None,
        )
        for at in sorted(sums.tokens, key=lambda each: (each[0].since, each[1]))
    )


def _notes(sums: Sums) -> tuple[str, ...]:
    told = []
    if sums.passed_over:
        told.append(f"{sums.passed_over} lines are of other services and were passed over")
    if sums.currencies - {"USD"}:
        currency = ", ".join(sorted(sums.currencies)) or "a currency that it does not say"
        told.append(f"its money is in {currency} and was not compared")
    return tuple(told)
