"""Log lines as Cloud Logging reads them: one JSON object each, with the trace and span that they belong to.

https://cloud.google.com/logging/docs/structured-logging names the keys.
"""

import json
import logging
import os
import sys

from opentelemetry import trace

PROJECT = os.environ.get("GOOGLE_CLOUD_PROJECT", "local-project")


class CloudLogging(logging.Formatter):
    def format(self, record):
        line = {"severity": record.levelname, "message": record.getMessage(), "logger": record.name}
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            line["logging.googleapis.com/trace"] = f"projects/{PROJECT}/traces/{context.trace_id:032x}"
            line["logging.googleapis.com/spanId"] = f"{context.span_id:016x}"
        if record.exc_info:
            line["message"] += "\n" + self.formatException(record.exc_info)
        return json.dumps(line)


def setup():
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(CloudLogging())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
