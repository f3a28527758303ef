/* Optional: every page works without it. It keeps a button from being pressed twice, and lets a
   connect button with data-ca-popup open the provider in a window of its own, where the browser
   allows one; else the whole page goes there. */
(() => {
  "use strict";
  // A site's base may load it, too: twice, it would take each press for a second one.
  if (window.connectedAccountsLoaded) return;
  window.connectedAccountsLoaded = true;
  const NAME = "connected_accounts";
  const PATIENCE = 10000; // milliseconds
  const TAB = "tab"; // the parameter that names the tab which opened the window

  // Its opener is out of reach where the provider isolates its pages, so a channel is named for it.
  function channelOf(tab) {
    return "BroadcastChannel" in window ? new BroadcastChannel(`${NAME}:${tab}`) : null;
  }

  // The window of its own has arrived at its end.
  if (document.querySelector("[data-ca-done]")) {
    const tab = new URLSearchParams(window.location.search).get(TAB);
    if (tab) channelOf(tab)?.postMessage("done");
    window.close();
    return;
  }

  const mine = [...crypto.getRandomValues(new Uint32Array(4))].join("-");
  const channel = channelOf(mine);

  // The page to go on to: one of this site, else this one.
  function ownPage(address) {
    const here = window.location;
    try {
      const url = new URL(address || here.href, here.href);
      return url.origin === here.origin ? url.href : here.href;
    } catch {
      return here.href;
    }
  }

  function setPending(form, pending) {
    form.classList.toggle("ca-pending", pending);
    for (const button of form.querySelectorAll("button")) {
      if (pending) button.setAttribute("aria-busy", "true");
      else button.removeAttribute("aria-busy");
    }
  }

  function openPopup(form) {
    const popup = channel && window.open("", NAME, "popup,width=560,height=760");
    if (!popup) return false;
    const next = form.elements.namedItem("next");
    const after = next?.value || window.location.href;
    channel.onmessage = () => window.location.assign(ownPage(after));
    if (next) next.value = `${form.dataset.caPopup}?${TAB}=${mine}`;
    form.target = NAME;
    popup.focus();
    setTimeout(() => {
      // For another press, should the window be closed before its end.
      if (next) next.value = after;
      form.removeAttribute("target");
    });
    return true;
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || !form.closest(".ca-page, .ca-connect")) return;
    if (form.classList.contains("ca-pending")) {
      event.preventDefault();
      return;
    }
    if (form.dataset.caPopup && openPopup(form)) return;
    setPending(form, true);
    // The browser was stopped, or the site did not answer: the button is for pressing again.
    setTimeout(() => setPending(form, false), PATIENCE);
  });

  // The page came back from the browser's memory: the button is for pressing again.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll(".ca-pending")) setPending(form, false);
  });
})();
