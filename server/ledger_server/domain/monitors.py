"""The rules of balance monitors: when they are triggered and resolved, and what they say of a command.

A monitor is judged after each command that moves its account or category. Most move it so little that nothing can
change: the monitors of one come down to one band for each field they look at, and only outside of one is any of them
judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from ledger_server.domain.book import Book, Effect
from ledger_server.domain.errors import InvalidField, MonitorNotFound, TooManyMonitors, Violation
from ledger_server.domain.inputs import either, patched
from ledger_server.domain.model import (
    AccountVersion,
    Band,
    CategoryVersion,
    EventKind,
    Monitor,
    MonitorCondition,
    MonitorField,
    MonitorReading,
    Watched,
)
from ledger_server.domain.money import Operator, amounts
from ledger_server.domain.monitor_commands import CreateBalanceMonitor, DeleteBalanceMonitor, UpdateBalanceMonitor
from ledger_server.domain.refusals import find_accounts, find_categories, refuse_deleted, refuse_version

# Of one account or category: one command may make all of them speak.
MONITORS_MAX = 100


def create_monitor(book: Book, command: CreateBalanceMonitor, time: datetime) -> Effect:
    account_id = category_id = None
    subject: AccountVersion | CategoryVersion
    if command.category is not None:
        _refuse_lock_version(command.condition)
        (subject,) = find_categories(book, [command.category])
        subject_id = category_id = subject.category.id
    else:
        assert command.account is not None, command
        (subject,) = find_accounts(book, [command.account])
        refuse_deleted(subject.account)
        subject_id = account_id = subject.account.id
    others = _monitors(book, subject_id)
    if len(others) >= MONITORS_MAX:
        noun = "category" if category_id else "account"
        raise TooManyMonitors(
            f"the {noun} has {len(others)} monitors; at most {MONITORS_MAX} are allowed",
            metadata={f"{noun}_id": subject_id, "most": str(MONITORS_MAX)},
        )
    position = book.position + 1
    monitor = Monitor(
        id=command.monitor_id,
        ledger_id=command.ledger_id,
        account_id=account_id,
        category_id=category_id,
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
        monitor=MonitorReading(monitor, subject, book.above(subject_id)),
        watched={subject_id: watch((*others, monitor), subject)},
    )


def update_monitor(book: Book, command: UpdateBalanceMonitor, time: datetime) -> Effect:
    old = _find(book, command.monitor_id, command.version)
    subject = _subject(book, old)
    if old.category_id is not None and command.condition is not None:
        _refuse_lock_version(command.condition)
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
    reading = MonitorReading(new, subject, book.above(new.subject_id))
    now = [new if monitor.id == new.id else monitor for monitor in _monitors(book, old.subject_id)]
    return Effect(
        command,
        EventKind.MONITOR_UPDATED,
        book.position + 1,
        time,
        monitor=reading,
        edges=[reading] if is_turned else (),
        watched={old.subject_id: watch(now, subject)},
    )


def delete_monitor(book: Book, command: DeleteBalanceMonitor, time: datetime) -> Effect:
    old = _find(book, command.monitor_id, command.version)
    subject = _subject(book, old)
    others = [monitor for monitor in _monitors(book, old.subject_id) if monitor.id != old.id]
    return Effect(
        command,
        EventKind.MONITOR_DELETED,
        book.position + 1,
        time,
        monitor=MonitorReading(replace(old, deleted_at=time), subject, book.above(old.subject_id)),
        watched={old.subject_id: watch(others, subject) if others else None},
    )


def observe(book: Book, effect: Effect) -> None:
    """Adds to an effect what becomes of monitors by it: those that end with what they are on, then those that are
    triggered and resolved, by account, category and age.
    """
    edges: list[MonitorReading] = []
    watched: dict[str, Watched | None] = {}
    for subject_id, subject in _deleted(effect):
        for monitor in _monitors(book, subject_id):
            edges.append(MonitorReading(replace(monitor, deleted_at=effect.time), subject, book.above(subject_id)))
            watched[subject_id] = None
    for change in effect.changes:
        account_id = change.after.account.id
        own = book.watched.get(account_id)
        if own is not None and not _is_within(own.bands, change.after):
            watched[account_id] = _judged(book, own, effect, change.after, edges)
    for _, after in effect.category_changes:
        own = book.watched.get(after.category.id)
        if own is not None and not _is_within(own.bands, after):
            watched[after.category.id] = _judged(book, own, effect, after, edges)
    if watched:
        effect.edges, effect.watched = edges, watched


def _judged(
    book: Book,
    own: Watched,
    effect: Effect,
    after: AccountVersion | CategoryVersion,
    edges: list[MonitorReading],
) -> Watched:
    """The monitors of one account or category after it moved; those that turned are added to the edges."""
    monitors = []
    for monitor in own.monitors:
        seen = seen_by(monitor.condition.field, after)
        if is_triggered(monitor.condition, monitor.triggered, seen) != monitor.triggered:
            monitor = _turned(monitor, effect.position, effect.time)
            edges.append(MonitorReading(monitor, after, book.above(monitor.subject_id)))
        monitors.append(monitor)
    return watch(monitors, after)


def edge_kind(monitor: Monitor) -> EventKind:
    """The kind of the event behind a command that tells what became of a monitor by it."""
    if monitor.deleted_at is not None:
        return EventKind.MONITOR_DELETED
    return EventKind.MONITOR_TRIGGERED if monitor.triggered else EventKind.MONITOR_RESOLVED


def monitor_not_found(monitor_id: str) -> MonitorNotFound:
    return MonitorNotFound(f"no such monitor in this ledger: {monitor_id}", metadata={"monitor_id": monitor_id})


def is_triggered(condition: MonitorCondition, was_triggered: bool, seen: int) -> bool:
    """Whether a monitor is triggered when its field is seen at a value."""
    return condition.operator.holds(seen, _threshold(condition, was_triggered))


def seen_by(field: MonitorField, subject: AccountVersion | CategoryVersion) -> int:
    """The value of a field."""
    return _seen(subject)[field]


def _seen(subject: AccountVersion | CategoryVersion) -> tuple[int, ...]:
    """The values of all fields, at their numbers."""
    if isinstance(subject, CategoryVersion):
        return (0, *amounts(subject.category.normal_balance, subject.counters))
    return (0, *amounts(subject.account.normal_balance, subject.counters), subject.lock_version)


def watch(monitors: Sequence[Monitor], subject: AccountVersion | CategoryVersion) -> Watched:
    """The monitors of one account or category as it stands, and the bands within which none changes its state."""
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


def _is_within(bands: Sequence[Band], subject: AccountVersion | CategoryVersion) -> bool:
    seen = _seen(subject)
    for field, low, high in bands:
        if (low is not None and seen[field] < low) or (high is not None and seen[field] >= high):
            return False
    return True


def _turned(monitor: Monitor, position: int, time: datetime) -> Monitor:
    return replace(monitor, triggered=not monitor.triggered, since_position=position, since=time)


def _monitors(book: Book, subject_id: str) -> tuple[Monitor, ...]:
    watched = book.watched.get(subject_id)
    return watched.monitors if watched is not None else ()


def _deleted(effect: Effect) -> Iterator[tuple[str, AccountVersion | CategoryVersion]]:
    """What the effect deletes that monitors may be on."""
    if effect.kind == EventKind.ACCOUNT_DELETED and effect.account is not None:
        yield effect.account.account.id, effect.account
    elif effect.kind == EventKind.CATEGORY_DELETED and effect.category is not None:
        yield effect.category.category.id, effect.category


def _subject(book: Book, monitor: Monitor) -> AccountVersion | CategoryVersion:
    if monitor.category_id is not None:
        return book.categories[monitor.category_id]
    return book.accounts[monitor.subject_id]


def _refuse_lock_version(condition: MonitorCondition) -> None:
    if condition.field == MonitorField.LOCK_VERSION:
        raise InvalidField.of([Violation("condition.field", "must be a balance: a category has no lock_version")])


def _find(book: Book, monitor_id: str, version: int | None) -> Monitor:
    monitor = book.find_monitor(monitor_id)
    if monitor is None:
        raise monitor_not_found(monitor_id)
    refuse_version(monitor, version)
    return monitor
