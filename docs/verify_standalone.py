"""Checks the integrity of a TrueSeed proof with nothing but Python and `cryptography`.

    python verify_standalone.py proof.zip 'trueseed/0123456789abcdef+07c7ea91+AQOh…'

It checks that the operator's key signed the list of files, that every file is the one listed, that the key signed the
checkpoint, that each statement is signed by the key whose role may say that and stands in the log that the checkpoint
describes, where it says that it stands, and that manifests, terms and texts are those that their names give.
It does NOT check what the statements say: not the rules of the door, not the terms, not the verdicts, not that nothing
was left out, and not what witnesses and time stamps say. Exit code 0: whole; 4: broken; 2: no proof, or no key.
"""

import base64
import hashlib
import io
import json
import re
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

UNCHECKED = "not checked: what the statements say, the terms and verdicts, witnesses, and that nothing was left out"
STATEMENT, PAYLOAD = "https://in-toto.io/Statement/v1", "application/vnd.in-toto+json"
OURS = re.compile(r"https://trueseed\.dev/([a-z-]+)/v1")
BY_OPERATOR = {"step", "rebuild", "seal", "import", "declaration", "reconciliation", "usage"}
BY_REVIEWER = {"waiver", "release", "recall-release", "permission", "case-end", "destruction"}
NAME = re.compile(r"[a-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,7}")


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def decode(text: str) -> bytes:
    """Standard base64, in its one spelling."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 in another spelling")
    return data


def number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or str(int(text)) != text:
        raise ValueError(f"{text!r} is no plain number")
    return int(text)


def written(value: object) -> str:
    """As RFC 8785 writes it; floats as ECMAScript does, keys in the order of UTF-16."""
    if isinstance(value, dict):
        ordered = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return "{" + ",".join(f"{written(name)}:{written(each)}" for name, each in ordered) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= 2**53):
        return fraction(float(value))
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def fraction(value: float) -> str:
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("no number")
    told, point = "".join(map(str, digits)), len(digits) + exponent
    if told == "0":
        return "0"
    if 0 < point <= 21:
        text = told.ljust(point, "0") if len(told) <= point else f"{told[:point]}.{told[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{told}"
    else:
        text = f"{told[0]}{'.' if told[1:] else ''}{told[1:]}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return "-" * sign + text


def canonical(data: bytes) -> dict:
    """An object from its canonical bytes."""
    value = json.loads(data)
    if not isinstance(value, dict) or written(value).encode() != data:
        raise ValueError("JSON that is not canonical")
    return value


def key(verifier: str) -> tuple[str, bytes]:
    """Name and 32 bytes of a C2SP verifier key."""
    name, _, rest = verifier.strip().partition("+")
    short, _, encoded = rest.partition("+")
    data = decode(encoded)
    if len(data) != 33 or data[0] != 1 or sha(name.encode() + b"\n" + data)[:4].hex() != short:
        raise ValueError("no Ed25519 verifier key")
    return name, data[1:]


def note(text: str, name: str, public: bytes) -> str:
    """The body of a signed note (c2sp.org/signed-note). Raises unless the key signed it."""
    body, _, block = text.rpartition("\n\n")
    body += "\n"
    signed = False
    if not block.endswith("\n") or any(ord(each) < 32 and each != "\n" for each in text):
        raise ValueError("no signed note")
    for line in block[:-1].split("\n"):
        dash, who, encoded = line.split(" ")
        data = decode(encoded)
        if dash != "—":
            raise ValueError("a malformed signature line")
        if who == name and data[:4] == sha(name.encode() + b"\n\x01" + public)[:4]:
            Ed25519PublicKey.from_public_bytes(public).verify(data[4:], body.encode())
            signed = True
    if not signed:
        raise ValueError(f"not signed by {name}")
    return body


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


def statement(proof: str, checkpoint: str, size: int, expected: bytes) -> tuple[int, bytes]:
    """A tlog-proof: the place and the line of an entry that is in the log."""
    head, _, under = proof.partition("\n\n")
    header, extra, place, *path = head.split("\n")
    if header != "c2sp.org/tlog-proof@v1" or under != checkpoint or extra[:6] + place[:6] != "extra index ":
        raise ValueError("no tlog-proof under the proof's checkpoint")
    leaf, index = decode(extra[6:]), number(place[6:])
    if root(sha(b"\x00" + leaf), index, size, [decode(each) for each in path]) != expected:
        raise ValueError("not in the log")
    return index, leaf


def opened(leaf: bytes, keys: dict[str, bytes]) -> tuple[str, dict]:
    """The role that signed a DSSE envelope, and the in-toto statement in it."""
    envelope = canonical(leaf)
    (signature,) = envelope["signatures"]
    if set(envelope) != {"payload", "payloadType", "signatures"} or set(signature) != {"keyid", "sig"}:
        raise ValueError("no DSSE envelope with one signature")
    role = next(role for role, public in keys.items() if sha(public).hex() == signature["keyid"])
    payload, kind = decode(envelope["payload"]), PAYLOAD.encode()
    covered = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    Ed25519PublicKey.from_public_bytes(keys[role]).verify(decode(signature["sig"]), covered)
    said = canonical(payload)
    if envelope["payloadType"] != PAYLOAD or said["_type"] != STATEMENT or len(said) != 4 or not said["subject"]:
        raise ValueError("no in-toto statement")
    for each in said["subject"]:
        if set(each) != {"name", "digest"} or not re.fullmatch("[0-9a-f]{64}", each["digest"].pop("sha256")):
            raise ValueError("a subject without a SHA-256")
        if each["digest"] or not isinstance(each["name"], str):
            raise ValueError("a malformed subject")
    return role, said


def may_say(role: str, kind: str) -> bool:
    ours = OURS.fullmatch(kind)
    word = ours[1] if ours else ""
    return word not in (BY_REVIEWER if role == "operator" else BY_OPERATOR)


def in_force(name: str, first: dict[str, bytes], changes: bytes) -> tuple[list[tuple[int, dict]], dict[int, bytes]]:
    """The keys by role, and from which size of the log on: each change signed by the key that goes, or the other's.
    And the lines of the changes, by entry.
    """
    found: list[tuple[int, dict]] = [(0, first)]
    lines: dict[int, bytes] = {}
    known = set(first.values())
    if changes and not changes.endswith(b"\n"):
        raise ValueError("a torn change of keys")
    for line in changes.split(b"\n")[:-1]:
        signer, said = opened(line, found[-1][1])
        predicate = said["predicate"]
        role, reason, index = predicate["role"], predicate["reason"], predicate["log"]["index"]
        other = {"operator": "reviewer", "reviewer": "operator"}[role]
        of, public = key(predicate["key"])
        if signer != (role if reason == "rotated" else other) or reason not in ("rotated", "lost", "stolen"):
            raise ValueError("a change of keys that this key may not make")
        if said["predicateType"] != "https://trueseed.dev/keys/v1" or type(index) is not int or index < found[-1][0]:
            raise ValueError("no change of keys")
        if of != (name if role == "operator" else f"{name}/reviewer") or public in known:
            raise ValueError("a key of another log, or known before")
        known.add(public)
        lines[index] = line
        found.append((index + 1, {**found[-1][1], role: public}))
    return found, lines


def at(keys: list[tuple[int, dict[str, bytes]]], size: int) -> dict[str, bytes]:
    return next(each for since, each in reversed(keys) if since <= size)


def unpacked(path: str) -> dict[str, bytes]:
    """The files of a zip that has no other bytes than these files make: sorted, stored, without times."""
    data, out = Path(path).read_bytes(), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(each.compress_type or each.file_size != each.compress_size for each in archive.infolist()):
            raise ValueError("a file is compressed")
        files = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for each in sorted(files):
            if not NAME.fullmatch(each):
                raise ValueError(f"a file named {each!r}")
            info = zipfile.ZipInfo(each, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, files[each])
    if out.getvalue() != data:
        raise ValueError("its bytes are not those that its files are packed as")
    return files


def named(files: dict[str, bytes]) -> None:
    """Terms and manifests have the digest in their name, and texts the one in their manifest."""
    for name, data in files.items():
        place, _, rest = name.partition("/")
        if (place == "terms" or (place == "artifacts" and "/" not in rest)) and sha(data).hex() != rest[-69:-5]:
            raise ValueError(f"{name} is not what its name says")
        if place == "artifacts" and "/" in rest:
            artifact, _, path = rest.partition("/")
            listed = {it["path"]: it["sha256"] for it in json.loads(files[f"artifacts/{artifact}.json"])["files"]}
            if listed.get(path) != sha(data).hex():
                raise ValueError(f"{name} is not the file that its manifest names")


def check(path: str, verifier: str) -> str:
    """What was found, in a sentence. Raises when the proof is broken."""
    name, public = key(verifier)
    files = unpacked(path)
    if missing := {"keys", "checkpoint", "manifest"} - files.keys():
        raise ValueError(f"no {', '.join(sorted(missing))} in it")
    header, operator, reviewer, end = note(files["keys"].decode(), name, public).split("\n")
    first = {"operator": key(operator)[1], "reviewer": key(reviewer)[1]}
    if header != "trueseed.dev/ledger@v1" or operator != verifier.strip() or end:
        raise ValueError("not the keys of that log")
    keys, changes = in_force(name, first, files.get("succession", b""))
    checkpoint = files["checkpoint"].decode()
    size = number(checkpoint.split("\n")[1])
    newest = at(keys, size)["operator"]
    header, origin, subject, *lines = note(files["manifest"].decode(), name, newest)[:-1].split("\n")
    listed = [f"{sha(files[each]).hex()}  {each}" for each in sorted(files) if each != "manifest"]
    if header != "trueseed.dev/proof@v1" or origin != name or lines != listed:
        raise ValueError("its files are not those that were signed")
    of, _, digest, end = note(checkpoint, name, newest).split("\n")
    if of != name or end:
        raise ValueError("a checkpoint of another log")
    named(files)
    proofs = [each for each in sorted(files) if each.startswith("statements/")]
    shown = {}
    for each in proofs:
        index, leaf = statement(files[each].decode(), checkpoint, size, decode(digest))
        role, said = opened(leaf, at(keys, index))
        place = said["predicate"]["log"]
        if each != f"statements/{index:08d}.tlog-proof" or not may_say(role, said["predicateType"]):
            raise ValueError(f"{each} has another name than its place, or the {role} may not say that")
        if set(place) != {"origin", "index", "root"} or (place["origin"], place["index"]) != (name, index):
            raise ValueError(f"{each} was written for another place")
        if said["predicateType"] == "https://trueseed.dev/keys/v1":
            shown[index] = leaf
    if shown != {index: leaf for index, leaf in changes.items() if index < size}:
        raise ValueError("the changes of keys are not those in the log")
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
