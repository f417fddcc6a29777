"""TLS: the server's own certificate."""

from __future__ import annotations

from pathlib import Path

import grpc


def server_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """Credentials from PEM files: the certificate chain and its private key. Raises OSError if one cannot be read."""
    return grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
