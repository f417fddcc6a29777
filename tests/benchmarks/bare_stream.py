"""The reference of watch_catchup: a bare grpc.aio server that sends one message of a size, as often as asked.

    python -m tests.benchmarks.bare_stream READY_FILE

The request is two numbers: how many bytes, how often.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

METHOD = "/bare.Stream/Send"


async def send(request: bytes, _: Any) -> AsyncIterator[bytes]:
    size, count = map(int, request.split())
    message = os.urandom(size)
    for _number in range(count):
        yield message


async def serve(ready_file: Path) -> None:
    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Send": grpc.unary_stream_rpc_method_handler(send)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare.Stream", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ready_file.write_text(f"127.0.0.1:{port}")
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
