import http.server, json, re

# GitLab below /api/v4, Gitea below /api/v1; strict about paths, tokens and bodies.
state = {"hooks": {}, "next": 10}
SWITCHES = {"push_events", "tag_push_events", "issues_events", "merge_requests_events", "note_events", "pipeline_events", "releases_events"}
GITEA = {"push", "create", "delete", "issues", "issue_comment", "pull_request", "release"}


class Forge(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_call(self):
        if git(self):
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/_":
            return self.reply(200, state)
        gitlab = re.fullmatch(r"/api/v4/projects/acme%2Fshop/hooks(?:/(\d+))?(?:\?per_page=100&page=(\d+))?", self.path)
        gitea = re.fullmatch(r"/api/v1/repos/acme/shop/hooks(?:/(\d+))?(?:\?limit=50&page=(\d+))?", self.path)
        found = gitlab or gitea
        if not found:
            return self.reply(404, {"message": "Not Found"})
        if (self.headers.get("PRIVATE-TOKEN") != "lab-token") if gitlab else (self.headers.get("Authorization") != "token tea-token"):
            return self.reply(401, {"message": "Unauthorized"})
        number, page, hooks = found[1], found[2], state["hooks"]
        if self.command == "GET" and not number:
            hidden = ("token", "config") if gitlab else ()
            shown = [{name: value for name, value in hook.items() if name not in hidden} for hook in hooks.values()]
            return self.reply(200, shown if page == "1" else [])
        if self.command == "DELETE" and number in hooks:
            del hooks[number]
            return self.reply(204)
        if self.command in ("POST", "PUT" if gitlab else "PATCH") and (self.command != "POST") == bool(number):
            wish = json.loads(body)
            if gitlab:
                good = set(wish) == {"url", "token", "enable_ssl_verification"} | SWITCHES and wish["token"] and wish["enable_ssl_verification"] is True
            else:
                good = (set(wish) == {"type", "active", "branch_filter", "events", "config"} and wish["type"] == "gitea" and wish["active"] is True
                        and wish["events"] and not set(wish["events"]) - GITEA and wish["config"].get("content_type") == "json" and wish["config"].get("secret"))
            if not good or number and number not in hooks:
                return self.reply(422, {"message": "no"})
            if not number:
                state["next"] += 1
                number = str(state["next"])
            hooks[number] = dict(wish, id=int(number))
            return self.reply(201 if self.command == "POST" else 200, hooks[number])
        return self.reply(405)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_call

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forge)
print(server.server_address[1], flush=True)
server.serve_forever()
