"""One call put to the model and to the other side: equal answers, and equal balances afterwards."""

from __future__ import annotations

from tests.model.client import ServiceLedger
from tests.model.ledger import ModelLedger
from tests.model.operations import Batch, Call
from tests.model.state import Answer, Done, Refused

_LEAN = ("key", "version", "status", "position")


async def step(model: ModelLedger, service: ServiceLedger, call: Call) -> None:
    """One call: equal answers, and equal balances of all accounts and categories at an equal position afterwards."""
    expected = model.call(call)
    seen = await service.call(call, expected)
    if isinstance(call.body, Batch) and not call.body.full and isinstance(expected, list):
        expected = [_lean(answer) for answer in expected]
    assert seen == expected
    keys = list(model.state.accounts)
    position, accounts = await service.accounts(keys) if keys else (0, [])
    assert position == model.state.position
    assert accounts == [model.state.account_view(key) for key in keys]
    if model.state.categories:
        living = model.state.living_categories()
        assert await service.categories() == [model.state.category_view(key) for key in living]


def _lean(answer: Answer) -> Done | Refused:
    """An answer as a batch gives it unless full results are asked for."""
    if isinstance(answer, Done):
        return Done({name: answer.view[name] for name in _LEAN}, answer.replayed)
    assert isinstance(answer, Refused)
    return answer
