// The console with scripts: what is run is told while it runs. The same form works without them.
import { element, ResultGrid } from "./grid.js";

const page = document.getElementById("console");
const part = (id) => document.getElementById(id);
const form = part("console-form");
const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
const box = part("sql");

let editor = null;
let grid = null;
let results = []; // of the last run, each {columns, rows, cut, sentence, notice}
let shown = null; // the one in the grid
let running = null; // {statement, began, seconds, start, length}
let open = null; // the transaction: {id, url, timer, affected, told}
let over = false; // the access is
let asked = false; // whether it is

// What stands in the editor ----------------------------------------------------------------------------------

// What can be reached, for completion: by schema, and without one, as the login's search path finds it.
function reachable() {
  const known = {};
  const escaped = (name) => name.replaceAll("\\", "\\\\").replaceAll(".", "\\.");
  for (const schema of part("tree").querySelectorAll("[data-schema]")) {
    const tables = {};
    for (const table of schema.querySelectorAll("[data-table]")) {
      const columns = [...table.querySelectorAll("[data-column]")].map(({ dataset }) => ({
        label: dataset.column,
        apply: quoted(dataset.column),
        type: "property",
        detail: dataset.mask ? `${dataset.type}, masked` : dataset.type,
      }));
      if (!("view" in table.dataset)) tables[escaped(table.dataset.table)] = columns;
      known[escaped(table.dataset.table)] ??= columns;
    }
    if (Object.keys(tables).length) known[escaped(schema.dataset.schema)] = tables;
  }
  return known;
}

function quoted(name) {
  return /^[a-z_][a-z0-9_$]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

// A result says only what its columns are called: masked is what is masked in every table that has such a column.
function maskOf(name) {
  const known = [...part("tree").querySelectorAll("[data-column]")].filter(({ dataset }) => dataset.column === name);
  return known.length && known.every(({ dataset }) => dataset.mask) ? known[0].dataset.mask : "";
}

function setUpEditor() {
  const host = part("editor");
  host.hidden = false;
  editor = SqlEditor.create({
    host,
    text: box.value,
    label: "SQL",
    hint: "SELECT …",
    schema: reachable(),
    onRun: run,
    onChange: (text) => { box.value = text; },
  });
  box.hidden = true;
  const label = document.querySelector("label[for=sql]");
  label.addEventListener("click", (event) => { event.preventDefault(); editor.focus(); });
  if (box.readOnly) editor.lock(true); else editor.focus();
}

// Asking the server -----------------------------------------------------------------------------------------

const SIGNED_OUT = "You are signed out, and nothing runs until you have signed in. Your text stays here: copy it, then load this page again.";

const fresh = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

async function post(url, fields) {
  const headers = { "X-CSRFToken": token, Accept: "application/json, application/x-ndjson" };
  const response = await fetch(url, { method: "POST", headers, body: new URLSearchParams(fields), redirect: "manual" });
  if (response.ok) return response;
  if (response.type === "opaqueredirect") throw refusal({ sentence: SIGNED_OUT });
  const json = (response.headers.get("Content-Type") || "").startsWith("application/json");
  const told = json ? await response.json() : { sentence: "The portal refused this. Load the page again; you may have to sign in." };
  throw refusal(told);
}

const refusal = (told) => Object.assign(new Error(told.sentence), { told });

// Reads events, one a line, until the answer ends; an answer that breaks off throws.
async function listen(url, fields, heard) {
  const response = await post(url, fields);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) heard(JSON.parse(line));
  }
}

// Running ------------------------------------------------------------------------------------------------------

function marked() {
  const selection = editor.selection();
  return selection && selection.text.trim() ? selection : { text: editor.text(), start: 0 };
}

async function run() {
  if (over || running) return;
  const { text, start } = marked();
  if (!text.trim()) { tell("bad", "There is nothing to run yet."); return; }
  starting(start);
  try {
    if (open) await post(open.url, { do: "run", sql: text, once: fresh() });
    else {
      await listen(page.dataset.run, { sql: text, once: fresh() }, hear);
      stopped();
    }
  } catch (error) {
    stopped();
    failure(error);
  }
}

function starting(start) {
  results = [];
  running = { statement: null, began: performance.now(), seconds: null, start };
  editor.unmark();
  part("tell").replaceChildren();
  part("result").querySelector(".plain-answer")?.remove();
  for (const id of ["tabs", "summary", "body"]) part(id).hidden = true;
  buttons();
  say();
}

function stopped() {
  running = null;
  buttons();
  if (part("said")) part("said").textContent = "";
  // The button that was pressed is gone: without a place the keyboard would begin at the top of the page.
  if (document.activeElement === document.body && !over) editor.focus();
  htmx.trigger(part("past"), "refresh");
}

function hear(event) {
  ({ begun, tick: ticked, started, columns, rows, done, failed, ended })[event.event]?.(event);
}

