"""Server reflection by both of its names: grpc.reflection.v1, and v1alpha, which is all that gRPC's Python library has.

Many tools ask for v1 first, and some for nothing else. The messages of both are the same on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
import grpc.aio
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

_ALPHA = reflection_pb2.DESCRIPTOR


def _described_as_v1() -> bytes:
    """The file of v1alpha with the names of v1, so that what is listed can be described as well."""
    alpha = text_format.MessageToString(FileDescriptorProto.FromString(_ALPHA.serialized_pb))
    file = text_format.Parse(alpha.replace("v1alpha", "v1"), FileDescriptorProto())
    file.name = "grpc/reflection/v1/reflection.proto"
    file.options.ClearField("deprecated")
    return file.SerializeToString()


_V1 = descriptor_pool.Default().AddSerializedFile(_described_as_v1())
_SERVICES = [file.services_by_name["ServerReflection"] for file in (_V1, _ALPHA)]


def add_reflection(server: grpc.aio.Server, service_names: Iterable[str]) -> None:
    """Lets callers ask the server about these services, and about reflection itself."""
    servicer = reflection.aio.ReflectionServicer([*service_names, *(service.full_name for service in _SERVICES)])
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(service.full_name, {"ServerReflectionInfo": method})
            for service in _SERVICES
        )
    )
