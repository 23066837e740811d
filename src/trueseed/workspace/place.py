"""What a workspace holds and knows, whoever is at its door: ledger, store, terms, what was declared and what recalled,
which labels an artifact carries, what is held out from training. Folder layout (`work/` by default):

    format   ledger/   store/   terms/   cache/   calls/   steps/<fingerprint>/{lock, checkpoints}   report.json, .html
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Self

from trueseed.core.artifacts import Artifact, Store
from trueseed.core.canonical import now
from trueseed.core.durable import state_folder, write_atomic
from trueseed.errors import Broken, ConfigError, Refused
from trueseed.ledger.lineage import Lineage
from trueseed.ledger.log import Ledger
from trueseed.ledger.permitted import relied_on
from trueseed.ledger.reading import Reading
from trueseed.ledger.statement import DECLARATION
from trueseed.ledger.withdrawals import Asking, Passing, Recalls
from trueseed.retained import Retained
from trueseed.similarity.held_out import HeldOut, learned_from
from trueseed.terms.catalog import Catalog
from trueseed.terms.model import Facts, Label, Relation, Use

FORMAT = 1
KEPT = "ledger/terms"  # the documents that labels name by digest, as they were when the door relied on them
SHOWN = 3  # records that a refusal names

Progress = Callable[[str, int, int, str, str], None]  # step, done, total, unit, note


def _silent(step: str, done: int, total: int, unit: str, note: str) -> None:
    pass


@dataclass(kw_only=True)
class Place:
    """A folder with a ledger, a store, and the facts its owner declared. Steps are opened in a `Workspace`."""

    folder: Path
    ledger: Ledger
    store: Store
    catalog: Catalog
    report: Progress = field(default=_silent)
    _reading: Reading = field(default_factory=Reading, init=False, repr=False)
    _compared: set[tuple[str, ...]] = field(default_factory=set, init=False, repr=False)  # that repeat nothing held out

    @classmethod
    def open(cls, folder: Path, *, create: bool = False, report: Progress = _silent) -> Self:
        """Opens a workspace. Raises `ConfigError` when there is none here, or one of a newer format."""
        marker = folder / "format"
        if not marker.exists():
            if not create:
                raise ConfigError(f"there is no workspace at {str(folder)!r}; `trueseed run FILE` makes one")
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(marker, f"{FORMAT}\n")
        found = marker.read_text().strip()
        if not found.isdecimal() or int(found) > FORMAT:
            raise ConfigError(
                f"workspace {str(folder)!r} is of format {found!r}, this TrueSeed reads up to {FORMAT}; upgrade it"
            )
        ledger = Ledger.open(folder / "ledger", state=state_folder(), create=create)
        catalog = _catalog(folder, ledger)
        return cls(folder=folder, ledger=ledger, store=Store(folder / "store"), catalog=catalog, report=report)

    @property
    def today(self) -> date:
        """By which terms are read, UTC."""
        return _today()

    def read_terms(self) -> None:
        """Anew, after a document was added, or a reviewer signed a letter."""
        self.catalog = _catalog(self.folder, self.ledger)

    @cached_property
    def retained(self) -> Retained:
        """By which everything here is deleted, or kept while a case or hold is open."""
        return Retained(self.folder, self.ledger)

    # declared facts

    def declare(self, project: str, facts: Facts) -> None:
        """Ledgers what the owner says of project, student and operator, when it differs from what was said last."""
        said = {"project": project, "facts": replace(facts, project=None).to_json()}
        if self.read().declared != said:
            self.ledger.append(DECLARATION, [], {**said, "at": now()})

    def rename_student(self, name: str | None) -> None:
        """Declares that the student goes by `name` from now on, or by none; the terms judge by it."""
        self.declare(self.project, replace(self.facts, student=replace(self.facts.student, name=name)))

    @property
    def project(self) -> str:
        return str((self.read().declared or {"project": ""})["project"])

    @property
    def facts(self) -> Facts:
        said = self.read().declared
        return replace(Facts.from_json(said["facts"]), project=said["project"]) if said else Facts()

    # labels

    def lineage(self) -> Lineage:
        """As of the entries that are known; each is read once. Raises `Broken` when one is not what it was."""
        return self.read().lineage

    def read(self) -> Reading:
        """What the ledger amounts to, as of the entries that are known. Raises as `lineage`."""
        self._reading.catch_up(self.ledger)
        return self._reading

    @property
    def recalls(self) -> Recalls:
        return self.read().recalls

    def labels(self, artifact: Artifact) -> frozenset[Label]:
        """Labels that an artifact carries. Raises `Broken` when no step of this ledger made it."""
        lineage = self.lineage()
        if lineage.maker(artifact.digest) is None:
            raise Broken(
                f"{artifact} was made by no step in the ledger of {str(self.folder)!r}; import it through a step"
            )
        return frozenset(
            Label(source=source, relation=Relation(relation), terms=terms)
            for source, relation, terms in lineage.labels(artifact.digest)
        )

    def look_for_recalls(self, labels: Iterable[Label], passing: Passing | None = None) -> None:
        """Raises `Refused` when a source among the labels was recalled, or a part of one that `passing` would take
        further or ask again.
        """
        self.ledger.refresh()
        named = frozenset((label.source, label.relation.value, label.terms) for label in labels)
        if stop := self.recalls.stop(replace(passing or Passing(), labels=named)):
            raise Refused(
                f"{stop.withdrawal}; {stop.because}. `trueseed recall {stop.withdrawal.source} --dry-run` shows what "
                f"that touches, and `trueseed run FILE --rebuild` runs again from what remains"
            )

    def may_be_asked(self, source: str, uses: Iterable[Use], relation: Relation = Relation.OUTPUT) -> None:
        """Raises `Refused` when a recall forbids asking, or bringing, this source today."""
        document = self.catalog.governing(source, _today())
        terms, project = document.digest if document else "", self.project
        asks = tuple(Asking(source, use.value, terms, project) for use in uses)
        self.look_for_recalls([Label(source=source, relation=relation, terms=terms)], Passing(asks=asks))

    # held out from training

    def held_out(self) -> HeldOut:
        """All that any step here froze for evaluation, as far as it is in the store."""
        lineage = self.lineage()
        frozen = (made for made in lineage.artifacts() if is_held_out(made.digest, lineage))
        here = (made for made in frozen if (self.store.folder / made.kind / made.digest).is_dir())
        return HeldOut.of(self.store.get(f"{made.kind}:{made.digest}") for made in here)

    def must_not_repeat_held_out(self, step: str, inputs: Iterable[Artifact]) -> None:
        """Raises `Refused` when a record among the inputs is a held-out sample, or nearly is (`similarity.leaks`)."""
        held = self.held_out()
        for artifact in inputs if held.artifacts else ():
            known = (artifact.digest, *held.digests)
            if known in self._compared or not (found := _repeated(artifact, held)):
                self._compared.add(known)
                continue
            shown = "; ".join(found[:SHOWN]) + (f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
            raise Refused(
                f"step {step!r}: {len(found)} of the records of {artifact} are held-out samples, or nearly are, and no "
                f"score on these would be worth anything: {shown}. Give `trueseed run` again, whose curation leaves "
                f"such records out and counts them; in Python, hand `workspace.held_out()` to `curate`"
            )


def _catalog(folder: Path, ledger: Ledger) -> Catalog:
    """The documents in a workspace, with the letters in use that a reviewer signed."""
    catalog = Catalog.load(folder / "terms", folder / KEPT)
    return catalog.relying_on(relied_on(ledger)) if catalog.has_letters else catalog


def _today() -> date:
    return datetime.now(UTC).date()


def is_held_out(digest: str, lineage: Lineage) -> bool:
    """Whether any step that made it said so."""
    return any(maker.predicate["config"].get("held_out") for maker in lineage.makers(digest))


def _repeated(artifact: Artifact, held: HeldOut) -> list[str]:
    """Each record that is, or nearly is, held out, in words."""
    return [
        f"record {record.id[:12]} is {'nearly ' if leak.how == 'near' else ''}sample {leak.sample!r} of "
        f"{of.meta.get('task', of)} ({leak.where} like {leak.part})"
        for record in learned_from(artifact)
        for of, leak in held.leaks(record)[:1]
    ]
