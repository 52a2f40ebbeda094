"""A webhook with nothing but Python's standard library."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Greets on GET, repeats the body on POST."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer("ready\n" if self.path == "/readyz" else greeting(""))

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.answer(greeting(self.rfile.read(length).decode(errors="replace")))

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def greeting(body):
    """The answer: where it runs, which commit, and what was sent."""
    place = os.environ.get("HOOKWRIGHT_ENVIRONMENT", "nowhere")
    commit = os.environ.get("HOOKWRIGHT_COMMIT", "unknown")[:7]
    return f"Hello from Python in {place}, commit {commit}" + (f": {body}\n" if body else "\n")


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"listening on port {port}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
