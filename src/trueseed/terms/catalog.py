"""The documents we know, shipped and the workspace's own, and which of them governed a source on a day.

    catalog = Catalog.load(extra=Path("terms"))
    catalog.governing("mistral/mistral-large@api", date(2024, 2, 20))

A document is one TOML file anywhere under `src/trueseed/catalog/`, or under the folder given as `extra`. An operator's
document with the id of a shipped one takes its place and carries `reading = "operator"` from then on; any other is a
contract of the operator's own, and carries `reading = "contract"`.

A provider's written permission (`letter`) governs nothing by itself. It binds once a reviewer relied on it by a signed
statement: whoever reads those gives the catalog the digests (`relying_on`).

Labels name documents by digest, so a document that was relied on is kept (`keep`) as it was then: a later edit of the
catalogue makes a new digest and leaves the old labels judged by what they were asked under.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from trueseed.core.canonical import canonical
from trueseed.core.durable import write_atomic
from trueseed.errors import Broken, ConfigError
from trueseed.terms.binding import bound, general_not_known
from trueseed.terms.files import ADAPTER
from trueseed.terms.files import read as read_file
from trueseed.terms.model import Document, Reading, parse_source

SHIPPED = Path(__file__).parent.parent / "catalog"


@dataclass(frozen=True)
class Catalog:
    """Every document known, with the documents each incorporates resolved. kept: known by digest only. folder: where
    more of those may come to lie. relied_on: digests of the letters that a reviewer signed. replaced: shipped documents
    in whose place the operator put one; what that does not govern, they still do.
    """

    documents: tuple[Document, ...]
    kept: tuple[Document, ...] = ()
    folder: Path | None = None
    relied_on: frozenset[str] = frozenset()
    replaced: tuple[Document, ...] = ()
    _bound: dict[str, Document] = field(default_factory=dict, repr=False, compare=False)  # put together, by digest

    @classmethod
    def load(cls, extra: Path | None = None, kept: Path | None = None) -> "Catalog":
        """Reads the shipped documents, those in folder `extra`, and those kept in folder `kept` (both may be absent).

        Raises `ConfigError` naming the file and the key when a document is malformed, `Broken` when a kept one is not
        what its name says.
        """
        read, replaced = {**_shipped()}, tuple[Document, ...]()
        if extra is not None:
            theirs = _read_folder(extra)
            replaced = tuple(_with_companions(read[identity], read) for identity in sorted(read.keys() & theirs.keys()))
            read |= {each.id: replace(each, reading=_reading(each, each.id in read)) for each in theirs.values()}
        documents = tuple(_with_companions(read[identity], read) for identity in sorted(read))
        relied = tuple(_read_kept(path) for path in sorted(kept.glob("*.json"))) if kept else ()
        return cls(documents, relied, kept, replaced=replaced)

    @cached_property
    def _by_id(self) -> dict[str, Document]:
        return {document.id: document for document in self.documents}

    @cached_property
    def _by_digest(self) -> dict[str, Document]:
        return {document.digest: document for document in (*self.kept, *self.documents)}

    def document(self, identity: str) -> Document:
        """The document with this id. Raises `ConfigError` naming the nearest ids."""
        if identity not in self._by_id:
            near = difflib.get_close_matches(identity, self._by_id, n=3, cutoff=0.4)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise ConfigError(f"no terms document {identity!r}{hint}; `trueseed terms list` names all")
        return self._by_id[identity]

    def by_digest(self, digest: str) -> Document | None:
        """Raises `Broken` when it is kept in `folder`, and was changed."""
        found = self._by_digest.get(digest) or self._bound.get(digest)
        if found is None and self.folder is not None and digest:
            path = self.folder / f"{digest}.json"  # another process may have relied on it since
            found = _read_kept(path) if path.exists() else None
        return found

    def history(self, source: str, feature: str = "", at: date | None = None) -> tuple[Document, ...]:
        """Every version known to govern `source`, oldest first; of a feature of it, if one is named; with `at`, as it
        counts on that day. Raises `ConfigError` for a malformed source.
        """
        name = str(parse_source(source))
        known = (d for d in (*self.documents, *self._left_of_replaced(name, at)) if d.letter is None)
        texts = (d for d in known if (feature in d.features if feature else d.is_general))
        return tuple(sorted((d for d in texts if d.governs(name)), key=_begins))

    def governing(self, source: str, at: date, features: Sequence[str] = ()) -> Document | None:
        """The version in force for `source` on the day `at`, put together with all that binds besides (`binding`);
        None when nothing is established. features: that the source is asked with.

        An operator's document comes before a shipped one, a pattern that names more of the source before one that
        names less, a later version before an earlier. Raises `ConfigError` when two are equally near.
        """
        letters = tuple(
            each
            for each in self.letters(source)
            if each.digest in self.relied_on and each.in_force(at) and set(each.features) <= {"text", *features}
        )
        found = self._nearest(source, "", at) or (general_not_known(source, letters[0]) if letters else None)
        if found is None:
            return None
        whole = bound(found, source, at, features, lambda each, feature: self._nearest(each, feature, at), letters)
        if whole is not found:
            self._bound[whole.digest] = whole
        return whole

    def letters(self, source: str) -> tuple[Document, ...]:
        """Every written permission for `source`, whether a reviewer relied on it or not."""
        return tuple(each for each in self._letters if each.governs(source))

    @cached_property
    def _letters(self) -> tuple[Document, ...]:
        return tuple(each for each in self.documents if each.letter is not None)

    @property
    def has_letters(self) -> bool:
        """Whether anything known rests on a letter, so that it matters which ones a reviewer signed."""
        return bool(self._letters) or any(each.letters for each in self.kept)

    def signed(self, document: Document) -> Document:
        """Without the letters that no reviewer of this ledger signed."""
        signed = tuple(each for each in document.letters if each.digest in self.relied_on)
        return document if signed == document.letters else replace(document, letters=signed)

    def relying_on(self, digests: Iterable[str]) -> "Catalog":
        """The same, with the letters that these digests name in use."""
        return replace(self, relied_on=frozenset(digests))

    def later_for(self, source: str, document: Document, by: date | None) -> tuple[Document, ...]:
        """Versions that came into force after `document`, at most on the day `by` (None: ever), and say of themselves
        that they bind earlier answers too.
        """
        left = (each for each in self._left_of_replaced(source) if each.binds_earlier and each.is_general)
        return tuple(
            each
            for each in (*self._reaching_back, *left)
            if each.governs(source) and _begins(document) < _begins(each) and (by is None or _begins(each) <= by)
        )

    @cached_property
    def _reaching_back(self) -> tuple[Document, ...]:
        bound = {each.id for each in self.replaced if each.binds_earlier}  # though what took its place says otherwise
        return tuple(each for each in self.documents if (each.binds_earlier or each.id in bound) and each.is_general)

    def _left_of_replaced(self, source: str, at: date | None = None) -> tuple[Document, ...]:
        """Shipped documents that govern `source`, and in whose place the operator put one that does not, or not then.
        Else an override of a strict text that is about nothing would leave its sources to a laxer one.
        """

        def stands_in(theirs: Document, shipped: Document) -> bool:
            same = theirs.is_general or not shipped.is_general
            return same and theirs.governs(source) and (at is None or theirs.in_force(at))

        return tuple(d for d in self.replaced if d.governs(source) and not stands_in(self._by_id[d.id], d))

    def _nearest(self, source: str, feature: str, at: date) -> Document | None:
        def nearness(document: Document) -> tuple[bool, int, date]:
            return document.reading != "shipped", document.closeness(source), _begins(document)

        found = sorted((d for d in self.history(source, feature, at) if d.in_force(at)), key=nearness, reverse=True)
        if not found:
            return None
        _, nearest = next(groupby(found, key=nearness))
        first, *others = nearest
        if others:
            names = ", ".join(document.id for document in (first, *others))
            raise ConfigError(f"{names} all govern {source!r} on {at}; give all but one an `effective_until` before it")
        return first

    def sources(self) -> tuple[str, ...]:
        """Every source pattern that some document governs."""
        return tuple(sorted({pattern for document in self.documents for pattern in document.sources}))

    @cached_property
    def features(self) -> frozenset[str]:
        """Every feature that some document is about."""
        return frozenset(feature for document in self.documents for feature in document.features)

    def upstream(self, source: str) -> tuple[str, ...]:
        """What `source` is declared to have learned from, in plain words: the same model on whatever route."""
        return tuple(
            dict.fromkeys(up.teacher for document in self.documents for up in document.upstream if up.is_of(source))
        )


def from_json(value: dict[str, Any]) -> Document:
    """The document that `Document.to_json` made. Raises `pydantic.ValidationError` for anything else."""
    document: Document = ADAPTER.validate_python(value)
    return document


def keep(document: Document, folder: Path) -> Path:
    """Writes `document` as it is now to `folder/<digest>.json`, once; `Catalog.load(kept=folder)` finds it again."""
    path = folder / f"{document.digest}.json"
    if not path.exists():
        write_atomic(path, canonical(document.to_json()))
    return path


def _read_kept(path: Path) -> Document:
    try:
        document = from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError) as err:
        raise Broken(f"the kept terms document {path} cannot be read ({err}); restore it") from err
    if document.digest != path.stem:
        raise Broken(f"the kept terms document {path} was changed; it hashes to {document.digest}, not {path.stem}")
    return document


@cache
def _shipped() -> Mapping[str, Document]:
    """Read once a process: they come with the code, and every workspace that is opened needs them all."""
    return _read_folder(SHIPPED)


def _read_folder(folder: Path) -> dict[str, Document]:
    read: dict[str, Document] = {}
    for path in sorted(folder.rglob("*.toml")):
        document = read_file(path)
        if document.id in read:
            raise ConfigError(f"{path}: a second document with id {document.id!r}; rename one")
        read[document.id] = document
    return read


def _reading(document: Document, is_shipped: bool) -> Reading:
    if document.letter is not None and is_shipped:
        raise ConfigError(f"the letter {document.id!r} has the id of a shipped document, whose place it cannot take")
    return "operator" if is_shipped else "contract"


def _with_companions(document: Document, read: Mapping[str, Document]) -> Document:
    missing = [identity for identity in document.incorporates if identity not in read]
    if missing:
        raise ConfigError(f"terms document {document.id!r} incorporates {missing[0]!r}, which is not in the catalog")
    if not document.incorporates:
        return document
    return replace(document, companions=tuple(read[identity] for identity in document.incorporates))


def _begins(document: Document) -> date:
    return document.effective_from if isinstance(document.effective_from, date) else date.min
