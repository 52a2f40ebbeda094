"use strict";

const test = require("node:test");
const assert = require("node:assert");
const { greeting } = require("./server.js");

test("the greeting repeats what was sent", () => {
  assert.match(greeting("ping"), /: ping\n$/);
});
