"""What people ask of the terms: may I, what is known, what does it say. Data in, data out; `cli` prints it."""

from dataclasses import replace
from datetime import date
from typing import Any

from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Facts, Relation, Student, Use, parse_source
from trueseed.terms.rules import Verdict, judge_use, not_established


def may(
    use: Use,
    subject: str,
    *,
    at: date,
    catalog: Catalog,
    student: Student = Student(),  # noqa: B008  frozen: a chat student, distributed
    region: str | None = None,
) -> Verdict:
    """Whether what `subject` says may be put to `use` on the day `at`.

    subject: a source id, judged by the document that governs it then, or `doc:ID` for that one document alone, at any
    date and without those it incorporates. Raises `ConfigError` for a malformed source or an unknown document.
    """
    facts = Facts(student=student, region=region)
    if subject.startswith("doc:"):
        document = replace(catalog.document(subject.removeprefix("doc:")), companions=())
        return judge_use(subject, document, use, Relation.OUTPUT, facts, at)
    source = str(parse_source(subject))
    document_then = catalog.governing(source, at)
    if document_then is None:
        return not_established(source, use, known=_versions(source, at, catalog))
    return judge_use(source, document_then, use, Relation.OUTPUT, facts, at)


def listing(catalog: Catalog) -> list[dict[str, Any]]:
    """One line's worth of each document, in the order of provider and time."""
    columns = ("id", "provider", "document", "version", "effective_from", "effective_until", "verification", "reading")
    lines = [{"digest": d.digest, "sources": list(d.sources)} | _pick(d.to_json(), columns) for d in catalog.documents]
    return sorted(lines, key=lambda line: (line["provider"], line["effective_from"], line["id"]))


def shown(identity: str, catalog: Catalog) -> dict[str, Any]:
    """All of one document, with its digest and, for each use, the verdict for a distributed chat student.

    Raises `ConfigError` naming the nearest ids when there is none.
    """
    document = catalog.document(identity)
    verdicts = {
        use.value: judge_use(f"doc:{identity}", document, use, Relation.OUTPUT, Facts(), None).to_json() for use in Use
    }
    return document.to_json() | {"digest": document.digest, "uses": verdicts}


def _pick(content: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: content[name] for name in names}


def _versions(source: str, at: date, catalog: Catalog) -> str:
    known = [
        f"{d.id} (from {d.effective_from}{f' until {d.effective_until}' if d.effective_until else ''})"
        for d in catalog.history(source)
    ]
    return f"none was in force on {at}; known: {', '.join(known)}" if known else ""
