"""What an entry says: an in-toto Statement v1 in a DSSE envelope, both as RFC 8785 canonical JSON.

    statement: {"_type", "subject": [{"name", "digest": {"sha256"}}], "predicateType", "predicate"}
    envelope:  {"payload": base64(statement), "payloadType", "signatures": [{"keyid", "sig"}]}

Sources: https://in-toto.io/Statement/v1, https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
Narrower than both: exactly one signature, standard base64, no unknown fields, so that a statement has one spelling.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import rfc8785

from trueseed.core.canonical import canonical, digest
from trueseed.core.canonical import parse_canonical as canonical_value
from trueseed.errors import Broken, ConfigError
from trueseed.ledger.signing import Key, Role, Signer, decode, encode

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD = "application/vnd.in-toto+json"

STEP: Final = "https://trueseed.dev/step/v1"
WITHDRAWAL: Final = "https://trueseed.dev/withdrawal/v1"
WAIVER: Final = "https://trueseed.dev/waiver/v1"
HOLD: Final = "https://trueseed.dev/hold/v1"
RELEASE: Final = "https://trueseed.dev/release/v1"
QUOTA: Final = "https://trueseed.dev/quota/v1"
QUOTA_RELEASE: Final = "https://trueseed.dev/quota-release/v1"
RECALL_RELEASE: Final = "https://trueseed.dev/recall-release/v1"
PERMISSION: Final = "https://trueseed.dev/permission/v1"
CASE: Final = "https://trueseed.dev/case/v1"
CASE_END: Final = "https://trueseed.dev/case-end/v1"
DESTRUCTION: Final = "https://trueseed.dev/destruction/v1"
REBUILD: Final = "https://trueseed.dev/rebuild/v1"
SEAL: Final = "https://trueseed.dev/seal/v1"
IMPORT: Final = "https://trueseed.dev/import/v1"
DECLARATION: Final = "https://trueseed.dev/declaration/v1"
KEY_CHANGE: Final = "https://trueseed.dev/keys/v1"
RECONCILIATION: Final = "https://trueseed.dev/reconciliation/v1"
USAGE: Final = "https://trueseed.dev/usage/v1"  # a report: stands in no log

SIGNED_BY: Mapping[str, frozenset[Role]] = {
    STEP: frozenset({"operator"}),
    REBUILD: frozenset({"operator"}),
    SEAL: frozenset({"operator"}),
    IMPORT: frozenset({"operator"}),
    DECLARATION: frozenset({"operator"}),
    RECONCILIATION: frozenset({"operator"}),
    KEY_CHANGE: frozenset({"operator", "reviewer"}),  # which of them: see `succession`
    USAGE: frozenset({"operator"}),
    WITHDRAWAL: frozenset({"operator", "reviewer"}),  # stopping needs no second pair of eyes
    WAIVER: frozenset({"reviewer"}),
    HOLD: frozenset({"operator", "reviewer"}),
    RELEASE: frozenset({"reviewer"}),
    QUOTA: frozenset({"operator"}),
    QUOTA_RELEASE: frozenset({"reviewer"}),
    RECALL_RELEASE: frozenset({"reviewer"}),
    PERMISSION: frozenset({"reviewer"}),
    CASE: frozenset({"operator", "reviewer"}),
    CASE_END: frozenset({"reviewer"}),
    DESTRUCTION: frozenset({"reviewer"}),
}


def roles(predicate_type: str) -> frozenset[Role]:
    """The roles that may sign a predicate type; a type this version does not know may be signed by either."""
    return SIGNED_BY.get(predicate_type, frozenset({"operator", "reviewer"}))


def pae(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature covers ("Pre-Authentication Encoding").

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def subject(name: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}}


def statement(
    predicate_type: str, subjects: Sequence[Mapping[str, Any]], predicate: Mapping[str, Any]
) -> dict[str, Any]:
    """A Statement about `subjects` (each as `subject` makes it).

    in-toto wants at least one subject; a statement about none is about its own predicate, by the predicate's digest.
    Raises `ConfigError` when the predicate has no canonical form (NaN, integers beyond 2^53, ...).
    """
    try:
        about = [dict(each) for each in subjects] or [subject("predicate", digest(dict(predicate)))]
        made = {
            "_type": STATEMENT,
            "subject": about,
            "predicateType": predicate_type,
            "predicate": dict(predicate),
        }
        canonical(made)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as err:
        raise ConfigError(f"a {predicate_type} statement cannot be written as canonical JSON: {err}") from err
    if not _is_statement(made):
        raise ValueError(f"subjects must be as `subject` makes them, not {about!r}")
    return made


def envelope(statement: Mapping[str, Any], signer: Signer) -> dict[str, Any]:
    payload = canonical(dict(statement))
    signature = {"keyid": signer.key_id, "sig": encode(signer.sign(pae(PAYLOAD, payload)))}
    return {"payload": encode(payload), "payloadType": PAYLOAD, "signatures": [signature]}


def open_envelope(envelope: Mapping[str, Any], known_keys: Iterable[Key]) -> dict[str, Any]:
    """The statement in an envelope that one of `known_keys` signed.

    Raises `Broken` when it is malformed, not canonical, signed by an unknown key, or the signature does not match.
    """
    key_id, signature, payload = _parts(envelope)
    # `keyid` is a hint that narrows the choice; the signature decides.
    key = next((key for key in known_keys if key.key_id == key_id), None)
    if key is None:
        raise Broken(f"it is signed by an unknown key ({key_id})")
    if not key.verifies(signature, pae(PAYLOAD, payload)):
        raise Broken(f"the signature of the {key.role} ({key_id}) does not match the statement")
    made = parse_canonical(payload)
    if not _is_statement(made):
        raise Broken(f"it is not a {STATEMENT} with named subjects, each with a sha256 digest, and a predicate")
    return made


def parse_canonical(data: bytes) -> dict[str, Any]:
    """A JSON object from its canonical bytes. Raises `Broken` for any other bytes, however harmless the difference."""
    try:
        value = canonical_value(data)
    except (ValueError, RecursionError, rfc8785.CanonicalizationError) as err:
        raise Broken(f"it is not canonical JSON ({err})") from err
    if not isinstance(value, dict):
        raise Broken("it is canonical JSON, and not of an object")
    return value


def _parts(envelope: Mapping[str, Any]) -> tuple[str, bytes, bytes]:
    """keyid, signature, payload."""
    match envelope:
        case {
            "payload": str(payload),
            "payloadType": str(kind),
            "signatures": [{"keyid": str(key_id), "sig": str(signature), **extra}],
            **rest,
        } if kind == PAYLOAD and not rest and not extra:
            try:
                return key_id, decode(signature), decode(payload)
            except ValueError as err:
                raise Broken(f"its payload or signature is not canonical base64 ({err})") from err
    raise Broken(f"it is not a DSSE envelope of type {PAYLOAD} with exactly one signature")


def _is_statement(made: Mapping[str, Any]) -> bool:
    match made:
        case {
            "_type": str(kind),
            "subject": [_, *_] as subjects,
            "predicateType": str(),
            "predicate": dict(),
            **rest,
        }:
            return kind == STATEMENT and not rest and all(_is_subject(each) for each in subjects)
    return False


def _is_subject(value: Any) -> bool:
    match value:
        case {"name": str(), "digest": {"sha256": str(sha256)}} if len(value) == 2 and len(value["digest"]) == 1:
            return len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")
    return False
