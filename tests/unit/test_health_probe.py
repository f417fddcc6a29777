"""The image's HEALTHCHECK, wherever the service listens and whatever its certificate is for."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse

ROOT = Path(__file__).parents[2]
SELF_SIGNED = ROOT / "tests" / "service" / "localhost.pem"
# Of an authority that nobody has: for *.ledger.example, for fd00::7, and by its common name only.
CERTIFICATES = Path(__file__).with_name("certificates")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:0", "0.0.0.0:0", "localhost:0", "unix:socket", *(["[::1]:0", "[::]:0"] if has_ipv6() else [])],
)
def test_the_service_is_asked_where_it_listens(listen: str, tmp_path: Path) -> None:
    with serving(listen, tmp_path) as address:
        assert asked(tmp_path, LEDGER_LISTEN=address, LEDGER_INSECURE="1").returncode == 0


def test_an_empty_address_is_the_default_one(tmp_path: Path) -> None:
    probe = asked(tmp_path, LEDGER_LISTEN="")
    assert probe.returncode == 0 or "127.0.0.1:50051" in probe.stderr


@pytest.mark.parametrize(
    ("listen", "certificate"),
    [
        ("0.0.0.0:0", SELF_SIGNED),
        ("unix:socket", SELF_SIGNED),
        ("0.0.0.0:0", CERTIFICATES / "wildcard.pem"),
        ("0.0.0.0:0", CERTIFICATES / "address.pem"),
        ("0.0.0.0:0", CERTIFICATES / "common_name.pem"),
    ],
    ids=["self-signed", "on a socket file", "wildcard", "address", "common name"],
)
def test_its_certificate_is_trusted_whatever_it_is_for(listen: str, certificate: Path, tmp_path: Path) -> None:
    with serving(listen, tmp_path, certificate) as address:
        tls = {"LEDGER_TLS_CERTIFICATE": str(certificate), "LEDGER_TLS_KEY": str(key_of(certificate))}
        probe = asked(tmp_path, LEDGER_LISTEN=address, **tls)
    assert probe.returncode == 0, probe.stderr


def test_a_service_that_stops_or_is_not_there_is_unhealthy(tmp_path: Path) -> None:
    with serving("127.0.0.1:0", tmp_path, status=HealthCheckResponse.NOT_SERVING) as address:
        assert asked(tmp_path, LEDGER_LISTEN=address).returncode == 1
    assert "refused" in asked(tmp_path, LEDGER_LISTEN=address).stderr
    no_certificate = {"LEDGER_TLS_CERTIFICATE": "absent.pem", "LEDGER_TLS_KEY": "absent.key"}
    for wrong, message in [({"LEDGER_LISTEN": "50051"}, "is not host:port"), (no_certificate, "No such file")]:
        probe = asked(tmp_path, **wrong)
        assert probe.returncode == 1
        assert message in probe.stderr
        assert "Traceback" not in probe.stderr


def asked(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The probe's verdict; a proxy that is set for the whole host is none of its business."""
    return subprocess.run(
        [sys.executable, ROOT / "server" / "health_probe.py"],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}
        | {"http_proxy": "http://127.0.0.1:1", "no_proxy": ""}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def serving(
    listen: str,
    directory: Path,
    certificate: Path | None = None,
    status: int = HealthCheckResponse.SERVING,
) -> Iterator[str]:
    """Where the health service is."""
    servicer = health.HealthServicer()
    servicer.set("", status)
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    place = listen.replace("unix:", f"unix:{directory}/")
    if certificate is None:
        port = server.add_insecure_port(place)
    else:
        pair = (key_of(certificate).read_bytes(), certificate.read_bytes())
        port = server.add_secure_port(place, grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"
    finally:
        server.stop(0)


def key_of(certificate: Path) -> Path:
    return SELF_SIGNED.with_suffix(".key") if certificate == SELF_SIGNED else CERTIFICATES / "certificate.key"
