"""Certificates for mutual trust between the parts of one server, issued at its start by a discarded authority."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID: Final = timedelta(days=3650)
"""Longer than a server runs: each start issues a new certificate."""
CLOCKS_DIFFER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Authority, one certificate and its key, as PEM."""

    authority: str
    certificate: str
    key: str

    def __repr__(self) -> str:
        return "Identity(***)"


def make_identity(name: str, now: datetime | None = None) -> Identity:
    """Issue the only certificate that the authority will ever sign; the authority's key is discarded."""
    now = now or datetime.now(UTC)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, own_name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (f"{name} authority", name)
    )

    def signed(subject: x509.Name, subject_key: ec.EllipticCurvePrivateKey, *, authority: bool) -> str:
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(subject_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCKS_DIFFER)
            .not_valid_after(now + VALID)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(authority_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    return Identity(
        authority=signed(authority_name, authority_key, authority=True),
        certificate=signed(own_name, key, authority=False),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )
