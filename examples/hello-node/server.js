// A webhook with nothing but Node's standard library.
"use strict";

const http = require("node:http");

const place = process.env.HOOKWRIGHT_ENVIRONMENT ?? "nowhere";
const commit = (process.env.HOOKWRIGHT_COMMIT ?? "unknown").slice(0, 7);

/** The answer: where it runs, which commit, and what was sent. */
function greeting(body) {
  return `Hello from Node in ${place}, commit ${commit}${body ? `: ${body}` : ""}\n`;
}

if (require.main === module) {
  const port = Number(process.env.PORT ?? 8080);
  http
    .createServer((request, response) => {
      const parts = [];
      request.on("data", (part) => parts.push(part));
      request.on("end", () => {
        response.setHeader("Content-Type", "text/plain; charset=utf-8");
        response.end(request.url === "/readyz" ? "ready\n" : greeting(Buffer.concat(parts).toString()));
      });
    })
    .listen(port, "127.0.0.1", () => console.log(`listening on port ${port}`));
}

module.exports = { greeting };