function started(event) {
  if (!running) starting(0);
  Object.assign(running, { statement: event.statement, seconds: event.seconds, number: event.number, total: event.total, began: performance.now() });
  results.push({ columns: [], rows: [], cut: new Map(), sentence: "", notice: "" });
  buttons();
}

function columns(event) {
  const result = results.at(-1);
  result.columns = event.columns.map((column) => ({ ...column, mask: maskOf(column.name) }));
  show(result);
}

function rows(event) {
  const result = results.at(-1);
  for (const { row, column, bytes } of event.cut) result.cut.set(`${result.rows.length + row} ${column}`, bytes);
  for (const row of event.rows) result.rows.push(row);
  if (result === shown) grid.grown();
}

const many = (number, word = "row") => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

function done(event) {
  const result = results.at(-1);
  const counted = result.columns.length ? many(event.rows) : event.affected === null ? event.tag : `${event.tag.split(" ")[0]}: ${many(event.affected)} affected`;
  result.sentence = `${counted} in ${event.elapsed_ms.toLocaleString("en")} ms`;
  result.notice = event.truncated ? event.sentence : "";
  if (open && event.affected !== null && !/^(SELECT|SHOW|EXPLAIN|FETCH|VALUES)/.test(event.tag)) {
    open.affected += event.affected;
    part("affected").textContent = `${many(open.affected)} affected so far.`;
  }
  show(result);
  if (open && running?.number === running?.total) stopped();
}

const STILL_OPEN = "The transaction is still open: only this statement was undone.";

function failed(event) {
  const position = event.position === null ? null : editor.mark(event.position, running?.start ?? 0);
  const where = position ? ` Line ${position.line}, column ${position.column}.` : "";
  const lines = [[event.message, "mono small"], [event.detail, "small"], [event.hint, "small"]].filter(([text]) => text && !event.sentence.includes(text));
  if (event.sqlstate) lines.push([`SQLSTATE ${event.sqlstate}.${where}`, "small"]);
  else if (where) lines.push([where.trim(), "small"]);
  if (event.sqlstate === "25006" && part("begin") && !open) lines.push(["Begin a transaction first: outside of one nothing can be changed.", "small"]);
  if (open && event.why !== "ended") lines.push([STILL_OPEN, "small"]);
  tell(event.why === "cancelled" ? "wait" : "bad", event.sentence, lines);
  if (event.why === "ended") finished();
  if (open) stopped();
}

// What is told ---------------------------------------------------------------------------------------------------

function tell(tone, sentence, more = [], reset = false) {
  const notice = element("div", `notice ${tone}`);
  const text = element("div", "stack-tight");
  const first = element("p", "strong");
  first.textContent = sentence;
  text.append(first, ...more.map(([line, className]) => { const made = element("p", className); made.textContent = line; return made; }));
  if (reset) text.append(part("reset-form").content.cloneNode(true));
  notice.append(text);
  part("tell").replaceChildren(notice);
}

function failure(error) {
  if (error.told) tell("bad", error.told.sentence, [], error.told.offers_reset && part("reset-form"));
  else tell("bad", "The connection to the portal broke off. What ran is cancelled, and what was open is rolled back; what you have run says what became of it.");
}

function show(result) {
  part("result").hidden = false;
  const tabs = part("tabs");
  tabs.hidden = results.length < 2;
  tabs.replaceChildren(...results.map((one, index) => {
    const tab = element("button", "button small");
    tab.type = "button";
    tab.textContent = `${index + 1}`;
    tab.setAttribute("aria-label", `Result ${index + 1}`);
    tab.setAttribute("aria-pressed", String(one === result));
    tab.addEventListener("click", () => show(one));
    return tab;
  }));
  const told = [];
  if (result.sentence) { const line = element("p", "muted"); line.textContent = result.sentence; told.push(line); }
  if (result.notice) { const line = element("p", "notice wait"); line.textContent = result.notice; told.push(line); }
  part("summary").replaceChildren(...told);
  part("summary").hidden = false;
  part("body").hidden = !result.columns.length;
  if (shown !== result && result.columns.length) { shown = result; grid.show(result); } else grid.grown();
}

// The seconds while something runs.
function say() {
  const said = part("said");
  if (!running || !said) return;
  const seconds = Math.floor((performance.now() - running.began) / 1000);
  const which = running.total > 1 ? `statement ${running.number} of ${running.total}, ` : "";
  said.textContent = running.statement ? `Runs: ${which}${seconds} s of at most ${running.seconds} s` : "Starts …";
}

function buttons() {
  const busy = Boolean(running);
  const hide = (id, hidden) => { if (part(id)) part(id).hidden = hidden; };
  const off = (id, disabled) => { if (part(id)) part(id).disabled = disabled; };
  hide("run", busy);
  hide("cancel", !busy);
  off("cancel", !running?.statement);
  off("begin", busy || over);
  off("run", over);
  off("export", busy || over);
  hide("begin", Boolean(open));
  hide("transaction", !open);
  off("commit", busy);
  off("rollback", busy);
}

