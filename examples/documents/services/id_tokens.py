"""ID tokens for calls between services. Cloud Run lets only callers with `roles/run.invoker` in.

The metadata server gives a token to the service account that the caller runs as. On a machine without one, calls have no token.
"""

import os
import threading
import time
import urllib.parse
import urllib.request

# Cloud Run sets K_SERVICE; GCE_METADATA_HOST names a stand-in.
AVAILABLE = "K_SERVICE" in os.environ or "GCE_METADATA_HOST" in os.environ
IDENTITY = "computeMetadata/v1/instance/service-accounts/default/identity"
FETCH_TIMEOUT_S = 5
# A token is fetched again before it expires. Google's are valid for an hour.
TOKEN_TIME_S = 45 * 60


class IdToken:
    """Adds an ID token for `audience` to each request: `requests.get(url, auth=IdToken(audience))`."""

    def __init__(self, audience):
        self.audience, self.token, self.fetched = audience, None, 0.0
        self.lock = threading.Lock()

    def __call__(self, request):
        if AVAILABLE:
            with self.lock:
                if self.token is None or time.monotonic() - self.fetched > TOKEN_TIME_S:
                    self.token, self.fetched = self.fetch(), time.monotonic()
            request.headers["Authorization"] = f"Bearer {self.token}"
        return request

    def fetch(self):
        host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
        query = urllib.parse.urlencode({"audience": self.audience})
        request = urllib.request.Request(f"http://{host}/{IDENTITY}?{query}", headers={"Metadata-Flavor": "Google"})
        with urllib.request.urlopen(request, timeout=FETCH_TIMEOUT_S) as answer:
            return answer.read().decode()
