"""Documents side by side: what changed from one version to the next, and every source against every use.

Both tell verdicts for a chat student that is distributed, not words: two texts that read differently and rule alike
do not differ here.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Document, Duty, Facts, Relation, Use
from trueseed.terms.rules import Verdict, judge_use

_SHOWN = (Relation.OUTPUT, Relation.WEIGHTS)
_HEADS = ("train", "class", "rewrd", "judge", "bench", "pub.b", "serve", "publ")
_MARKS = {"permit": "yes", "refuse": "no", "not established": "?"}


def difference(catalog: Catalog, before: str, after: str) -> dict[str, Any]:
    """What changed in uses and duties from one document to another, each with those it incorporates on its first day.

    Plain JSON. Raises `ConfigError` naming the nearest ids.
    """
    old, new = catalog.document(before), catalog.document(after)
    uses = []
    for use in Use:
        for relation in _SHOWN:
            was, now = _ruling(old, use, relation), _ruling(new, use, relation)
            if was["verdict"] != now["verdict"]:
                uses.append({"use": use.value, "relation": relation.value, "before": was, "after": now})
    had, has = _duties(old), _duties(new)
    gone = [had[key] for key in sorted(had.keys() - has.keys())]
    come = [has[key] for key in sorted(has.keys() - had.keys())]
    other = _paired(gone, come, ("kind", "text"), ("kind", "uses", "relations"))
    return {
        "before": _named(old),
        "after": _named(new),
        "changed": bool(uses) or had.keys() != has.keys(),
        "uses": uses,
        "duties_gone": [each for each in gone if each not in [before for before, _ in other]],
        "duties_come": [each for each in come if each not in [after for _, after in other]],
        "duties_otherwise": [{"before": before, "after": after} for before, after in other],
    }


def difference_told(found: Mapping[str, Any]) -> list[str]:
    """What `difference` gives, for people."""
    old, new = found["before"], found["after"]
    lines = [
        f"{each['id']}: from {each['effective_from']}, {each['verification']}"
        + (f", {each['whose']}" if each["whose"] else "")
        for each in (old, new)
    ]
    for (relation, *_), alike in _grouped(found["uses"]).items():
        before, after = alike[0]["before"], alike[0]["after"]
        lines.append(
            f"{', '.join(each['use'] for each in alike)} ({relation}): {before['verdict']} -> {after['verdict']}"
        )
        for name, ruling in (("before", before), ("after", after)):
            lines.append(f"  {name:6} {ruling['document']}, clause {ruling['clause']}: {ruling['because']}")
    lines += [_owed("no longer owed", duty) for duty in found["duties_gone"]]
    lines += [_owed("newly owed", duty) for duty in found["duties_come"]]
    for pair in found["duties_otherwise"]:
        before, after = pair["before"], pair["after"]
        if before["text"] == after["text"]:
            lines.append(f"{_owed('still owed', after)}; before for {before['uses']} (of {before['relations']})")
        else:
            lines += [_owed("owed in other words", after), f"  before {before['text']} (clause {before['clause']})"]
    return lines if found["changed"] else [*lines, "no use and no duty differs"]


def _grouped(uses: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    """Uses on which both texts say the same words, by relation and words."""
    found: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for each in uses:
        words = (
            each[name][key] for name in ("before", "after") for key in ("verdict", "document", "clause", "because")
        )
        found.setdefault((each["relation"], *words), []).append(each)
    return found


def _paired(
    gone: Sequence[dict[str, str]], come: Sequence[dict[str, str]], *alike: Sequence[str]
) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Duties that are there before and after, but for other uses or in other words. alike: in which keys they agree,
    the surest first.
    """
    pairs: list[tuple[dict[str, str], dict[str, str]]] = []
    for keys in alike:
        for before in gone:
            taken = [each for pair in pairs for each in pair]
            same = [each for each in come if each not in taken and all(each[key] == before[key] for key in keys)]
            if before not in taken and same:
                pairs.append((before, same[0]))
    return pairs


