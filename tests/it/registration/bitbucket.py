import http.server, json, re

# Cloud below /2.0, Data Center below /rest; strict about bodies, types of events and the token of each.
CLOUD = {"repo:push", "repo:fork", "issue:created", "issue:updated", "issue:comment_created", "pullrequest:created", "pullrequest:updated",
         "pullrequest:approved", "pullrequest:unapproved", "pullrequest:fulfilled", "pullrequest:rejected", "pullrequest:comment_created"}
CENTER = {"repo:refs_changed", "repo:forked", "repo:comment:added", "pr:opened", "pr:from_ref_updated", "pr:modified", "pr:merged", "pr:declined",
          "pr:deleted", "pr:comment:added"}
state = {"hooks": {}, "next": 10}


class Bitbucket(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def shown(self, hook):
        return {name: value for name, value in hook.items() if name not in ("secret", "configuration")}

    def handle_call(self):
        if git(self):
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/_":
            return self.reply(200, state)
        cloud = re.fullmatch(r"/2\.0/repositories/acme/shop/hooks(?:/%7B(\d+)%7D)?(?:\?pagelen=100&page=(\d+))?", self.path)
        center = re.fullmatch(r"/rest/api/latest/projects/acme/repos/shop/webhooks(?:/(\d+))?(?:\?limit=100&start=(\d+))?", self.path)
        found = cloud or center
        if not found:
            return self.reply(404)
        if self.headers.get("Authorization") != ("Bearer cloud-token" if cloud else "Bearer center-token"):
            return self.reply(401)
        number, page, hooks = found[1], found[2], state["hooks"]
        first = "1" if cloud else "0"
        if self.command == "GET" and not number:
            return self.reply(200, {"values": [self.shown(hook) for hook in hooks.values()] if page == first else [], "size": len(hooks)})
        if self.command == "DELETE" and number in hooks:
            del hooks[number]
            return self.reply(204)
        if self.command in ("POST", "PUT") and (self.command == "PUT") == bool(number):
            wish = json.loads(body)
            fields = {"description", "url", "active", "secret", "events"} if cloud else {"name", "url", "active", "events", "configuration", "sslVerificationRequired"}
            if set(wish) != fields or not wish["events"] or set(wish["events"]) - (CLOUD if cloud else CENTER) or wish["active"] is not True:
                return self.reply(400, {"error": "no"})
            if number and number not in hooks:
                return self.reply(404)
            if not number:
                state["next"] += 1
                number = str(state["next"])
            hooks[number] = dict(wish, **({"uuid": "{%s}" % number} if cloud else {"id": int(number)}))
            return self.reply(200 if self.command == "PUT" else 201, self.shown(hooks[number]))
        return self.reply(405)

    do_GET = do_POST = do_PUT = do_DELETE = handle_call

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bitbucket)
print(server.server_address[1], flush=True)
server.serve_forever()
