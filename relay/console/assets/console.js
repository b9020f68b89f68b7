// Copying, the question before leaving a page whose password was not copied, and
// forms that do not send twice. Everything else works without this file.
//
// The page around the console may be of any kind: nothing here acts on an element
// outside .gatepost, except that a link there may ask before it leaves.
"use strict";

(() => {
  const root = () => document.querySelector(".gatepost");
  const find = (selector) => root()?.querySelector(selector);
  const findAll = (selector) => root()?.querySelectorAll(selector) ?? [];
  // closest returns the nearest ancestor that matches, within the console.
  const closest = (target, selector) => {
    const found = target.closest?.(selector);
    return found && root()?.contains(found) ? found : null;
  };
  const leave = { going: false };

  // Shows the buttons that need a script, and announces what was just done.
  function prepare() {
    for (const button of findAll("[data-gatepost-copy]")) button.hidden = false;
    const notice = find("[data-gatepost-notice]");
    if (notice) {
      say(notice.textContent, false); // screen readers announce only what changes
      forgetNotice();
    }
    leave.going = false;
  }

  // Takes the notice out of the address, so that a reload does not show it again.
  function forgetNotice() {
    const url = new URL(location.href);
    url.searchParams.delete("done");
    history.replaceState(history.state, "", url);
  }

  // Announces a text. If it is visible, it shows for four seconds.
  function say(text, visible) {
    const status = find("[data-gatepost-status]");
    status.textContent = "";
    status.classList.toggle("gatepost-unseen", !visible);
    setTimeout(() => { status.textContent = text; }, 50);
    clearTimeout(say.timer);
    say.timer = setTimeout(() => { status.textContent = ""; }, 4000);
  }

  // Copying.

  async function copy(button) {
    const source = document.getElementById(button.dataset.gatepostCopy);
    if (!await write(source)) return say(root().dataset.gatepostCopyFailed, true);
    button.classList.add("gatepost-copied");
    setTimeout(() => button.classList.remove("gatepost-copied"), 2000);
    say(root().dataset.gatepostCopied.replace("{0}", () => button.dataset.gatepostLabel), true);
    if (source.hasAttribute("data-gatepost-secret")) markCopied();
  }

  async function write(source) {
    try {
      await navigator.clipboard.writeText(source.textContent);
      return true;
    } catch { // no permission, or no https
      const folded = source.closest("details");
      if (folded) folded.open = true; // a folded text cannot be selected
      getSelection().selectAllChildren(source);
      return document.execCommand("copy");
    }
  }

  // A password that was not copied.

  // Returns the box to tick when the password is stored, if it is not ticked.
  function unsaved() {
    const box = find("[data-gatepost-unsaved] input");
    return box && !box.checked && !leave.going ? box : null;
  }

  function markCopied() {
    const box = unsaved();
    if (box) box.checked = true;
  }

  // Copying with the keyboard counts if the whole password is selected.
  document.addEventListener("copy", () => {
    const password = find("#gatepost-password")?.textContent;
    if (password && getSelection().toString().includes(password)) markCopied();
  });

  // Reports whether a click on a link replaces this document by another one in
  // this tab.
  function leaves(link, event) {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return false;
    const target = link.getAttribute("target") ?? document.querySelector("base[target]")?.target ?? "";
    if (!["", "_self", "_parent", "_top"].includes(target.toLowerCase()) || link.hasAttribute("download")) return false;
    const to = new URL(link.href, location.href), here = new URL(location.href);
    if (!["http:", "https:"].includes(to.protocol)) return false;
    const anchor = to.href.includes("#");
    to.hash = here.hash = "";
    return !anchor || to.href !== here.href;
  }

  function askToLeave(link) {
    const ask = find("[data-gatepost-ask]");
    ask.returnValue = "stay";
    ask.showModal();
    ask.addEventListener("close", () => {
      if (ask.returnValue !== "leave") return link.focus();
      leave.going = true;
      link.click(); // as if nothing had been asked: the page may have its own router
    }, { once: true });
  }

  addEventListener("beforeunload", (event) => {
    if (unsaved()) event.preventDefault();
  });

  // Browsers may keep a page for the back button in spite of no-store. This one
  // is kept without the password, and is loaded again when it comes back.
  addEventListener("pagehide", () => {
    for (const secret of findAll("[data-gatepost-secret]")) secret.textContent = "";
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted && root()) location.replace(location.href); // with GET
  });

  // A form whose answer has a password is sent by the script, and the answer
  // replaces the form. The address stays that of the form, so a reload sends
  // nothing, and the browser lets the page ask before it is closed.

  async function submitOnce(form) {
    const button = form.querySelector("button");
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    let next;
    try {
      const response = await fetch(form.action, {
        method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" },
      });
      next = new DOMParser().parseFromString(await response.text(), "text/html");
    } catch { /* no response */ }
    const content = next?.querySelector(".gatepost");
    if (!content) return form.submit(); // the server ignores a form that it has had
    root().replaceWith(document.importNode(content, true));
    document.title = next.title;
    prepare();
    document.dispatchEvent(new Event("gatepost-replaced")); // for live.js
    scrollTo(0, 0);
    find("[autofocus]:not(dialog *), [data-gatepost-focus]")?.focus();
  }

  // Menus.

  function closeMenus(except) {
    for (const menu of findAll(".gatepost-menu[open]")) if (menu !== except) menu.open = false;
  }

  document.addEventListener("click", (event) => {
    const button = closest(event.target, "[data-gatepost-copy]");
    if (button) copy(button);
    closeMenus(closest(event.target, ".gatepost-menu"));
    const link = event.target.closest?.("a[href]");
    if (link?.href && typeof link.href === "string" && unsaved() && leaves(link, event)) {
      event.preventDefault();
      askToLeave(link);
    }
  });

  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && find(".gatepost-menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

  document.addEventListener("focusin", (event) => closeMenus(closest(event.target, ".gatepost-menu")));

  document.addEventListener("submit", (event) => {
    if (closest(event.target, "[data-gatepost-once]")) {
      event.preventDefault();
      submitOnce(event.target);
    }
    if (closest(event.target, "[data-gatepost-unsaved]")) leave.going = true;
  });

  if (!root()) return; // the page has the script, but no console
  prepare();
  if (find("[data-gatepost-secret]")) find("[data-gatepost-focus]")?.focus();
})();
