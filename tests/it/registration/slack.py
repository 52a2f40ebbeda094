import copy, hashlib, hmac, http.server, json, time, urllib.error, urllib.parse, urllib.request

# Slack's methods for manifests, with configuration tokens whose refresh tokens are used once. An address that is new in a manifest is asked for the challenge.
MANIFEST = {
    "display_information": {"name": "Acme", "description": "Bugs"},
    "features": {"bot_user": {"display_name": "acme", "always_online": True},
                 "slash_commands": [{"command": "/bug", "url": "https://old.example/slack", "description": "Files a bug", "should_escape": False}]},
    "oauth_config": {"scopes": {"bot": ["app_mentions:read", "channels:history", "commands"]}},
    "settings": {"org_deploy_enabled": False, "socket_mode_enabled": False, "token_rotation_enabled": False},
}
state = {"manifest": MANIFEST, "refresh": "xoxe-1-first", "next": 0, "tokens": [], "answer": None, "error": None, "errors": None, "verify_to": None,
         "rotations": 0, "updates": 0, "life": 43200, "used": []}
EVENTS = {"app_mention", "message.channels", "message.im", "reaction_added"}
SECRET = b"slack-signing-secret"


def answers(url):
    """Whether whoever is at an address knows the secret and repeats the challenge."""
    if not state["verify_to"]:
        return True
    body = json.dumps({"type": "url_verification", "token": "x", "challenge": "3eZbrw1a"}).encode()
    now = str(int(time.time()))
    signature = "v0=" + hmac.new(SECRET, b"v0:" + now.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Signature": signature, "X-Slack-Request-Timestamp": now, "Content-Type": "application/json"}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(state["verify_to"] + urllib.parse.urlparse(url).path, body, headers))
        return answer.status == 200 and answer.read().decode() == "3eZbrw1a"
    except urllib.error.URLError:
        return False


def problem(manifest):
    settings = manifest.get("settings", {})
    subscriptions, interactivity = settings.get("event_subscriptions"), settings.get("interactivity", {})
    if subscriptions is not None:
        if not subscriptions.get("request_url", "").startswith("https://"):
            return "Event Subscription requires either Request URL or Socket Mode Enabled", "/settings/event_subscriptions"
        if set(subscriptions.get("bot_events", [])) - EVENTS:
            return "Illegal bot events", "/settings/event_subscriptions/bot_events"
    if interactivity.get("is_enabled") and not interactivity.get("request_url", "").startswith("https://"):
        return "Interactivity requires a Request URL", "/settings/interactivity"
    before = state["manifest"].get("settings", {}).get("event_subscriptions") or {}
    if subscriptions and subscriptions["request_url"] != before.get("request_url") and not answers(subscriptions["request_url"]):
        return "Your URL didn't respond with the value of the challenge parameter", "/settings/event_subscriptions/request_url"
    return None


class Slack(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value, headers=()):
        body = json.dumps(value).encode()
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def no(self, word, **more):
        self.reply(200, {"ok": False, "error": word, **more})

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/_":
            state.update(json.loads(body) if body else {})
            return self.reply(200, state)
        form = dict(urllib.parse.parse_qsl(body.decode()))
        if self.command != "POST" or self.headers.get("Content-Type") != "application/x-www-form-urlencoded":
            return self.no("invalid_post_type")
        if self.path == "/api/tooling.tokens.rotate":
            if form.get("refresh_token") != state["refresh"]:
                state["used"].append(form.get("refresh_token"))
                return self.no("invalid_refresh_token")
            state["rotations"] += 1
            now = int(time.time())
            pair = {"token": "xoxe.xoxp-%d" % state["rotations"], "refresh_token": "xoxe-1-%d" % state["rotations"]}
            state["refresh"], state["tokens"] = pair["refresh_token"], [pair["token"]]
            return self.reply(200, {"ok": True, **pair, "team_id": "T1", "user_id": "U1", "iat": now, "exp": now + state["life"]})
        if state["answer"] == "silence":
            time.sleep(60)
        if state["answer"] == "flood":
            return self.reply(200, ["x" * 1024] * 10240)
        if state["answer"]:
            return self.reply(state["answer"], {"ok": False, "error": "no"}, [("Retry-After", "1")] if state["answer"] == 429 else [])
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in state["tokens"]:
            return self.no("token_expired")
        if state["error"]:
            return self.no(state["error"])
        if form.get("app_id") != "A0ACME":
            return self.no("invalid_app_id")
        if self.path == "/api/apps.manifest.export" and set(form) == {"app_id"}:
            return self.reply(200, {"ok": True, "manifest": state["manifest"]})
        if self.path == "/api/apps.manifest.update" and set(form) == {"app_id", "manifest"}:
            manifest = json.loads(form["manifest"])
            wrong = problem(manifest)
            if wrong:
                return self.no("invalid_manifest", errors=[{"message": wrong[0], "pointer": wrong[1]}])
            state["manifest"] = manifest
            state["updates"] += 1
            return self.reply(200, {"ok": True, "app_id": "A0ACME", "permissions_updated": False})
        return self.no("unknown_method")

    do_GET = do_POST = handle_call

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slack)
print(server.server_address[1], flush=True)
server.serve_forever()
