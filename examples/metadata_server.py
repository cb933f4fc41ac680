"""A stand-in for Google's metadata server: answers with ID tokens that nothing has signed.

    metadata_server.py PORT
"""

import base64
import http.server
import json
import sys
import time
import urllib.parse


class Metadata(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        audience = urllib.parse.parse_qs(url.query).get("audience", [""])[0]
        if not url.path.endswith("/identity") or not audience or self.headers.get("Metadata-Flavor") != "Google":
            self.send_error(404)
            return
        claims = {"aud": audience, "email": "api@example.iam.gserviceaccount.com", "exp": int(time.time()) + 3600}
        token = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, claims)) + "."
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.end_headers()
        self.wfile.write(token.encode())
        print(f"a token for {audience}", flush=True)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Metadata).serve_forever()
