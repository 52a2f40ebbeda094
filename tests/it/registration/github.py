import hashlib, hmac, http.server, json, re, threading, time, urllib.error, urllib.parse, urllib.request

# `calls` is every call with its answer, `asked` the deliveries that were asked for again. Deliveries are listed newest first, `page` at a time; one
# that is asked for goes to `deliver_to`, and fails while that is "nobody".
state = {"hooks": {}, "next": 100, "answer": None, "calls": [], "token": "Bearer forge-token-8d1f", "deliveries": [], "page": 100, "asked": [],
         "deliver_to": None, "pings": False}


def delivery(number, guid, status, **more):
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"id": number, "guid": guid, "delivered_at": made, "redelivery": False, "duration": 0.1, "status": "OK" if status == 200 else "failed",
            "status_code": status, "event": "issues", "action": "opened", "installation_id": None, "repository_id": 1, **more}


def deliver(hook, guid):
    while not state["deliver_to"]:
        time.sleep(0.02)
    status = 502
    if state["deliver_to"] != "nobody":
        body = json.dumps({"action": "opened", "issue": {"number": 7}, "guid": guid}).encode()
        signature = "sha256=" + hmac.new(hook["config"]["secret"].encode(), body, hashlib.sha256).hexdigest()
        address = state["deliver_to"] + urllib.parse.urlparse(hook["config"]["url"]).path
        headers = {"X-GitHub-Event": "issues", "X-GitHub-Delivery": guid, "X-Hub-Signature-256": signature, "Content-Type": "application/json"}
        try:
            status = urllib.request.urlopen(urllib.request.Request(address, body, headers)).status
        except urllib.error.HTTPError as error:
            status = error.code
        except urllib.error.URLError:
            pass
    state["next"] += 1
    state["deliveries"].insert(0, delivery(100000 + state["next"], guid, status, redelivery=True))


def ping(hook):
    body = json.dumps({"zen": "Keep it logically awesome.", "hook_id": hook["id"]}).encode()
    signature = "sha256=" + hmac.new(hook["config"]["secret"].encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "ping", "X-GitHub-Delivery": "ping-%d" % hook["id"], "X-Hub-Signature-256": signature, "Content-Type": "application/json"}
    address = state["deliver_to"] + urllib.parse.urlparse(hook["config"]["url"]).path
    urllib.request.urlopen(urllib.request.Request(address, body, headers))


class GitHub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value=None, headers=()):
        body = b"" if value is None else json.dumps(value).encode()
        if not self.path.startswith("/_"):
            state["calls"].append({"method": self.command, "path": self.path, "body": self.wish, "status": status, "answer": value})
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def shown(self, hook):
        config = dict(hook["config"], secret="********") if "secret" in hook["config"] else hook["config"]
        url = "https://api.github.com/repos/acme/shop/hooks/%s" % hook["id"]
        return dict(hook, config=config, type="Repository", created_at="2026-01-01T00:00:00Z", updated_at="2026-01-01T00:00:00Z", url=url,
                    test_url=url + "/test", ping_url=url + "/pings", deliveries_url=url + "/deliveries",
                    last_response={"code": None, "status": "unused", "message": None})

    def handle_deliveries(self, number, wanted, cursor):
        if number not in state["hooks"]:
            return self.reply(404, {"message": "Not Found"})
        if wanted and self.command == "POST":
            guid = next((one["guid"] for one in state["deliveries"] if str(one["id"]) == wanted), None)
            if guid is None:
                return self.reply(404, {"message": "Not Found"})
            state["asked"].append(guid)
            threading.Thread(target=deliver, args=(state["hooks"][number], guid), daemon=True).start()
            return self.reply(202, {})
        if self.command != "GET" or wanted:
            return self.reply(404, {"message": "Not Found"})
        start = int(cursor or 0)
        behind = start + state["page"]
        # GitHub names itself in its links, by the number of the repository.
        link = "https://api.github.com/repositories/1/hooks/%s/deliveries?per_page=100&cursor=%d" % (number, behind)
        headers = [("Link", '<%s>; rel="next"' % link)] if behind < len(state["deliveries"]) else []
        return self.reply(200, state["deliveries"][start:behind], headers)

    def handle_call(self):
        if git(self):
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.wish = json.loads(body) if body else None
        if self.path.startswith("/_"):
            if self.command == "POST":
                state.update(json.loads(body))
            return self.reply(200, state)
        if self.headers.get("Authorization") != state["token"]:
            return self.reply(401, {"message": "Bad credentials"})
        if state["answer"] == "silence":
            time.sleep(60)
        if state["answer"] == "flood":
            return self.reply(200, ["x" * 1024] * 10240)
        if state["answer"] == 429:
            return self.reply(429, {"message": "no"}, [("Retry-After", "1")])
        if state["answer"]:
            return self.reply(state["answer"], {"message": "no"})
        about = re.fullmatch(r"/repos/acme/shop/hooks/(\d+)/deliveries(?:/(\d+)/attempts|\?per_page=100(?:&cursor=(\d+))?)", self.path)
        if about:
            return self.handle_deliveries(*about.groups())
        found = re.fullmatch(r"/repos/acme/shop/hooks(?:/(\d+))?(?:\?per_page=100&page=(\d+))?", self.path)
        if not found or self.headers.get("X-GitHub-Api-Version") != "2022-11-28" or not self.headers.get("User-Agent"):
            return self.reply(404, {"message": "Not Found"})
        number, hooks = found[1], state["hooks"]
        if self.command == "GET" and not number:
            listed = state["lie"] if "lie" in state else [self.shown(hook) for hook in hooks.values()]
            return self.reply(200, listed if found[2] == "1" else [])
        if self.command == "DELETE" and number in hooks:
            del hooks[number]
            return self.reply(204)
        if self.command in ("POST", "PATCH"):
            wish = self.wish or {}
            config = wish.get("config", {})
            good = (wish.get("name") == ("web" if self.command == "POST" else None) and isinstance(wish.get("events"), list) and wish["events"]
                    and all("." not in event for event in wish["events"]) and set(config) == {"url", "content_type", "secret", "insecure_ssl"}
                    and config["url"].startswith("https://") and isinstance(config["insecure_ssl"], str))
            if not good or set(wish) - {"name", "active", "events", "config"}:
                return self.reply(422, {"message": "Validation Failed"})
            if self.command == "POST" and not number:
                if any(hook["config"]["url"] == config["url"] for hook in hooks.values()):
                    return self.reply(422, {"message": "Hook already exists on this repository"})
                state["next"] += 1
                number = str(state["next"])
            elif number not in hooks:
                return self.reply(404, {"message": "Not Found"})
            hooks[number] = {"id": int(number), "name": "web", **wish}
            if self.command == "POST" and state["pings"]:
                # Before it is answered, as GitHub's first ping may be.
                ping(hooks[number])
            return self.reply(201 if self.command == "POST" else 200, self.shown(hooks[number]))
        return self.reply(404, {"message": "Not Found"})

    do_GET = do_POST = do_PATCH = do_DELETE = handle_call

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), GitHub)
print(server.server_address[1], flush=True)
server.serve_forever()
