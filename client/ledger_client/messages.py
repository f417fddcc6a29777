"""Messages made of what callers hand in: a wrong word or type is said by its name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_Fields = ParamSpec("_Fields")
_Message = TypeVar("_Message", bound=Message)
_Value = TypeVar("_Value", bound=int)

_TYPES: dict[int, type] = {
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_BYTES: bytes,
    FieldDescriptor.TYPE_BOOL: bool,
}


def message(cls: Callable[_Fields, _Message], /, *args: _Fields.args, **fields: _Fields.kwargs) -> _Message:
    """``message(GetLedgerRequest, ledger_id=…)``: a message with these fields.

    Raises:
        TypeError: a field is of another type; it says which, what it is and what it must be. Protobuf does not.
    """
    try:
        return cls(*args, **fields)
    except (TypeError, ValueError):
        empty = cast(type[Message], cls)()
        for name, value in fields.items():
            if value is not None:
                _demand(empty, name, value)
        raise


def demand(argument: str, value: object, *kinds: type) -> None:
    """Raises the TypeError of an argument that is of none of these types."""
    if not isinstance(value, kinds):
        needed = " or ".join(kind.__name__ for kind in kinds)
        hint = "; give its id" if kinds == (str,) and hasattr(value, "id") else ""
        raise TypeError(f"{argument} must be {needed}, not {type(value).__name__}{hint}")


def enum_value(argument: str, word: object, values: Mapping[Any, _Value]) -> _Value:
    """The enum's value for a word; a value passes through.

    Raises:
        ValueError: there is no such word; it says which there are.
        TypeError: it is neither a word nor a value.
    """
    if isinstance(word, int):
        return cast(_Value, word)
    demand(argument, word, str)
    if word not in values:
        raise ValueError(f"{argument} is one of {', '.join(values)}, not {word!r}")
    return values[word]


def _demand(empty: Message, name: str, value: object) -> None:
    """``demand`` of a field; the items of an iterator are gone, and nothing is said of them."""
    held = getattr(empty, name)
    kind = _type(empty.DESCRIPTOR.fields_by_name[name])
    if isinstance(held, Mapping):
        demand(name, value, Mapping)
        assert isinstance(value, Mapping)
        for key, item in value.items():
            demand(f"a key of {name}", key, str)
            demand(f"{name}[{key!r}]", item, str)
    elif isinstance(held, Sequence) and not isinstance(held, str | bytes):
        if isinstance(value, Sequence):
            for n, item in enumerate(value):
                demand(f"{name}[{n}]", item, kind)
    else:
        demand(name, value, kind)


def _type(field: Any) -> type:
    if field.message_type is not None:
        return GetMessageClass(field.message_type)
    return _TYPES.get(field.type, int)
