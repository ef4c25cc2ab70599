"""The RSA keys that sign tokens, each with its certificate, and their rollover."""

import hashlib
from base64 import b64encode, urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from .directory import Json


def base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class SigningKey:
    """An RSA key; ``kid`` is the thumbprint of its certificate, as with Entra."""

    def __init__(self) -> None:
        self.private = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mock-azure.signing")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=5 * 365))
            .sign(self.private, hashes.SHA256())
        )
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.kid = base64url(hashlib.sha1(self.der, usedforsecurity=False).digest())

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def as_jwk(self, issuer: str) -> Json:
        """Return the public key in Entra's format: with ``x5c`` and ``x5t``, without ``alg``."""
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "x5t": self.kid,
            "n": base64url(numbers.n.to_bytes(256, "big")),
            "e": base64url(numbers.e.to_bytes(3, "big")),
            "x5c": [b64encode(self.der).decode()],
            "cloud_instance_name": "localhost",
            "issuer": issuer,
        }


class SigningKeys:
    """``current`` signs tokens; ``published`` is the JWKS, which can contain older keys too."""

    def __init__(self) -> None:
        with ThreadPoolExecutor() as pool:  # key generation does not hold the interpreter's lock
            self.original = tuple(pool.map(lambda _: SigningKey(), range(2)))
        self.reset()

    def reset(self) -> None:
        """Restore the first keys, so that cached copies of them are valid again."""
        self.published = list(self.original)
        self.current = self.published[0]

    @cached_property
    def rogue(self) -> SigningKey:
        """A key that was never published, such as an attacker's."""
        return SigningKey()

    def find(self, kid: object) -> SigningKey | None:
        return next((key for key in self.published if key.kid == kid), None)

    def publish_next(self) -> SigningKey:
        """Publish a key that signs nothing yet: the first step of a planned rollover."""
        self.published.append(SigningKey())
        return self.published[-1]

    def use_next(self) -> SigningKey:
        """Sign with the newest published key from now on; the older ones stay published."""
        self.current = self.published[-1]
        return self.current

    def emergency_rollover(self) -> SigningKey:
        """Replace every key at once, as after a theft: older tokens are no longer valid."""
        self.published = [SigningKey(), SigningKey()]
        self.current = self.published[0]
        return self.current
