#!/usr/bin/env python3
"""A judge behind HTTP, a stub of one: 1 where the reference is the last number of the answer, else 0.

    python3 examples/rewards/http_judge.py --port 8000
    reward: {math: 0, http: 1, http_url: "http://127.0.0.1:8000/judge"}

A real one would ask a model; what matters here is the form. A request's body is one JSON object, a response's is one too:

    {"id": 7, "prompt": "...", "answer": "... 42", "reference": "42", ...}
    {"reward": 1.0}                 or   {"error": "why it cannot be judged"}

--flaky answers each completion with 503 once, to see that requests are repeated. --token wants "Authorization: Bearer TOKEN".
"""
import argparse
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, default=8000)
options.add_argument("--flaky", action="store_true")
options.add_argument("--token")
options = options.parse_args()
seen = set()
lock = threading.Lock()


def reward(query):
    numbers = re.findall(r"-?\d+(?:\.\d+)?", query["answer"])
    return 1.0 if numbers and numbers[-1] == query["reference"] else 0.0


class Judge(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept open

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if options.token and self.headers.get("Authorization") != f"Bearer {options.token}":
            return self.respond(401, {"error": "no such token"})
        try:
            query = json.loads(body)
            with lock:
                is_first = options.flaky and query["id"] not in seen
                seen.add(query["id"])
            if is_first:
                return self.respond(503, {"error": "try again"})
            self.respond(200, {"reward": reward(query)})
        except (ValueError, KeyError, TypeError) as error:
            self.respond(400, {"error": repr(error)})

    def respond(self, status, reply):
        text = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *words):
        pass


server = ThreadingHTTPServer(("127.0.0.1", options.port), Judge)
print(f"http://127.0.0.1:{server.server_port}/judge", flush=True)
server.serve_forever()
