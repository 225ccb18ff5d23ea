"""The grid of the console with many cells, in a real browser: does it ever hold up the person?

    python benchmarks/bench_grid.py --rows 10000 --columns 50

Shows rows as the console does, in batches, then scrolls down, jumps and scrolls sideways. Prints the processor time of
the page's main thread per frame (16.7 ms is a frame at 60 Hz), which a busy machine does not change, and by the clock
the longest pause between two frames and what one drawing takes, which it does. Needs chromium.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import CDPSession, Page, Route, sync_playwright

STATIC: Final = Path(__file__).parents[1] / "static"
SITE: Final = "http://grid.example"
PARTS: Final = ("still", "show", "down", "jump", "sideways")
TYPES: Final = {".js": "text/javascript", ".css": "text/css"}
CSP: Final = "default-src 'none'; script-src 'self'; style-src 'self'"
PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Grid</title>
<link rel="stylesheet" href="/static/css/portal.css"><script src="/bench.js" type="module"></script></head>
<body><main class="page wide-page"><div class="result-body"><div id="grid" aria-label="Rows"></div>
<aside class="value-panel" id="panel" hidden><h3 data-part="title"></h3><p data-part="about"></p>
<pre data-part="value"></pre></aside></div></main></body></html>"""
SCRIPT: Final = """
import { ResultGrid } from "/static/js/grid.js";
const frame = () => new Promise((done) => requestAnimationFrame(done));
const tasks = [];
new PerformanceObserver((list) => tasks.push(...list.getEntries().map((one) => one.duration)))
  .observe({ entryTypes: ["longtask"] });
async function watched(act) {
  const frames = [];
  let last = performance.now();
  let going = true;
  (async () => {
    while (going) { await frame(); const now = performance.now(); frames.push(now - last); last = now; }
  })();
  const began = performance.now();
  await act();
  const took = performance.now() - began;
  going = false;
  await frame();
  return { took: Math.round(took), longest: Math.round(Math.max(...frames)), frames: frames.length };
}
const host = document.getElementById("grid");
const draws = []; // what the grid itself takes, with the layout that it causes
let grid, result, made, most = 0;
const count = () => { most = Math.max(most, host.querySelectorAll(".grid-cell").length); };
const times = async (number, act) => { for (let n = 0; n < number; n += 1) { act(n); await frame(); } count(); };
window.prepare = (many, wide) => {
  grid = new ResultGrid(host, document.getElementById("panel"));
  const draw = grid.draw.bind(grid);
  grid.draw = () => {
    const began = performance.now();
    draw();
    host.scrollHeight;
    draws.push(performance.now() - began);
  };
  const types = ["bigint", "text", "jsonb", "bytea", "timestamp with time zone"];
  const columns = Array.from({ length: wide }, (_, n) => ({ name: `column_${n}`, type: types[n % types.length] }));
  const value = (row, column) => row * column % 11 === 3 ? null : row * column % 13 === 5 ? "" : [
    String(row * 7919 + column), `text of ${row} and ${column}`, `{"row": ${row}, "column": [${column}, null]}`,
    "\\\\x00ff1234", "2026-01-31 09:00:00.123456+00"][column % types.length];
  result = { columns, rows: [], cut: new Map() };
  made = Array.from({ length: many }, (_, row) => columns.map((_, column) => value(row, column)));
};
const parts = {
  still: () => times(120, () => {}),
  show: () => { grid.show(result); return times(Math.ceil(made.length / 500), (n) => {
    result.rows.push(...made.slice(n * 500, n * 500 + 500)); grid.grown(); }); },
  down: () => times(240, () => { host.scrollTop += 170; }),
  jump: () => times(60, (n) => { host.scrollTop = (n * 7919 % 97) / 97 * made.length * 28; }),
  sideways: () => times(120, () => { host.scrollLeft += 90; host.scrollTop += 40; }),
};
window.part = async (name) => { tasks.length = 0; const told = await watched(parts[name]); await frame();
  return { ...told, tasks: tasks.length }; };
window.told = () => {
  draws.sort((a, b) => a - b);
  const at = (share) => Math.round(10 * draws[Math.floor((draws.length - 1) * share)]) / 10;
  return { most, draws: { number: draws.length, median: at(0.5), most: at(1) } };
};
"""


def _answer(route: Route) -> None:
    path = route.request.url.removeprefix(SITE)
    headers = {"Content-Security-Policy": CSP}
    if path == "/":
        route.fulfill(body=PAGE, content_type="text/html", headers=headers)
    elif path == "/bench.js":
        route.fulfill(body=SCRIPT, content_type="text/javascript", headers=headers)
    elif path.startswith("/static/") and (file := STATIC / path.removeprefix("/static/")).is_file():
        route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix], headers=headers)
    else:
        route.fulfill(status=404)


def measure(page: Page, rows: int, columns: int) -> dict[str, Any]:
    page.route("**/*", _answer)
    page.goto(f"{SITE}/")
    page.wait_for_function("window.told !== undefined")
    page.evaluate("([rows, columns]) => prepare(rows, columns)", [rows, columns])
    processor = page.context.new_cdp_session(page)
    processor.send("Performance.enable", {"timeDomain": "threadTicks"})
    parts = {}
    for name in PARTS:
        before = _busy(processor)
        parts[name] = page.evaluate("(name) => part(name)", name)
        parts[name]["processor"] = round((_busy(processor) - before) * 1000 / parts[name]["frames"], 1)
    return {"parts": parts, **page.evaluate("told()")}


def _busy(processor: CDPSession) -> float:
    """Seconds of processor time that the page's main thread has taken, whoever else wants the machine."""
    metrics = processor.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--columns", type=int, default=50)
    options.add_argument("--picture", help="where to put a picture of it")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        measured = measure(page, given.rows, given.columns)
        if given.picture:
            page.screenshot(path=given.picture)
        browser.close()
    if given.json:
        print(json.dumps(measured))
        return
    print(f"{given.rows:,} rows x {given.columns} columns; at most {measured['most']:,} cells in the page at once")
    for name, told in measured["parts"].items():
        print(
            f"  {name:<9} {told['frames']:>4} frames, each {told['processor']} ms of the processor; "
            f"longest pause {told['longest']} ms, {told['tasks']} tasks over 50 ms"
        )
    draws = measured["draws"]
    print(f"  one drawing, with its layout: {draws['median']} ms in the middle, {draws['most']} ms at most")


if __name__ == "__main__":
    main()
