"""What a workspace's cache holds, in numbers: read off the files when somebody asks."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trueseed.errors import Broken
from trueseed.ledger.batches import lines
from trueseed.teachers.answers.cache import CACHE, Seals
from trueseed.teachers.answers.kept import Kept
from trueseed.teachers.answers.shelf import parse
from trueseed.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Answers that are alike. document: id of the terms, or their digest where they are not kept here. first, last: the
    days on which they were asked. log: of the ledger they were imported from, '' for what was asked here.
    """

    source: str
    use: str
    document: str
    terms: str
    first: str
    last: str
    answers: int
    bytes: int
    log: str
    sealed: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def of(workspace: Workspace) -> list[Holding]:
    """By source, use, terms and ledger. Raises `Broken` when a file holds what is no answer."""
    folder = workspace.folder / CACHE
    seals = Seals(workspace.ledger, folder)
    found: dict[tuple[str, str, str, str, bool], _Tally] = {}
    for path in sorted(folder.glob("*.jsonl")):
        log, sealed = seals.log(path.stem), bool(seals[path.stem])
        for kept, size in _answers(path):
            key = (kept.source, kept.use.value, kept.terms, log, sealed)
            found.setdefault(key, _Tally()).add(kept.asked_at[:10], size)
    return [_holding(key, tally, workspace) for key, tally in sorted(found.items(), key=lambda pair: pair[0])]


@dataclass(slots=True)
class _Tally:
    first: str = "9999-12-31"
    last: str = ""
    answers: int = 0
    bytes: int = 0

    def add(self, day: str, size: int) -> None:
        self.first, self.last = min(self.first, day), max(self.last, day)
        self.answers, self.bytes = self.answers + 1, self.bytes + size


def _answers(path: Path) -> Iterator[tuple[Kept, int]]:
    for number, line in enumerate(lines(path), start=1):
        try:
            kept = parse(path.stem, line)
        except ValueError as err:
            raise Broken(f"{path}, line {number} is not an answer ({err}); restore or delete the file") from err
        if kept:
            yield kept, len(line) + 1


def _holding(key: tuple[str, str, str, str, bool], tally: _Tally, workspace: Workspace) -> Holding:
    source, use, terms, log, sealed = key
    document = workspace.catalog.by_digest(terms)
    return Holding(
        source=source,
        use=use,
        document=document.id if document else terms,
        terms=terms,
        log=log,
        sealed=sealed,
        **asdict(tally),
    )
