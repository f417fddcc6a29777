"""New epochs, after a database was restored to an earlier state.

A restored ledger hands out positions a second time. Whoever remembers one from before, to resume a stream or to read
his own write, must not take it for one of the new history; the epoch beside it tells them apart. Nothing inside the
database can know that it was restored, so the operator says so.
"""

from __future__ import annotations

import asyncpg

from ledger_server.domain.ids import new_id
from ledger_server.storage import sql
from ledger_server.storage.pool import CONNECT_SECONDS, set_codecs

BITE_LEDGERS = 1_000


async def renew_epochs(dsn: str) -> int:
    """Gives every ledger an epoch of its own that it never had; returns how many there are.

    May be interrupted and run again, also while servers run: their streams end with EPOCH_CHANGED.
    """
    connection = await asyncpg.connect(
        dsn, timeout=CONNECT_SECONDS, server_settings={"application_name": "ledger-epochs"}
    )
    try:
        await set_codecs(connection)
        count, last_id = 0, None
        while rows := await connection.fetch(sql.list_ledger_ids, last_id, BITE_LEDGERS):
            ids = [row["ledger_id"] for row in rows]
            await connection.execute(sql.renew_epochs, ids, [new_id() for _ in ids])
            count, last_id = count + len(ids), ids[-1]
        return count
    finally:
        await connection.close()
