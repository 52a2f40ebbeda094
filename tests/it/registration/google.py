import base64, hashlib, http.server, json, re, socket, threading, time, urllib.error, urllib.parse, urllib.request

# Google's token endpoint and its Calendar API, as far as channels go: every call has to be one that the API's own description (DISCOVERY) allows, and what
# that does not say Google's guide does. `changes` are the events of the calendar in the order in which they were changed; a mark is their number. `wrong` lists what was refused. `offset` moves this clock, in milliseconds.
MODULUS = int("eb468ef2c4355605e935425a2b7c2e495ca312169682743ad7cbd042d81bc431079b8b42a548b8caa5d10e70827d88e0b5e8b8302c92b8c65cf3f7951fa8015b6a384a407481cf7582b5eb8a8854cf49e477e95aaf5860a6214a5a8335083a1fbd8409c4f8a24a60db8614a582cd19a62709a22e1131152dc5d7613459b9bf02c2dbab6e1f085a6471ea91f410b446542d154ed8b1a58f2224b72957072eee20af3c557b85607d59aa7f303922469181a143d58431558031ddd7552db8fa7c807e65129c0e732993a48f49e58cd7cab6c26e41ebe7ca838412b16009a237c117ba46b142fb3eb6e023084d58d00ccdde91bb72373ab01183cd85d27a0b5b7755", 16)
EMAIL, KEY_ID, SCOPE = "hooks@acme-hooks.iam.gserviceaccount.com", "6c1f0b7d", "https://www.googleapis.com/auth/calendar.events.readonly"
CALENDAR = "team@group.calendar.google.com"
SCHEMA = DISCOVERY["schemas"]["Channel"]
WATCH = DISCOVERY["resources"]["events"]["methods"]["watch"]
LIST = DISCOVERY["resources"]["events"]["methods"]["list"]
STOP = DISCOVERY["resources"]["channels"]["methods"]["stop"]
TYPES = {"string": str, "boolean": bool, "object": dict}
state = {"channels": {}, "next": 1, "answer": None, "stop_answer": None, "token_answer": None, "grants": [], "tokens": [], "calls": [], "wrong": [],
         "offset": 0, "lose_answer": False, "sync_to": None, "sync": [], "lie": None, "number": False, "life": 604800,
         "changes": [], "page": 2500, "oldest_mark": 0, "lists": []}


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def grant_problem(form, address):
    kind = form.get("grant_type")
    if kind == "refresh_token":
        wanted = {"grant_type": kind, "client_id": "app-1", "client_secret": "app-secret", "refresh_token": "1//refresh"}
        return None if form == wanted else "invalid_grant"
    if kind != "urn:ietf:params:oauth:grant-type:jwt-bearer" or set(form) != {"grant_type", "assertion"}:
        return "unsupported_grant_type"
    header, claims, signature = form["assertion"].split(".")
    encoded = pow(int.from_bytes(decoded(signature), "big"), 65537, MODULUS).to_bytes(256, "big")
    digest = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(("%s.%s" % (header, claims)).encode()).digest()
    if encoded != b"\x00\x01" + b"\xff" * (256 - 3 - len(digest)) + b"\x00" + digest:
        return "invalid_grant"
    header, claims = json.loads(decoded(header)), json.loads(decoded(claims))
    if header != {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}:
        return "invalid_grant"
    now = time.time() + state["offset"] / 1000
    good = (claims.get("iss") == EMAIL and claims.get("scope") == SCOPE and claims.get("aud") == address and abs(claims["iat"] - now) < 300
            and 0 < claims["exp"] - claims["iat"] <= 3600 and claims.get("sub") in (None, "ann@acme.example") and not set(claims) - {"iss", "scope", "aud", "iat", "exp", "sub"})
    return None if good else "invalid_grant"


def channel_problem(body):
    """What the description does not allow."""
    if not isinstance(body, dict):
        return "no object"
    for name, value in body.items():
        known = SCHEMA["properties"].get(name)
        if not known or not isinstance(value, TYPES[known["type"]]):
            return "`%s` is unknown or of another type" % name
        if name == "params" and not all(isinstance(text, str) for text in value.values()):
            return "`params` are texts"
    return None


def message(channel, kind, number):
    headers = {"X-Goog-Channel-ID": channel["id"], "X-Goog-Channel-Token": channel["token"], "X-Goog-Message-Number": str(number),
               "X-Goog-Resource-ID": channel["resourceId"], "X-Goog-Resource-State": kind, "X-Goog-Resource-URI": channel["resourceUri"]}
    address = state["sync_to"] + urllib.parse.urlparse(channel["address"]).path
    try:
        return urllib.request.urlopen(urllib.request.Request(address, b"", headers, method="POST")).status
    except urllib.error.URLError as error:
        # Nobody listens there any more: Google shrugs, and so does this.
        return getattr(error, "code", 0)


