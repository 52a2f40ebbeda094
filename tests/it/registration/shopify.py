import hashlib, http.server, json, re, time, urllib.parse

# Webhook subscriptions of one app in one shop, as Shopify's GraphQL Admin API has them: one address and topic once, problems in answers that look well.
# `wrong` lists questions that the API does not have.
TOPICS = {"ORDERS_CREATE", "ORDERS_PAID", "PRODUCTS_UPDATE", "APP_UNINSTALLED"}
state = {"hooks": {}, "next": 1, "answer": None, "errors": None, "user_errors": None, "wrong": [], "calls": [], "page": 100, "grants": 0}
SHAPES = {
    "list": r"query \(\$after: String\) \{ webhookSubscriptions\(first: 100, after: \$after\) \{ nodes \{ id topic uri format \} pageInfo \{ hasNextPage endCursor \} \} \}",
    "webhookSubscriptionCreate": r"mutation \(\$topic: WebhookSubscriptionTopic!, \$url: String!\) \{ webhookSubscriptionCreate\(topic: \$topic, webhookSubscription: \{ uri: \$url, format: JSON \}\) \{ webhookSubscription \{ id \} userErrors \{ field message \} \} \}",
    "webhookSubscriptionUpdate": r"mutation \(\$id: ID!, \$url: String!\) \{ webhookSubscriptionUpdate\(id: \$id, webhookSubscription: \{ uri: \$url, format: JSON \}\) \{ webhookSubscription \{ id \} userErrors \{ field message \} \} \}",
    "webhookSubscriptionDelete": r"mutation \(\$id: ID!\) \{ webhookSubscriptionDelete\(id: \$id\) \{ deletedWebhookSubscriptionId userErrors \{ field message \} \} \}",
}
VARIABLES = {"list": {"after"}, "webhookSubscriptionCreate": {"topic", "url"}, "webhookSubscriptionUpdate": {"id", "url"}, "webhookSubscriptionDelete": {"id"}}


class Shopify(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value=None, headers=()):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refused(self, name, field, message):
        self.reply(200, {"data": {name: {"webhookSubscription": None, "userErrors": [{"field": [field], "message": message}]}}})

    def handle_query(self, asked):
        query, variables = " ".join(asked["query"].split()), asked.get("variables", {})
        name = next((name for name, shape in SHAPES.items() if re.fullmatch(shape, query)), None)
        if not name or set(variables) != VARIABLES[name]:
            state["wrong"].append(query)
            return self.reply(200, {"errors": [{"message": "Parse error on query"}]})
        state["calls"].append(name)
        hooks = state["hooks"]
        if name == "list":
            all_of_them = list(hooks.values())
            begin = int(variables["after"] or 0)
            end = begin + state["page"]
            page = {"hasNextPage": end < len(all_of_them), "endCursor": str(end)}
            return self.reply(200, {"data": {"webhookSubscriptions": {"nodes": all_of_them[begin:end], "pageInfo": page}}})
        if state["user_errors"]:
            return self.refused(name, "webhookSubscription", state["user_errors"])
        if name == "webhookSubscriptionCreate":
            if variables["topic"] not in TOPICS:
                return self.reply(200, {"errors": [{"message": "Variable $topic of type WebhookSubscriptionTopic! was provided invalid value"}]})
            if not variables["url"].startswith("https://") or any((hook["uri"], hook["topic"]) == (variables["url"], variables["topic"]) for hook in hooks.values()):
                return self.refused(name, "webhookSubscription", "Address for this topic has already been taken")
            state["next"] += 1
            number = "gid://shopify/WebhookSubscription/%d" % state["next"]
            hooks[number] = {"id": number, "topic": variables["topic"], "uri": variables["url"], "format": "JSON"}
        else:
            number = variables["id"]
            if number not in hooks:
                return self.refused(name, "id", "Webhook subscription does not exist")
            if name == "webhookSubscriptionDelete":
                del hooks[number]
                return self.reply(200, {"data": {name: {"deletedWebhookSubscriptionId": number, "userErrors": []}}})
            hooks[number].update(uri=variables["url"], format="JSON")
        return self.reply(200, {"data": {name: {"webhookSubscription": {"id": number}, "userErrors": []}}})

    def handle_call(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/_":
            state.update(json.loads(body) if body else {})
            return self.reply(200, state)
        if state["answer"] == "silence":
            time.sleep(60)
        if state["answer"] == "flood":
            return self.reply(200, ["x" * 1024] * 10240)
        if self.path == "/admin/oauth/access_token":
            form = dict(urllib.parse.parse_qsl(body.decode()))
            if form != {"grant_type": "client_credentials", "client_id": "acme-app", "client_secret": "shpss_acme"}:
                return self.reply(400, {"error": "invalid_client"})
            state["grants"] += 1
            return self.reply(200, {"access_token": "shpat_acme", "scope": "read_orders", "expires_in": 86399})
        if self.headers.get("X-Shopify-Access-Token") != "shpat_acme" or state["answer"] == 401:
            return self.reply(401, {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"})
        if state["answer"]:
            return self.reply(state["answer"], {"errors": "the shop says no"}, [("Retry-After", "1")] if state["answer"] == 429 else [])
        if self.path != "/admin/api/2026-10/graphql.json" or self.command != "POST":
            return self.reply(404, {"errors": "Not Found"})
        if state["errors"]:
            return self.reply(200, {"errors": [{"message": "no", "extensions": {"code": state["errors"]}}]})
        return self.handle_query(json.loads(body))

    do_GET = do_POST = do_PUT = do_DELETE = handle_call

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shopify)
print(server.server_address[1], flush=True)
server.serve_forever()
