"""What is held out from training, read out of artifacts, and the records that are the same or nearly so.

    held = HeldOut.of([task, frozen_sets, outputs])
    held.leaks(record)                 # the samples that a record is, or nearly is
    for record in learned_from(dataset): ...

Artifacts never change, so what was read out of one is kept by its digest.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Message
from trueseed.core.records import PARTS, Record, read_parquet
from trueseed.similarity.leaks import Leak, Leaks, Said, Sample, words_of

# Members of a row that are asked; all else that is long enough to be anybody's own is what would be right.
ASKED = frozenset({"prompt", "question", "text", "problem", "query", "goal", "ctx", "instruction", "passage"})
LEFT_OUT = "left_out"  # in what curation says of itself: digests of all that it compared with
KEPT = 64  # artifacts whose samples stay in memory


@dataclass(frozen=True)
class HeldOut:
    """artifacts: that are held out and hold samples, by digest."""

    artifacts: tuple[Artifact, ...]

    @classmethod
    def of(cls, artifacts: Iterable[Artifact]) -> "HeldOut":
        return cls(tuple(sorted((each for each in artifacts if samples_of(each)), key=lambda each: each.digest)))

    @property
    def digests(self) -> list[str]:
        return [each.digest for each in self.artifacts]

    def leaks(self, record: Record) -> list[tuple[Artifact, Leak]]:
        """The samples that the record is, or nearly is."""
        texts = [(part, words_of(text)) for part, text in said(record)]
        return [(each, leak) for each in self.artifacts for leak in _index(_Keyed(each)).found_in(texts)]


def said(record: Record) -> Iterator[Said]:
    """Every text of a record, and its question without what was asked of its form."""
    if isinstance(bare := record.task.get("prompt"), str):
        yield "prompt", bare
    yield from said_in(record.messages)


def said_in(messages: Iterable[Message]) -> Iterator[Said]:
    """Every text of a chat."""
    for message in messages:
        yield "answer" if message.role == "assistant" else "prompt", message.content


def learned_from(artifact: Artifact) -> Iterator[Record]:
    """The records of an artifact that a model learns from: not those that curation dropped."""
    for part in PARTS.get(artifact.kind, ()):
        if (path := artifact.path(f"{part}.parquet")).is_file():
            yield from read_parquet(path)


def samples_of(artifact: Artifact) -> tuple[Sample, ...]:
    """Of a task, of frozen sets, of prompts, or of a model's recorded answers."""
    return _samples(_Keyed(artifact))


class _Keyed:
    """An artifact by its digest, which says what is in it."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    def __hash__(self) -> int:
        return hash(self.artifact.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and other.artifact.digest == self.artifact.digest


@lru_cache(maxsize=KEPT)
def _samples(keyed: _Keyed) -> tuple[Sample, ...]:
    artifact = keyed.artifact
    if artifact.kind in PARTS:
        return tuple(_recorded(record) for record in learned_from(artifact))
    rows = (
        (f"{path.stem}:{number}", json.loads(line))
        for path in sorted(artifact.folder.rglob("*.jsonl"))
        for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        if line.startswith(b"{")
    )
    return tuple(sample for name, row in rows if (sample := sample_of(name, row)).prompts)


@lru_cache(maxsize=KEPT)
def _index(keyed: _Keyed) -> Leaks:
    """Of each artifact its own, since its own wording is told by how many of its samples share it."""
    return Leaks(_samples(keyed), runs=False)


def _recorded(record: Record) -> Sample:
    texts = list(said(record))
    parts = ([text for part, text in texts if part == wanted] for wanted in ("prompt", "answer"))
    return Sample(str(record.task.get("id", record.id)), *map(tuple, parts))


def sample_of(name: str, row: Mapping[str, Any]) -> Sample:
    """A row of a task has the question, the file's own row beside it, and perhaps an id; of others the question is all
    there is. A question in its template is asked in two wordings. Rows of lm-evaluation-harness have no question beside
    them: where no member is one by its name, the longest of the strings is.
    """
    own = row["row"] if isinstance(row.get("row"), dict) else {}
    whole = row.get("prompt")
    if not isinstance(whole, str):
        named = own.keys() & ASKED
        whole = "" if named and not whole else max(_strings(whole or own), key=len, default="")
    asked = [whole, *(text for key, text in own.items() if key in ASKED)]
    answers = (text for key, value in own.items() if key not in ASKED for text in _strings(value))
    prompts = dict.fromkeys(text for text in asked if isinstance(text, str) and text.strip())
    return Sample(str(row.get("id", name)), tuple(prompts), tuple(dict.fromkeys(answers)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, Sequence):
        for each in value:
            yield from _strings(each)
