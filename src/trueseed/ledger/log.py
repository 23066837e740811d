"""The append-only log of signed statements.

    <folder>/entries.jsonl   the truth: one canonical JSON envelope a line; a line without its newline is a Merkle leaf
    <folder>/checkpoint      size and root, signed (C2SP tlog-checkpoint); replaced in one step after each append
    <folder>/keys            the log's name and public keys, signed by the operator
    <folder>/succession      the entries that changed a key, if any did
    <folder>/lock            held while appending, and only then

The order of an append is: entry, fsync, checkpoint, the checkpoint kept in user state. So a process killed at any byte
leaves either nothing, or a torn line beyond the checkpoint (cut by the next append), or a whole entry beyond the
checkpoint (kept when its signature and place are right). What the checkpoint covers is never cut. Many entries that
are appended together are written together, and waited for once.

    ledger = Ledger.open(folder, state=state_folder(), create=True)
    ledger.append(STEP, [subject("dataset", digest)], {"event": "done", ...})
    ledger.append_all((SEAL, [subject("weights", digest)], said) for said in many)
"""

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from logging import getLogger
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trueseed.core.canonical import canonical, now
from trueseed.core.durable import folder_atomic, write_atomic
from trueseed.core.merkle import Frontier, Tree, leaf_hash, root
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.checkpoint import Checkpoint
from trueseed.ledger.identity import Identity, new_origin
from trueseed.ledger.remembered import LOCK_PATIENCE_S, Remembered
from trueseed.ledger.signing import Key, Role, Signer, decode, load_or_create, sign_note
from trueseed.ledger.statement import KEY_CHANGE, envelope, open_envelope, parse_canonical, roles, statement
from trueseed.ledger.succession import OTHER, REASONS, ROTATED, SUCCESSION, Succession, change, held, renewed

ENTRIES, CHECKPOINT, KEYS, LOCK = "entries.jsonl", "checkpoint", "keys", "lock"

Said = tuple[str, Sequence[Mapping[str, Any]], Mapping[str, Any]]  # predicate type, subjects, predicate

log = getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One statement of the log. index: from 0. leaf: its line in `entries.jsonl` without the newline."""

    index: int
    statement: dict[str, Any]
    envelope: dict[str, Any]
    leaf: bytes

    @property
    def predicate_type(self) -> str:
        return str(self.statement["predicateType"])

    @property
    def predicate(self) -> dict[str, Any]:
        return dict(self.statement["predicate"])

    @property
    def key_id(self) -> str:
        """Key id of the signer, as the envelope says it; `Ledger.signed_by` checks it."""
        return str(self.envelope["signatures"][0]["keyid"])

    @classmethod
    def parse(cls, index: int, leaf: bytes) -> "Entry":
        """Reads a line whose hash was compared already. Raises `Broken` when it holds no statement."""
        try:
            envelope = json.loads(leaf)
            return cls(index=index, statement=json.loads(decode(envelope["payload"])), envelope=envelope, leaf=leaf)
        except (KeyError, TypeError, ValueError, RecursionError) as err:
            raise Broken(f"entry {index} (line {index + 1}) holds no statement ({err!r})") from err


class Ledger:
    """An open log. Safe to share between threads, and between processes that each open it.

    origin: the log's name. identity: its public keys.
    """

    def __init__(self, folder: Path, *, state: Path) -> None:
        """Use `Ledger.open`."""
        self.folder = folder
        self._state = state
        self._guard = threading.RLock()
        self._lock = FileLock(folder / LOCK, timeout=LOCK_PATIENCE_S)
        self._hashes: list[bytes] = []
        self._starts: list[int] = []  # where each line starts, in bytes
        self._end = 0  # where the last known line ends
        self._frontier = Frontier()
        self._tree = Tree()  # grows when it is asked for
        self._note = ""  # the newest checkpoint seen
        with self._reading():
            self._identity_note = (folder / KEYS).read_bytes().decode("utf-8", errors="replace")
        with _located(folder / KEYS):
            self.identity = Identity.open(self._identity_note)
        self.origin = self.identity.origin
        self.keys = Succession(self.identity.keys)
        self._remembered = Remembered(state, self.origin)
        self._agreed = ""  # the last remembered checkpoint found to agree with this log

    @classmethod
    def open(cls, folder: Path, *, state: Path, create: bool = False) -> "Ledger":
        """Opens the log in `folder`, or makes one there when `create` and there is none.

        Re-hashes every line against the checkpoint, compares with what `state` remembers, and mends what a killed
        process left. Signatures of entries are checked by `verify_ledger`. Raises `Broken` when the bytes are not what
        was signed, or are older than what `state` remembers; `ConfigError` when there is no ledger, it is of a newer
        format, or cannot be read.
        """
        begun = (folder / ENTRIES).exists()  # looked for first: another process makes both appear in one step
        if not (folder / KEYS).exists():
            if begun:
                raise Broken(f"{folder / KEYS} is missing; {_ADVICE}")
            if not create:
                raise ConfigError(
                    f"there is no ledger in {folder}; name the workspace, or make one with `trueseed run`"
                )
            _create(folder, state)
        ledger = cls(folder, state=state)
        ledger._check_identity()
        ledger.refresh()
        if ledger._has_tail() and ledger._signer_or_none("operator"):
            with ledger._exclusive():
                ledger._catch_up()
        ledger._compare_with_remembered()
        try:
            with ledger._remembered.locked():
                ledger._compare_with_remembered()
                ledger._remember()
                ledger._remembered.keep_place(folder)
        except OSError as err:
            ledger._warn_forgetful(err)
        return ledger

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        return self._frontier.size

    @property
    def root_hex(self) -> str:
        return self._frontier.root().hex()

    @property
    def leaf_hashes(self) -> tuple[bytes, ...]:
        with self._guard:
            return tuple(self._hashes)

    def paths(self) -> tuple[str, Callable[[int], tuple[bytes, ...]]]:
        """The newest checkpoint, and the audit path to it of an entry by its index."""
        with self._guard:
            return self._note, partial(self._grown_tree().path, size=self.size)

    def _grown_tree(self) -> Tree:
        self._tree.extend(self._hashes[self._tree.size :])
        return self._tree

    def checkpoint(self) -> str:
        """The newest signed checkpoint (C2SP signed note). Kept elsewhere, it lets `verify --since` hold us to it."""
        with self._guard:
            return self._note

    def entries(self, start: int = 0) -> Iterator[Entry]:
        """The entries from index `start`, as of now. Raises `Broken` when a line changed since it was read."""
        with self._guard:
            hashes, place = self._hashes[start:], self._starts[start] if start < self.size else self._end
        with self._reading(), (self.folder / ENTRIES).open("rb") as file:
            file.seek(place)
            for index, expected in enumerate(hashes, start):
                leaf = file.readline().removesuffix(b"\n")
                if leaf_hash(leaf) != expected:
                    raise Broken(f"{self.folder / ENTRIES}: entry {index} changed while in use; {_ADVICE}")
                yield Entry.parse(index, leaf)

    def entry(self, index: int) -> Entry:
        """Raises `ConfigError` when there is no such entry."""
        if not 0 <= index < self.size:
            raise ConfigError(f"{self.folder}: there is no entry {index}; the ledger has {self.size}, counted from 0")
        return next(self.entries(index))

    def signed_by(self, entry: Entry, role: Role) -> bool:
        """Whether the log's key of this role signed the entry (checked, not read off)."""
        try:
            open_envelope(entry.envelope, [key for key in self.keys.keys_at(entry.index) if key.role == role])
        except Broken:
            return False
        return True

    def refresh(self) -> None:
        """Takes in what other processes appended. Raises `Broken` when the log no longer continues what was known."""
        with self._guard:
            path = self.folder / CHECKPOINT
            with self._reading():
                note = path.read_bytes().decode("utf-8", errors="replace")
            if note == self._note:
                return
            self._read_succession()
            with _located(path):
                newer = Checkpoint.open(note, self.keys)
            if newer.size < self.size:
                raise Broken(f"{path} went back from {self.size} entries to {newer.size}; {_ADVICE}")
            self._read_lines(newer.size)
            if self._frontier.root() != newer.root:
                raise Broken(
                    f"{self.folder / ENTRIES} is not what its checkpoint signed: an entry was edited, removed or "
                    f"reordered; `trueseed verify` names it"
                )
            self._note = note

    # -- appending -------------------------------------------------------------------------------------------------

    def append(
        self,
        predicate_type: str,
        subjects: Sequence[Mapping[str, Any]],
        predicate: Mapping[str, Any],
        *,
        role: Role = "operator",
        unless: Callable[["Ledger"], None] | None = None,
    ) -> Entry:
        """Signs and appends one statement; on return it is on disk and covered by a checkpoint.

        The predicate gains a member `log`, `{"origin", "index", "root"}`: the name of this log, the entry's index and
        the root before it, so that a statement holds in this place only. `unless` runs under the ledger's lock after
        the entries of other processes were read, and may raise to veto; it must not append.

        Raises `Broken` when the log is not what was known, `ConfigError` when this user does not hold the key of
        `role`, the role may not sign this type, or nothing can be written (then nothing was).
        """
        (entry,) = self.append_all([(predicate_type, subjects, predicate)], role=role, unless=unless)
        return entry

    def append_all(
        self, said: Iterable[Said], *, role: Role = "operator", unless: Callable[["Ledger"], None] | None = None
    ) -> list[Entry]:
        """As `append` of each, in this order, under one checkpoint: the disk is waited for once, not once for each.

        On an error none is there; a process that is killed meanwhile leaves all of them or the first few. Raises as
        `append`, and `ConfigError` when a change of keys is among several.
        """
        said = list(said)
        for kind in {kind for kind, _, _ in said}:
            if role not in roles(kind):
                raise ConfigError(f"a {kind} statement is signed by the {' or '.join(roles(kind))}, not {role}")
            if kind == KEY_CHANGE and len(said) > 1:
                raise ConfigError("a change of keys is appended by itself: what follows it is signed by another key")
        with self._exclusive(), self._guard:
            self._catch_up()
            if unless is not None:
                unless(self)
            if not said:
                return []
            first, leaves = self.size, self._signed(said, self._signer(role))
            self._commit(leaves, self.keys.learn(leaves[0]) if said[0][0] == KEY_CHANGE else self.keys)
            self._remember()
            return [Entry.parse(index, leaf) for index, leaf in enumerate(leaves, first)]

    def _signed(self, said: Sequence[Said], signer: Signer) -> list[bytes]:
        """The lines of these statements, each for its place after those before it."""
        after, leaves = self._frontier.copy(), []
        for predicate_type, subjects, predicate in said:
            place = {"origin": self.origin, "index": after.size, "root": after.root().hex()}
            made = statement(predicate_type, subjects, {**predicate, "log": place})
            leaves.append(canonical(envelope(made, signer)))
            after.append(leaf_hash(leaves[-1]))
        return leaves

    def note(self, text: str) -> str:
        """The note that the operator makes of `text` (C2SP signed-note). Raises `ConfigError` without the key."""
        return sign_note(text, self._signer("operator"), self.origin)

    def _commit(self, leaves: Sequence[bytes], keys: Succession) -> None:
        """Writes the lines, then a checkpoint. keys: in force after them. Raises `ConfigError` with all as it was."""
        after = self._frontier.copy()
        for leaf in leaves:
            after.append(leaf_hash(leaf))
        signer = self._holder(keys.operator_at(after.size))
        note = Checkpoint(origin=self.origin, size=after.size, root=after.root()).sign(signer)
        try:
            with (self.folder / ENTRIES).open("ab", buffering=0) as file:
                try:
                    _write_all(file, b"".join(leaf + b"\n" for leaf in leaves))
                    os.fsync(file.fileno())
                    self._keep_succession(keys)
                    write_atomic(self.folder / CHECKPOINT, note)
                except BaseException:
                    # Not when the checkpoint is in place already: what it covers is never cut.
                    if (self.folder / CHECKPOINT).read_bytes() != note.encode():
                        self._keep_succession(self.keys, instead_of=keys)
                        file.truncate(self._end)
                        os.fsync(file.fileno())
                    raise
        except OSError as err:
            raise _unwritable(self.folder, err) from err
        self.keys = keys
        for leaf in leaves:
            self._take(leaf)
        self._note = note

    def _keep_succession(self, keys: Succession, *, instead_of: Succession | None = None) -> None:
        """After its entries, before the checkpoint that its newest key signs."""
        if keys != (instead_of or self.keys):
            write_atomic(self.folder / SUCCESSION, keys.to_bytes())

    def _read_succession(self) -> None:
        path = self.folder / SUCCESSION
        if path.exists():
            with self._reading(), _located(path):
                self.keys = Succession.read(self.identity.keys, path.read_bytes())

    def _catch_up(self) -> None:
        """Under the lock: reads what others appended, and mends what a killed process left beyond the checkpoint."""
        self.refresh()
        self._compare_with_remembered()
        if not self._has_tail():
            return
        path, known = self.folder / ENTRIES, self.size
        with self._reading(), path.open("rb") as file:
            file.seek(self._end)
            *whole, torn = file.read().split(b"\n")
        for line in whole:
            with _located(path, entry=self.size):
                keys = self._check_place(line)
            self._keep_succession(keys)
            self.keys = keys
            self._take(line)
        try:
            with path.open("rb+") as file:
                file.truncate(self._end)
                os.fsync(file.fileno())
            for left in self.folder.glob(f".{CHECKPOINT}.*"):  # nobody else writes one while we hold the lock
                left.unlink()
            if self.size > known:
                signer = self._signer("operator")
                note = Checkpoint(origin=self.origin, size=self.size, root=self._frontier.root()).sign(signer)
                write_atomic(self.folder / CHECKPOINT, note)
                self._note = note
        except OSError as err:
            raise _unwritable(self.folder, err) from err
        log.warning(
            "%s: a killed process left %d whole entries (kept) and %d bytes of a torn line (cut)",
            path, len(whole), len(torn),
        )  # fmt: skip

    def _check_place(self, line: bytes) -> Succession:
        """The keys in force after the line."""
        made = open_envelope(parse_canonical(line), self.keys.keys_at(self.size))
        place = {"origin": self.origin, "index": self.size, "root": self.root_hex}
        if made["predicate"].get("log") != place:
            raise Broken("it was written for another place than this")
        known = any(change.leaf == line for change in self.keys.changes)
        return self.keys.learn(line) if made["predicateType"] == KEY_CHANGE and not known else self.keys

    # -- the pieces ------------------------------------------------------------------------------------------------

    def _take(self, leaf: bytes) -> None:
        self._starts.append(self._end)
        self._end += len(leaf) + 1
        self._hashes.append(leaf_hash(leaf))
        self._frontier.append(self._hashes[-1])

    def _read_lines(self, size: int) -> None:
        with self._reading(), (self.folder / ENTRIES).open("rb") as file:
            file.seek(self._end)
            while self.size < size:
                line = file.readline()
                if not line.endswith(b"\n"):
                    raise Broken(
                        f"{self.folder / ENTRIES} ends within or before entry {self.size}, but its checkpoint signed "
                        f"{size} entries; {_ADVICE}"
                    )
                self._take(line[:-1])

    def _has_tail(self) -> bool:
        with self._reading():
            return (self.folder / ENTRIES).stat().st_size != self._end

    def _check_identity(self) -> None:
        known = self._remembered.identity
        if known is not None and known != self._identity_note:
            raise Broken(
                f"{self.folder / KEYS} names other keys than this log had when it was first met "
                f"({self._remembered.folder / 'keys'}); {_ADVICE}"
            )

    def _compare_with_remembered(self) -> None:
        """The log must continue the newest checkpoint that the user's state has of it."""
        note = self._remembered.checkpoint
        if note is None or note == self._agreed:
            return
        with _located(self._remembered.folder / "checkpoint"):
            known = Checkpoint.open(note, self.keys)
        if known.size > self.size:
            self.refresh()  # another process may have appended since we looked; it writes here first, there second
        if known.size > self.size:
            raise Broken(
                f"{self.folder} has {self.size} entries, but this log had {known.size} when last seen: it was rolled "
                f"back, or is an older copy; {_ADVICE}"
            )
        if self._grown_tree().root(known.size) != known.root:
            raise Broken(
                f"{self.folder} is a fork: its first {known.size} entries are not those that this log had when last "
                f"seen; {_ADVICE}"
            )
        self._agreed = note

    def _remember(self) -> None:
        """Keeps the newest checkpoint in user state; its lock is held. A failure weakens later evidence only."""
        try:
            if self._remembered.identity is None:
                self._remembered.keep_identity(self._identity_note)
            if self._agreed != self._note:
                self._remembered.keep_checkpoint(self._note)
            self._agreed = self._note
        except OSError as err:
            self._warn_forgetful(err)

    def _warn_forgetful(self, err: OSError) -> None:
        log.warning(
            "the newest checkpoint of %s cannot be kept in %s (%s): a later rollback may go unseen",
            self.origin, self._remembered.folder, err.strerror,
        )  # fmt: skip

    def key(self, role: Role) -> Key:
        """The public key in force."""
        return next(key for key in self.keys.keys_at(self.size) if key.role == role)

    def _signer_or_none(self, role: Role) -> Signer | None:
        return held(self.key(role), self._state / "keys")

    def _signer(self, role: Role) -> Signer:
        return self._holder(self.key(role))

    def _holder(self, key: Key) -> Signer:
        signer = held(key, self._state / "keys")
        if signer is None:
            raise ConfigError(
                f"the {key.role} key of {self.folder} is not in {self._state / 'keys' / f'{key.role}.pem'}; bring that "
                f"key, or start a workspace of your own. If it is lost, see docs/keys.md"
            )
        return signer

    def renew(self, role: Role, reason: str, note: str = "") -> Key:
        """Puts another key of `role` in force: a new one, or the one that this user has in use already.

        reason: `rotated` (the key that goes signs), `lost` or `stolen` (the other role signs). Raises `ConfigError`
        when this user does not hold the key that has to sign.
        """
        if reason not in REASONS or role not in OTHER:
            raise ConfigError(f"a key of operator or reviewer is {', '.join(REASONS)}, not {role} {reason!r}")
        signing: Role = role if reason == ROTATED else OTHER[role]
        self.refresh()
        self._signer(signing)  # before a key is made that nobody vouches for
        key = renewed(self.key(role), self._state / "keys").key(self.origin)
        self.append(KEY_CHANGE, [], change(role, key, reason, now(), note), role=signing)
        return key

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One appender at a time: to this folder, and to any copy of the log that this user has."""
        with ExitStack() as held:
            try:
                held.enter_context(self._lock)
                held.enter_context(self._remembered.locked())
            except Timeout as err:
                raise ConfigError(f"{err.lock_file} has been held for minutes; end the process that hangs") from err
            except OSError as err:
                raise _unwritable(self.folder, err) from err
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as err:
            raise Broken(f"{err.filename} is missing; {_ADVICE}") from err
        except OSError as err:
            raise ConfigError(f"the ledger {self.folder} cannot be read: {err.strerror} ({err.filename})") from err


_ADVICE = "restore the ledger from a copy; `trueseed verify` tells more"


@contextmanager
def _located(path: Path, *, entry: int | None = None) -> Iterator[None]:
    """Says where, for a `Broken` that only knows what."""
    try:
        yield
    except Broken as err:
        where = f"{path}, entry {entry} (line {entry + 1})" if entry is not None else f"{path}"
        raise Broken(f"{where}: {err}; {_ADVICE}") from err


def _unwritable(folder: Path, err: OSError) -> ConfigError:
    return ConfigError(
        f"the ledger {folder} cannot be written: {err.strerror or err}{f' ({err.filename})' if err.filename else ''}; "
        f"free space, or make it writable, and run the same command again"
    )


def _write_all(file: FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _create(folder: Path, state: Path) -> None:
    """An empty log with a new name, visible in one step."""
    keys = state / "keys"
    write_new(folder, new_origin(), load_or_create("operator", keys), load_or_create("reviewer", keys))


def write_new(folder: Path, origin: str, operator: Signer, reviewer: Signer) -> None:
    """Writes an empty log. When another process makes one there at the same time, one of the two stays.

    Raises `ConfigError` when `folder` holds something else, or cannot be written.
    """
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        with folder_atomic(folder) as staged:
            (staged / ENTRIES).touch()
            (staged / KEYS).write_text(Identity.of(origin, operator, reviewer).sign(operator))
            empty = Checkpoint(origin=origin, size=0, root=root([]))
            (staged / CHECKPOINT).write_text(empty.sign(operator))
    except OSError as err:
        raise _unwritable(folder, err) from err
    if not (folder / KEYS).exists():
        raise ConfigError(f"{folder} is not empty and not a ledger; name another folder")
