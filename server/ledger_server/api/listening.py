"""Whether an address can be listened on, found out before gRPC tries.

gRPC would say too little and be content with too much: of a name's several addresses one is enough for it, so
that a second service on `localhost` would quietly take IPv6 alone, and a socket file is taken over from whoever
listens on it.
"""

from __future__ import annotations

import errno
import socket
import stat
from pathlib import Path

_IN_USE = "something else listens there already; stop it, or choose another address with LEDGER_LISTEN"
# A machine without IPv6 resolves localhost to ::1 all the same.
_NOT_OURS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ListenError(Exception):
    """The address cannot be listened on; the message says why."""


def check_address(listen: str) -> None:
    """Raises ListenError unless everything that `listen` names can be listened on."""
    try:
        if listen.startswith("unix:"):
            _check_path(Path(listen.removeprefix("unix:")))
        else:
            host, _, port = listen.rpartition(":")
            _check_port(host.strip("[]"), int(port))
    except OSError as error:
        reason = _IN_USE if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise ListenError(f"cannot listen on {listen}: {reason}") from None


def _check_port(host: str, port: int) -> None:
    refusals = []
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as trial:
                # Connections of an earlier service may still be closing.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(address)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise
            refusals.append(error)
    if len(refusals) == len(found):
        raise refusals[0]


def _check_path(path: Path) -> None:
    path.parent.stat()
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(errno.EEXIST, "there is a file of that name that is not a socket")
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(str(path))
        except ConnectionRefusedError:
            # Left by a service that was killed; gRPC replaces it.
            return
    raise OSError(errno.EADDRINUSE, "in use")
