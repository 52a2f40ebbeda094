import base64, hashlib, hmac, http.server, json, re, time, urllib.error, urllib.parse, urllib.request, uuid

# Project hooks as GitLab keeps them. Servers before 19 know no `signing_token` and, as GitLab does, ignore parameters that they do not know; tokens are never
# shown. `wrong` lists what no GitLab would be asked.
KNOWN = {"url", "token", "signing_token", "enable_ssl_verification", "push_events", "tag_push_events", "issues_events", "merge_requests_events", "note_events",
         "pipeline_events", "releases_events"}
SECRET = {"token", "signing_token"}
state = {"hooks": {}, "next": 1, "answer": None, "version": "19.2.0-ee", "wrong": [], "lie": None}


def send(hook, address, by):
    """An event as this server signs it; `by` says what with."""
    body = json.dumps({"object_kind": "issue", "object_attributes": {"iid": 7, "action": "open"}}).encode()
    number, now = str(uuid.uuid4()), str(int(time.time()))
    headers = {"X-Gitlab-Event": "Issue Hook", "Idempotency-Key": number, "webhook-id": number, "webhook-timestamp": now, "Content-Type": "application/json"}
    if by == "signature":
        key = base64.b64decode(hook["signing_token"].removeprefix("whsec_"))
        signed = hmac.new(key, ("%s.%s." % (number, now)).encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = "v1," + base64.b64encode(signed).decode()
    else:
        headers["X-Gitlab-Token"] = hook.get("token") or hook["signing_token"]
    try:
        return urllib.request.urlopen(urllib.request.Request(address + urllib.parse.urlparse(hook["url"]).path, body, headers)).status
    except urllib.error.HTTPError as error:
        return error.code


class GitLab(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value=None, headers=()):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def shown(self, hook):
        return {name: value for name, value in hook.items() if name not in SECRET}

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/_":
            change = json.loads(body) if body else {}
            if "send" in change:
                return self.reply(200, {"status": send(next(iter(state["hooks"].values())), *change["send"])})
            state.update(change)
            return self.reply(200, state)
        if state["answer"] == "silence":
            time.sleep(60)
        if state["answer"] == "flood":
            return self.reply(200, ["x" * 1024] * 10240)
        if self.headers.get("PRIVATE-TOKEN") != "glpat-acme":
            return self.reply(401, {"message": "401 Unauthorized"})
        if state["answer"]:
            return self.reply(state["answer"], {"message": "the server says no"}, [("Retry-After", "1")] if state["answer"] == 429 else [])
        if self.path == "/api/v4/version" and self.command == "GET":
            return self.reply(200, {"version": state["version"], "revision": "abc"})
        found = re.fullmatch(r"/api/v4/projects/acme%2Fshop/hooks(?:/(\d+)(/events)?)?(?:\?per_page=100(?:&page=(\d+))?)?", self.path)
        if not found:
            return self.reply(404, {"message": "404 Project Not Found"})
        number, hooks = found[1], state["hooks"]
        if self.command == "GET" and found[2]:
            return self.reply(200, [])
        if self.command == "GET" and not number:
            listed = [self.shown(hook) for hook in hooks.values()] if state["lie"] is None else state["lie"]
            return self.reply(200, listed if found[3] == "1" else [])
        if number and number not in hooks:
            return self.reply(404, {"message": "404 Not Found"})
        if self.command == "DELETE":
            del hooks[number]
            return self.reply(204)
        wish = json.loads(body)
        if self.command not in ("POST", "PUT") or (self.command == "PUT") != bool(number) or set(wish) - KNOWN or not wish.get("url", "").startswith("https://"):
            state["wrong"].append("%s %s %s" % (self.command, self.path, sorted(wish)))
            return self.reply(422, {"error": "no"})
        if int(state["version"].split(".")[0]) < 19:
            wish.pop("signing_token", None)
        if not number:
            state["next"] += 1
            number = str(state["next"])
            hooks[number] = {"id": int(number), "alert_status": "executable", "disabled_until": None}
        hooks[number].update(wish)
        return self.reply(200 if self.command == "PUT" else 201, self.shown(hooks[number]))

    do_GET = do_POST = do_PUT = do_DELETE = handle_call

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), GitLab)
print(server.server_address[1], flush=True)
server.serve_forever()
