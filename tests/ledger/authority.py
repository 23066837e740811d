"""A time-stamping authority of a test's own (RFC 3161, RFC 5652): a root, and a certificate that stamps."""

import hashlib
from datetime import UTC, datetime, timedelta

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SHA256 = {"algorithm": "sha256"}
FROM = datetime(2026, 1, 1, tzinfo=UTC)


class Authority:
    """Stamps whatever it is asked to. root: PEM."""

    def __init__(self, name: str = "Stamps of a test") -> None:
        root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}, root")])
        leaf_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        root = self._certificate(root_name, root_name, root_key.public_key(), 1)
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        leaf = self._certificate(leaf_name, root_name, self._key.public_key(), 2)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        self.root = root.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM)
        der = leaf.sign(root_key, hashes.SHA256()).public_bytes(Encoding.DER)
        self._leaf = asn1.Certificate.load(der)
        self._digest = hashlib.sha256(der).digest()

    @staticmethod
    def _certificate(subject, issuer, public, serial):
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        return made.serial_number(serial).not_valid_before(FROM).not_valid_after(FROM + timedelta(days=365))

    def answer(self, request: bytes, at: datetime = datetime(2026, 11, 25, 12, tzinfo=UTC)) -> bytes:
        """The TimeStampResp to a TimeStampReq."""
        asked = tsp.TimeStampReq.load(request)
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": "1.2.3.4",
                "message_imprint": asked["message_imprint"],
                "serial_number": 7,
                "gen_time": at,
                "nonce": asked["nonce"],
            }
        )
        content = info.dump()
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
                {"type": "signing_certificate_v2", "values": [{"certs": [{"cert_hash": self._digest}]}]},
            ]
        )
        signature = self._key.sign(attributes.dump(), ec.ECDSA(hashes.SHA256()))
        return self._wrapped(content, attributes, signature)

    def _wrapped(self, content: bytes, attributes: cms.CMSAttributes, signature: bytes) -> bytes:
        signer = {
            "version": "v1",
            "sid": {"issuer_and_serial_number": {"issuer": self._leaf.issuer, "serial_number": 2}},
            "digest_algorithm": SHA256,
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
            "signature": signature,
        }
        signed = {
            "version": "v3",
            "digest_algorithms": [SHA256],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
            "certificates": [self._leaf],
            "signer_infos": [signer],
        }
        token = {"content_type": "signed_data", "content": cms.SignedData(signed)}
        return tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()
