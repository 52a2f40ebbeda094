// One event stream for all tabs of a browser: a shared worker holds it and tells every tab when something may have changed.
"use strict";
const tabs = new Set();
let source = null;

function tell(message) {
  for (const tab of tabs) tab.postMessage(message);
}

function open(address) {
  source = new EventSource(address);
  source.addEventListener("changed", () => tell("changed"));
  // After a gap something may have been missed: then every tab looks again.
  let broken = false;
  source.addEventListener("error", () => {
    broken = true;
    if (source.readyState === EventSource.CLOSED) {
      source = null;
      tell("closed");
    }
  });
  source.addEventListener("open", () => {
    if (broken) tell("changed");
    broken = false;
  });
}

self.addEventListener("connect", (event) => {
  const tab = event.ports[0];
  tabs.add(tab);
  tab.addEventListener("message", ({ data }) => {
    if (data.leave) {
      tabs.delete(tab);
      if (tabs.size === 0 && source) {
        source.close();
        source = null;
      }
    } else if (data.open && !source) {
      open(data.open);
    }
  });
  tab.start();
});
