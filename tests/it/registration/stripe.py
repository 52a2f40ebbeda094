import hashlib, hmac, http.server, json, re, socket, threading, time, urllib.error, urllib.parse, urllib.request

# Stripe's webhook endpoints and its list of events. What Stripe's typings (TYPINGS) do not have is refused; a secret is shown once, to whoever creates an
# endpoint. `calls` is every call with its status, `wrong` what was refused as no such call.
state = {"hooks": {}, "next": 1, "answer": None, "calls": [], "wrong": [], "events": [], "lose_answer": False, "list": None, "page": 100}
TOKEN = "Bearer rk_test_51Acme"


def nested(pairs):
    """`metadata[a]=b` and `enabled_events[]=c` as Stripe reads them."""
    found = {}
    for name, value in pairs:
        listed, inner = re.fullmatch(r"(\w+)\[\]", name), re.fullmatch(r"(\w+)\[(\w+)\]", name)
        if listed:
            found.setdefault(listed[1], []).append(value)
        elif inner:
            found.setdefault(inner[1], {})[inner[2]] = value
        else:
            found[name] = value
    return found


def problem(params, known):
    for name, value in params.items():
        if name not in known:
            return "Received unknown parameter: %s" % name
        kind = known[name]["type"]
        if kind.startswith("Array<") and not isinstance(value, list) or kind == "boolean" and value not in ("true", "false"):
            return "Invalid %s" % name
        if kind in ("string", "number") and not isinstance(value, str) or "MetadataParam" in kind and not isinstance(value, dict):
            return "Invalid %s" % name
    missing = [name for name, about in known.items() if about["required"] and name not in params]
    unknown = [kind for kind in params.get("enabled_events", []) if kind not in TYPINGS["enabled_events"]]
    if missing or unknown:
        return "Missing %s" % missing[0] if missing else "Invalid enabled_events[0]: %s is not a valid event name" % unknown[0]
    return None if params.get("url", "https://").startswith("https://") else "Invalid URL"


class Stripe(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value, headers=()):
        body = json.dumps(value).encode()
        if not self.path.startswith("/_"):
            state["calls"].append("%s %s %d" % (self.command, self.path.split("?")[0], status))
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, said, headers=()):
        self.reply(status, {"error": {"type": "invalid_request_error", "message": said}}, headers)

    def wrong(self, said):
        state["wrong"].append("%s %s: %s" % (self.command, self.path, said))
        self.refuse(400, said)

    def pages(self, entries, query, known):
        params = nested(urllib.parse.parse_qsl(query))
        bad = problem(params, known)
        if bad:
            return self.wrong(bad)
        start = params.get("starting_after")
        if start and start not in [entry["id"] for entry in entries]:
            return self.wrong("No such object: %s" % start)
        begin = [entry["id"] for entry in entries].index(start) + 1 if start else 0
        end = begin + min(int(params.get("limit", "10")), state["page"])
        self.reply(200, {"object": "list", "data": entries[begin:end], "has_more": end < len(entries), "url": "/v1"})

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/_"):
            state.update(json.loads(body) if body else {})
            return self.reply(200, state)
        if state["answer"] == "silence":
            time.sleep(60)
        if state["answer"] == "flood":
            return self.reply(200, ["x" * 1024] * 10240)
        if self.headers.get("Authorization") != TOKEN or state["answer"] == 401:
            return self.refuse(401, "Invalid API Key provided: rk_test_51Acme")
        if state["answer"]:
            return self.refuse(state["answer"], "the request says no", [("Retry-After", "1")] if state["answer"] == 429 else [])
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        hook = re.fullmatch(r"/v1/webhook_endpoints(?:/(we_\d+))?", path)
        event = re.fullmatch(r"/v1/events(?:/(evt_\w+))?", path)
        if self.command == "GET" and event and event[1]:
            found = [entry for entry in state["events"] if entry["id"] == event[1]]
            return self.reply(200, found[0]) if found else self.refuse(404, "No such event")
        if self.command == "GET" and event:
            return self.pages(state["events"], query, TYPINGS["events"])
        if not hook:
            return self.wrong("Unrecognized request URL")
        hooks, number = state["hooks"], hook[1]
        if self.command == "GET" and not number:
            shown = [{name: value for name, value in entry.items() if name != "secret"} for entry in reversed(list(hooks.values()))]
            return self.pages(shown if state["list"] is None else state["list"], query, TYPINGS["list"])
        if number and number not in hooks:
            return self.refuse(404, "No such webhook endpoint: '%s'" % number)
        if self.command == "GET":
            return self.reply(200, {name: value for name, value in hooks[number].items() if name != "secret"})
        if self.command == "DELETE" and number:
            del hooks[number]
            return self.reply(200, {"id": number, "object": "webhook_endpoint", "deleted": True})
        if self.command != "POST" or self.headers.get("Content-Type") != "application/x-www-form-urlencoded":
            return self.wrong("no such call")
        params = nested(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
        bad = problem(params, TYPINGS["update" if number else "create"])
        if bad:
            return self.wrong(bad) if "event name" not in bad else self.refuse(400, bad)
        if not number:
            if len(hooks) >= 16:
                return self.refuse(400, "You have reached the maximum of 16 test webhook endpoints.")
            state["next"] += 1
            number = "we_%d" % state["next"]
            hooks[number] = {"id": number, "object": "webhook_endpoint", "api_version": None, "application": None, "created": int(time.time()),
                             "description": None, "livemode": False, "metadata": {}, "status": "enabled",
                             "secret": "whsec_" + hashlib.sha256(number.encode()).hexdigest()[:32]}
            shown = hooks[number]
        else:
            shown = {name: value for name, value in hooks[number].items() if name != "secret"}
        disabled = params.pop("disabled", None)
        hooks[number].update(params, **({"status": "disabled" if disabled == "true" else "enabled"} if disabled else {}))
        shown = dict(hooks[number]) if "secret" in shown else {name: value for name, value in hooks[number].items() if name != "secret"}
        if state["lose_answer"]:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.reply(200, shown)

    do_GET = do_POST = do_PUT = do_DELETE = handle_call

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stripe)
print(server.server_address[1], flush=True)
server.serve_forever()
