"""Which keys are in force where in a log: those of the file `keys`, until a `keys/v1` entry changes one of them.

    <ledger>/succession     the entries that changed a key, a line each, byte for byte as they stand in the log

A key that is `rotated` signs the change itself; one that was `lost` or `stolen` is changed by the other role's key, so
each role vouches for the other's loss. An entry is signed by a key in force before it, a checkpoint by the operator's
key in force after its last entry. The log keeps its name, and whoever was given its first key needs no other.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trueseed.errors import Broken, ConfigError
from trueseed.ledger.signing import Key, Role, Signer, decode, load, load_or_create
from trueseed.ledger.statement import KEY_CHANGE, open_envelope, parse_canonical

SUCCESSION = "succession"
ROTATED, LOST, STOLEN = REASONS = ("rotated", "lost", "stolen")
OTHER: dict[str, Role] = {"operator": "reviewer", "reviewer": "operator"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Entry `index` (whose line is `leaf`) put `key` in force from the entry after it."""

    index: int
    key: Key
    reason: str
    leaf: bytes

    def __str__(self) -> str:
        by = self.key.role if self.reason == ROTATED else OTHER[self.key.role]
        return f"entry {self.index} changed the {self.key.role}'s key to {self.key} ({self.reason}; signed by the {by})"


@dataclass(frozen=True, slots=True)
class Succession:
    """first: the log's keys when it began, the operator's among them. changes: in the order of the log."""

    first: tuple[Key, ...]
    changes: tuple[Change, ...] = ()

    @classmethod
    def read(cls, first: tuple[Key, ...], data: bytes) -> "Succession":
        """From the file `succession`. Raises `Broken` when a change is not signed by who may make it."""
        made = cls(first)
        for line in data.split(b"\n")[:-1]:
            made = made.learn(line)
        if data and not data.endswith(b"\n"):
            raise Broken("its last line is torn")
        return made

    @property
    def name(self) -> str:
        """The log's."""
        return next(key.name for key in self.first if key.role == "operator")

    def to_bytes(self) -> bytes:
        return b"".join(change.leaf + b"\n" for change in self.changes)

    def keys_at(self, size: int) -> tuple[Key, ...]:
        """In force after the first `size` entries: they sign entry `size`."""
        keys = {key.role: key for key in self.first}
        keys |= {change.key.role: change.key for change in self.changes if change.index < size}
        return tuple(keys.values())

    def operator_at(self, size: int) -> Key:
        """Whose checkpoint of `size` entries counts."""
        return next(key for key in self.keys_at(size) if key.role == "operator")

    def learn(self, leaf: bytes) -> "Succession":
        """With the change in a log's line. Raises `Broken` when it is none, or may not be made."""
        index = _index(leaf)
        if self.changes and index <= self.changes[-1].index:
            raise Broken(f"entry {index} changes a key, and stands after entry {self.changes[-1].index}")
        in_force = {key.role: key for key in self.keys_at(index)}
        said = open_envelope(parse_canonical(leaf), in_force.values())
        match said["predicate"]:
            case {"role": "operator" | "reviewer" as role, "key": str(text), "reason": str(reason)} if (
                said["predicateType"] == KEY_CHANGE and reason in REASONS
            ):
                key = self._admitted(role, text)
            case _:
                raise Broken(f"entry {index} is no change of a key")
        signer = in_force.get(role if reason == ROTATED else OTHER[role])
        if signer is None:
            raise Broken(f"entry {index} says that a key was {reason}; give the other role's key too")
        open_envelope(parse_canonical(leaf), [signer])
        return replace(self, changes=(*self.changes, Change(index=index, key=key, reason=reason, leaf=leaf)))

    def _admitted(self, role: str, text: str) -> Key:
        """A key of this log that it did not have before: who lost or gave up a key does not get it back."""
        try:
            key = Key.parse(text)
        except ConfigError as err:
            raise Broken(str(err)) from err
        expected = self.name if role == "operator" else f"{self.name}/{role}"
        known = {each.public_key for each in (*self.first, *(change.key for change in self.changes))}
        if (key.role, key.name) != (role, expected) or key.public_key in known:
            raise Broken(f"{key} cannot become the {role}'s key of {self.name}: it is of another log or role, or known")
        return key


def _index(leaf: bytes) -> int:
    """Where a line says that it stands; whether it does is checked with the tree."""
    try:
        index = json.loads(decode(parse_canonical(leaf)["payload"]))["predicate"]["log"]["index"]
    except (KeyError, TypeError, ValueError, RecursionError) as err:
        raise Broken(f"a change of keys does not say where it stands ({err!r})") from err
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise Broken(f"a change of keys says that it stands at {index!r}")
    return index


def held(key: Key, keys: Path) -> Signer | None:
    """The private half of a key of ours, in use or retired (`<keys>/retired/<key id>/<role>.pem`)."""
    for folder in (keys, keys / "retired" / key.key_id):
        signer = load(key.role, folder)
        if signer and signer.public_key == key.public_key:
            return signer
    return None


def renewed(in_force: Key, keys: Path) -> Signer:
    """A key to take the place of `in_force`: the one in use when it is another already, else a new one.

    What was in use is kept as retired: ledgers that were not renewed yet still need it.
    """
    current = load(in_force.role, keys)
    if current and current.public_key == in_force.public_key:
        retired = keys / "retired" / current.key_id
        retired.mkdir(parents=True, exist_ok=True, mode=0o700)
        (retired / f"{current.role}.pem").unlink(missing_ok=True)
        (keys / f"{current.role}.pem").replace(retired / f"{current.role}.pem")
    return load_or_create(in_force.role, keys)


def change(role: str, key: Key, reason: str, at: str, note: str) -> dict[str, Any]:
    """The predicate of a `keys/v1` statement."""
    return {"role": role, "key": str(key), "reason": reason, "note": note, "at": at}
