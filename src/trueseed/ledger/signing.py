"""Keys and signed notes: the only file here, with `timestamp`, that imports `cryptography`.

Two roles sign: the *operator* (steps, withdrawals, holds, seals, and the log's checkpoints) and the *reviewer*
(waivers, releases). A *witness* signs other people's checkpoints, and no statement.
Private keys live in the user's state folder, never in a workspace. Public keys travel as C2SP verifier keys,
`<name>+<8 hex>+<base64>`, where the operator's name is the log's origin and the reviewer's is `<origin>/reviewer`.

A note (https://c2sp.org/signed-note) is text, an empty line and signature lines. One key signs notes and DSSE envelopes
without confusion: what a DSSE signature covers starts with `DSSEv1 `, and no note of ours does.
"""

import base64
import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from trueseed.core.durable import sync_folder
from trueseed.errors import Broken, ConfigError

Role = Literal["operator", "reviewer", "witness"]
ED25519 = b"\x01"  # signature type byte of signed-note
COSIGNATURE = b"\x04"  # that of tlog-cosignature
_NAME = re.compile(
    r"[!-*,-~]+"
)  # visible ASCII without `+`: narrower than the specification, which allows all of Unicode
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+=*)")


def encode(data: bytes) -> str:
    """Standard base64 (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode(text: str) -> bytes:
    """The inverse of `encode`. Raises `ValueError` for every other spelling, unused bits that are not 0 included."""
    data = base64.b64decode(text, validate=True)
    if encode(data) != text:
        raise ValueError(f"{text!r} is not canonical base64")
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key, 32 raw bytes, with its role and its name in notes."""

    role: Role
    name: str
    public_key: bytes

    @property
    def key_id(self) -> str:
        """SHA-256 of the raw public key, in hexadecimal: `keyid` in DSSE envelopes."""
        return _key_id(self.public_key)

    @property
    def kind(self) -> bytes:
        """The signature type byte."""
        return COSIGNATURE if self.role == "witness" else ED25519

    @property
    def note_hash(self) -> bytes:
        """The 4 bytes that stand for this key in a note's signature line (signed-note, "Ed25519 signatures")."""
        return hashlib.sha256(self.name.encode() + b"\n" + self.kind + self.public_key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.note_hash.hex()}+{encode(self.kind + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Reads a verifier key as `str(key)` writes it. Raises `ConfigError` for anything else."""
        name, _, rest = text.strip().partition("+")
        _, _, encoded = rest.partition("+")
        try:
            data = decode(encoded)
        except ValueError:
            data = b""
        role: Role = "reviewer" if name.endswith("/reviewer") else "operator"
        role = "witness" if data[:1] == COSIGNATURE else role
        key = cls(role=role, name=name, public_key=data[1:])
        well_formed = len(data) == 33 and data[:1] in (ED25519, COSIGNATURE) and _NAME.fullmatch(name)
        if not well_formed or str(key) != text.strip():
            raise ConfigError(
                f"{text.strip()!r} is not a verifier key, or was copied in part; it reads `<name>+<8 hex>+<base64>`, "
                f"and `trueseed signing show` prints it where the ledger is"
            )
        return key

    def verifies(self, signature: bytes, message: bytes) -> bool:
        try:
            _public(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@lru_cache(maxsize=64)
def _key_id(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()


@lru_cache(maxsize=64)
def _public(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


class Signer:
    """A private key of one role."""

    def __init__(self, role: Role, private_key: Ed25519PrivateKey) -> None:
        self.role: Role = role
        self._private_key = private_key
        self.public_key: bytes = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @classmethod
    def from_seed(cls, role: Role, seed: bytes) -> "Signer":
        """The key of a 32-byte seed (RFC 8032 section 5.1.5): for test vectors, and keys kept elsewhere."""
        return cls(role, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def key_id(self) -> str:
        return _key_id(self.public_key)

    def key(self, origin: str) -> Key:
        """The public half, named for a log; a witness's has the name that it gave itself."""
        name = f"{origin}/{self.role}" if self.role == "reviewer" else origin
        return Key(role=self.role, name=name, public_key=self.public_key)

    def sign(self, message: bytes) -> bytes:
        return self._private_key.sign(message)

    def _pem(self) -> bytes:
        return self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def __repr__(self) -> str:  # never the private half
        return f"Signer({self.role}, {self.key_id[:12]})"


def load(role: Role, folder: Path) -> Signer | None:
    """The key kept in `folder/<role>.pem`, or None when there is none.

    Raises `ConfigError` when others may read it, or when it is not an Ed25519 key.
    """
    path = folder / f"{role}.pem"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise ConfigError(f"the {role} key {path} cannot be read: {err.strerror}") from err
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(f"the {role} key {path} can be read by others (mode {mode:o}); run `chmod 600 {path}`")
    try:
        signer = _opened(role, data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise ConfigError(f"the {role} key {path} is not an unencrypted PEM key; restore it from a copy") from err
    if signer is None:
        raise ConfigError(f"the {role} key {path} is not an Ed25519 key; restore it from a copy")
    return signer


@lru_cache(maxsize=8)  # the file is read for every entry, and is the same each time
def _opened(role: Role, pem: bytes) -> Signer | None:
    private_key = load_pem_private_key(pem, password=None)
    return Signer(role, private_key) if isinstance(private_key, Ed25519PrivateKey) else None


def load_or_create(role: Role, folder: Path) -> Signer:
    """The key kept in `folder/<role>.pem` (PKCS #8, mode 0600), made now if there is none.

    Two processes that come at once get the same key. Raises `ConfigError` as `load` does, or when it cannot be written.
    """
    found = load(role, folder)
    if found:
        return found
    made = Signer(role, Ed25519PrivateKey.generate())
    try:
        _keep(made._pem(), folder / f"{role}.pem")
    except FileExistsError:
        return load_or_create(role, folder)
    except OSError as err:
        raise ConfigError(
            f"the {role} key cannot be kept in {folder}: {err.strerror}; make it writable, or set TRUESEED_STATE"
        ) from err
    return made


def _keep(pem: bytes, path: Path) -> None:
    """Writes a new key, mode 0600. Raises `FileExistsError` when another process was first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)  # unlike a rename, fails if another was first
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync_folder(path.parent)


def weights_key(folder: Path) -> tuple[Path, bytes]:
    """The P-256 key with which weights are signed: where its private half is kept (0600, made now if there is none),
    and its public half in PEM. OpenSSF model-signing takes no Ed25519 key; a ledger vouches for this one by naming it.

    Raises `ConfigError` when others may read it, it is not such a key, or it cannot be written.
    """
    path = folder / "weights.pem"
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        try:
            with suppress(FileExistsError):  # another process was first
                _keep(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), path)
        except OSError as err:
            raise ConfigError(
                f"{path} cannot be written: {err.strerror}; make it writable, or set TRUESEED_STATE"
            ) from err
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"the key {path} that signs weights can be read by others; run `chmod 600 {path}`")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise ConfigError(f"{path} is not an unencrypted PEM key; restore it from a copy") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(f"{path} is not a P-256 key; restore it from a copy")
    return path, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign_note(text: str, signer: Signer, origin: str) -> str:
    """The note that `signer` makes of `text`, which must end in a newline."""
    key = signer.key(origin)
    return f"{text}\n— {key.name} {encode(key.note_hash + signer.sign(text.encode()))}\n"


def open_note(note: str, key: Key) -> str:
    """The text of a note that `key` signed; signatures of other keys are passed over, as the specification asks.

    Raises `Broken` when the note is malformed, or `key` did not sign it.
    """
    text, separator, block = note.rpartition("\n\n")
    text += "\n"
    if not separator or not block.endswith("\n") or any(ord(c) < 0x20 and c != "\n" for c in note):
        raise Broken("it is not a signed note")
    signed = False
    for line in block[:-1].split("\n"):
        match = _SIGNATURE.fullmatch(line)
        try:
            if match is None:
                raise ValueError
            name, data = match[1], decode(match[2])
        except ValueError as err:
            raise Broken(f"its signature line {line!r} is malformed") from err
        if name == key.name and data[:4] == key.note_hash:
            if not key.verifies(data[4:], text.encode()):
                raise Broken(f"the signature of {key.name} does not match its text")
            signed = True
    if not signed:
        raise Broken(f"it carries no signature by {key}")
    return text
