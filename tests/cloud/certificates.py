"""A throw-away certificate authority and a server certificate for 127.0.0.1 and localhost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.cloud.environment import environment


@dataclass(frozen=True)
class Certificates:
    """PEM files: what a client trusts, and what a server shows (the chain, CA last) and keeps."""

    ca: Path
    certificate: Path
    key: Path


def make_certificates(directory: Path) -> Certificates:
    """Writes the three files into `directory`, valid for a week."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Certificates(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    # The services' environment has the cryptography package; the tests' own need not.
    env = environment()
    env.run(env.python, "-c", _PROGRAM, made.ca, made.certificate, made.key)
    return made


_PROGRAM = """
import datetime, ipaddress, sys
from pathlib import Path
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ca_file, certificate_file, key_file = map(Path, sys.argv[1:])
now = datetime.datetime.now(datetime.timezone.utc)

def name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

def builder(subject, issuer, key):
    return (
        x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=7))
    )

def usage(**true):
    fields = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
              "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{field: true.get(field, False) for field in fields})

ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
ca = (
    builder("test CA", "test CA", ca_key)
    .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    .add_extension(usage(key_cert_sign=True, crl_sign=True), critical=True)
    .add_extension(ca_id, critical=False)
    .sign(ca_key, hashes.SHA256())
)
names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
leaf = (
    builder("localhost", "test CA", key)
    .add_extension(x509.SubjectAlternativeName(names), critical=False)
    .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    .add_extension(usage(digital_signature=True), critical=True)
    .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
    .sign(ca_key, hashes.SHA256())
)
pem = serialization.Encoding.PEM
ca_file.write_bytes(ca.public_bytes(pem))
certificate_file.write_bytes(leaf.public_bytes(pem) + ca.public_bytes(pem))
key_file.write_bytes(
    key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
)
"""
