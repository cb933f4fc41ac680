"""The server of a private gRPC service: TLS, a look at the ID token, and errors that reach the span."""

import base64
import json
import os
from concurrent import futures

import grpc
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

WORKERS = 16


class FailedSpans(grpc.ServerInterceptor):
    """Marks the span of a call that ends by `abort_with_status`.

    The instrumentation of gRPC knows `abort` and `set_code` alone: without this, the span of such a call says nothing of its failure.
    """

    def intercept_service(self, continuation, details):
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: handler.unary_unary(request, MarkingContext(context)),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


class MarkingContext:
    """The context of a call, with an `abort_with_status` that marks the span."""

    def __init__(self, context):
        self.context = context

    def __getattr__(self, name):
        return getattr(self.context, name)

    def abort_with_status(self, status):
        span = trace.get_current_span()
        span.set_attribute("rpc.grpc.status_code", status.code.value[0])
        span.set_status(Status(StatusCode.ERROR, status.details))
        self.context.abort_with_status(status)


class Callers(grpc.ServerInterceptor):
    """Refuses calls without an ID token for this service.

    On Cloud Run the platform has checked the signature before the call arrives, and only the claims are left to look at.
    """

    def __init__(self, audience):
        self.audience = audience
        self.refuse = grpc.unary_unary_rpc_method_handler(
            lambda _request, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "an ID token for this service is missing")
        )

    def intercept_service(self, continuation, details):
        tokens = [value for key, value in details.invocation_metadata if key == "authorization"]
        return continuation(details) if any(map(self.is_for_us, tokens)) else self.refuse

    def is_for_us(self, header):
        try:
            claims = header.removeprefix("Bearer ").split(".")[1]
            return json.loads(base64.urlsafe_b64decode(claims + "==")).get("aud") == self.audience
        except (IndexError, ValueError):
            return False


def serve(register, audience):
    """Serves on `PORT` until the process ends. `CERTIFICATE` and `PRIVATE_KEY` name files; without them, Cloud Run has TLS in front."""
    server = grpc.server(futures.ThreadPoolExecutor(WORKERS), interceptors=[Callers(audience), FailedSpans()])
    register(server)
    address = f"[::]:{os.environ['PORT']}"
    if "CERTIFICATE" in os.environ:
        pair = (open(os.environ["PRIVATE_KEY"], "rb").read(), open(os.environ["CERTIFICATE"], "rb").read())
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(address)
    server.start()
    return server
