"""Answers on their way to another ledger, each with the proof that it was asked under ours. One JSON object a line:

    {"trueseed": "cache@v1", "log": …, "key": …, "terms": 1, "seals": 2, "answers": 300}
    {"terms": {…}}                                   a terms document as it was when the door relied on it
    {"seal": "c2sp.org/tlog-proof@v1\n…"}            an entry of the log that seals answers, under a signed checkpoint
    {"answer": "…", "seal": 7, "index": 0, "path": […]}     a line as it was kept, and its way to the root in that entry

Documents by digest, seals by entry, answers by entry and index, so that an export has one order. `read` believes only
what leads to a checkpoint signed by a key that the reader trusts; the key in the first line is never asked.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from trueseed.errors import Broken, ConfigError
from trueseed.ledger.batches import Batch, LineProof, batch_of
from trueseed.ledger.proof import LONGEST_PATH, check_inclusion
from trueseed.ledger.signing import Key, decode
from trueseed.ledger.statement import SEAL, open_envelope
from trueseed.teachers.answers.kept import Kept
from trueseed.terms.catalog import from_json
from trueseed.terms.model import Document

FORMAT = "cache@v1"
IMPORTED = "import-"  # what the names of imported files begin with
LONGEST_LINE = 64 * 1024 * 1024  # bytes; no answer over the wire is a quarter of that

NO_PROOF = (
    "answers without proofs are a dataset, whose origin has to be declared: bring them in as prompts or records under "
    "the source that they come from"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """log: name of the ledger that exported. key: its operator's verifier key. The rest: lines of each kind."""

    log: str
    key: str
    terms: int
    seals: int
    answers: int

    def to_json(self) -> dict[str, Any]:
        return {"trueseed": FORMAT, **{name: getattr(self, name) for name in self.__slots__}}


@dataclass(kw_only=True)
class Export:
    """What an export holds, as far as it was read. sources: answers by source. terms, seals: by digest and entry."""

    head: Head
    operator: Key
    terms: dict[str, Document] = field(default_factory=dict)
    seals: dict[int, Batch] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    checkpoint: tuple[int, str] = (0, "")  # size and root (hexadecimal) of the newest one that was seen
    used: set[str | int] = field(default_factory=set)  # of the documents and seals


