"""A time-stamping authority's word that a checkpoint existed at a time (RFC 3161), by request and response files.

The stamp is over the bytes of the checkpoint as the operator signed it, so that `openssl ts -verify -data checkpoint`
agrees. Needs the extra `timestamps`; the only file with `signing` that imports `cryptography`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from trueseed.errors import Broken, ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """authority: the distinguished name (RFC 4514) of whose certificate signed. at: by the authority's clock."""

    authority: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.authority} at {self.at.isoformat().replace('+00:00', 'Z')}"


def request(checkpoint: bytes) -> bytes:
    """A TimeStampReq (DER) over the SHA-256 of the checkpoint, with a nonce, that asks for the certificate."""
    client = _client()
    builder = client.TimestampRequestBuilder().data(checkpoint).hash_algorithm(client.HashAlgorithm.SHA256)
    return bytes(builder.build().as_bytes())


def stamped(response: bytes, checkpoint: bytes, roots: Sequence[bytes]) -> Stamped | None:
    """What a TimeStampResp (DER) shows of a checkpoint to whoever trusts these roots (PEM, one or more in each); None
    when its signature leads to none of them.

    The certificates count as of the time of the stamp, not of today. Raises `Broken` when it is malformed, of other
    bytes, or a refusal; `ConfigError` when a root is no certificate.
    """
    client = _client()
    trusted = {each.fingerprint(SHA256()): each for pem in roots for each in certificates(pem)}
    try:
        answer = client.decode_timestamp_response(response)
        if answer.status != client.PKIStatus.GRANTED:
            raise ValueError(f"the authority answered with status {answer.status} {answer.status_string}")
        if answer.tst_info.message_imprint.message != hashlib.sha256(checkpoint).digest():
            raise ValueError("it is of other bytes than the checkpoint's")
        authority, at = _authority(answer), answer.tst_info.gen_time
    except (ValueError, TypeError, AttributeError, OverflowError) as err:
        raise Broken(f"the time stamp does not hold: {err}") from err
    verifier = client.VerifierBuilder(roots=list(trusted.values())).build()
    try:
        verifier.verify_message(answer, checkpoint)
    except (client.VerificationError, ValueError, TypeError, OverflowError):
        return None
    return Stamped(authority=authority, at=at)


def certificates(pem: bytes) -> list[x509.Certificate]:
    """Raises `ConfigError` unless there is at least one."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as err:
        raise ConfigError(f"it holds no certificate in PEM ({err}); give the authority's root certificate") from err


def _authority(answer: Any) -> str:
    """Whose certificate its signature names."""
    (signer,) = answer.signed_data.signer_infos
    for data in answer.signed_data.certificates:
        certificate = x509.load_der_x509_certificate(data)
        if (certificate.issuer, certificate.serial_number) == (signer.issuer, signer.serial_number):
            return certificate.subject.rfc4514_string()
    raise ValueError("it does not hold the certificate of its signer")


def _client() -> ModuleType:
    try:
        import rfc3161_client
    except ImportError as err:
        raise ConfigError("time stamps need the extra `timestamps`: pip install 'trueseed[timestamps]'") from err
    return rfc3161_client
