// What the pages do beyond HTML. Without this file everything works but copying,
// and the question before an uncopied password is left by a link or the browser.
"use strict";

(() => {
  const root = () => document.querySelector(".gatepost");
  const leave = { going: false };

  // Buttons that only a script can serve are hidden without one.
  function prepare() {
    for (const button of root().querySelectorAll("[data-copy]")) button.hidden = false;
    // What is there from the start isn't announced, so it is said again.
    const notice = root().querySelector("[data-notice]");
    if (notice) say(notice.textContent, false);
    leave.going = false;
  }

  // say announces a text and, if it is to be seen, shows it for a while.
  function say(text, seen) {
    const status = root().querySelector("[data-status]");
    status.textContent = "";
    status.classList.toggle("unseen", !seen);
    setTimeout(() => { status.textContent = text; }, 50);
    clearTimeout(say.timer);
    say.timer = setTimeout(() => { status.textContent = ""; }, 4000);
  }

  // Copying.

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    if (!await write(source)) return say(root().dataset.copyFailed, true);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 2000);
    say(root().dataset.copied.replace("{0}", () => button.dataset.label), true);
    const stored = unsaved();
    if (stored && source.hasAttribute("data-secret")) stored.checked = true;
  }

  async function write(source) {
    try {
      await navigator.clipboard.writeText(source.textContent);
      return true;
    } catch { // no permission, or no https
      const folded = source.closest("details");
      if (folded) folded.open = true; // else nothing is selected
      getSelection().selectAllChildren(source);
      return document.execCommand("copy");
    }
  }

  // A password that was not copied yet.

  // unsaved returns the box to tick when the password is stored, if there is
  // one and it isn't ticked.
  function unsaved() {
    const box = root().querySelector("[data-unsaved] input");
    return box && !box.checked && !leave.going ? box : null;
  }

  function askToLeave(link) {
    const ask = root().querySelector("[data-ask]");
    ask.returnValue = "stay";
    ask.showModal();
    ask.addEventListener("close", () => {
      if (ask.returnValue !== "leave") return link.focus();
      leave.going = true;
      location.assign(link.href);
    }, { once: true });
  }

  addEventListener("beforeunload", (event) => {
    if (unsaved()) event.preventDefault();
  });

  // The browser may keep pages for its back button, in spite of no-store. This
  // one is kept without the password, and none comes back as it was.
  addEventListener("pagehide", () => {
    for (const secret of document.querySelectorAll("[data-secret]")) secret.textContent = "";
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.replace(location.href); // with GET, whatever it came from
  });

  // Forms whose answer has a password are sent from here, and the answer is put
  // in the place of the form. So the address stays that of the form, a reload
  // sends nothing, and the browser lets the page ask before it is closed.

  async function submitOnce(form) {
    const button = form.querySelector("button");
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    let next;
    try {
      const answer = await fetch(form.action, {
        method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" },
      });
      next = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch { /* no answer */ }
    const content = next?.querySelector(".gatepost");
    // Sending it again the plain way does nothing twice, whatever happened.
    if (!content) return form.submit();
    root().replaceWith(document.importNode(content, true));
    document.title = next.title;
    prepare();
    scrollTo(0, 0);
    root().querySelector("[autofocus]:not(dialog *), [data-focus]")?.focus();
  }

  // Menus.

  function closeMenus(except) {
    for (const menu of root().querySelectorAll(".menu[open]")) if (menu !== except) menu.open = false;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    closeMenus(event.target.closest(".menu"));
    const link = event.target.closest("a[href]");
    if (link && unsaved() && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      askToLeave(link);
    }
  });

  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && root().querySelector(".menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

  document.addEventListener("focusin", (event) => closeMenus(event.target.closest(".menu")));

  document.addEventListener("submit", (event) => {
    if (event.target.matches("[data-once]")) {
      event.preventDefault();
      submitOnce(event.target);
    }
    if (event.target.matches("[data-unsaved]")) leave.going = true;
  });

  prepare();
  if (document.querySelector("[data-secret]")) root().querySelector("[data-focus]")?.focus();
})();
