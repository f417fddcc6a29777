"""Benchmarks: how fast the service writes, against references on the same PostgreSQL and the same machine."""

import os

from ledger_server.__main__ import GRPC_EXPERIMENTS

# What gRPC reads when it is imported. Servers are started while the client of another is at work, upon which it would
# remark each time; and the client runs as the README says.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
