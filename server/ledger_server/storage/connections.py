"""How many connections one server holds, and whether its PostgreSQL allows so many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ledger_server.storage import sql
from ledger_server.storage.databases import Databases, DatabaseUrlError


@dataclass(frozen=True, slots=True)
class Held:
    """The most that one server holds at a time, of each role, by their names in pg_stat_activity."""

    service: Mapping[str, int]
    migration: Mapping[str, int]
    pruning: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(sum(held.values()) for held in (self.service, self.migration, self.pruning))


def held_by(*, lanes: int, readers: int) -> Held:
    """What a server with so many lanes and readers holds, once it has started."""
    return Held(
        service={
            "ledger-lane": lanes,
            "ledger-lane-reader": lanes,
            # Two more read the log for streams.
            "ledger-reader": readers + 2,
            "ledger-folding": 1,
            "ledger-doorbell": 1,
            "ledger-presence": 1,
        },
        migration={"ledger-epochs": 1, "ledger-statistics": 1},
        # In the background, and for who calls PruneEvents.
        pruning={"ledger-pruning": 2, "ledger-forgetting": 1},
    )


async def refuse_too_few(databases: Databases, held: Held) -> None:
    """Raises DatabaseUrlError if not even one server fits."""
    of_roles, limits_of_roles = Counter[str](), dict[str, int | None]()
    for database, of_role in (
        (databases.pruning, held.pruning),
        (databases.migration, held.migration),
        (databases.service, held.service),
    ):
        async with database.connected() as connection:
            (limits,) = await connection.fetch(sql.read_connection_limits)
        of_roles[limits["role"]] += sum(of_role.values())
        limits_of_roles[limits["role"]] = limits["of_role"]

    def allowed() -> Iterator[tuple[str, int, int | None]]:
        yield "max_connections of the PostgreSQL, less the reserved ones,", held.total, limits["of_postgres"]
        yield "the CONNECTION LIMIT of the database", held.total, limits["of_database"]
        for role, count in of_roles.items():
            yield f'the CONNECTION LIMIT of the role "{role}"', count, limits_of_roles[role]

    for what, needed, limit in allowed():
        if limit is not None and limit < needed:
            raise DatabaseUrlError(
                f"the service needs up to {needed} connections, and {what} is {limit}: raise it, or lower LEDGER_LANES "
                "or LEDGER_READERS"
            )
