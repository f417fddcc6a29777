"""Exits 0 if the service answers SERVING to the standard health check: the image's HEALTHCHECK.

Asks the port of LEDGER_LISTEN on this host, without TLS.
"""

import os
import sys

import grpc
from grpc_health.v1 import health_pb2


def main() -> int:
    port = os.environ.get("LEDGER_LISTEN", "127.0.0.1:50051").rpartition(":")[2]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=3)
        except grpc.RpcError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main())
