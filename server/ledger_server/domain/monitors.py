"""The rules of balance monitors: when they are triggered and resolved, and what they say of a command.

A monitor is judged after each command that moves its account. Most move it so little that nothing can change: the
monitors of an account come down to one band for each field they look at, and only outside of one is any of them judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ledger_server.domain.accounts import either
from ledger_server.domain.book import Book, Effect
from ledger_server.domain.errors import MonitorNotFound, TooManyMonitors, VersionMismatch
from ledger_server.domain.inputs import patched
from ledger_server.domain.model import (
    AccountVersion,
    Band,
    EventKind,
    Monitor,
    MonitorCondition,
    MonitorField,
    MonitorReading,
    Watched,
)
from ledger_server.domain.money import BalanceKind, Operator, balance
from ledger_server.domain.monitor_commands import CreateBalanceMonitor, DeleteBalanceMonitor, UpdateBalanceMonitor
from ledger_server.domain.refusals import accounts_not_found

# Of one account: one command may make all of them speak.
MONITORS_MAX = 100


def create_monitor(book: Book, command: CreateBalanceMonitor, time: datetime) -> Effect:
    subject = book.find_account(command.account)
    if subject is None:
        raise accounts_not_found([command.account])
    account_id = subject.account.id
    others = _monitors(book, account_id)
    if len(others) >= MONITORS_MAX:
        raise TooManyMonitors(
            f"the account has {len(others)} monitors; at most {MONITORS_MAX} are allowed",
            metadata={"account_id": account_id, "most": str(MONITORS_MAX)},
        )
    position = book.position + 1
    monitor = Monitor(
        id=command.monitor_id,
        ledger_id=command.ledger_id,
        account_id=account_id,
        condition=command.condition,
        description=command.description,
        metadata=command.metadata,
        version=0,
        triggered=is_triggered(command.condition, False, seen_by(command.condition.field, subject)),
        since_position=position,
        since=time,
        created_position=position,
        created_at=time,
        updated_at=time,
    )
    return Effect(
        command,
        EventKind.MONITOR_CREATED,
        position,
        time,
        monitor=MonitorReading(monitor, subject),
        watched={account_id: watch((*others, monitor), subject)},
    )


def update_monitor(book: Book, command: UpdateBalanceMonitor, time: datetime) -> Effect:
    old = _find(book, command.monitor_id, command.version)
    subject = book.accounts[old.account_id]
    new = replace(
        old,
        condition=either(command.condition, old.condition),
        description=either(command.description, old.description),
        metadata=patched(old.metadata, command.metadata),
        version=old.version + 1,
        updated_at=time,
    )
    # Another condition begins anew: what kept the old one triggered says nothing of it.
    seen = seen_by(new.condition.field, subject)
    is_turned = new.condition != old.condition and is_triggered(new.condition, False, seen) != old.triggered
    if is_turned:
        new = _turned(new, book.position + 1, time)
    reading = MonitorReading(new, subject)
    now = [new if monitor.id == new.id else monitor for monitor in _monitors(book, old.account_id)]
    return Effect(
        command,
        EventKind.MONITOR_UPDATED,
        book.position + 1,
        time,
        monitor=reading,
        edges=[reading] if is_turned else (),
        watched={old.account_id: watch(now, subject)},
    )


def delete_monitor(book: Book, command: DeleteBalanceMonitor, time: datetime) -> Effect:
    old = _find(book, command.monitor_id, command.version)
    subject = book.accounts[old.account_id]
    others = [monitor for monitor in _monitors(book, old.account_id) if monitor.id != old.id]
    return Effect(
        command,
        EventKind.MONITOR_DELETED,
        book.position + 1,
        time,
        monitor=MonitorReading(replace(old, deleted_at=time), subject),
        watched={old.account_id: watch(others, subject) if others else None},
    )


def observe(book: Book, effect: Effect) -> None:
    """Adds to an effect what the monitors have to say of it: the triggered and resolved ones, by account and age."""
    edges: list[MonitorReading] = []
    watched: dict[str, Watched | None] = {}
    for change in effect.changes:
        after = change.after
        account_id = after.account.id
        own = book.watched.get(account_id)
        if own is None or _is_within(own.bands, after):
            continue
        monitors = []
        for monitor in own.monitors:
            seen = seen_by(monitor.condition.field, after)
            if is_triggered(monitor.condition, monitor.triggered, seen) != monitor.triggered:
                monitor = _turned(monitor, effect.position, effect.time)
                edges.append(MonitorReading(monitor, after))
            monitors.append(monitor)
        watched[account_id] = watch(monitors, after)
    if watched:
        effect.edges, effect.watched = edges, watched


def edge_kind(monitor: Monitor) -> EventKind:
    """The kind of the event behind a command that tells what became of a monitor by it."""
    return EventKind.MONITOR_TRIGGERED if monitor.triggered else EventKind.MONITOR_RESOLVED


def monitor_not_found(monitor_id: str) -> MonitorNotFound:
    return MonitorNotFound(f"no such monitor in this ledger: {monitor_id}", metadata={"monitor_id": monitor_id})


def is_triggered(condition: MonitorCondition, was_triggered: bool, seen: int) -> bool:
    """Whether a monitor is triggered when its field is seen at a value."""
    return condition.operator.holds(seen, _threshold(condition, was_triggered))


def seen_by(field: MonitorField, subject: AccountVersion) -> int:
    """The value of a field."""
    if field == MonitorField.LOCK_VERSION:
        return subject.lock_version
    return balance(BalanceKind(field), subject.account.normal_balance, subject.counters).amount


def watch(monitors: Sequence[Monitor], subject: AccountVersion) -> Watched:
    """The monitors of an account as it stands, with the bands within which none of them changes its state."""
    cuts: dict[MonitorField, list[int]] = {}
    for monitor in monitors:
        cuts.setdefault(monitor.condition.field, []).extend(_cuts(monitor))
    bands = []
    for field, values in cuts.items():
        seen = seen_by(field, subject)
        low = max((value for value in values if value <= seen), default=None)
        high = min((value for value in values if value > seen), default=None)
        bands.append(Band(field, low, high))
    return Watched(tuple(monitors), tuple(bands))


def _cuts(monitor: Monitor) -> list[int]:
    """The values at which it changes its state, coming from below."""
    threshold = _threshold(monitor.condition, monitor.triggered)
    match monitor.condition.operator:
        case Operator.LT | Operator.GTE:
            return [threshold]
        case Operator.LTE | Operator.GT:
            return [threshold + 1]
        case _:
            return [threshold, threshold + 1]


def _threshold(condition: MonitorCondition, was_triggered: bool) -> int:
    if was_triggered and condition.resolve_value is not None:
        return condition.resolve_value
    return condition.value


def _is_within(bands: Sequence[Band], subject: AccountVersion) -> bool:
    for field, low, high in bands:
        seen = seen_by(field, subject)
        if (low is not None and seen < low) or (high is not None and seen >= high):
            return False
    return True


def _turned(monitor: Monitor, position: int, time: datetime) -> Monitor:
    return replace(monitor, triggered=not monitor.triggered, since_position=position, since=time)


def _monitors(book: Book, account_id: str) -> tuple[Monitor, ...]:
    watched = book.watched.get(account_id)
    return watched.monitors if watched is not None else ()


def _find(book: Book, monitor_id: str, version: int | None) -> Monitor:
    monitor = book.find_monitor(monitor_id)
    if monitor is None:
        raise monitor_not_found(monitor_id)
    if version is not None and version != monitor.version:
        raise VersionMismatch(
            f"the monitor is at version {monitor.version}, not {version}",
            metadata={"monitor_id": monitor_id, "version": str(monitor.version)},
        )
    return monitor
