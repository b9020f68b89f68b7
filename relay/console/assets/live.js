// Parts of a page that change by themselves, and forms whose answer takes the place of a
// part. Without this file there are links and whole pages instead.
"use strict";

(() => {
  const first = 1500, longest = 15000, growth = 1.25; // pauses in milliseconds
  const bounded = 15 * 60 * 1000; // how long a part is refreshed after the visitor asked
  const watched = new WeakMap();

  const parts = () => document.querySelectorAll(".gatepost [data-gatepost-live]");

  // Finds new parts, and refreshes each after a pause.
  function watch() {
    for (const part of parts()) if (!watched.has(part)) begin(part);
  }

  function begin(part) {
    clearTimeout(watched.get(part)?.timer);
    const state = { pause: first, until: Date.now() + bounded };
    watched.set(part, state);
    stopped(part, false);
    later(part, state);
  }

  function later(part, state) {
    clearTimeout(state.timer);
    if (!part.isConnected || !part.dataset.gatepostLive || document.hidden) return; // visible again: see below
    if (Date.now() > state.until) return stopped(part, true);
    state.timer = setTimeout(() => refresh(part, state), state.pause);
    state.pause = Math.min(state.pause * growth, longest);
  }

  // Says that the part is not refreshed any more.
  function stopped(part, yes) {
    const note = part.querySelector("[data-gatepost-live-stopped]");
    if (note) note.hidden = !yes;
  }

  async function refresh(part, state) {
    if (state.busy) return;
    state.busy = true;
    try {
      const response = await fetch(part.dataset.gatepostLive, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (response.status < 500) {
        const next = response.ok ? (await read(response)).getElementById(part.id) : null;
        if (!next) part.removeAttribute("data-gatepost-live"); // signed out, or deleted
        else if (part.isConnected) apply(part, next);
      }
    } catch { /* no connection: the next time, perhaps */ }
    state.busy = false;
    later(part, state);
  }

  // Returns the page of a response. Its addresses are relative to it, and not to this page.
  async function read(response) {
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const name of ["href", "action", "data-gatepost-live"]) {
      for (const element of page.querySelectorAll(`.gatepost [${name}]`)) {
        element.setAttribute(name, new URL(element.getAttribute(name), response.url).href);
      }
    }
    return page;
  }

  // Takes over what has changed. The element with the role status stays, so that screen
  // readers announce its new text, and nothing else.
  function apply(part, next) {
    const status = part.querySelector("[role=status]"), now = next.querySelector("[role=status]");
    if (status && now) {
      status.className = now.className;
      if (status.textContent !== now.textContent) status.replaceChildren(...imported(now.childNodes));
    }
    for (const name of ["before", "after"]) {
      const old = part.querySelector(`[data-gatepost-live-part=${name}]`), fresh = next.querySelector(`[data-gatepost-live-part=${name}]`);
      if (old && fresh && old.innerHTML !== fresh.innerHTML) keepFocus(old, () => old.replaceChildren(...imported(fresh.childNodes)));
    }
    part.className = next.className;
    if (!next.dataset.gatepostLive) part.removeAttribute("data-gatepost-live");
    showCopyButtons(part);
  }

  const imported = (nodes) => [...nodes].map((node) => document.importNode(node, true));

  function showCopyButtons(part) {
    for (const button of part.querySelectorAll("[data-gatepost-copy]")) button.hidden = false;
  }

  // Puts the focus on what has the place of the element that had it.
  function keepFocus(within, change) {
    const all = () => [...within.querySelectorAll("a[href], button, input, select, summary")];
    const place = all().indexOf(document.activeElement);
    change();
    const list = all();
    if (place >= 0) list[Math.min(place, list.length - 1)]?.focus();
  }

  // A form with data-gatepost-into is sent by the script. The element of the answer with
  // that id takes the place of the one on this page.
  async function submit(form) {
    const button = form.querySelector("button"), id = form.dataset.gatepostInto;
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    let next;
    try {
      const response = await fetch(form.action, {
        method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" },
      });
      next = (await read(response)).getElementById(id);
    } catch { /* no response */ }
    if (!next) {
      button.removeAttribute("aria-disabled");
      return form.submit(); // the server ignores a form that it has had
    }
    const fresh = document.importNode(next, true);
    document.getElementById(id).replaceWith(fresh);
    showCopyButtons(fresh);
    (fresh.querySelector("[aria-invalid=true]") ?? fresh.querySelector("[data-gatepost-live-focus]"))?.focus();
    watch();
  }

  document.addEventListener("submit", (event) => {
    const form = event.target.closest?.(".gatepost [data-gatepost-into]");
    if (!form || event.defaultPrevented) return;
    event.preventDefault();
    submit(form);
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".gatepost [data-gatepost-live-now]");
    const part = link?.closest("[data-gatepost-live]");
    if (!part || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    begin(part);
    refresh(part, watched.get(part));
  });

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    for (const part of parts()) {
      const state = watched.get(part);
      if (!state || Date.now() > state.until) continue;
      state.pause = first;
      clearTimeout(state.timer);
      refresh(part, state);
    }
  });

  document.addEventListener("gatepost-replaced", watch); // console.js has put in a page
  watch();
})();
