"""Configuration: environment variables, each `LEDGER_` and the field's name in capitals."""

from __future__ import annotations

import difflib
import ipaddress
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

REQUEST_RETENTION_MIN = timedelta(days=7)
LANES_MAX = 64
READERS_MAX = 256


class SettingsError(Exception):
    """A setting is wrong; the message names it and says what would be right."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one server process runs.

    listen: where to serve gRPC: `host:port`, where port 0 picks a free one, or `unix:/path`. Beyond loopback TLS is
        demanded, or `insecure`.
    database_url: a PostgreSQL 15-18 to use; without it an embedded one keeps its data in data_directory.
    migration_database_url, pruning_database_url: the same database as the roles that change its schema and that remove
        old events; default: as the role of database_url.
    may_lose_data: use a PostgreSQL even if its settings lose acknowledged writes, as a test's may.
    postgres_bin: where the embedded PostgreSQL's binaries are; default: found by themselves.
    tls_certificate, tls_key: PEM files; both or neither.
    lanes: writers of batches, with two connections each; readers: connections for reading, at most.
    ready_file: written with the address once the server serves, removed when it stops.
    log_format: `pretty`, `json`, or `auto`: pretty on a terminal. log_level: debug, info, warning or error.
    event_retention: how long events can be watched, at least; default: for ever. In the environment seconds, or a
        number of `s`, `m`, `h` or `d`, as in `30d`.
    stall_seconds: how long a stream's reader may take nothing until its stream is ended with SLOW_SUBSCRIBER.
    request_retention: how long a request_id is remembered, 7 days at least, or a 24th longer; default: for ever.
    drain_seconds: how long calls under way may go on once the server is told to stop.
    """

    listen: str = "127.0.0.1:50051"
    insecure: bool = False
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    database_url: str | None = None
    migration_database_url: str | None = None
    pruning_database_url: str | None = None
    may_lose_data: bool = False
    data_directory: Path = Path("data")
    postgres_bin: str | None = None
    lanes: int = 4
    readers: int = 8
    ready_file: Path | None = None
    log_format: str = "auto"
    log_level: str = "info"
    event_retention: timedelta | None = None
    stall_seconds: float = 4.0
    request_retention: timedelta | None = None
    drain_seconds: float = 10.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings that the environment gives; an empty variable counts as absent. Raises SettingsError."""
        given = {
            name.removeprefix("LEDGER_").lower(): value
            for name, value in environment.items()
            if name.startswith("LEDGER_") and value
        }
        given.pop("address", None)  # The clients' setting.
        if unknown := sorted(given.keys() - cls.__dataclass_fields__.keys()):
            raise SettingsError(f"{_listed(unknown)}: no such setting, see Settings in README.md{_meant(unknown)}")
        settings = cls(**{name: _PARSERS.get(name, _text)(name, value) for name, value in given.items()})
        settings.check()
        return settings

    def check(self) -> None:
        """Refuses combinations that cannot be meant."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingsError("LEDGER_TLS_CERTIFICATE and LEDGER_TLS_KEY must be set together")
        if (self.migration_database_url or self.pruning_database_url) and not self.database_url:
            raise SettingsError(
                "LEDGER_MIGRATION_DATABASE_URL and LEDGER_PRUNING_DATABASE_URL name the database of "
                "LEDGER_DATABASE_URL as other roles, and it is not set"
            )
        if not self.is_loopback and self.tls_certificate is None and not self.insecure:
            raise SettingsError(
                f"LEDGER_LISTEN={self.listen} is reachable from other machines, and without TLS everything on the wire "
                "can be read and changed. Set LEDGER_TLS_CERTIFICATE and LEDGER_TLS_KEY, or listen on 127.0.0.1, or "
                "set LEDGER_INSECURE=1 if the network in between is private to the callers."
            )
        if not 1 <= self.lanes <= LANES_MAX:
            raise SettingsError(f"LEDGER_LANES must be from 1 to {LANES_MAX}")
        if not 1 <= self.readers <= READERS_MAX:
            raise SettingsError(f"LEDGER_READERS must be from 1 to {READERS_MAX}")
        if not self.stall_seconds:
            raise SettingsError("LEDGER_STALL_SECONDS must be more than 0")
        if self.request_retention is not None and self.request_retention < REQUEST_RETENTION_MIN:
            raise SettingsError(
                "LEDGER_REQUEST_RETENTION must be at least 7d: a request_id that is forgotten has an effect again"
            )
        if self.log_format not in ("auto", "pretty", "json"):
            raise SettingsError("LEDGER_LOG_FORMAT must be auto, pretty or json")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError("LEDGER_LOG_LEVEL must be debug, info, warning or error")

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the listening address."""
        if self.host == "localhost" or self.listen.startswith("unix:"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"LEDGER_{name.upper()}" for name in names)


def _meant(unknown: Iterable[str]) -> str:
    """The settings that names which are none look like, as a question."""
    known = Settings.__dataclass_fields__
    close = [match for name in unknown for match in difflib.get_close_matches(name, known, n=1)]
    return f"; did you mean {_listed(close)}?" if close else ""


def _text(_: str, value: str) -> str:
    return value


def _path(_: str, value: str) -> Path:
    return Path(value)


def _number(name: str, value: str) -> int:
    if not value.isdecimal():
        raise SettingsError(f"LEDGER_{name.upper()}={value!r} is not a number")
    return int(value)


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise SettingsError(f"LEDGER_{name.upper()}={value!r} is not a number of seconds")
    return seconds


def _retention(name: str, value: str) -> timedelta:
    unit_seconds = _UNITS_SECONDS.get(value[-1])
    number = value if unit_seconds is None else value[:-1]
    seconds = int(number) * (unit_seconds or 1) if number.isdecimal() and len(number) <= 10 else 0
    if not 0 < seconds <= _CENTURY_SECONDS:
        raise SettingsError(f"LEDGER_{name.upper()}={value!r} is not a time such as 3600, 90m, 12h or 30d")
    return timedelta(seconds=seconds)


_UNITS_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_CENTURY_SECONDS = 36_525 * 86_400


def _flag(name: str, value: str) -> bool:
    if value.lower() not in ("0", "1", "true", "false"):
        raise SettingsError(f"LEDGER_{name.upper()}={value!r} is not 0 or 1")
    return value.lower() in ("1", "true")


def _address(name: str, value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not value.startswith("unix:") and not (colon and host and port.isdecimal() and int(port) < 65536):
        raise SettingsError(f"LEDGER_{name.upper()}={value!r} is not host:port")
    if ":" in host and not value.startswith(("unix:", "[")):
        raise SettingsError(f"LEDGER_{name.upper()}={value!r}: an IPv6 address goes in brackets, as in [::1]:50051")
    return value


_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "listen": _address,
    "insecure": _flag,
    "may_lose_data": _flag,
    "tls_certificate": _path,
    "tls_key": _path,
    "data_directory": _path,
    "lanes": _number,
    "readers": _number,
    "ready_file": _path,
    "event_retention": _retention,
    "stall_seconds": _seconds,
    "request_retention": _retention,
    "drain_seconds": _seconds,
}