async function cancel() {
  if (!running?.statement) return;
  part("cancel").disabled = true;
  part("said").textContent = "Is being cancelled …";
  try {
    await post(page.dataset.cancel.replace("STATEMENT", running.statement), {});
  } catch (error) { failure(error); }
}

// A transaction is held by the answer that is read here: when this page goes, so does it ----------------------------

async function begin() {
  if (open || running || over) return;
  part("begin").disabled = true;
  part("tell").replaceChildren();
  let ending = false;
  try {
    await listen(page.dataset.change, {}, (event) => { ending ||= event.event === "ended"; hear(event); });
    if (!ending) throw new Error("broken off");
  } catch (error) {
    failure(error);
  }
  if (open) closed();
  buttons();
}

function begun(event) {
  const url = `${page.dataset.change}${event.transaction}/`;
  open = { id: event.transaction, url, affected: 0, timer: window.setInterval(() => beat(url), Number(page.dataset.beat) * 1000 / 3) };
  part("affected").textContent = "Nothing has changed yet.";
  document.documentElement.classList.add("in-transaction");
  buttons();
  editor.focus();
}

async function beat(url) {
  try { await post(`${url}beat/`, {}); } catch { /* the answer itself says when it is over */ }
}

function ticked(event) {
  if (event.idle_left !== null && part("idle")) part("idle").textContent = `${event.idle_left} s more`;
}

async function finish(what) {
  if (!open || running) return;
  part("commit").disabled = part("rollback").disabled = true;
  try { await post(open.url, { do: what, once: fresh() }); } catch (error) { failure(error); buttons(); }
}

function ended(event) {
  const tone = event.committed ? "good" : event.why || event.committed === null ? "bad" : "info";
  const before = event.why && part("tell").firstElementChild;
  if (before) for (const line of before.querySelectorAll("p")) if (line.textContent === STILL_OPEN) line.remove();
  tell(tone, event.sentence);
  if (before) part("tell").prepend(before);
  closed();
  if (event.why === "ended") finished();
}

function closed() {
  if (open) window.clearInterval(open.timer);
  open = null;
  document.documentElement.classList.remove("in-transaction");
  stopped();
}

// The end ------------------------------------------------------------------------------------------------------------

function finished() {
  if (part("left").dataset.open === "no") part("tell").querySelector("[data-up]")?.remove();
  if (over) return;
  over = true;
  editor.lock(true);
  if (part("bar")) part("bar").hidden = true;
  htmx.trigger(part("past"), "refresh");
}

const PATIENCE = 3000; // milliseconds for the server to say so itself

// By the server's word; where it says nothing, by the countdown: it may have been told of more time.
function look() {
  const isUp = () => Boolean(part("left").querySelector(".countdown.over"));
  if (part("left").dataset.open === "no") finished();
  else if (!over && isUp() && !asked) {
    asked = true;
    htmx.trigger(part("past"), "refresh");
    window.setTimeout(() => {
      asked = false;
      if (!isUp() || over) return;
      finished();
      tell("bad", "The time is up. Nothing more runs here.");
      part("tell").firstElementChild.dataset.up = "";
    }, PATIENCE);
  }
}

// -----------------------------------------------------------------------------------------------------------------------

function setUp() {
  grid = new ResultGrid(part("grid"), part("panel"));
  setUpEditor();
  form.addEventListener("submit", (event) => {
    if (event.submitter?.id === "export") {
      form.elements.once.value = fresh();
      window.setTimeout(() => htmx.trigger(part("past"), "refresh"), 400);
      return;
    }
    event.preventDefault();
    run();
  });
  part("cancel")?.addEventListener("click", cancel);
  part("begin")?.addEventListener("click", begin);
  part("commit").addEventListener("click", () => finish("commit"));
  part("rollback").addEventListener("click", () => finish("rollback"));
  part("close-panel").addEventListener("click", () => { grid.close(); part("grid").focus(); });
  part("copy-value").addEventListener("click", async () => {
    await navigator.clipboard.writeText(grid.value() ?? "");
    const label = part("copy-value").querySelector(".copy-label");
    label.textContent = "Copied";
    window.setTimeout(() => { label.textContent = "Copy"; }, 2000);
  });
  page.addEventListener("click", (event) => {
    const insert = event.target.closest("[data-insert]");
    if (insert && !over) editor.insert(insert.dataset.insert);
    const taken = event.target.closest("[data-take]");
    if (taken) {
      event.preventDefault();
      if (!over && !taken.hasAttribute("aria-disabled")) { editor.set(taken.textContent); editor.focus(); }
    }
  });
  document.addEventListener("htmx:afterSettle", look);
  document.addEventListener("htmx:beforeOnLoad", (event) => {
    if (!event.detail.xhr.getResponseHeader("HX-Redirect")) return;
    event.preventDefault(); // to the door, and what was typed would be gone
    tell("bad", SIGNED_OUT);
  });
  window.addEventListener("beforeunload", (event) => { if (open) event.preventDefault(); });
  window.setInterval(() => { say(); if (!over) look(); }, 500);
  buttons();
  look();
}

setUp();
