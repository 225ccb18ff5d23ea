// What the pages do better with scripts. Everything here has a way without them.
"use strict";

// Countdowns: told by the server when they end and what its clock says; a wrong clock here changes nothing.
const drift = new WeakMap();

function remaining(seconds) {
  const left = Math.max(0, seconds);
  const pad = (number) => String(number).padStart(2, "0");
  if (left >= 48 * 3600) {
    const days = Math.floor(left / 86400);
    const hours = Math.floor((left % 86400) / 3600);
    return `${days} days${hours ? ` ${hours} h` : ""}`;
  }
  const hours = Math.floor(left / 3600);
  const minutes = Math.floor((left % 3600) / 60);
  return hours ? `${hours}:${pad(minutes)}:${pad(left % 60)}` : `${minutes}:${pad(left % 60)}`;
}

function tick() {
  for (const clock of document.querySelectorAll("time.countdown[data-now]")) {
    if (!drift.has(clock)) drift.set(clock, Date.parse(clock.dataset.now) - Date.now());
    const left = Math.floor((Date.parse(clock.dateTime) - Date.now() - drift.get(clock)) / 1000);
    const text = remaining(left);
    if (clock.textContent !== text) clock.textContent = text;
    clock.classList.toggle("soon", left > 0 && left <= 300);
    clock.classList.toggle("over", left <= 0);
    if (left <= 0 && !clock.dataset.over) {
      clock.dataset.over = "yes";
      const page = document.getElementById("page");
      if (page && window.htmx) window.setTimeout(() => htmx.trigger(page, "due"), 700);
    }
  }
}

// Copying: the button says that it worked.
async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText(source.textContent.trim());
  const label = button.querySelector(".copy-label");
  const before = label.textContent;
  label.textContent = "Copied";
  window.setTimeout(() => { label.textContent = before; }, 2000);
}

// The form: ticks and chips are another view of the names in the text box, which is what is sent.
function split(text) {
  const names = [];
  for (const line of text.split(/\r?\n/)) {
    let inside = false;
    let name = "";
    for (const letter of line) {
      if (letter === '"') inside = !inside;
      if (letter === "," && !inside) { names.push(name); name = ""; } else name += letter;
    }
    names.push(name);
  }
  return [...new Set(names.map((name) => name.trim()).filter(Boolean))];
}

const MOST_CHIPS = 60;

function setUpAsking(form) {
  const box = form.querySelector("#tables");
  const chips = form.querySelector("#chosen");
  const minutes = form.querySelector("#minutes");
  const preview = document.getElementById("preview");
  const cross = document.getElementById("cross-icon");

  const changed = () => htmx.trigger(preview, "changed-ask");

  // The masked columns come anew with each preview; what was ticked or opened while it was under way stays.
  const unmask = new Set([...form.querySelectorAll("input[name=unmask]:checked")].map((tick) => tick.value));
  const opened = new Map();

  function keepMasked() {
    const ticks = [...form.querySelectorAll("input[name=unmask]")];
    for (const tick of ticks) tick.checked = unmask.has(tick.value);
    const there = new Set(ticks.map((tick) => tick.value));
    for (const name of unmask) if (!there.has(name)) unmask.delete(name);
    for (const part of form.querySelectorAll("#masked details")) if (opened.has(part.id)) part.open = opened.get(part.id);
  }

  function chip(name) {
    const item = document.createElement("li");
    const text = document.createElement("span");
    const remove = document.createElement("button");
    item.className = "chip";
    text.textContent = name;
    remove.type = "button";
    remove.dataset.name = name;
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.append(cross.content.cloneNode(true));
    item.append(text, remove);
    return item;
  }

  function show() {
    const names = split(box.value);
    const chosen = new Set(names);
    chips.replaceChildren(...names.slice(0, MOST_CHIPS).map(chip));
    if (names.length > MOST_CHIPS) {
      const more = document.createElement("li");
      more.textContent = `and ${names.length - MOST_CHIPS} more`;
      chips.append(more);
    }
    form.querySelector("#chosen-count").textContent = names.length ? `(${names.length})` : "(none yet)";
    for (const tick of form.querySelectorAll('input[name="pick"]:not(:disabled)')) tick.checked = chosen.has(tick.value);
  }

  function set(name, present) {
    const names = split(box.value).filter((other) => other !== name);
    if (present) names.push(name);
    box.value = names.join("\n");
    show();
    changed();
  }

  function press() {
    for (const preset of form.querySelectorAll("[data-minutes]")) {
      preset.setAttribute("aria-pressed", String(preset.dataset.minutes === minutes.value));
    }
  }

  form.addEventListener("input", (event) => {
    if (event.target.matches("[data-quiet], [name=pick]")) return;
    if (event.target === box) show();
    if (event.target === minutes) press();
    if (event.target.name === "unmask") unmask[event.target.checked ? "add" : "delete"](event.target.value);
    changed();
  });
  form.addEventListener("click", (event) => {
    const part = event.target.closest("#masked summary")?.parentElement;
    if (part) opened.set(part.id, !part.open);
  });
  form.addEventListener("change", (event) => {
    if (event.target.name === "pick") set(event.target.value, event.target.checked);
    else if (event.target.name === "database") changed();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input:not([type=checkbox])")) event.preventDefault();
  });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.name) set(button.dataset.name, false);
    if (button.dataset.minutes) { minutes.value = button.dataset.minutes; press(); changed(); }
    if (button.id === "as-text") {
      const open = form.querySelector("#names-as-text").classList.toggle("open");
      button.setAttribute("aria-expanded", String(open));
      if (open) box.focus();
    }
  });
  form.addEventListener("htmx:oobAfterSwap", (event) => { if (event.target.id === "masked") keepMasked(); });
  form.addEventListener("htmx:afterSwap", (event) => { if (event.target.id !== "preview") show(); });
  show();
  press();
  // Only then htmx listens.
  if ("fresh" in form.dataset && split(box.value).length) document.addEventListener("DOMContentLoaded", changed);
}

// Statements that are only shown get their colours; their text stays the same to the letter.
function colour() {
  if (!window.SqlEditor) return;
  for (const text of document.querySelectorAll("pre[data-sql]:not([data-coloured])")) {
    text.dataset.coloured = "yes";
    SqlEditor.colour(text);
  }
}

// Menus close when one clicks elsewhere or presses Escape.
function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== except) menu.open = false;
}

document.addEventListener("click", (event) => {
  closeMenus(event.target.closest("details.menu"));
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  const more = event.target.closest("[data-more]");
  if (more) showSpare(more);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details.menu[open]");
  if (open) { closeMenus(null); open.querySelector("summary").focus(); }
});
// One more empty row of a list that keeps some in reserve.
function showSpare(button) {
  const spare = [...button.parentElement.querySelectorAll(".spare")];
  spare[0]?.classList.remove("spare");
  spare[0]?.querySelector("select, input").focus();
  if (spare.length <= 1) button.hidden = true;
}

// A form is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || "again" in event.target.dataset) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// Somebody whose browser is in another zone than their profile is told so, and where to change it.
function offerZone() {
  const offer = document.getElementById("zone-offer");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!offer || !zone || zone === offer.dataset.zone) return;
  offer.textContent = `Your browser is in ${zone}.`;
  offer.hidden = false;
}

const asking = document.getElementById("ask");
if (asking) setUpAsking(asking);
offerZone();
document.addEventListener("DOMContentLoaded", colour);
document.addEventListener("htmx:afterSettle", colour);
tick();
window.setInterval(tick, 1000);