def answer_in(line: bytes) -> str | None:
    """The kept line inside a line of an export; None in other lines. Raises `ValueError` when it is no such line."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("it is not an object")
    said = value.get("answer")
    if not isinstance(said, str | None):
        raise ValueError("its answer is not text")
    return said


def read(path: Path, keys: Sequence[Key]) -> Iterator[tuple[bytes, Export]]:
    """The lines of an export, each once it was checked, with what is known by then.

    Raises `Broken`, naming the line, for whatever does not verify under one of `keys`, and at the end when something is
    missing; `ConfigError` when it is no export at all, or is signed by none of the keys. What came before is then
    worth nothing: an export holds as a whole.
    """
    number, export, last = 1, None, (0, 0, -1, "")
    for number, line in enumerate(_lines(path), start=1):
        try:
            if export is None:
                export = _head(line, keys, path)
            else:
                place = _take(line, export)
                if place <= last:
                    raise Broken("it is out of its order")
                last = place
        except Broken as err:
            raise Broken(f"{path}, line {number}: {err}; nothing of it was taken") from err
        yield line, export
    if export is None:
        _is_no_export(path)
    _must_be_complete(export, path)


def _head(line: bytes, keys: Sequence[Key], path: Path) -> Export:
    match _object(line):
        case {
            "trueseed": str(form),
            "log": str(log),
            "key": str(text),
            "terms": int(terms),
            "seals": int(seals),
            "answers": int(answers),
            **rest,
        } if not rest and form == FORMAT and min(terms, seals, answers) >= 0:
            head = Head(log=log, key=text, terms=terms, seals=seals, answers=answers)
        case {"trueseed": str(form)} if form != FORMAT:
            raise ConfigError(f"{path} is of the form {form!r}, this TrueSeed reads {FORMAT!r}; upgrade it")
        case _:
            _is_no_export(path)
    operator = next((key for key in keys if key.role == "operator" and key.name == head.log), None)
    if operator is None:
        raise ConfigError(
            f"{path} comes from log {head.log!r}, whose operator's key is not among those that you trust (--key); ask "
            f"the operator for it, and do not take it from the file"
        )
    return Export(head=head, operator=operator)


def _is_no_export(path: Path) -> NoReturn:
    raise ConfigError(f"{path} is not what `trueseed cache export` writes; {NO_PROOF}")


def _take(line: bytes, export: Export) -> tuple[int, int, int, str]:
    """Checks a line and notes what it says; its place in the order of an export."""
    match _object(line):
        case {"terms": dict(document), **rest} if not rest:
            return _document(document, export)
        case {"seal": str(proof), **rest} if not rest:
            return _seal(proof, export)
        case {
            "answer": str(answer),
            "seal": int(entry),
            "index": int(index),
            "path": list(path),
            **rest,
        } if not rest and all(isinstance(each, str) for each in path):
            return _answer(answer, (entry, index, path), export)
        case {"answer": _}:
            raise Broken(f"an answer has no proof; {NO_PROOF}")
    raise Broken("it is neither a document, nor a seal, nor an answer")


def _document(value: dict[str, Any], export: Export) -> tuple[int, int, int, str]:
    try:
        document = from_json(value)
        export.terms[document.digest] = document
        if document.to_json() != value:
            raise ValueError("it says more than a terms document does")
    except (ValidationError, ValueError, TypeError, RecursionError) as err:
        raise Broken(f"it is not a terms document ({err})") from err
    return 1, 0, 0, document.digest


def _seal(proof: str, export: Export) -> tuple[int, int, int, str]:
    included = check_inclusion(proof, export.operator)
    open_envelope(included.entry.envelope, [export.operator])
    batch = batch_of(included.entry, "answers") if included.entry.predicate_type == SEAL else None
    if batch is None:
        raise Broken(f"entry {included.entry.index} of {export.head.log} seals no answers of its own")
    export.seals[included.entry.index] = batch
    checkpoint = (included.checkpoint.size, included.checkpoint.root.hex())
    export.checkpoint = max(export.checkpoint, checkpoint)
    return 2, included.entry.index, 0, ""


def _answer(line: str, way: tuple[int, int, list[str]], export: Export) -> tuple[int, int, int, str]:
    entry, index, path = way
    batch = export.seals.get(entry)
    if batch is None:
        raise Broken(f"the answer is to be in entry {entry}, which is not among the seals")
    try:
        if len(path) > LONGEST_PATH:
            raise ValueError(f"more than {LONGEST_PATH} hashes")
        hashes = tuple(decode(each) for each in path)
        proof = LineProof(line=line, index=index, size=batch.count, path=hashes, entry=entry)
        if not proof.verifies(batch.root):
            raise ValueError(f"its proof does not lead to the root that entry {entry} seals")
        kept = Kept.parse(line)
    except ValueError as err:
        raise Broken(f"the answer is not as it was sealed: {err}; {NO_PROOF}") from err
    document = export.terms.get(kept.terms)
    if document is None or not document.governs(kept.source):
        raise Broken(f"the terms of {kept.source!r} on {kept.asked_on} (digest {kept.terms}) did not come along")
    if kept.answer.finish == "skipped":
        raise Broken("it is a question that was left out, not an answer")
    export.used |= {entry, kept.terms}
    export.sources[kept.source] = export.sources.get(kept.source, 0) + 1
    return 3, entry, index, ""


def _must_be_complete(export: Export, path: Path) -> None:
    head = export.head
    found: Mapping[str, int] = {
        "terms": len(export.terms),
        "seals": len(export.seals),
        "answers": sum(export.sources.values()),
    }
    for name, n in found.items():
        if n != getattr(head, name):
            raise Broken(f"{path} is to hold {getattr(head, name)} {name}, and holds {n}; nothing of it was taken")
    if export.used != {*export.terms, *export.seals}:
        raise Broken(f"{path} holds documents or seals that none of its answers needs; nothing of it was taken")
    if not head.answers:
        raise Broken(f"{path} holds no answers")


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise Broken(f"it is not JSON ({err})") from err
    return value if isinstance(value, dict) else {}


def _lines(path: Path) -> Iterator[bytes]:
    """Without their ends. Raises `Broken` for a line that is too long or has no end, `ConfigError`."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LONGEST_LINE):
                number += 1
                if not line.endswith(b"\n"):
                    what = "is longer than any answer" if len(line) == LONGEST_LINE else "is cut off"
                    raise Broken(f"{path}, line {number} {what}; nothing of it was taken")
                yield line[:-1]
    except OSError as err:
        raise ConfigError(f"{path} cannot be read: {err.strerror}; give a file that `cache export` wrote") from err
