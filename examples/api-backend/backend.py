"""The private backend: a gRPC service with prices."""

import collections
import logging
import os
import signal
import time

import grpc

import prices_pb2
import prices_pb2_grpc
from common import json_logs, server

json_logs.setup()
log = logging.getLogger("backend")

SLOW_S = 1.2
USUAL_S = 0.01


class Failure(collections.namedtuple("Failure", ["code", "details", "trailing_metadata"]), grpc.Status):
    """A status of gRPC, as `abort_with_status` takes it."""


class Prices(prices_pb2_grpc.PricesServicer):
    def GetPrice(self, request, context):
        time.sleep(SLOW_S if request.item.startswith("slow") else USUAL_S)
        if request.item.startswith("broken"):
            log.error("The price of %s cannot be read.", request.item)
            context.abort_with_status(Failure(grpc.StatusCode.INTERNAL, "the price list is damaged", ()))
        return prices_pb2.Price(item=request.item, cents=len(request.item) * 100)


def main():
    running = server.serve(lambda grpc_server: prices_pb2_grpc.add_PricesServicer_to_server(Prices(), grpc_server), os.environ["AUDIENCE"])
    signal.signal(signal.SIGTERM, lambda *_: running.stop(grace=5))
    running.wait_for_termination()


if __name__ == "__main__":
    main()
