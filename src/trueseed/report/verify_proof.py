"""Is a proof whole, and does what it says follow from the documents in it?

`trueseed verify proof.zip --key KEY` needs the zip and a public key, nothing else. Findings are what is broken; notes,
what could not be established.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trueseed.core.canonical import canonical, sha256
from trueseed.core.durable import state_folder
from trueseed.core.plural import many
from trueseed.errors import Broken, ConfigError
from trueseed.ledger import outside
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.identity import Identity
from trueseed.ledger.lineage import Lineage, made_by
from trueseed.ledger.log import CHECKPOINT, KEYS, Entry
from trueseed.ledger.packed import unpack
from trueseed.ledger.permitted import relied_on
from trueseed.ledger.proof import check_consistency, check_inclusion
from trueseed.ledger.signing import Key, load, open_note
from trueseed.ledger.statement import DECLARATION, KEY_CHANGE, STEP, open_envelope, parse_canonical, roles
from trueseed.ledger.steps import faults
from trueseed.ledger.succession import SUCCESSION, Succession
from trueseed.ledger.trust import Trust
from trueseed.ledger.withdrawals import taken_out
from trueseed.report import reach, verify_records
from trueseed.report.proof import HEADER, terms_named
from trueseed.terms.catalog import Catalog, from_json
from trueseed.terms.model import Document, Facts
from trueseed.terms.rederive import Found, rederive_step
from trueseed.terms.rules import RULES_VERSION


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A proof that was read. subject: `kind:digest`. statements of entries are in it. verdicts were derived again, of
    which `differs` come out otherwise under the rules of this version.
    """

    subject: str
    origin: str
    statements: int
    entries: int
    verdicts: int
    findings: tuple[str, ...]
    differs: tuple[str, ...]
    notes: tuple[str, ...]
    evidence: tuple[str, ...]

    @property
    def broken(self) -> bool:
        return bool(self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": "broken" if self.broken else "whole",
            "subject": self.subject,
            "origin": self.origin,
            "statements": self.statements,
            "entries": self.entries,
            "verdicts": self.verdicts,
            "findings": list(self.findings),
            "differs": list(self.differs),
            "notes": list(self.notes),
            "evidence": list(self.evidence),
        }

    def lines(self) -> list[str]:
        head = "BROKEN" if self.broken else "whole"
        told = [
            f"{head}: a proof of {self.subject}: {self.statements} of {self.entries} statements of {self.origin}, "
            f"{many(self.verdicts, 'verdict')} derived again"
        ]
        told += [f"  compared with: {text}" for text in self.evidence]
        told += [f"  broken: {text}" for text in self.findings]
        told += [f"  differs: {text}" for text in self.differs]
        return told + [f"  note: {text}" for text in self.notes]


def proof(file: Path, keys: Sequence[Key], *, since: Path | None = None, authorities: Sequence[Path] = ()) -> Proof:
    """keys: the operator's, and those of witnesses to believe. since: a checkpoint of the log that was kept elsewhere.
    authorities: files with root certificates of time-stamping authorities.

    Raises `ConfigError` when it is no proof, cannot be read, is of a newer format, or no key is the operator's;
    `Broken` when it is damaged so far that nothing can be said of it.
    """
    trust = Trust.of(state_folder(), keys, authorities)
    try:
        kept = since.read_text() if since else None
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"--since cannot be read: {err}") from err
    try:
        return _Reading(unpack(file), file, trust, kept).run(keys)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as err:
        raise Broken(f"{file}: something that the operator signed is malformed ({err!r})") from err


