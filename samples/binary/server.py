"""An HTTP server of the stack's own Python: an app that no buildpack has to prepare."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"path": self.path, "instance_index": int(os.environ.get("CF_INSTANCE_INDEX", "0"))}) + "\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    do_HEAD = do_GET

    def log_message(self, format, *arguments):
        print(format % arguments, flush=True)


def stop(*_):
    print("stopping, as asked", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
port = int(os.environ.get("PORT", "8080"))
print(f"listening on {port}", flush=True)
ThreadingHTTPServer(("", port), Handler).serve_forever()
