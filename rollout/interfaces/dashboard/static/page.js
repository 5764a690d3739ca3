// What HTML cannot do alone: times in the reader's zone, a word when the service is gone, and quiet tabs.
// Everything on the page works without it.
"use strict";

(() => {
  const offline = document.getElementById("offline");
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const minutes = { hour: "2-digit", minute: "2-digit" };
  const ticks = { seconds: { ...minutes, second: "2-digit" }, minutes, days: { weekday: "short", ...minutes } };
  let lost = null;

  function span(seconds) {
    let left = Math.max(0, Math.round(seconds));
    for (let i = 0; i < units.length; i++) {
      const [name, size] = units[i];
      if (left < size) continue;
      const whole = Math.floor(left / size);
      const rest = left % size;
      const part = i + 1 < units.length && whole < 10 ? Math.floor(rest / units[i + 1][1]) : 0;
      return part ? `${whole} ${name} ${part} ${units[i + 1][0]}` : `${whole} ${name}`;
    }
    return "0 s";
  }

  function relative(moment) {
    const seconds = (moment - Date.now()) / 1000;
    if (Math.abs(seconds) < 1) return "now";
    return seconds > 0 ? `in ${span(seconds)}` : `${span(-seconds)} ago`;
  }

  function local(moment, always) {
    const time = moment.toLocaleTimeString("en-GB");
    if (!always && moment.toDateString() === new Date().toDateString()) return time;
    return `${moment.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" })} ${time}`;
  }

  function utc(moment) {
    const date = moment.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
    return `${date} ${moment.toLocaleTimeString("en-GB", { timeZone: "UTC" })} UTC`;
  }

  function set(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tellTimes() {
    for (const element of document.querySelectorAll("time[data-rel]")) {
      const moment = new Date(element.dateTime);
      set(element, relative(moment));
      element.title = `${local(moment, true)} (${utc(moment)})`;
    }
    for (const element of document.querySelectorAll("time[data-at]")) {
      const moment = new Date(element.dateTime);
      set(element, local(moment));
      element.title = utc(moment);
    }
    for (const element of document.querySelectorAll("[data-tick]")) {
      const moment = new Date(element.dataset.tick);
      set(element, moment.toLocaleString("en-GB", ticks[element.dataset.style]).replace(",", ""));
    }
    for (const element of document.querySelectorAll(".zone")) {
      set(element, Intl.DateTimeFormat().resolvedOptions().timeZone);
    }
  }

  function look() {
    const live = document.getElementById("live");
    if (live && window.htmx) window.htmx.trigger(live, "refresh");
    else if (lost) window.fetch(`${document.body.dataset.root}/healthz`).then((answer) => answer.ok && window.location.reload(), () => {});
  }

  function gone() {
    if (lost) return;
    lost = new Date();
    document.getElementById("offline-since").textContent = local(lost);
    offline.hidden = false;
  }

  function back() {
    if (!lost) return;
    lost = null;
    offline.hidden = true;
  }

  const isLook = (event) => event.detail.ctx && event.detail.ctx.sourceElement.id === "live";

  document.addEventListener("htmx:before:request", (event) => {
    // A tab that nobody sees asks nothing, so that its session can go idle.
    if (isLook(event) && document.hidden) event.preventDefault();
  });
  document.addEventListener("htmx:error", (event) => {
    if (isLook(event)) gone();
  });
  // The address holds what was chosen, so that a reload and a copied link show the same list.
  function keepAddress(form) {
    const chosen = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    window.history.replaceState(null, "", chosen.size ? `${form.action}?${chosen}` : form.action);
  }

  document.addEventListener("htmx:after:request", (event) => {
    if (event.detail.ctx && event.detail.ctx.sourceElement.id === "filters") keepAddress(event.detail.ctx.sourceElement);
    if (!isLook(event)) return;
    const status = event.detail.ctx.response.status;
    if (status === 401) window.location.reload(); // the session ended: the page leads to the sign-in
    else if (status >= 500) gone();
    else back();
  });
  document.addEventListener("htmx:after:swap", tellTimes);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look();
  });
  window.addEventListener("online", look);
  window.addEventListener("offline", gone);
  document.getElementById("offline-again").addEventListener("click", look);
  window.setInterval(tellTimes, 1000);
  window.setInterval(() => {
    if (lost && !document.hidden) look();
  }, 2000);

  // The theme: kept in a cookie, so that the next page comes in it at once.
  const theme = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const chosen = themes[(themes.indexOf(document.documentElement.dataset.theme || "system") + 1) % themes.length];
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    theme.firstElementChild.textContent = chosen;
    const age = chosen === "system" ? 0 : 31536000;
    document.cookie = `theme=${chosen}; path=${document.body.dataset.root || "/"}; max-age=${age}; samesite=lax`;
  });

  // The range beside a number moves it, and follows it.
  document.addEventListener("input", (event) => {
    const { moves } = event.target.dataset;
    if (moves) document.getElementById(moves).value = event.target.value;
    const range = document.querySelector(`[data-moves="${event.target.id}"]`);
    if (range) range.value = event.target.value;
  });

  // One press, one command: a second press while the first is under way is a mistake.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
    window.setTimeout(() => delete form.dataset.sent, 5000);
  });

  tellTimes();
})();
