"""Is a usage report what the operator signed, and does it add up? Checked offline, with the public key alone.

opened = check(path.read_bytes(), keys)
opened.findings    # what is wrong; empty is good
opened.notes       # what is not wrong but worth knowing: that it is partial, or that nobody vouches for its key
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from pydantic import ValidationError

from trueseed.core.canonical import canonical
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.signing import Key, decode
from trueseed.ledger.statement import USAGE, open_envelope
from trueseed.teachers.supplier.month import Month, written
from trueseed.teachers.supplier.usage_report import Line, Narrowed, Report, Sums, add, left_out
from trueseed.terms.model import parse_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A report that was read. report: None when its form is broken. findings: what is wrong; empty is good. notes:
    what is worth knowing. signed_by: the verifier key that the report names.
    """

    report: Report | None
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    signed_by: str


Name = TypeVar("Name", bound="str | tuple[str, str]")


def is_report(raw: bytes) -> bool:
    """Whether it claims to be one."""
    try:
        return bool(json.loads(decode(json.loads(raw)["payload"]))["predicateType"] == USAGE)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def check(raw: bytes, keys: Sequence[Key], *, own: Key | None = None) -> Opened:
    """Re-reads a report. keys: those that are trusted; without any, `own`, and else the one that the report names.

    What is broken is in the findings. Raises `ConfigError` when `raw` is no usage report at all.
    """
    if not is_report(raw):
        raise ConfigError("this is not a usage report; name a file that `trueseed usage -o FILE` wrote, or a workspace")
    signed = json.loads(raw)
    named = _named(signed)
    notes = []
    trusted: Sequence[Key] = [key for key in keys if key.role == "operator"]
    if keys and not trusted:
        raise ConfigError("the keys given hold no operator's key, which signs usage reports")
    if not trusted and own and named and named.public_key == own.public_key:
        trusted = [own]
    elif not trusted:
        trusted = [named] if named and named.role == "operator" else []
        notes.append(
            "the signature was checked with the key that the report itself names; whose it is is not shown. Ask the "
            "operator for the key, and give it with --key"
        )
    try:
        made = open_envelope(signed, trusted)
        if named is None or named.key_id != signed["signatures"][0]["keyid"]:
            raise Broken("it names another key than the one that signed it")
        report = _parsed({key: value for key, value in made["predicate"].items() if key != "signed_by"})
    except Broken as err:
        return Opened(report=None, findings=(str(err),), notes=tuple(notes), signed_by=str(named or ""))
    findings = tuple(_faults(report))
    return Opened(report=report, findings=findings, notes=(*notes, *_worth_knowing(report)), signed_by=str(named or ""))


def _named(signed: Mapping[str, Any]) -> Key | None:
    try:
        return Key.parse(str(json.loads(decode(signed["payload"]))["predicate"]["signed_by"]))
    except (ValueError, KeyError, TypeError, RecursionError, ConfigError):
        return None


def _parsed(predicate: Mapping[str, Any]) -> Report:
    """Raises `Broken` for another form."""
    try:
        return Report.model_validate_json(canonical(dict(predicate)))
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Broken(f"its form is not that of a usage report ({where}: {first['msg']})") from err


def _faults(report: Report) -> Iterable[str]:
    """What does not add up."""
    try:
        month = Month.parse(report.month)
    except ConfigError as err:
        yield str(err)
        return
    if (report.since, report.until) != (written(month.since), written(month.until)):
        yield f"it says {report.since} to {report.until}, which is not {report.month}"
    if not report.since <= report.counted_until <= report.until or report.counted_until > report.at:
        yield f"it was made at {report.at} and counts until {report.counted_until}"
    days = {day.isoformat() for day in month.days}
    seen = set()
    for line in report.lines:
        at = (line.day, line.source, line.use, line.project)
        if line.day not in days:
            yield f"a line is of {line.day!r}, which is no day of {report.month}"
        if at in seen:
            yield f"two lines are of {line.source!r} on {line.day} for {line.use} by {line.project!r}"
        seen.add(at)
        if not _is_of(line, report):
            yield f"a line is of {line.source!r} for {line.use} by {line.project!r}, which it says it does not hold"
    yield from _sums(report)


def _sums(report: Report) -> Iterable[str]:
    lines = report.lines
    if report.totals != add(lines):
        yield "its totals are not the sums of its lines"
    if report.unknown != report.totals.calls.unknown:
        yield f"it says that {report.unknown} calls are unknown, its lines {report.totals.calls.unknown}"
    if report.sources != _by(lines, lambda line: line.source):
        yield "its sums by source are not those of its lines"
    if report.days != _by(lines, lambda line: line.day):
        yield "its sums by day are not those of its lines"
    said = [((each.use, each.project), each.sums) for each in report.purposes]
    if said != sorted(_by(lines, lambda line: (line.use, line.project)).items(), key=lambda each: each[0]):
        yield "its sums by purpose are not those of its lines"
    if (report.narrowed is None) != (report.left_out is None):
        yield "it does not say whether it is over everything"


def _by(lines: Iterable[Line], name: Callable[[Line], Name]) -> dict[Name, Sums]:
    groups: dict[Name, list[Line]] = {}
    for line in lines:
        groups.setdefault(name(line), []).append(line)
    return {each: add(group) for each, group in groups.items()}


def _is_of(line: Line, report: Report) -> bool:
    try:
        maker = parse_source(line.source).maker
    except ConfigError:
        return False
    narrowed = report.narrowed or Narrowed()
    return (
        maker == report.maker
        and fnmatchcase(line.source, narrowed.source or "*")
        and narrowed.project in (None, line.project)
        and narrowed.use in (None, line.use)
    )


def _worth_knowing(report: Report) -> Iterable[str]:
    if report.narrowed and report.left_out:
        yield f"it is PARTIAL: {left_out(report)}"
    if not report.is_over:
        yield f"{report.month} was not over when it was made, at {report.at}"
    if report.unknown:
        yield f"of {report.unknown} calls nobody knows what became; they are charged at the most that they can be"
    if report.totals.calls.in_flight:
        yield f"{report.totals.calls.in_flight} calls were under way"
