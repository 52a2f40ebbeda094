// What makes pages nicer; everything can be read and done without it. It refreshes what is marked as live, keeps times true, follows logs,
// copies commands and knows a few keys.
"use strict";

// Signing in by a link: the token stands behind the `#`, which no server sees.
const signIn = document.getElementById("sign-in");
function signInByLink() {
  if (!signIn || location.hash.length < 2) return;
  const token = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
  signIn.elements.token.value = token;
  signIn.submit();
}
signInByLink();
addEventListener("hashchange", signInByLink);

// Times in words; those with `data-due` are to come.
function roughly(seconds) {
  const units = [[31536000, "year"], [2592000, "month"], [86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, word] = units.find(([size]) => seconds >= size) ?? [1, "second"];
  const count = Math.floor(seconds / size);
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

function words(seconds) {
  return seconds < 10 ? "just now" : `${roughly(seconds)} ago`;
}

function wordsUntil(seconds) {
  return seconds < 1 ? "at any moment" : `in ${roughly(seconds)}`;
}

let aging = null;
function age() {
  let soon = false;
  for (const time of document.querySelectorAll("time[datetime]")) {
    const passed = (Date.now() - Date.parse(time.dateTime)) / 1000, due = "due" in time.dataset;
    const text = due ? wordsUntil(-passed) : words(passed);
    soon ||= due && passed < 0 && passed > -90;
    if (time.textContent !== text) time.textContent = text;
  }
  // What is about to happen is counted down.
  clearTimeout(aging);
  aging = setTimeout(age, soon ? 1000 : 15000);
}
age();

// Live parts: the page is fetched again, and what differs is exchanged, so that nothing moves that has not changed.
let looking = false, again = false, last = 0;

// Makes `old` like `fresh`, touching only what differs; what has the focus or was opened stays.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) {
    old.replaceWith(fresh.cloneNode(true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const name of fresh.getAttributeNames()) if (old.getAttribute(name) !== fresh.getAttribute(name)) old.setAttribute(name, fresh.getAttribute(name));
  if (/^(INPUT|TEXTAREA)$/.test(old.nodeName) || old.nodeName === "SELECT" && old === document.activeElement) return;
  // What has an id is found again wherever it went, so that a new row above takes nothing from those below.
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const after = [...fresh.childNodes];
  after.forEach((node, at) => {
    const here = old.childNodes[at], same = node.id ? known.get(node.id) : here && !here.id ? here : null;
    if (!same) return old.insertBefore(node.cloneNode(true), here ?? null);
    if (same !== here) old.insertBefore(same, here ?? null);
    morph(same, node);
  });
  [...old.childNodes].slice(after.length).forEach((node) => node.remove());
  if (old.nodeName === "SELECT") old.value = fresh.value;
}

async function look() {
  if (looking || document.hidden) {
    again = true;
    return;
  }
  looking = true;
  again = false;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "manual" });
    if (answer.type === "opaqueredirect") return location.reload();
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const other = fresh.getElementById(part.id);
        if (other) morph(part, other);
      }
      dress();
      age();
    }
  } catch {
    // The daemon is away; the stream says when it is back.
  }
  last = Date.now();
  looking = false;
  if (again) soon();
}

// At most once a second.
let timer = null;
function soon() {
  if (timer === null) timer = setTimeout(() => { timer = null; look(); }, Math.max(0, 1000 - (Date.now() - last)));
}
document.addEventListener("visibilitychange", () => { if (!document.hidden && again) soon(); });

const { liveStream, liveScript } = document.body.dataset;
if (liveStream && document.querySelector("[data-live]")) {
  if (window.SharedWorker) {
    const { port } = new SharedWorker(liveScript);
    port.addEventListener("message", ({ data }) => (data === "changed" ? soon() : setTimeout(() => port.postMessage({ open: liveStream }), 5000)));
    port.start();
    port.postMessage({ open: liveStream });
    addEventListener("pagehide", () => port.postMessage({ leave: true }));
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  } else {
    const source = new EventSource(liveStream);
    source.addEventListener("changed", soon);
    addEventListener("pagehide", () => source.close());
  }
}

// Where things stand side by side and do not fit, the one that is shown is seen.
function showHere() {
  for (const here of document.querySelectorAll(".side > [aria-current]")) {
    const around = here.parentElement;
    around.scrollLeft = here.offsetLeft - (around.clientWidth - here.offsetWidth) / 2;
    around.scrollTop = here.offsetTop - (around.clientHeight - here.offsetHeight) / 2;
  }
}
showHere();
addEventListener("resize", showHere);

// Small comforts.
function dress() {
  for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  for (const part of document.querySelectorAll("[data-script][hidden]")) part.hidden = false;
}
dress();

// Browsers give the clipboard to pages that came by TLS or from this machine; of others they take what is selected.
async function copied(text) {
  try {
    if (navigator.clipboard) return await navigator.clipboard.writeText(text.textContent), true;
  } catch {
    // It was refused: the other way may still be open.
  }
  getSelection().selectAllChildren(text);
  const done = document.execCommand("copy");
  if (done) getSelection().removeAllRanges();
  return done;
}

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const label = copy.querySelector("span");
    label.textContent = (await copied(copy.parentElement.querySelector("pre"))) ? "Copied" : "Press Ctrl C";
    setTimeout(() => { label.textContent = "Copy"; }, 1500);
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
document.addEventListener("change", (event) => { if (event.target.matches("[data-submit]")) event.target.form.requestSubmit(); });

