"""What people ask of the terms: may I, what is known, what does it say. Data in, data or lines out; `cli` prints it."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar, get_args

from trueseed.errors import ConfigError
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Facts, Relation, Student, StudentKind, Use, parse_source
from trueseed.terms.rules import RELATION_OF_USE, Verdict, judge_use, not_established, with_letters_told

_SHIPPED = "shipped reading"
Word = TypeVar("Word", bound=str)
_COLUMNS = ("id", "document", "effective_from", "effective_until", "verification", "reading", "whose", "sources")


def may(
    use: str,
    subject: str,
    *,
    at: date,
    catalog: Catalog,
    facts: Facts | None = None,
    relation: str | None = None,
    features: Sequence[str] = (),
) -> Verdict:
    """Whether `subject` may be put to `use` on the day `at`.

    subject: a source id, judged by the document that governs it then, or `doc:ID` for that one document alone, at any
    date and without those it incorporates. relation: how the source is used: output (what it says), filter, score, or
    weights (what it is); None for the one that the use implies. features: of its service, those it is asked with.
    Raises `ConfigError` for a malformed source, an unknown document, use or relation.
    """
    asked, facts = use_named(use), facts or Facts()
    how = relation_named(relation) if relation else RELATION_OF_USE[asked]
    if subject.startswith("doc:"):
        alone = replace(catalog.document(subject.removeprefix("doc:")), companions=())
        return judge_use(subject, alone, asked, how, facts, at)
    source = str(parse_source(subject))
    document = catalog.governing(source, at, features)
    if document is None:
        return with_letters_told(
            not_established(source, asked, known=_versions(source, at, catalog)), catalog, at, facts
        )
    verdict = judge_use(source, document, asked, how, facts, at, catalog.upstream(source))
    return with_letters_told(verdict, catalog, at, facts)


def given(
    facts: Facts,
    *,
    student: str | None = None,
    distributed: bool | None = None,
    name: str | None = None,
    region: str | None = None,
) -> Facts:
    """Declared facts with what was given in their place; None leaves what was declared. student: chat, classifier or
    embedding. Raises `ConfigError` for another.
    """
    kind = _one_of(student, get_args(StudentKind), "kind of student") if student else facts.student.kind
    changed = Student(
        kind=kind,
        distributed=facts.student.distributed if distributed is None else distributed,
        name=name or facts.student.name,
    )
    return replace(facts, student=changed, region=region or facts.region)


def use_named(text: str) -> Use:
    """Raises `ConfigError` naming the nearest uses."""
    return _one_of(text, tuple(Use), "use")


def relation_named(text: str) -> Relation:
    """Raises `ConfigError` naming the nearest relations."""
    return _one_of(text, tuple(Relation), "relation")


def listing(catalog: Catalog) -> list[dict[str, Any]]:
    """One row for each document, by provider and then by time. Plain JSON."""
    rows = [d.to_json() | {"whose": d.whose or _SHIPPED} for d in catalog.documents]
    rows.sort(key=lambda row: (row["provider"], row["effective_from"], row["id"]))
    return [{column: "" if row[column] is None else row[column] for column in _COLUMNS} for row in rows]


def told(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What `listing` gives, for people: ids whole, whatever the width."""
    found = []
    for row in rows:
        until = f" until {row['effective_until']}" if row["effective_until"] else ""
        found.append(f"{row['id']}: {row['document']}")
        found.append(f"  from {row['effective_from']}{until}; {row['verification']}, {row['whose']}")
        found.append(f"  {', '.join(row['sources']) or 'governs nothing by itself; others incorporate it'}")
    return found


def shown(catalog: Catalog, identity: str) -> dict[str, Any]:
    """One document as plain JSON, with its digest and, under `uses`, the verdicts for a distributed chat student.

    Raises `ConfigError` naming the nearest ids when there is none.
    """
    document = catalog.document(identity)
    alone = replace(document, companions=())
    verdicts = {use.value: judge_use(f"doc:{identity}", alone, use, Relation.OUTPUT, Facts(), None) for use in Use}
    return document.to_json() | {
        "digest": document.digest,
        "whose": document.whose or _SHIPPED,
        "uses": {use: verdict.to_json() for use, verdict in verdicts.items()},
    }


def sentences(verdict: Verdict) -> list[str]:
    """A verdict for people: the answer, the text behind it, what is owed, what would settle it."""
    answer = "permitted" if verdict.permitted else "refused" if verdict.established else "refused: not established"
    text = f"{verdict.document} (version {verdict.version}), clause {verdict.clause}" if verdict.document else "none"
    lines = [
        f"{verdict.source}, {verdict.use.value}: {answer}",
        f"  because    {verdict.because}",
        f"  text       {text}",
        *(f"  whose      {each}" for each in verdict.own),
    ]
    lines += [f"  upstream   it is declared to have learned from {teacher}" for teacher in verdict.upstream]
    lines += [f"  owed       {owed.text} ({owed.document}, clause {owed.clause})" for owed in verdict.obligations]
    return lines + ([f"  settle by  {verdict.settle_by}"] if verdict.settle_by else [])


def lines(document: dict[str, Any]) -> list[str]:
    """What `shown` gives, for people."""
    until = f" until {document['effective_until']}" if document["effective_until"] else ""
    head = {
        "governs": ", ".join(document["sources"]) or "nothing by itself; others incorporate it",
        "in force": f"from {document['effective_from']}{until}",
        "read": f"{document['verification']}: {document['where_read']}",
        "text": f"sha256 {document['text_sha256']}",
        "reported": document["reported"],
        "on ending": document["on_termination"],
        "reaches": f"models trained on output: {document['reaches_models_trained_on_output']}",
        "together": ", ".join(document["incorporates"]),
        "silent on": ", ".join(document.get("silent_on", ())),
        "note": document["notes"],
        "digest": f"{document['digest']} ({document['whose']})",
    }
    uses = [
        f"  {use:26} {verdict['verdict']:7} clause {verdict['clause']}: {verdict['because']}"
        for use, verdict in document["uses"].items()
    ]
    duties = [
        f"  owed       {duty['text']} (clause {duty['clause']}; for {', '.join(duty['uses'])}; of what comes of its "
        f"{' and '.join(duty['relations'])})"
        for duty in document["duties"]
    ]
    upstream = [f"  learned from {up['teacher']}" for up in document["upstream"]]
    return [
        f"{document['id']}: {document['provider']}, {document['document']}, version {document['version']}",
        *(f"  {name:10} {value}" for name, value in head.items() if value),
        *duties,
        *upstream,
        "for a chat student that is distributed:",
        *uses,
    ]


def _one_of(word: str, allowed: tuple[Word, ...], what: str) -> Word:
    for each in allowed:
        if word == each:
            return each
    near = difflib.get_close_matches(word, allowed, n=1, cutoff=0)
    raise ConfigError(f"{word!r} is not a {what}; nearest: {near[0]!s}. There are: {', '.join(map(str, allowed))}")


def _versions(source: str, at: date, catalog: Catalog) -> str:
    known = [
        f"{d.id} (from {d.effective_from}{f' until {d.effective_until}' if d.effective_until else ''})"
        for d in catalog.history(source)
    ]
    return f"none was in force on {at}; known: {', '.join(known)}" if known else ""