class Google(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value=None, headers=()):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, reason, said="no", headers=()):
        if status == 400 and reason != "channelIdNotUnique":
            state["wrong"].append("%s %s: %s" % (self.command, self.path, said))
        self.reply(status, {"error": {"code": status, "message": said, "errors": [{"domain": "global", "reason": reason, "message": said}]}}, headers)

    def handle_token(self, body):
        form = dict(urllib.parse.parse_qsl(body.decode()))
        state["grants"].append(form.get("grant_type"))
        if state["token_answer"]:
            return self.reply(state["token_answer"], {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
        problem = grant_problem(form, "http://127.0.0.1:%d/token" % self.server.server_address[1])
        if problem:
            state["wrong"].append("token: " + problem)
            return self.reply(400, {"error": problem})
        state["next"] += 1
        token = "ya29.%d" % state["next"]
        state["tokens"].append(token)
        self.reply(200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def handle_watch(self, calendar, body):
        if urllib.parse.unquote(calendar) != CALENDAR:
            return self.refuse(404, "notFound", "Not Found")
        problem = channel_problem(body)
        if problem or not re.fullmatch(r"[A-Za-z0-9\-_+/=]{1,64}", body.get("id", "")) or body.get("type") != "web_hook":
            return self.refuse(400, "required", problem or "id or type")
        if not body.get("address", "").startswith("https://") or len(body.get("token", "")) < 32 or len(body["token"]) > 256:
            return self.refuse(400, "push.webhookUrlNotHttps", "address or token")
        if body["id"] in state["channels"]:
            return self.refuse(400, "channelIdNotUnique", "Channel id %s not unique" % body["id"])
        life = min(int(body.get("params", {}).get("ttl", "604800")), state["life"])
        expires = int(time.time() * 1000) + state["offset"] + life * 1000
        channel = dict(body, resourceId="resource-of-team", resourceUri="https://www.googleapis.com/calendar/v3/calendars/%s/events" % calendar)
        state["channels"][body["id"]] = channel
        state["calls"].append("watch")
        if state["sync_to"]:
            state["sync"].append(message(channel, "sync", 1))
        if state["lose_answer"]:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        answer = {"kind": "api#channel", "id": body["id"], "resourceId": channel["resourceId"], "resourceUri": channel["resourceUri"],
                  "token": body["token"], "expiration": expires if state["number"] else str(expires)}
        answer.update(state["lie"] or {})
        self.reply(200, {name: value for name, value in answer.items() if value is not None})

    def handle_list(self, calendar, query):
        if urllib.parse.unquote(calendar) != CALENDAR:
            return self.refuse(404, "notFound", "Not Found")
        asked = urllib.parse.parse_qsl(query, strict_parsing=True)
        known = dict(LIST["parameters"], **DISCOVERY["parameters"])
        problem = [name for name, _ in asked if name not in known] or len(asked) != len(dict(asked))
        asked = dict(asked)
        fields = re.sub(r"\([a-z,]*\)", "", asked.get("fields", "items")).split(",")
        if problem or not set(fields) <= set(DISCOVERY["schemas"]["Events"]["properties"]) or not 0 < int(asked.get("maxResults", 250)) <= 2500:
            return self.refuse(400, "badRequest", "parameters: %s" % asked)
        mark, page = asked.get("syncToken"), asked.get("pageToken")
        state["lists"].append({"mark": mark, "page": page})
        if mark and int(mark.removeprefix("mark=")) < state["oldest_mark"]:
            return self.refuse(410, "fullSyncRequired", "Sync token is no longer valid, a full sync is required.")
        begin = int(page.removeprefix("page=")) if page else int(mark.removeprefix("mark=")) if mark else 0
        end = min(begin + state["page"], len(state["changes"]))
        answer = {"items": state["changes"][begin:end]}
        answer.update({"nextSyncToken": "mark=%d" % end} if end == len(state["changes"]) else {"nextPageToken": "page=%d" % end})
        self.reply(200, {name: value for name, value in answer.items() if name in fields})

    def handle_stop(self, body):
        if state["stop_answer"]:
            return self.refuse(state["stop_answer"], "backendError")
        problem = channel_problem(body)
        if problem or set(body) != {"id", "resourceId"}:
            return self.refuse(400, "required", problem or "id and resourceId")
        channel = state["channels"].get(body["id"])
        if not channel or channel["resourceId"] != body["resourceId"]:
            return self.refuse(404, "notFound", "Channel '%s' not found for project" % body["id"])
        del state["channels"][body["id"]]
        state["calls"].append("stop")
        self.reply(204)

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/_"):
            change = json.loads(body) if body else {}
            if "message" in change:
                asked = change.pop("message")
                channel = dict(state["channels"][asked["channel"]], **asked.get("with", {}))
                return self.reply(200, {"status": message(channel, "exists", asked["number"])})
            state.update(change)
            return self.reply(200, state)
        if self.path == "/token":
            return self.handle_token(body)
        if state["answer"] == "silence":
            time.sleep(60)
        if state["answer"] == "flood":
            return self.reply(200, ["x" * 1024] * 10240)
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in state["tokens"] or state["answer"] == 401:
            return self.refuse(401, "authError", "Invalid Credentials")
        if state["answer"]:
            status, _, reason = str(state["answer"]).partition(" ")
            return self.refuse(int(status), reason or "some", "no", [("Retry-After", "1")] if status == "429" else [])
        base = "/" + DISCOVERY["servicePath"]
        watch = re.fullmatch(re.escape(base + WATCH["path"]).replace(r"\{calendarId\}", "([^/?]+)"), self.path)
        if watch and self.command == WATCH["httpMethod"]:
            return self.handle_watch(watch[1], json.loads(body))
        path, _, query = self.path.partition("?")
        listed = re.fullmatch(re.escape(base + LIST["path"]).replace(r"\{calendarId\}", "([^/?]+)"), path)
        if listed and self.command == LIST["httpMethod"]:
            return self.handle_list(listed[1], query)
        if self.path == base + STOP["path"] and self.command == STOP["httpMethod"]:
            return self.handle_stop(json.loads(body))
        return self.refuse(400, "unknown", "no such call")

    do_GET = do_POST = do_PUT = do_DELETE = handle_call

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Google)
print(server.server_address[1], flush=True)
server.serve_forever()
