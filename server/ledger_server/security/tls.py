"""TLS: the server's own certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc


class CertificateError(Exception):
    """The certificate or its key cannot be used; the message says why."""


def server_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """Credentials from PEM files: the certificate chain and its private key. Raises CertificateError."""
    try:
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
        # gRPC takes any bytes, and then fails to listen without a reason.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_refuse_to_ask)
    except _EncryptedError:
        reason = "the key is encrypted, and only a plain one can be used"
    except ssl.SSLError as error:
        reason = f"not a certificate and its private key in PEM format ({error.reason or error})"
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    else:
        return credentials
    raise CertificateError(f"LEDGER_TLS_CERTIFICATE={certificate}, LEDGER_TLS_KEY={key}: {reason}")


class _EncryptedError(Exception):
    """Python would ask for the password on the terminal."""


def _refuse_to_ask() -> str:
    raise _EncryptedError
