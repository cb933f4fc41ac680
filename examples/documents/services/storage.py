"""A stand-in for an object store: quick as a rule, 1.1 s for some documents, broken for others."""

import logging
import time

from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse

import json_logs

json_logs.setup()
log = logging.getLogger("storage")
app = FastAPI()

USUAL_S = 0.01
SLOW_S = 1.1


@app.get("/objects/{name}", response_class=PlainTextResponse)
def read(name: str):
    time.sleep(SLOW_S if name.startswith("slow") else USUAL_S)
    if name.startswith("broken"):
        log.error("The object %s cannot be read.", name)
        raise HTTPException(500, "checksum mismatch")
    return "lorem ipsum dolor sit amet"
