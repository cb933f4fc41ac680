"""The door: takes a request for a document, has it processed, and promises an answer within a second."""

import logging
import os
import time

import requests
from fastapi import FastAPI, HTTPException

import id_tokens
import json_logs

json_logs.setup()
log = logging.getLogger("gateway")
app = FastAPI()

PROCESSOR = os.environ["PROCESSOR_URL"]
TOKEN = id_tokens.IdToken(PROCESSOR)
DEADLINE_MS = 1000
# Longer than the deadline: the services look at the deadline themselves, between their steps.
CALL_TIMEOUT_S = 10


@app.get("/documents/{document}")
def read(document: str):
    deadline_ms = time.time() * 1000 + DEADLINE_MS
    return ask("process", document, {"x-deadline-ms": str(int(deadline_ms))})


@app.get("/reports/{document}")
def report(document: str):
    # A report may take as long as it takes.
    return ask("process", document, {})


def ask(path, document, headers):
    answer = requests.get(f"{PROCESSOR}/{path}/{document}", headers=headers, auth=TOKEN, timeout=CALL_TIMEOUT_S)
    if answer.status_code != 200:
        log.error("The processor answered %d for %s.", answer.status_code, document)
        raise HTTPException(answer.status_code, f"{document} could not be read")
    log.info("Answered %s.", document)
    return answer.json()
