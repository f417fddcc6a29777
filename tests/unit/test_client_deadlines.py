"""Who waits for a batch waits as long as he said, in whichever event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop

from ledger_client import Cancelled, DeadlineExceeded
from ledger_client.batching import BatchCallable, Line
from ledger_client.v1.transactions_pb2 import CreateTransactionRequest


async def one_late_and_one_in_time() -> None:
    def never(*_: object, **__: object) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    line = Line(cast(BatchCallable, never), (), repeats=False, forget=lambda: None)
    late, patient = [
        asyncio.create_task(line.join(CreateTransactionRequest(request_id=name), seconds))
        for name, seconds in (("late", 0.0), ("patient", 3_600.0))
    ]
    with pytest.raises(DeadlineExceeded):
        await late
    assert not patient.done()
    line.close()
    with pytest.raises(Cancelled):
        await patient


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_deadline_that_has_passed_is_the_callers_own(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    run(one_late_and_one_in_time())
