"""The middle: fetches a document from the storage and counts its words."""

import logging
import os
import time

import requests
from fastapi import FastAPI, Header, HTTPException

import id_tokens
import json_logs

json_logs.setup()
log = logging.getLogger("processor")
app = FastAPI()

STORAGE = os.environ["STORAGE_URL"]
TOKEN = id_tokens.IdToken(STORAGE)
CALL_TIMEOUT_S = 10


@app.get("/process/{document}")
def process(document: str, x_deadline_ms: int | None = Header(None)):
    answer = requests.get(f"{STORAGE}/objects/{document}", auth=TOKEN, timeout=CALL_TIMEOUT_S)
    if answer.status_code != 200:
        log.error("The storage answered %d for %s.", answer.status_code, document)
        raise HTTPException(502, "the storage failed")
    # Nothing failed up to here, and the time is over all the same.
    if x_deadline_ms is not None and time.time() * 1000 > x_deadline_ms:
        log.error("The deadline is over for %s.", document)
        raise HTTPException(504, "too late")
    return {"document": document, "words": len(answer.text.split())}