def matrix(catalog: Catalog, at: date) -> dict[str, Any]:
    """Every source pattern against every use on the day `at`. Plain JSON: pattern -> document and verdicts."""
    rows: dict[str, Any] = {}
    for pattern in catalog.sources():
        source = pattern.replace("*", "x" if "/" in pattern else "x/x")
        document = catalog.governing(source, at)
        uses = {use: judge_use(source, document, use, Relation.OUTPUT, Facts(), at) for use in Use}
        rows[pattern] = {
            "document": document.id if document else "",
            "reading": document.reading if document else "",
            "own": [f"{text.id}: {text.whose}" for text in document.texts if text.whose] if document else [],
            "uses": {use.value: _answer(verdict) for use, verdict in uses.items()},
        }
    return {"at": at.isoformat(), "sources": rows}


def matrix_told(found: Mapping[str, Any], width: int) -> list[str]:
    """What `matrix` gives, as a table that fits `width` columns: a long source has a line of its own."""
    rows = found["sources"]
    room = max(12, min(max(map(len, rows)), width - 6 * len(_HEADS)))
    lines = [f"on {found['at']}, for a chat student that is distributed", " " * room + _cells(_HEADS)]
    for source, row in rows.items():
        name = source + (" †" if row["own"] else "")
        cells = _cells([_MARKS[answer] for answer in row["uses"].values()])
        lines += [name, " " * room + cells] if len(name) > room else [name.ljust(room) + cells]
    names = [f"{head} {use.value}" for head, use in zip(_HEADS, Use, strict=True) if head != use.value]
    lines += ["yes permitted, no refused, ? refused because it is not established", ", ".join(names)]
    return lines + [f"† {each}" for each in dict.fromkeys(own for row in rows.values() for own in row["own"])]


def _owed(how: str, duty: Mapping[str, str]) -> str:
    return f"{how}, for {duty['uses']} (of {duty['relations']}): {duty['text']} (clause {duty['clause']})"


def _cells(words: Sequence[str]) -> str:
    return "".join(f"{word:>6}" for word in words)


def _answer(verdict: Verdict) -> str:
    return "permit" if verdict.permitted else "refuse" if verdict.established else "not established"


def _ruling(document: Document, use: Use, relation: Relation) -> dict[str, str]:
    day = document.effective_from if isinstance(document.effective_from, date) else None
    verdict = judge_use(f"doc:{document.id}", document, use, relation, Facts(), day)
    answer = _answer(verdict)
    texts = [text for text in (document, *document.companions) if text.id == verdict.document]
    said = texts[0].permission(use, relation) if texts else None
    if verdict.permitted and said is not None and said.verdict == "conditional":
        answer = "permit on a condition"
    return {"verdict": answer, "document": verdict.document, "clause": verdict.clause, "because": verdict.because}


def _duties(document: Document) -> dict[tuple[str, str, tuple[str, ...], tuple[str, ...], bool], dict[str, str]]:
    """By what a duty asks, when: its words alone do not make another of it, unless they are all there is."""

    def key(duty: Duty) -> tuple[str, str, tuple[str, ...], tuple[str, ...], bool]:
        asks = duty.value or (duty.text if duty.kind in ("conduct", "display") else "")
        return duty.kind, asks, tuple(sorted(duty.uses)), tuple(sorted(duty.relations)), duty.distributed

    return {
        key(duty): {
            "kind": duty.kind,
            "text": duty.text,
            "clause": duty.clause,
            "uses": ", ".join(duty.uses),
            "relations": ", ".join(duty.relations),
        }
        for duty in document.duties
    }


def _named(document: Document) -> dict[str, str]:
    return {
        "id": document.id,
        "effective_from": str(document.effective_from),
        "verification": document.verification,
        "reading": document.reading,
        "whose": document.whose,
    }