@dataclass
class _Reading:
    """The findings so far, and what they are about."""

    files: Mapping[str, bytes]
    file: Path
    trust: Trust
    since: str | None = None
    findings: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    verdicts: int = 0
    vouched: bool = False  # by somebody whom the reader trusts, or by the reader's own checkpoint

    def run(self, keys: Sequence[Key]) -> Proof:
        if "manifest" not in self.files or KEYS not in self.files or CHECKPOINT not in self.files:
            raise ConfigError(f"{self.file} is a zip, but no proof; give the file that `trueseed proof` wrote")
        identity = self._identity(keys)
        chain = Succession.read(identity.keys, self.files.get(SUCCESSION, b""))
        checkpoint = Checkpoint.open(self._text(CHECKPOINT), chain)
        subject = self._manifest(chain.operator_at(checkpoint.size))
        self._compare_outside(chain, checkpoint)
        entries = list(self._entries(chain, checkpoint))
        self.notes += [str(change) for change in chain.changes]
        self.findings += faults(entries)
        lineage = self._lineage(entries, subject)
        if lineage is not None:
            self._artifacts(entries, lineage)
            self._completeness(entries)
            self._left_out(entries)
        catalog = self._catalog(entries)
        self._letters(entries)
        if not self.findings:
            self._derive(entries, catalog)
        self._limits(len(entries), checkpoint)
        return Proof(
            subject=subject,
            origin=identity.origin,
            statements=len(entries),
            entries=checkpoint.size,
            verdicts=self.verdicts,
            findings=tuple(self.findings),
            differs=tuple(self.differs),
            notes=tuple(self.notes),
            evidence=tuple(self.evidence),
        )

    # -- the bytes -------------------------------------------------------------------------------------------------

    def _text(self, name: str) -> str:
        try:
            return self.files[name].decode()
        except UnicodeDecodeError as err:
            raise Broken(f"{name} is no UTF-8 text") from err

    def _identity(self, keys: Sequence[Key]) -> Identity:
        identity = Identity.open(self._text(KEYS))
        given = [key for key in keys if key.role == "operator"]
        keys = [key for key in keys if key.role != "witness"]
        own = load("operator", state_folder() / "keys")
        if keys and not given:
            raise ConfigError("the keys given hold no operator's key; ask the operator for it")
        if given:
            if identity.operator not in given:
                raise Broken(f"it was made by {identity.operator}, which is not the key given, {given[0]}")
            self.evidence.append("the operator's key given (--key)")
        elif own and own.public_key == identity.operator.public_key:
            self.evidence.append("the user's own key")
        else:
            self.notes.append(
                f"the signatures were checked with the key that the proof itself names; whose it is is not shown. Ask "
                f"the operator for the key, and give it with --key; here it is {identity.operator}"
            )
        return identity

    def _manifest(self, operator: Key) -> str:
        """What the proof is about. Raises `Broken` unless its files are those that the operator signed."""
        header, origin, subject, *lines = open_note(self._text("manifest"), operator).removesuffix("\n").split("\n")
        if header != HEADER:
            raise ConfigError(f"{self.file} is of another format ({header!r}) than {HEADER}; upgrade trueseed")
        found = [f"{sha256(self.files[name])}  {name}" for name in sorted(self.files) if name != "manifest"]
        if origin != operator.name or lines != found:
            odd = sorted({line.partition("  ")[2] for line in set(lines) ^ set(found)})
            raise Broken(f"its files are not those that its manifest signed: {', '.join(odd[:5]) or 'their order'}")
        return subject

    def _entries(self, chain: Succession, checkpoint: Checkpoint) -> Iterator[Entry]:
        """Each statement, once it is shown to be an entry of the log that the checkpoint describes."""
        changes = {change.index: change.leaf for change in chain.changes}
        for name in sorted(self.files):
            if not name.startswith("statements/"):
                continue
            try:
                shown = check_inclusion(self._text(name), chain)
                entry = shown.entry
                if shown.checkpoint != checkpoint or name != f"statements/{entry.index:08d}.tlog-proof":
                    raise Broken("it is under another checkpoint, or another name, than it says")
                keys = chain.keys_at(entry.index)
                open_envelope(parse_canonical(entry.leaf), keys)
                role = next(key.role for key in keys if key.key_id == entry.key_id)
                if role not in roles(entry.predicate_type):
                    raise Broken(f"the {role} signed it, who may not sign a {entry.predicate_type} statement")
                if (entry.predicate_type == KEY_CHANGE) != (entry.index in changes) or (
                    changes.get(entry.index, entry.leaf) != entry.leaf
                ):
                    raise Broken(f"file {SUCCESSION!r} says otherwise which entries changed a key")
                match entry.predicate.get("log"):
                    case {"origin": chain.name, "index": entry.index, "root": str(), **rest} if not rest:
                        yield entry
                    case _:
                        raise Broken("it was written for another place")
            except Broken as err:
                self.findings.append(f"{name}: {err}")
        shown_changes = {name for name in self.files if name.startswith("statements/")}
        for change in chain.changes:
            if f"statements/{change.index:08d}.tlog-proof" not in shown_changes and change.index < checkpoint.size:
                self.findings.append(f"{change}, and it is not shown to be in the log")

    # -- what was kept elsewhere -----------------------------------------------------------------------------------

    def _compare_outside(self, operator: Succession, checkpoint: Checkpoint) -> None:
        """Witnesses, time stamps, and a checkpoint that the reader kept: each is of a log that this one continues."""
        found = list(outside.seen(self.files, operator, self.trust))
        for each in found:
            self.findings += each.findings
            path = self._text(f"{each.place}/consistency")
            try:
                if check_consistency(path, each.note, operator) != checkpoint:
                    raise Broken("it leads to another checkpoint than the proof's")
            except Broken as err:
                self.findings.append(f"{each.place}/consistency: {err}")
                continue
            size = each.checkpoint.size
            self.vouched |= bool(each.by)
            self.evidence += [f"{who}: {size} of {checkpoint.size} entries" for who in each.by]
            self.notes += [f"{size} entries were vouched for by {who} (--key, --tsa)" for who in each.others]
        if self.since is not None:
            self._compare_since(operator, [checkpoint, *(each.checkpoint for each in found)])

    def _compare_since(self, operator: Succession, shown: Sequence[Checkpoint]) -> None:
        kept = Checkpoint.open(self.since or "", operator)
        same = next((each for each in shown if each.size == kept.size), None)
        if same is None:
            self.notes.append(
                f"the checkpoint given (--since) has {kept.size} entries, and none in the proof has so many: nothing "
                f"was compared with it. Ask the operator for a proof at {kept.size} entries, or for the ledger"
            )
        elif same != kept:
            self.findings.append(f"a fork: the checkpoint given (--since) signed other {kept.size} entries")
        else:
            self.vouched = True
            self.evidence.append(f"the checkpoint given (--since), {kept.size} entries")

    def _completeness(self, entries: Sequence[Entry]) -> None:
        """What others counted of our calls."""
        try:
            reached = reach.read(entries)
        except Broken as err:
            self.findings.append(str(err))
        else:
            self.evidence += reached.evidence
            self.notes += reached.notes

    def _left_out(self, entries: Sequence[Entry]) -> None:
        """Whether recalled records were left out shows in the records before and after, which only `verify` reads."""
        for entry in entries:
            if entry.predicate_type == STEP and entry.predicate.get("event") == "done" and taken_out(entry.predicate):
                recalls = ", ".join(map(str, sorted(taken_out(entry.predicate))))
                self.notes.append(
                    f"entry {entry.index} says that it left out what was recalled in entry {recalls}: that it left out "
                    f"all of it is the operator's word here; `trueseed verify` of the workspace reads the records"
                )

    # -- what was made of what -------------------------------------------------------------------------------------

    def _lineage(self, entries: Sequence[Entry], subject: str) -> Lineage | None:
        try:
            lineage = Lineage.read(entries)
        except Broken as err:
            self.findings.append(str(err))
            return None
        if subject not in {f"{each.kind}:{each.digest}" for each in lineage.artifacts()}:
            self.findings.append(f"no statement in it made {subject}")
        return lineage

    def _artifacts(self, entries: Sequence[Entry], lineage: Lineage) -> None:
        """Manifests and files are those of artifacts that the statements name."""
        try:
            named = {
                f"artifacts/{each.kind}-{each.digest}": each.digest
                for entry in entries
                if entry.predicate_type == STEP
                for side in ("inputs", "outputs")
                for each in made_by(entry.predicate, side)
            }
        except (KeyError, TypeError, AttributeError):
            return  # `faults` says so
        listed: dict[str, str] = {}
        for place, digest in named.items():
            data = self.files.get(f"{place}.json")
            if data is None:
                self.notes.append(
                    f"{place[10:80]} was not in the workspace: its digest stands, its parts are not shown"
                )
                continue
            if sha256(data) != digest:
                self.findings.append(f"{place}.json is not the manifest with that digest")
                continue
            manifest = json.loads(data)
            listed |= {f"{place}/{each['path']}": each["sha256"] for each in manifest["files"]}
            inside = {n.removeprefix(f"{place}/"): d for n, d in self.files.items() if n.startswith(f"{place}/")}
            if inside:
                sources = {source for source, _, _ in lineage.labels(digest)}
                for fault in verify_records.faults(manifest, inside, sources):
                    self.findings.append(f"{place[10:80]}: {fault}")
        texts = [name for name in self.files if name.startswith("artifacts/") and name.count("/") > 1]
        for name in texts:
            if listed.get(name) != sha256(self.files[name]):
                self.findings.append(f"{name} is not the file that its artifact's manifest names")
        if not texts:
            self.notes.append("the records themselves are not in it: their digests and Merkle roots are")

    # -- what the terms say ----------------------------------------------------------------------------------------

    def _catalog(self, entries: Sequence[Entry]) -> Catalog:
        """The documents inside, compared with those that this version ships."""
        documents = []
        for name in sorted(self.files):
            if name.startswith("terms/"):
                try:
                    document = from_json(json.loads(self.files[name]))
                    if name != f"terms/{document.digest}.json" or canonical(document.to_json()) != self.files[name]:
                        raise ValueError("it is not the document with that digest")
                except (ValueError, TypeError, RecursionError, ValidationError) as err:
                    self.findings.append(f"{name}: {err}")
                else:
                    documents.append(document)
        known = {document.digest for document in documents}
        for digest in sorted({digest for entry in entries for digest in terms_named(entry)} - known):
            self.findings.append(f"the terms document {digest} that a statement names is missing")
        self._compare(documents)
        return Catalog((), tuple(documents))

    def _compare(self, documents: Sequence[Document]) -> None:
        shipped = {document.id: _alone(document).digest for document in Catalog.load().documents}
        own = {(text.id, text.whose, text.document) for document in documents for text in document.texts if text.whose}
        self.notes += [f"{identity} is {whose}: {title}" for identity, whose, title in sorted(own)]
        said = {(text.id, _alone(text).digest) for document in documents for text in document.texts if not text.whose}
        for identity, digest in sorted(said):
            if identity not in shipped:
                self.notes.append(f"{identity} is not in the catalog that this version ships")
            elif shipped[identity] != digest:
                self.notes.append(f"{identity} reads otherwise in the catalog that this version ships")
        same = sum(shipped.get(identity) == digest for identity, digest in said)
        self.evidence.append(f"the catalog of this version: {same} of {len(said)} texts are the same")

    def _letters(self, entries: Sequence[Entry]) -> None:
        """Written permissions that the reviewer signed: a letter itself is not in a proof, its digest is."""
        try:
            signed = relied_on(entries).values()
        except Broken as err:
            self.findings.append(str(err))
            return
        self.notes += [f"the reviewer relied on {each}; ask the operator for the letter itself" for each in signed]

    def _derive(self, entries: Sequence[Entry], catalog: Catalog) -> None:
        """Every recorded verdict, derived again from the documents inside, and from the facts and the day by which the
        door judged when the step opened.
        """
        facts = Facts()
        signed = relied_on(entries)
        opened: dict[tuple[str, str], tuple[Facts, date]] = {}
        for entry in entries:
            said = entry.predicate
            try:
                if entry.predicate_type == DECLARATION:
                    facts = replace(Facts.from_json(said["facts"]), project=said["project"])
                elif entry.predicate_type == STEP:
                    step = said["run"], said["step"]
                    if said["event"] == "opened":
                        opened[step] = facts, self._day(entry)
                    then, day = opened.get(step, (facts, self._day(entry)))
                    dated = {**said, "judged_on": day.isoformat()}  # older closings say only when they were written
                    before = {terms for terms, each in signed.items() if each.entry < entry.index}
                    self._judge(entry, rederive_step(dated, catalog.kept, then, before))
            except (KeyError, TypeError, ValueError, AttributeError) as err:
                self.notes.append(f"entry {entry.index}: its verdicts cannot be derived again ({err!r})")

    def _day(self, entry: Entry) -> date:
        """By whose terms a step was judged: on which it opened, or the day before when midnight was in between."""
        said = entry.predicate
        wrote = date.fromisoformat(said["at"][:10])
        judged = date.fromisoformat(said.get("judged_on", said["at"][:10]))
        if said["event"] == "opened" and not timedelta(0) <= wrote - judged <= timedelta(1):
            self.findings.append(f"entry {entry.index}: it opened on {wrote} and was judged by the terms of {judged}")
        return judged

    def _judge(self, entry: Entry, again: Sequence[Found]) -> None:
        for found in again:
            self.verdicts += 1
            told = (
                f"{found.stored['source']} for {found.stored['use']}: {found.because}"
                if found.stored
                else found.because
            )
            if found.outcome == "cannot tell":
                self.notes.append(f"entry {entry.index}: {told}")
            elif found.outcome == "differs" and found.by_the_same_rules:
                self.findings.append(f"entry {entry.index}: {told}, by the same rules ({RULES_VERSION})")
            elif found.outcome == "differs":
                self.differs.append(
                    f"entry {entry.index}: {told}; it was made by rules {found.rules}, this version has {RULES_VERSION}"
                )

    def _limits(self, statements: int, checkpoint: Checkpoint) -> None:
        if statements < checkpoint.size:
            self.notes.append(
                f"{checkpoint.size - statements} statements of the log are not in it: the operator chose which, and "
                "that none of them concerns the student is the operator's word"
            )
        if not self.vouched:
            self.notes.append(
                "no witness, time stamp or checkpoint that you trust vouches for any of it (--key, --tsa, --since): "
                "that the log was written anew, or cut off at its end, is not excluded"
            )
        self.notes.append(
            "it shows that what is written is consistent. That nothing was left out, or written later than it says, it "
            "shows only as far as its checkpoint was kept elsewhere: compare "
            f"{checkpoint.size} entries, root {checkpoint.root.hex()}"
        )


def _alone(text: Document) -> Document:
    """Without what the catalog put together with it."""
    return replace(text, companions=(), beside=(), letters=())
