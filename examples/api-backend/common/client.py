"""The client of a private gRPC service: TLS, an ID token, and metadata that gRPC takes."""

import json
import os
import threading
import time
import urllib.parse
import urllib.request

import grpc

METADATA_SERVER = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
IDENTITY = "computeMetadata/v1/instance/service-accounts/default/identity"
FETCH_TIMEOUT_S = 5
# A token is fetched again before it expires. Google's are valid for an hour.
TOKEN_TIME_S = 45 * 60


class IdTokens(grpc.AuthMetadataPlugin):
    """Puts an ID token for `audience` into the metadata of each call, as Cloud Run wants it from callers."""

    def __init__(self, audience):
        self.audience, self.token, self.fetched = audience, None, 0.0
        self.lock = threading.Lock()

    def __call__(self, _context, callback):
        try:
            with self.lock:
                if time.monotonic() - self.fetched > TOKEN_TIME_S or self.token is None:
                    self.token, self.fetched = self.fetch(), time.monotonic()
            callback((("authorization", f"Bearer {self.token}"),), None)
        except OSError as error:
            callback((), error)

    def fetch(self):
        query = urllib.parse.urlencode({"audience": self.audience})
        request = urllib.request.Request(f"http://{METADATA_SERVER}/{IDENTITY}?{query}", headers={"Metadata-Flavor": "Google"})
        with urllib.request.urlopen(request, timeout=FETCH_TIMEOUT_S) as answer:
            return answer.read().decode()


def channel(address, audience):
    """Returns a channel to a private service. `ROOT_CERTIFICATES` names the authorities, if they are not the machine's."""
    roots = os.environ.get("ROOT_CERTIFICATES")
    transport = grpc.ssl_channel_credentials(open(roots, "rb").read() if roots else None)
    calls = grpc.metadata_call_credentials(IdTokens(audience))
    # A call fails after a second without a connection, instead of waiting for its deadline again and again.
    service_config = json.dumps({"methodConfig": [{"name": [{}], "waitForReady": False}]})
    return grpc.secure_channel(address, grpc.composite_channel_credentials(transport, calls), [("grpc.service_config", service_config)])


def metadata(headers):
    """Returns HTTP headers as metadata. gRPC refuses a key with capitals, and HTTP/2 has none (RFC 9113, section 8.2)."""
    return tuple((key.lower(), value) for key, value in headers.items())
