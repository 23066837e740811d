"""Is the ledger what was signed? Re-reads every byte, and believes nothing that it can check.

    report = verify_ledger(folder, state=state_folder())
    report.findings    # what is broken, each naming the entry, the line and what is wrong; empty is good
    report.notes       # what is not broken but worth knowing, above all what could not be excluded

Inside evidence (signatures, places, the tree, the checkpoint) shows that nothing was edited, moved or removed by anyone
without the keys. That nothing was cut off the end, or that there is not another history, only a checkpoint kept outside
shows: in the user's state, or given with `--since`. A key file vouches for itself: trust comes from a key given with
`--key`, from this user's own key, or from the state's memory of the first meeting.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trueseed.core.merkle import Tree, leaf_hash
from trueseed.errors import Broken, ConfigError
from trueseed.ledger import outside
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.identity import Identity
from trueseed.ledger.log import CHECKPOINT, ENTRIES, KEYS, Entry
from trueseed.ledger.remembered import Remembered
from trueseed.ledger.signing import Key, load
from trueseed.ledger.statement import KEY_CHANGE, open_envelope, parse_canonical, roles
from trueseed.ledger.steps import faults
from trueseed.ledger.succession import SUCCESSION, Succession
from trueseed.ledger.trust import Trust

MOST_FINDINGS = 25  # a ledger read with the wrong key has one a line


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """origin: the log's name. size: whole entries read. root: over them, hexadecimal. findings: what is broken.
    notes: what is worth knowing. evidence: what from outside the ledger folder it was compared with.
    """

    folder: Path
    origin: str
    size: int
    root: str
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    evidence: tuple[str, ...]

    @property
    def broken(self) -> bool:
        return bool(self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": "broken" if self.broken else "whole",
            "origin": self.origin,
            "entries": self.size,
            "root": self.root,
            "findings": list(self.findings),
            "notes": list(self.notes),
            "evidence": list(self.evidence),
        }


def verify_ledger(
    folder: Path,
    *,
    state: Path | None = None,
    since: str | None = None,
    keys: Sequence[str] | None = None,
    authorities: Sequence[Path] = (),
) -> Report:
    """Reads the ledger in `folder` and says all that is wrong with it; writes nothing.

    state: the user's state folder, for what it remembers of this log. since: text of a checkpoint kept elsewhere.
    keys: verifier keys to trust instead of those that the ledger names; the operator's must be among them, and vouches
    for the reviewer's; a witness's are those of whom cosignatures are believed. authorities: files with the root
    certificates (PEM) of time-stamping authorities.

    Raises `ConfigError` when there is no ledger, it is of a newer format or cannot be read, or a key is malformed;
    never for brokenness.
    """
    parsed = tuple(Key.parse(key) for key in keys or ())
    given = tuple(key for key in parsed if key.role != "witness")
    trust = Trust.of(state, parsed, authorities)
    if given and not any(key.role == "operator" for key in given):
        raise ConfigError("the keys given hold no operator's key; give the first key of the ledger's `keys` file")
    if not any((folder / name).exists() for name in (KEYS, ENTRIES, CHECKPOINT)):
        raise ConfigError(f"there is no ledger in {folder}; name the ledger folder of a workspace")
    try:
        return _Verification(folder, trust).run(state, since, given)
    except OSError as err:
        raise ConfigError(f"the ledger {folder} cannot be read: {err.strerror} ({err.filename})") from err


@dataclass
class _Verification:
    """The findings so far, and what they are about."""

    folder: Path
    trust: Trust
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    tree: Tree = field(default_factory=Tree)  # over the lines so far
    torn: int = 0  # bytes after the last newline

    def run(self, state: Path | None, since: str | None, given: tuple[Key, ...]) -> Report:
        identity = self._identity()
        keys = self._trusted(identity, given, state)
        operator = next((key for key in keys if key.role == "operator"), None)
        # A writer goes entries, checkpoint, state. Read the other way round, a busy ledger does not look rolled back.
        remembered = Remembered(state, operator.name).checkpoint if state and operator else None
        chain = self._succession(keys) if operator else None
        checkpoint = self._checkpoint(chain)
        said = self._said(self._entries(chain))
        if checkpoint:
            self._compare_with_checkpoint(checkpoint)
        if chain:
            self._compare_changes(chain, said.changes)
            self._compare_outside(chain, remembered, since)
            self._compare_vouched(chain)
        if not self.findings:
            self.findings += said.faults
            self.notes += said.clocks
        hidden = len(self.findings) - MOST_FINDINGS
        return Report(
            folder=self.folder,
            origin=operator.name if operator else "",
            size=self.tree.size,
            root=self.tree.root().hex(),
            findings=(*self.findings[:MOST_FINDINGS], *([f"... and {hidden} more"] if hidden > 0 else [])),
            notes=tuple(self.notes),
            evidence=tuple(self.evidence),
        )

    # -- whose log it is -------------------------------------------------------------------------------------------

    def _text(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_bytes().decode("utf-8", errors="replace")
        except FileNotFoundError:
            self.findings.append(f"file {name!r} is missing")
            return None

    def _identity(self) -> Identity | None:
        note = self._text(KEYS)
        if note is None:
            return None
        try:
            return Identity.open(note)
        except Broken as err:
            self.findings.append(f"file {KEYS!r} was edited: {err}")
            return None

    def _trusted(self, identity: Identity | None, given: tuple[Key, ...], state: Path | None) -> tuple[Key, ...]:
        """The keys to check with, and why they are believed."""
        if given:
            self.evidence.append("keys given (--key)")
            if identity is None:
                return given
            for key in given:
                recorded = next(each for each in identity.keys if each.role == key.role)
                if key != recorded:
                    self.findings.append(
                        f"file {KEYS!r} names the {key.role}'s key {recorded}, not the one given, {key}"
                    )
            return (*given, identity.reviewer) if identity.operator in given else given
        if identity is None:
            self.findings.append(
                "without its keys, nothing that was signed can be checked; give the operator's (--key)"
            )
            return ()
        known = Remembered(state, identity.origin).identity if state else None
        if known is not None and known != self._text(KEYS):
            self.findings.append(f"file {KEYS!r} differs from what this user's state keeps since the log was first met")
        elif known is not None:
            self.evidence.append("keys in the user's state")
        elif self._is_own(identity.operator, state):
            self.evidence.append("the user's own key")
        else:
            self.notes.append(
                f"the signatures were checked with the keys that the ledger itself names; whose they are is not shown. "
                f"Ask the operator for the key, and give it with --key; here it is {identity.operator}"
            )
        return identity.keys

    @staticmethod
    def _is_own(operator: Key, state: Path | None) -> bool:
        try:
            own = load("operator", state / "keys") if state else None
        except ConfigError:
            return False
        return own is not None and own.public_key == operator.public_key

    # -- the bytes -------------------------------------------------------------------------------------------------

    def _succession(self, keys: tuple[Key, ...]) -> Succession:
        path = self.folder / SUCCESSION
        try:
            return Succession.read(keys, path.read_bytes() if path.exists() else b"")
        except Broken as err:
            self.findings.append(f"file {SUCCESSION!r} was edited: {err}")
            return Succession(keys)

    def _compare_changes(self, chain: Succession, said: Mapping[int, bytes]) -> None:
        """The file says what the log says (lines, by entry), no more and no less."""
        for index in sorted(said.keys() - {change.index for change in chain.changes}):
            self.findings.append(f"entry {index} changes a key, and file {SUCCESSION!r} does not have it")
        for change in chain.changes:
            if said.get(change.index, change.leaf) != change.leaf or (
                change.index not in said and change.index < self.tree.size
            ):
                self.findings.append(f"{change} by file {SUCCESSION!r}, and the log has another entry there")
            self.notes.append(str(change))

    def _checkpoint(self, operator: Succession | None) -> Checkpoint | None:
        note = self._text(CHECKPOINT)
        if note is None or operator is None:
            return None
        try:
            return Checkpoint.open(note, operator)
        except Broken as err:
            self.findings.append(f"file {CHECKPOINT!r} was edited: {err}")
            return None

    def _entries(self, chain: Succession | None) -> Iterator[Entry]:
        """The entries whose line is in order; a finding for each other line."""
        place = _Place()
        for index, leaf in enumerate(self._lines()):
            try:
                if chain:
                    entry = self._read(index, leaf, chain.keys_at(index))
                    place.check(entry, self.tree)
                    yield entry
            except Broken as err:
                self.findings.append(f"entry {index} (line {index + 1}): {err}")
                place.chained = False
            self.tree.extend([leaf_hash(leaf)])

    def _lines(self) -> Iterator[bytes]:
        if not (self.folder / ENTRIES).exists():
            self.findings.append(f"file {ENTRIES!r} is missing")
            return
        with (self.folder / ENTRIES).open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    self.torn = len(line)
                    return
                yield line[:-1]

    def _read(self, index: int, leaf: bytes, keys: Sequence[Key]) -> Entry:
        """Raises `Broken` when the line, its signature, its signer or what it says of its place is out of order."""
        envelope = parse_canonical(leaf)
        entry = Entry(index=index, statement=open_envelope(envelope, keys), envelope=envelope, leaf=leaf)
        role = next(key.role for key in keys if key.key_id == entry.key_id)
        if role not in roles(entry.predicate_type):
            raise Broken(f"the {role} signed it, who may not sign a {entry.predicate_type} statement")
        match entry.predicate.get("log"):
            case {"origin": str(origin), "index": int(), "root": str(), **rest} if not rest:
                if origin != next(key.name for key in keys if key.role == "operator"):
                    raise Broken(f"it was written for log {origin!r}")
            case _:
                raise Broken("it does not say which place it was written for")
        return entry

    def _compare_with_checkpoint(self, checkpoint: Checkpoint) -> None:
        size = self.tree.size
        if checkpoint.size > size:
            self.findings.append(
                f"the checkpoint signed {checkpoint.size} entries, {ENTRIES} has {size}: "
                f"entries {size} to {checkpoint.size - 1} were removed or torn"
            )
            return
        if self.tree.root(checkpoint.size) != checkpoint.root:
            self.findings.append(
                f"the first {checkpoint.size} entries hash to root {self.tree.root(checkpoint.size).hex()}, "
                f"the checkpoint signed {checkpoint.root.hex()}"
            )
        if checkpoint.size < size or self.torn:
            self.notes.append(
                f"beyond the checkpoint: {size - checkpoint.size} whole entries and {self.torn} bytes of a torn line. "
                f"A process was killed while it wrote, or is writing now; the next append keeps the entries and cuts "
                f"the torn line"
            )

    # -- what was kept elsewhere -----------------------------------------------------------------------------------

    def _compare_outside(self, operator: Succession, remembered: str | None, since: str | None) -> None:
        reached = -1
        for name, note in (
            ("the checkpoint in the user's state", remembered),
            ("the checkpoint given (--since)", since),
        ):
            if note is None:
                continue
            try:
                known = Checkpoint.open(note, operator)
            except Broken as err:
                self.findings.append(f"{name} is not a checkpoint of this log: {err}")
                continue
            self.evidence.append(f"{name}, {known.size} entries")
            reached = max(reached, known.size)
            if known.size > self.tree.size:
                self.findings.append(
                    f"rolled back: {name} signed {known.size} entries, the ledger has {self.tree.size}; "
                    f"entries {self.tree.size} to {known.size - 1} are gone "
                    "(or were written in a copy of this workspace)"
                )
            elif self.tree.root(known.size) != known.root:
                self.findings.append(
                    f"a fork: {name} signed another history; one of entries 0 to {known.size - 1} differs from it"
                )
        if reached < 0:
            self.notes.append(
                "no checkpoint from outside the ledger was at hand: that entries were cut off its end (truncation) is "
                "not excluded; give one that was kept elsewhere with --since"
            )
        elif reached < self.tree.size:
            self.notes.append(
                f"the newest checkpoint from outside covers {reached} of {self.tree.size} entries: that later ones "
                f"were cut off the end (truncation) is not excluded"
            )

    def _compare_vouched(self, operator: Succession) -> None:
        """What witnesses and time-stamping authorities said of its checkpoints."""
        try:
            found = list(outside.seen(outside.files(self.folder), operator, self.trust))
        except Broken as err:
            self.findings.append(str(err))
            return
        for each in found:
            known = each.checkpoint
            self.findings += each.findings
            if known.size > self.tree.size:
                self.findings.append(
                    f"rolled back: {each.place} has a checkpoint of {known.size} entries, the ledger has "
                    f"{self.tree.size}"
                )
            elif self.tree.root(known.size) != known.root:
                self.findings.append(f"a fork: the checkpoint in {each.place} signed another history")
            else:
                self.evidence += [f"{who}: {known.size} of {self.tree.size} entries" for who in each.by]
                self.notes += [f"{known.size} entries were vouched for by {who} (--key, --tsa)" for who in each.others]

    # -- what the statements say -----------------------------------------------------------------------------------

    @staticmethod
    def _said(entries: Iterator[Entry]) -> "_Said":
        """Reads them to the end, one at a time: a log may be larger than memory."""
        said = _Said()
        said.faults += faults(said.seeing(entries))
        return said


@dataclass
class _Said:
    """faults: rules that statements break, which count when all else is in order. changes: of keys, their lines by
    entry. clocks: notes on times that go back.
    """

    faults: list[str] = field(default_factory=list)
    changes: dict[int, bytes] = field(default_factory=dict)
    clocks: list[str] = field(default_factory=list)

    def seeing(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        latest = ""
        for entry in entries:
            if entry.predicate_type == KEY_CHANGE:
                self.changes[entry.index] = entry.leaf
            at = entry.predicate.get("at")
            if isinstance(at, str) and at < latest:
                self.clocks.append(f"entry {entry.index} says {at}, an entry before it {latest}: a clock went back")
            latest = max(latest, at) if isinstance(at, str) else latest
            yield entry


@dataclass
class _Place:
    """Does each entry stand where it was written? Says so once for each cut, not once for each later entry."""

    shift: int = 0  # by how many places the entries read last are off
    chained: bool = True  # no entry so far was out of order; after one that was, every later root differs

    def check(self, entry: Entry, before: Tree) -> None:
        """Raises `Broken` when the entry was written for another place than after the tree `before`."""
        said = entry.predicate["log"]
        if said["index"] - entry.index != self.shift:
            self.shift, self.chained = said["index"] - entry.index, False
            if self.shift:
                raise Broken(f"it was written as entry {said['index']}: entries were removed, added or reordered")
        if self.chained and said["root"] != before.root().hex():
            raise Broken(f"entry {entry.index - 1} is not the one that stood there when this entry was written")
