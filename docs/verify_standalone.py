"""Checks the integrity of a TrueSeed proof with nothing but Python and `cryptography`.

    python verify_standalone.py proof.zip 'trueseed/0123456789abcdef+07c7ea91+AQOh…'

It checks that the operator's key signed the list of files, that every file is the one listed, that the key signed the
checkpoint, and that each statement is signed by a key of the log and stands in the log that the checkpoint describes.
It does NOT check what the statements say: not the rules of the door, not the terms, not the verdicts, not that nothing
was left out. Exit code 0: whole; 4: broken; 2: no proof, or no key.
"""

import base64
import hashlib
import json
import sys
import zipfile

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

UNCHECKED = "not checked: what the statements say, the terms and verdicts, and that nothing was left out"


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def key(verifier: str) -> tuple[str, bytes]:
    """Name and 32 bytes of a C2SP verifier key."""
    name, _, rest = verifier.strip().partition("+")
    short, _, encoded = rest.partition("+")
    data = base64.b64decode(encoded, validate=True)
    if len(data) != 33 or data[0] != 1 or sha(name.encode() + b"\n" + data)[:4].hex() != short:
        raise ValueError("no Ed25519 verifier key")
    return name, data[1:]


def note(text: str, name: str, public: bytes) -> str:
    """The body of a signed note (c2sp.org/signed-note). Raises unless the key signed it."""
    body, _, block = text.rpartition("\n\n")
    body += "\n"
    for line in block.splitlines():
        parts = line.split(" ")
        if len(parts) == 3 and parts[0] == "—" and parts[1] == name:
            data = base64.b64decode(parts[2], validate=True)
            if data[:4] == sha(name.encode() + b"\n\x01" + public)[:4]:
                Ed25519PublicKey.from_public_bytes(public).verify(data[4:], body.encode())
                return body
    raise ValueError(f"not signed by {name}")


def root(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.3.2."""
    at, last, current = index, size - 1, leaf
    if not 0 <= index < size:
        raise ValueError("outside the log")
    for sibling in path:
        if last == 0:
            raise ValueError("path too long")
        if at & 1 or at == last:
            current = sha(b"\x01" + sibling + current)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            current = sha(b"\x01" + current + sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ValueError("path too short")
    return current


def statement(proof: str, checkpoint: str, keys: dict[str, bytes], size: int, expected: bytes) -> None:
    """A tlog-proof with a DSSE envelope as extra data."""
    head, _, under = proof.partition("\n\n")
    header, extra, index, *path = head.split("\n")
    if header != "c2sp.org/tlog-proof@v1" or under != checkpoint:
        raise ValueError("no tlog-proof under the proof's checkpoint")
    leaf = base64.b64decode(extra.removeprefix("extra "), validate=True)
    hashes = [base64.b64decode(each, validate=True) for each in path]
    if root(sha(b"\x00" + leaf), int(index.removeprefix("index ")), size, hashes) != expected:
        raise ValueError("not in the log")
    envelope = json.loads(leaf)
    payload, kind = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"].encode()
    (signature,) = envelope["signatures"]
    covered = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    public = Ed25519PublicKey.from_public_bytes(keys[signature["keyid"]])
    public.verify(base64.b64decode(signature["sig"], validate=True), covered)


def in_force(first: dict[str, bytes], changes: str) -> list[tuple[int, dict[str, bytes]]]:
    """The keys by role, and from which size of the log on: each change signed by the key that goes, or the other's."""
    found = [(0, first)]
    for line in changes.splitlines():
        envelope = json.loads(line)
        payload, kind = base64.b64decode(envelope["payload"], validate=True), envelope["payloadType"].encode()
        said, keys = json.loads(payload), found[-1][1]
        role, reason = said["predicate"]["role"], said["predicate"]["reason"]
        signer = role if reason == "rotated" else {"operator": "reviewer", "reviewer": "operator"}[role]
        covered = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        Ed25519PublicKey.from_public_bytes(keys[signer]).verify(signature, covered)
        index = said["predicate"]["log"]["index"]
        if said["predicateType"] != "https://trueseed.dev/keys/v1" or index < found[-1][0]:
            raise ValueError("no change of keys")
        found.append((index + 1, {**keys, role: key(said["predicate"]["key"])[1]}))
    return found


def at(keys: list[tuple[int, dict[str, bytes]]], size: int) -> dict[str, bytes]:
    return next(each for since, each in reversed(keys) if since <= size)


def check(path: str, verifier: str) -> str:
    """What was found, in a sentence. Raises when the proof is broken."""
    name, public = key(verifier)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) != len(names) or any(each.compress_type for each in archive.infolist()):
            raise ValueError("a file is named twice, or compressed")
        files = {each: archive.read(each) for each in names}
    if missing := {"keys", "checkpoint", "manifest"} - files.keys():
        raise ValueError(f"no {', '.join(sorted(missing))} in it")
    lines = note(files["keys"].decode(), name, public).splitlines()[1:3]
    first = dict(zip(("operator", "reviewer"), (key(line)[1] for line in lines), strict=True))
    keys = in_force(first, files.get("succession", b"").decode())
    checkpoint = files["checkpoint"].decode()
    size = int(checkpoint.split("\n")[1])
    newest = at(keys, size)["operator"]
    header, origin, subject, *lines = note(files["manifest"].decode(), name, newest)[:-1].split("\n")
    listed = [f"{sha(files[each]).hex()}  {each}" for each in sorted(files) if each != "manifest"]
    if header != "trueseed.dev/proof@v1" or origin != name or lines != listed:
        raise ValueError("its files are not those that were signed")
    of, _, digest = note(checkpoint, name, newest).splitlines()
    if of != name:
        raise ValueError("a checkpoint of another log")
    proofs = [each for each in sorted(files) if each.startswith("statements/")]
    for each in proofs:
        by_id = {sha(public).hex(): public for public in at(keys, int(each[11:19])).values()}
        statement(files[each].decode(), checkpoint, by_id, size, base64.b64decode(digest))
    return f"whole: {subject}, {len(proofs)} of {size} statements of {origin}; {UNCHECKED}"


def main() -> int:
    if len(sys.argv) != 3 or not zipfile.is_zipfile(sys.argv[1]):
        print("give a proof.zip that is whole, and the operator's verifier key", file=sys.stderr)
        return 2
    try:
        key(sys.argv[2])
    except ValueError:
        print(f"{sys.argv[2]!r} is no verifier key, or was copied in part; ask the operator for it", file=sys.stderr)
        return 2
    try:
        print(check(sys.argv[1], sys.argv[2]))
    except InvalidSignature:
        print("BROKEN: a signature does not match", file=sys.stderr)
        return 4
    except Exception as err:  # whatever a forged file makes fail is a forged file
        print(f"BROKEN: {err if isinstance(err, ValueError) else repr(err)}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
