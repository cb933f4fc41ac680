"""The public API: asks the private backend for prices."""

import logging
import os

import grpc
from fastapi import FastAPI, HTTPException, Request

import prices_pb2
import prices_pb2_grpc
from common import client, json_logs

json_logs.setup()
log = logging.getLogger("api")
app = FastAPI()

CALL_TIMEOUT_S = 3
LAST_KNOWN_CENTS = 999
FORWARDED = ("X-Request-Id",)
AUDIENCE = os.environ["BACKEND_AUDIENCE"]
backend = prices_pb2_grpc.PricesStub(client.channel(os.environ["BACKEND_ADDRESS"], AUDIENCE))
# As after a typing error in a configuration: no such host exists (RFC 6761, section 6.4).
wrong = prices_pb2_grpc.PricesStub(client.channel("prices.invalid:443", AUDIENCE))


def ask(stub, item, request):
    headers = {key: request.headers[key] for key in FORWARDED if key in request.headers}
    return stub.GetPrice(prices_pb2.GetPriceRequest(item=item), timeout=CALL_TIMEOUT_S, metadata=client.metadata(headers))


@app.get("/prices/{item}")
def price(item: str, request: Request):
    return answer(backend, item, request)


@app.get("/offers/{item}")
def offer(item: str, request: Request):
    """Answers with the last known price if the backend fails: the user sees no error, and the trace has one."""
    try:
        return {"item": item, "cents": ask(backend, item, request).cents}
    except grpc.RpcError as error:
        log.warning("No price for %s: %s.", item, error.code().name)
        return {"item": item, "cents": LAST_KNOWN_CENTS}


@app.get("/misdirected/{item}")
def misdirected(item: str, request: Request):
    return answer(wrong, item, request)


def answer(stub, item, request):
    try:
        return {"item": item, "cents": ask(stub, item, request).cents}
    except grpc.RpcError as error:
        log.error("No price for %s: %s, %s.", item, error.code().name, error.details())
        raise HTTPException(502, "the backend failed") from error
