"""A temporary certificate authority and one server certificate, new for each mock."""

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=30)


def server_context(names: list[str]) -> tuple[ssl.SSLContext, bytes]:
    """Return a TLS context for a server with these ``names``, and its CA certificate as PEM.

    The CA's private key is not kept. The certificates have every extension that
    ``ssl.VERIFY_X509_STRICT`` requires, the default since Python 3.13 (RFC 5280 section 4.2.1).
    """
    ca_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("Mock Azure CA", ca_key.public_key(), ca_key, None, [])
    leaf = _certificate(names[0], key.public_key(), ca_key, ca, names)
    private_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # load_cert_chain reads only files, so the key is on disk for a moment, in a folder (mode 0700)
    # that other users can't enter.
    with tempfile.TemporaryDirectory(prefix="mock-azure-") as folder:
        chain = Path(folder, "server.pem")
        chain.write_bytes(private_pem + leaf.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(chain)
    return context, ca.public_bytes(serialization.Encoding.PEM)


def _certificate(
    common_name: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    names: list[str],
) -> x509.Certificate:
    """Return a CA certificate if ``issuer`` is None, else a server certificate for ``names``."""
    is_ca = issuer is None
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
        )
        .add_extension(
            # digitalSignature for the server, keyCertSign and cRLSign for the CA
            x509.KeyUsage(not is_ca, False, False, False, False, is_ca, is_ca, False, False),
            True,
        )
    )
    if not is_ca:
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = builder.add_extension(alternatives, False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
