"""What this user holds or was told, so that it is known again in a file: answers that the gateway relayed, answers in
the caches, and the records of every artifact, of all workspaces that were opened under this user's state.

    with Known(workspace) as known:
        known.find(text)         # Finding(labels=…, words="an answer of 'deepseek/…' (asked to …)", …)

A text that we hold carries the labels of everything here that holds it. The fingerprints of caches and artifacts are
kept in `known.sqlite` beside each ledger, which is brought up to date first and may be deleted at any time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trueseed.core.artifacts import Artifact
from trueseed.core.chat import Message
from trueseed.core.durable import state_folder
from trueseed.core.records import read_parquet
from trueseed.ledger.batches import lines
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.remembered import places
from trueseed.similarity.fingerprint import bare
from trueseed.similarity.remembered import ANSWERS, AT_LEAST_WORDS, Mark, Remembered, Sketch, seal, sketch
from trueseed.teachers.answers.cache import CACHE
from trueseed.teachers.answers.shelf import parse
from trueseed.terms.model import Label, Relation
from trueseed.workspace import FLAGS, Workspace

KNOWN = "known.sqlite"  # file in a workspace
AT_ONCE = 1000  # answers in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """mark: of the answer that was recognised. labels: of everything that holds it. held: what of the workspace itself
    holds it. flags: what those declare of themselves. words: for people.
    """

    mark: Mark
    labels: frozenset[Label]
    held: tuple[Artifact, ...]
    flags: frozenset[str]
    words: str


class Known:
    """Raises `ConfigError` or `Broken` when one of the workspaces cannot be read: what is not known is not waved
    through. A folder that is gone is passed over. workspace: the one at hand; None when it is still to be made. file,
    source: digest and declared source of what is imported; what came of it when it was imported so before says nothing
    of where it comes from.
    """

    def __init__(self, workspace: Workspace | None, file: str, source: str) -> None:
        here = [workspace] if workspace else []
        known = {each.folder.resolve() for each in here}
        other = [path.parent for path in places(state_folder()) if path.parent not in known]
        there = [Workspace.open(path) for path in other if (path / "format").exists()]
        self._places = [_Place(each, file, source) for each in (*here, *there)]

    def find(self, messages: Sequence[Message]) -> list[Finding]:
        """Every message that is recognised, and the chat as a whole where its answer is short."""
        texts = [message.content for message in messages if _is_someones(message.content)]
        if not _is_someones(messages[-1].content):
            texts.append(_whole(messages))
        return [finding for place in self._places for text in texts if (finding := place.find(text))]

    def workspaces(self) -> list[Workspace]:
        """Those that labels may come from, whose terms documents tell what the labels mean."""
        return [place.workspace for place in self._places]

    def __enter__(self) -> "Known":
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._places:
            place.close()


class _Place:
    """One workspace."""

    def __init__(self, workspace: Workspace, file: str, source: str) -> None:
        self.workspace = workspace
        self._lineage = Lineage.read(workspace.ledger)
        self._artifacts = {str(each): each for each in workspace.store.all() if self._is_made(each)}
        self._after = _made_of((file, source), self._artifacts.values(), self._lineage)
        self._known = [_brought_up_to_date(workspace, self._artifacts)]
        if (workspace.folder / ANSWERS).exists():
            self._known.append(Remembered(workspace.folder / ANSWERS))

    def _is_made(self, artifact: Artifact) -> bool:
        return artifact.kind in ("records", "dataset") and self._lineage.maker(artifact.digest) is not None

    def find(self, text: str) -> Finding | None:
        found = [recognised for known in self._known if (recognised := known.recognise(text))]
        marks = [mark for recognised in found for mark in recognised.marks if self._counts(mark)]
        if not marks:
            return None
        held = tuple(self._artifacts[each] for each in dict.fromkeys(mark.held for mark in marks if mark.held))
        labels = {Label(source=mark.source, relation=Relation.OUTPUT, terms=mark.terms) for mark in marks}
        for artifact in held:
            labels |= self.workspace.labels(artifact)
        best = marks[0]
        kept = max(recognised.kept for recognised in found)
        return Finding(
            mark=best,
            labels=frozenset(labels),
            held=held,
            flags=frozenset(flag for flag in FLAGS if any(each.meta.get(flag) for each in held)),
            words=f"holds {kept:.0%} of an answer of {best.source!r} ({best.about})",
        )

    def _counts(self, mark: Mark) -> bool:
        return not mark.held or (mark.held in self._artifacts and mark.held not in self._after)

    def close(self) -> None:
        for known in self._known:
            known.close()


def _made_of(file: tuple[str, str], artifacts: Iterable[Artifact], lineage: Lineage) -> frozenset[str]:
    """What was imported from the very same bytes under the same source before, and all that was made of it."""
    held = {artifact.digest: str(artifact) for artifact in artifacts}
    after: set[str] = set()
    for digest in held:
        maker = lineage.maker(digest)
        said = maker.predicate["config"] if maker and maker.predicate["step"] == "import" else {}
        if (said.get("digest"), said.get("source")) == file:
            after |= {digest, *lineage.downstream(digest)}
    return frozenset(held[digest] for digest in after if digest in held)


def _brought_up_to_date(workspace: Workspace, artifacts: dict[str, Artifact]) -> Remembered:
    known = Remembered(workspace.folder / KNOWN)
    (workspace.folder / KNOWN).chmod(0o600)
    taken = known.taken()
    for path in sorted((workspace.folder / CACHE).glob("*.jsonl")):
        _take(known, f"cache/{path.name}", taken, _cached(path))
    for reference, artifact in artifacts.items():
        if artifact.digest not in taken:
            _take(known, artifact.digest, taken, _held(reference, artifact))
    return known


def _take(known: Remembered, name: str, taken: dict[str, int], sketches: Iterator[Sketch | None]) -> None:
    """Takes in what came since the last time, some at once, so that a kill loses little."""
    until = taken.get(name, 0)
    rest = islice(sketches, until, None)
    while some := list(islice(rest, AT_ONCE)):
        until += len(some)
        known.keep(some, taken=(name, until))
    if name not in taken and not until:
        known.keep([], taken=(name, 0))


def _cached(path: Path) -> Iterator[Sketch | None]:
    for line in lines(path):
        kept = parse(path.stem, line)
        if kept is None:
            yield None
            continue
        about = f"asked to {kept.use.value} on {kept.asked_at[:10]}"
        yield sketch(kept.answer.text, Mark(source=kept.source, terms=kept.terms, about=about))


def _held(reference: str, artifact: Artifact) -> Iterator[Sketch | None]:
    for path in sorted(artifact.folder.glob("*.parquet")):
        for record in read_parquet(path):
            origin = record.origin
            mark = Mark(
                source=origin.source,
                terms=origin.terms,
                held=reference,
                record=record.id,
                about=f"record {record.id[:12]} of {reference}",
            )
            for message in record.messages:
                if message.role == "assistant":
                    yield sketch(message.content, mark)
            if not _is_someones(record.answer):
                yield seal(_whole(record.messages), mark)


def _is_someones(text: str) -> bool:
    return len(bare(text).split()) >= AT_LEAST_WORDS


def _whole(messages: Sequence[Message]) -> str:
    return "\n".join(message.content for message in messages)
