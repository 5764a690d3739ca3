// The plan's form and its YAML as one. The server alone knows plans: it turns one into the other and complains.
// Without this script the YAML, check and start still work.
"use strict";

(() => {
  const form = document.getElementById("draft");
  const fields = document.getElementById("fields");
  const plan = document.getElementById("plan");
  const overlay = document.getElementById("lines");
  const report = document.getElementById("report");
  const complaints = document.getElementById("complaints");
  const root = document.body.dataset.root;
  const headers = { "hx-request": "true" };
  const signedOut = "Your session has ended: copy the YAML, then sign in again.";
  let bad = new Set();
  let asked = 0;
  let timer = null;
  let checked = "";

  // ------------------------------------------------------------ asking

  async function get(path) {
    const answer = await fetch(root + path, { headers });
    return answer.ok ? answer.text() : "";
  }

  function post(path, data) {
    return fetch(root + path, { method: "POST", headers, body: new URLSearchParams(data) });
  }

  function filled(more) {
    const data = new FormData(form);
    data.delete("file");
    for (const [name, value] of Object.entries(more)) data.set(name, value);
    return [...data.entries()];
  }

  function yaml() {
    return { csrf: form.elements.csrf.value, plan: plan.value };
  }

  async function sync(path, data) {
    const mine = ++asked;
    const answer = await post(path, data).catch(() => null);
    if (mine !== asked) return; // somebody typed on meanwhile
    if (!answer || !answer.ok) {
      complaints.textContent = answer && answer.status === 401 ? signedOut : "The service does not answer; what you typed stays here.";
      return;
    }
    const found = await answer.json();
    if (mine !== asked) return;
    if (plan.value !== found.plan) plan.value = found.plan;
    if (found.form) {
      fields.innerHTML = found.form;
      fields.disabled = false;
      for (const input of fields.querySelectorAll("[data-agent]")) offerVersions(input);
      offerAgents();
    } else if (found.stairs) {
      document.getElementById("stairs").innerHTML = found.stairs;
    }
    complaints.innerHTML = found.complaints;
    bad = new Set(found.lines);
    mark(found.fields);
    draw();
  }

  function mark(wrong) {
    for (const input of fields.querySelectorAll("input[data-field], textarea[data-field], select[data-field]")) {
      const field = input.dataset.field;
      const is = wrong.some((w) => w === field || w.startsWith(`${field}.`) || w.startsWith(`${field}[`));
      if (is) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
  }

  function later(work) {
    window.clearTimeout(timer);
    asked++; // what is under way is about an older text
    timer = window.setTimeout(work, 250);
  }

  // ------------------------------------------------------------ the editor

  function draw() {
    overlay.replaceChildren(...plan.value.split("\n").map((text, index) => {
      const line = document.createElement("span");
      line.textContent = `${text}\n`;
      if (bad.has(index + 1)) line.className = "bad";
      return line;
    }));
    scroll();
    stale();
  }

  function scroll() {
    overlay.scrollTop = plan.scrollTop;
    overlay.scrollLeft = plan.scrollLeft;
  }

  function goTo(number) {
    const lines = plan.value.split("\n");
    const begin = lines.slice(0, number - 1).reduce((sum, line) => sum + line.length + 1, 0);
    plan.focus();
    plan.setSelectionRange(begin, begin + (lines[number - 1] || "").length);
    plan.scrollTop = Math.max(0, (number - 4) * parseFloat(getComputedStyle(plan).lineHeight));
  }

  function stale() {
    if (!checked || checked === plan.value) return;
    checked = "";
    report.textContent = "The plan has changed since it was checked: check it again.";
    report.className = "quiet";
  }

  // ------------------------------------------------------------ choosing

  async function offerAgents() {
    const list = document.getElementById("agents");
    offerAgents.text ??= await get("/new/agents").catch(() => "");
    list.innerHTML = offerAgents.text;
  }

  async function offerVersions(input) {
    const select = fields.querySelector(`[data-versions="${input.dataset.agent}"]`);
    const agent = input.value.trim();
    const text = agent ? await get(`/new/versions?agent=${encodeURIComponent(agent)}`).catch(() => "") : "";
    if (input.value.trim() !== agent) return;
    select.innerHTML = text;
    select.hidden = !select.options.length;
  }

  async function search(text) {
    const found = text ? await get(`/new/numbers?q=${encodeURIComponent(text)}`).catch(() => "") : "";
    if (document.getElementById("find").value.trim() !== text) return; // somebody typed on meanwhile
    document.getElementById("found").innerHTML = found;
  }

  function addNumbers(text) {
    const numbers = fields.querySelector("[name=numbers]");
    const there = new Set(numbers.value.split("\n"));
    const added = text.split("\n").filter((line) => !there.has(line));
    numbers.value = [...numbers.value.split("\n").filter(Boolean), ...added].join("\n");
    later(() => sync("/new/yaml", filled({})));
  }

  // ------------------------------------------------------------ check, rehearsal, tests

  async function check() {
    report.className = "";
    report.textContent = "Checking: reading the numbers and the versions …";
    const sent = yaml();
    const answer = await post("/new/check", sent).catch(() => null);
    if (!answer || answer.status === 401) {
      report.textContent = answer ? signedOut : "The service does not answer. Nothing was started.";
      return;
    }
    report.innerHTML = await answer.text();
    checked = sent.plan;
    stale();
    const heading = document.getElementById("trouble") || document.getElementById("h-check");
    if (heading) heading.focus();
    const rehearsal = document.getElementById("rehearsal");
    if (!rehearsal) return;
    const expected = await post(rehearsal.dataset.post, sent).catch(() => null);
    if (expected && expected.ok) rehearsal.innerHTML = await expected.text();
    else rehearsal.textContent = "The rehearsal could not be run now.";
  }

  async function stream(button) {
    const said = button.nextElementSibling;
    button.disabled = true;
    said.textContent = "Asking Retell to run them …";
    const answer = await post(button.dataset.stream, yaml()).catch(() => null);
    if (!answer || !answer.ok) said.textContent = "They could not be run now.";
    else {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        text += part.value;
        said.textContent = text.trimEnd().split("\n").at(-1);
      }
    }
    button.disabled = false;
  }

  // ------------------------------------------------------------ events

  fields.addEventListener("input", (event) => {
    const input = event.target;
    if (input.id === "find") {
      window.clearTimeout(search.timer);
      search.timer = window.setTimeout(() => search(input.value.trim()), 250);
      return;
    }
    if (input.dataset.versions !== undefined) {
      if (!input.value) return;
      fields.querySelector(`[name="arm.${input.dataset.versions}.version"]`).value = input.value;
      input.value = "";
    }
    later(() => sync("/new/yaml", filled({})));
  });
  fields.addEventListener("change", (event) => {
    if (event.target.dataset.agent !== undefined) offerVersions(event.target);
  });
  fields.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.add) addNumbers(button.dataset.add);
    if (button.dataset.button) {
      window.clearTimeout(timer);
      sync("/new/yaml", filled({ button: button.dataset.button })).then(() => {
        const again = fields.querySelector(`[data-button="${button.dataset.button}"]`);
        if (again) again.focus();
      });
    }
  });
  plan.addEventListener("input", () => {
    bad = new Set();
    draw();
    later(() => sync("/new/form", yaml()));
  });
  plan.addEventListener("scroll", scroll);
  complaints.addEventListener("click", (event) => {
    const link = event.target.closest("[data-line]");
    if (!link) return;
    event.preventDefault();
    goTo(Number(link.dataset.line));
  });
  report.addEventListener("click", (event) => {
    const button = event.target.closest("[data-stream]");
    if (button) stream(button);
  });
  document.getElementById("file").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    if (!file) return;
    plan.value = await file.text();
    event.target.value = "";
    plan.dispatchEvent(new Event("input"));
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    event.stopPropagation(); // it is no command: pressing it again is no mistake
    check();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("#fields input")) event.preventDefault(); // half a form is not sent
  });

  bad = new Set([...complaints.querySelectorAll("[data-line]")].map((link) => Number(link.dataset.line)));
  draw();
  if (fields.dataset.live !== undefined) {
    fields.disabled = false;
    offerAgents();
    for (const input of fields.querySelectorAll("[data-agent]")) offerVersions(input);
  }
})();
