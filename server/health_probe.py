"""Exits 0 if the service answers SERVING to the standard health check: the image's HEALTHCHECK.

Asks where the service's own settings say that it listens, with TLS if they say so. The question is whether it serves,
not whether callers trust it: its certificate is trusted as it is, under a name that it has.
"""

import os
import socket
import ssl
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from ledger_server.settings import Settings, SettingsError

TIMEOUT_SECONDS = 2.0  # twice, at most: the image allows five


def main() -> int:
    try:
        with _channel(Settings.from_environment(os.environ)) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            answer = check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
    except (SettingsError, OSError, grpc.RpcError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


def _channel(settings: Settings) -> grpc.Channel:
    # No proxy leads to one's own host.
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    certificate = settings.tls_certificate
    if certificate is None:
        return grpc.insecure_channel(settings.listen, options=options)
    options.append(("grpc.ssl_target_name_override", _name_in(certificate, settings.listen)))
    return grpc.secure_channel(settings.listen, grpc.ssl_channel_credentials(certificate.read_bytes()), options=options)


def _name_in(certificate: Path, listen: str) -> str:
    """A name that the certificate is good for, a wildcard's being any; ssl tells those of a peer's only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    context.set_alpn_protocols(["h2"])
    with _connection(listen) as connection, context.wrap_socket(connection) as peer:
        shown: dict[str, Any] = dict(peer.getpeercert() or {})
    others = shown.get("subjectAltName", ())
    names: list[str] = [
        *(name.replace("*", "any") for kind, name in others if kind == "DNS"),
        *(str(ip_address(name.strip())) for kind, name in others if kind == "IP Address"),
        *(name for ((kind, name), *_) in shown.get("subject", ()) if kind == "commonName"),
    ]
    return names[0] if names else ""


def _connection(listen: str) -> socket.socket:
    if not listen.startswith("unix:"):
        host, _, port = listen.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_SECONDS)
    connection.connect(listen.removeprefix("unix:"))
    return connection


if __name__ == "__main__":
    sys.exit(main())
