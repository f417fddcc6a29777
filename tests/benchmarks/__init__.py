"""Benchmarks: how fast the service writes, against references on the same PostgreSQL and the same machine."""

import os

# Servers are started while the client of another is at work, upon which gRPC would remark each time. It reads this
# when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
