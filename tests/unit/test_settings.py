"""The environment to settings, and every way in which it is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ledger_server.settings import Settings, SettingsError


def test_without_variables_the_service_runs_on_loopback_with_its_own_database() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.is_loopback
    assert settings.database_url is None


def test_every_kind_of_value_is_read() -> None:
    settings = Settings.from_environment(
        {
            "LEDGER_LISTEN": "0.0.0.0:0",
            "LEDGER_INSECURE": "true",
            "LEDGER_DATABASE_URL": "postgresql://db/ledger",
            "LEDGER_DATA_DIRECTORY": "/var/lib/ledger",
            "LEDGER_LANES": "2",
            "LEDGER_STALL_SECONDS": "1.5",
            "LEDGER_DRAIN_SECONDS": "0.5",
            "LEDGER_EVENT_RETENTION": "30d",
            "LEDGER_REQUEST_RETENTION": "7d",
            "LEDGER_LOG_FORMAT": "json",
            "LEDGER_READY_FILE": "",
            "PATH": "/usr/bin",
            "LEDGER_ADDRESS": "for clients",
        }
    )
    assert settings == Settings(
        listen="0.0.0.0:0",
        insecure=True,
        database_url="postgresql://db/ledger",
        data_directory=Path("/var/lib/ledger"),
        lanes=2,
        stall_seconds=1.5,
        drain_seconds=0.5,
        event_retention=timedelta(days=30),
        request_retention=timedelta(days=7),
        log_format="json",
    )


def test_the_most_lanes_and_readers_are_as_many_as_a_refusal_says() -> None:
    settings = Settings.from_environment({"LEDGER_LANES": "64", "LEDGER_READERS": "256"})
    assert (settings.lanes, settings.readers) == (64, 256)


@pytest.mark.parametrize(("value", "seconds"), [("3600", 3600), ("5s", 5), ("90m", 5400), ("12h", 43200)])
def test_times_may_have_a_unit(value: str, seconds: int) -> None:
    settings = Settings.from_environment({"LEDGER_EVENT_RETENTION": value})
    assert settings.event_retention == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("listen", "is_loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("unix:/run/ledger.sock", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.0.1:1", False),
        ("localhost.example.com:1", False),
    ],
)
def test_who_can_reach_an_address(listen: str, is_loopback: bool) -> None:
    assert Settings(listen=listen).is_loopback is is_loopback


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param(
            {"LEDGER_LISTEM": "x", "LEDGER_A": "y"},
            "LEDGER_A, LEDGER_LISTEM: no such setting, see Settings in README.md; did you mean LEDGER_LISTEN?",
            id="misspelt names",
        ),
        pytest.param(
            {"LEDGER_A": "y"}, "LEDGER_A: no such setting, see Settings in README.md", id="a name like no other"
        ),
        pytest.param({"LEDGER_LISTEN": "50051"}, "LEDGER_LISTEN='50051' is not host:port", id="a port alone"),
        pytest.param({"LEDGER_LISTEN": "127.0.0.1:"}, "is not host:port", id="no port"),
        pytest.param({"LEDGER_LISTEN": ":50051"}, "is not host:port", id="no host"),
        pytest.param({"LEDGER_LISTEN": "127.0.0.1:65536"}, "is not host:port", id="a port too high"),
        pytest.param({"LEDGER_LISTEN": "127.0.0.1:http"}, "is not host:port", id="a port by name"),
        pytest.param({"LEDGER_LISTEN": "0.0.0.0:1"}, "LEDGER_INSECURE=1", id="reachable without TLS"),
        pytest.param(
            {"LEDGER_LISTEN": "0.0.0.0:1", "LEDGER_INSECURE": "0"}, "LEDGER_INSECURE=1", id="and not on purpose"
        ),
        pytest.param({"LEDGER_INSECURE": "yes"}, "LEDGER_INSECURE='yes' is not 0 or 1", id="neither 0 nor 1"),
        pytest.param({"LEDGER_TLS_KEY": "key.pem"}, "must be set together", id="a key without its certificate"),
        pytest.param({"LEDGER_TLS_CERTIFICATE": "c.pem"}, "must be set together", id="a certificate without its key"),
        pytest.param(
            {"LEDGER_PRUNING_DATABASE_URL": "postgresql://db/ledger"}, "and it is not set", id="roles of no database"
        ),
        pytest.param({"LEDGER_LANES": "many"}, "LEDGER_LANES='many' is not a number", id="no number"),
        pytest.param({"LEDGER_LANES": "-1"}, "LEDGER_LANES='-1' is not a number", id="a negative number"),
        pytest.param({"LEDGER_LANES": "0"}, "LEDGER_LANES must be from 1 to 64", id="no lane"),
        pytest.param({"LEDGER_LANES": "65"}, "LEDGER_LANES must be from 1 to 64", id="too many lanes"),
        pytest.param({"LEDGER_LANES": "99999999999"}, "LEDGER_LANES must be from 1 to 64", id="far too many lanes"),
        pytest.param({"LEDGER_READERS": "0"}, "LEDGER_READERS must be from 1 to 256", id="no reader"),
        pytest.param({"LEDGER_READERS": "257"}, "LEDGER_READERS must be from 1 to 256", id="too many readers"),
        pytest.param({"LEDGER_STALL_SECONDS": "0"}, "more than 0", id="no patience with readers"),
        pytest.param({"LEDGER_DRAIN_SECONDS": "soon"}, "is not a number of seconds", id="no number of seconds"),
        pytest.param({"LEDGER_DRAIN_SECONDS": "-1"}, "LEDGER_DRAIN_SECONDS", id="less than no seconds"),
        pytest.param({"LEDGER_DRAIN_SECONDS": "nan"}, "LEDGER_DRAIN_SECONDS", id="seconds that are no number"),
        *(
            pytest.param({"LEDGER_EVENT_RETENTION": value}, "is not a time such as", id=f"no time: {value}")
            for value in ("d", "0", "-1d", "1.5h", "30 days", "99999d", "9999999999d")
        ),
        pytest.param({"LEDGER_REQUEST_RETENTION": "6d"}, "must be at least 7d", id="forgetting too soon"),
        pytest.param({"LEDGER_LOG_FORMAT": "xml"}, "LEDGER_LOG_FORMAT must be", id="an unknown log format"),
        pytest.param({"LEDGER_LOG_LEVEL": "loud"}, "LEDGER_LOG_LEVEL must be", id="an unknown log level"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(environment)
    assert message in str(refused.value)