// Filtering while typing: the address keeps the text, the live part follows.
let typed = null;
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-filter]")) return;
  clearTimeout(typed);
  typed = setTimeout(() => {
    const address = new URL(location.href);
    address.searchParams.set(event.target.name, event.target.value);
    address.searchParams.delete("page");
    history.replaceState(null, "", address);
    last = 0;
    look();
  }, 200);
});

// Keys.
if (location.hash === "#search") document.querySelector("[data-search]")?.focus();
let chord = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
  const keys = document.getElementById("keys");
  if (event.key === "?" && keys) {
    event.preventDefault();
    keys.open ? keys.close() : keys.showModal();
  } else if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    event.preventDefault();
    // What has no field of its own is searched from the board.
    if (!search) return keys && location.assign(`${document.querySelector(".nav a").href}#search`);
    search.focus();
    search.select();
  } else if (event.key === "g") {
    chord = Date.now();
  } else if (Date.now() - chord < 1500) {
    const place = { b: 0, r: 1, s: 2 }[event.key];
    if (place !== undefined) document.querySelectorAll(".nav a")[place]?.click();
  }
});

// Logs: the rest of a long one, what is written meanwhile, and the line that the address names.
const log = document.getElementById("log");
if (log) {
  const follow = document.getElementById("follow"), times = document.getElementById("times");
  const wanted = () => location.hash.match(/^#L(\d+)$/)?.[1];
  const atEnd = () => log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
  const mark = () => {
    const line = wanted() && document.getElementById(`L${wanted()}`);
    for (const old of log.querySelectorAll(".marked")) old.classList.remove("marked");
    if (!line) return false;
    line.classList.add("marked");
    const folded = line.closest("details");
    if (folded) folded.open = true;
    line.scrollIntoView({ block: "center" });
    return true;
  };
  times.checked = localStorage.getItem("times") !== "off";
  const showTimes = () => {
    log.classList.toggle("no-times", !times.checked);
    localStorage.setItem("times", times.checked ? "on" : "off");
  };
  times.addEventListener("change", showTimes);
  showTimes();
  follow?.addEventListener("change", () => { if (follow.checked) log.scrollTop = log.scrollHeight; });
  log.addEventListener("wheel", () => { if (follow && !atEnd()) follow.checked = false; }, { passive: true });
  addEventListener("hashchange", mark);
  let found = mark();
  // What goes on with the command of the stretch before is put below it.
  const add = (html) => {
    log.querySelector(".log-empty")?.remove();
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const last = log.lastElementChild;
    if (last?.matches("details.of-command")) {
      while (fresh.content.firstElementChild?.matches("ol")) last.append(fresh.content.firstElementChild);
    }
    log.append(fresh.content);
  };
  const unfoldLast = () => {
    const last = log.lastElementChild;
    if (last?.matches("details.of-command")) last.open = true;
    if (follow.checked) log.scrollTop = log.scrollHeight;
  };
  if (log.dataset.log) {
    document.querySelector(".log-more")?.remove();
    follow.checked = !wanted();
    if (follow.checked) log.scrollTop = log.scrollHeight;
    const { log: lines, follow: stream } = log.dataset;
    let from = new URL(lines, location.href).searchParams.get("from"), line = Number(log.dataset.line), look = log.dataset.look;
    const at = (address) => {
      const url = new URL(address, location.href);
      for (const [name, value] of Object.entries({ from, line, look })) url.searchParams.set(name, value);
      return url;
    };
    const took = (html, count, next, colours) => {
      add(html);
      [from, line, look] = [next, line + count, colours];
      if (!found) found = mark();
      if (follow.checked) log.scrollTop = log.scrollHeight;
    };
    // First what is there already, stretch by stretch; then the stream. When that breaks, what was missed is read the same way.
    const read = async () => {
      try {
        const answer = await fetch(at(lines));
        if (!answer.ok) throw new Error(answer.statusText);
        const count = Number(answer.headers.get("x-log-lines")), next = answer.headers.get("x-log-next");
        const html = await answer.text();
        if (count > 0) took(html, count, next, answer.headers.get("x-log-look"));
        if (answer.headers.get("x-log-ended") === "1") return unfoldLast();
        if (next !== from || count > 0) {
          from = next;
          return setTimeout(read, 0);
        }
        listen();
      } catch {
        setTimeout(read, 5000);
      }
    };
    const listen = () => {
      const source = new EventSource(at(stream));
      source.addEventListener("lines", ({ data }) => {
        const { html, lines, next, look } = JSON.parse(data);
        took(html, lines, String(next), look);
      });
      source.addEventListener("end", () => { source.close(); unfoldLast(); });
      source.addEventListener("error", () => { source.close(); setTimeout(read, 2000); });
      addEventListener("pagehide", () => source.close(), { once: true });
    };
    read();
  }
}
