// Rows of a result, however many: only what is in the window exists in the page, and values are only ever text.
const ROW_HEIGHT = 28; // pixels; .grid-cell in portal.css says the same
const EMPTY = "an empty"; // as wide as the framed word for an empty text; NULL is narrower
const OVERSCAN = 6; // rows drawn beyond each edge, so that a short scroll shows nothing empty
const MOST_HEIGHT = 15_000_000; // pixels; browsers end elements somewhere beyond
const SHOWN = 64; // characters of a value in its cell, more than fit; the panel shows all of it
const WIDEST = 42; // characters
const LOOKED_AT = 60; // rows that decide how wide columns are
const NUMBERS = /^(smallint|integer|bigint|numeric|real|double precision|oid|money|int[248]?|float[48]?)\b/;

const headType = ({ type, mask }) => (mask ? `${type}, masked` : type);

export class ResultGrid {
  /** `host` becomes the grid; `panel` is where one value is shown whole. */
  constructor(host, panel) {
    this.host = host;
    this.panel = panel;
    this.space = element("div", "grid-space");
    this.head = element("div", "grid-head");
    this.head.setAttribute("role", "row");
    this.head.setAttribute("aria-rowindex", "1");
    this.space.append(this.head);
    host.replaceChildren(this.space);
    host.classList.add("grid");
    host.tabIndex = 0;
    host.setAttribute("role", "grid");
    host.addEventListener("scroll", () => this.later(), { passive: true });
    host.addEventListener("keydown", (event) => this.pressed(event));
    host.addEventListener("mousedown", (event) => this.pointed(event));
    host.addEventListener("dblclick", (event) => { if (this.pointed(event)) this.open(); });
    host.addEventListener("copy", (event) => this.copied(event));
    new ResizeObserver(() => this.later()).observe(host);
    this.show({ columns: [], rows: [], cut: new Map() });
  }

  /**
   * A result: columns are {name, type, mask?}, rows arrays of text with null for NULL, `cut` maps "row column" of what was
   * shortened to the bytes of the whole. It may go on growing: grown() says that it did.
   */
  show({ columns, rows, cut }) {
    this.columns = columns;
    this.rows = rows;
    this.cut = cut;
    this.numbers = columns.map(({ type }) => NUMBERS.test(type));
    this.active = { row: 0, column: 0 };
    for (const row of this.drawn?.values() ?? []) row.remove();
    this.drawn = new Map();
    this.range = { first: 0, last: 0 };
    this.lefts = null;
    this.measured = 0;
    this.here = null;
    this.head.replaceChildren();
    this.host.scrollTo(0, 0);
    this.host.setAttribute("aria-colcount", String(columns.length + 1));
    this.close();
    this.later();
  }

  grown() {
    if (this.measured < LOOKED_AT) this.lefts = null;
    this.later();
  }

  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  // How wide: by the longest of the first rows, so that nothing moves when more arrive.
  measure() {
    const letter = this.letter || (this.letter = widthOfLetter(this.host));
    const sample = this.rows.slice(0, LOOKED_AT);
    this.measured = this.rows.length;
    this.range = { first: 0, last: 0 };
    this.gutter = Math.ceil(letter * Math.max(3, String(this.rows.length).length)) + 20;
    this.lefts = [this.gutter];
    this.columns.forEach((column, index) => {
      let longest = Math.max(4, lengthOf(column.name), Math.min(28, lengthOf(headType(column))) * 0.9);
      for (const row of sample) longest = Math.max(longest, lengthOf(row[index] || EMPTY));
      this.lefts.push(this.lefts[index] + Math.ceil(Math.min(longest, WIDEST) * letter) + 22);
    });
  }

  draw() {
    if (!this.lefts) this.measure();
    const { scrollTop, scrollLeft, clientHeight, clientWidth } = this.host; // read before anything is written
    const width = this.lefts[this.lefts.length - 1];
    const height = Math.min(MOST_HEIGHT, this.rows.length * ROW_HEIGHT);
    this.space.style.width = `${width}px`;
    this.space.style.height = `${height + this.headHeight()}px`;
    this.host.setAttribute("aria-rowcount", String(this.rows.length + 1));
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - OVERSCAN);
    const last = Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / ROW_HEIGHT) + OVERSCAN, MOST_HEIGHT / ROW_HEIGHT);
    const range = {
      first: Math.max(0, this.columnAt(scrollLeft + this.gutter) - 1),
      last: Math.min(this.columns.length, this.columnAt(scrollLeft + clientWidth) + 2),
    };
    if (range.first !== this.range.first || range.last !== this.range.last) {
      this.range = range;
      this.drawHead();
      for (const row of this.drawn.values()) row.isStale = true;
    }
    const free = [];
    for (const [number, row] of this.drawn) if (number < first || number >= last) { free.push(row); this.drawn.delete(number); }
    for (let number = first; number < last; number += 1) {
      let row = this.drawn.get(number);
      if (row && !row.isStale) continue;
      if (!row) {
        row = free.pop() || this.emptyRow();
        this.drawn.set(number, row);
      }
      this.fill(row, number);
    }
    for (const row of free) row.remove();
    this.mark();
  }

  headHeight() { return 44; }

  drawHead() {
    const cells = [this.corner || (this.corner = element("div", "grid-corner"))];
    this.corner.style.width = `${this.gutter}px`;
    for (let column = this.range.first; column < this.range.last; column += 1) {
      const cell = element("div", "grid-column");
      cell.setAttribute("role", "columnheader");
      cell.setAttribute("aria-colindex", String(column + 2));
      const name = element("span", "grid-name");
      const type = element("span", "grid-type");
      name.textContent = this.columns[column].name;
      type.textContent = headType(this.columns[column]);
      type.classList.toggle("is-masked", Boolean(this.columns[column].mask));
      cell.title = [this.columns[column].name, this.columns[column].type, this.columns[column].mask].filter(Boolean).join(" · ");
      cell.append(name, type);
      this.place(cell, column);
      cells.push(cell);
    }
    this.head.replaceChildren(...cells);
  }

  emptyRow() {
    const row = element("div", "grid-row");
    row.setAttribute("role", "row");
    const number = element("div", "grid-number");
    number.setAttribute("role", "rowheader");
    row.append(number);
    row.cells = new Map(); // by column
    this.space.append(row);
    return row;
  }

  fill(row, number) {
    row.isStale = false;
    row.style.transform = `translateY(${number * ROW_HEIGHT}px)`;
    row.setAttribute("aria-rowindex", String(number + 2));
    row.classList.toggle("odd", number % 2 === 1);
    row.firstChild.textContent = String(number + 1);
    row.firstChild.style.width = `${this.gutter}px`;
    const { first, last } = this.range;
    const free = [];
    for (const [column, cell] of row.cells) if (column < first || column >= last) { free.push(cell); row.cells.delete(column); }
    // Where the same row only shows other columns, what stays in sight stays as it is.
    const known = row.number === number && row.values === this.rows[number];
    row.number = number;
    row.values = this.rows[number];
    for (let column = first; column < last; column += 1) {
      let cell = row.cells.get(column);
      if (cell && known && cell.lefts === this.lefts) continue;
      if (!cell) {
        cell = free.pop() || this.emptyCell(row);
        row.cells.set(column, cell);
      }
      this.write(cell, row.values[column], number, column);
    }
    for (const cell of free) cell.remove();
  }

  emptyCell(row) {
    const cell = element("div", "grid-cell");
    cell.setAttribute("role", "gridcell");
    cell.append("");
    row.append(cell);
    return cell;
  }

  write(cell, value, row, column) {
    const kind = value === null ? " null" : value === "" ? " no-text" : this.numbers[column] ? " number" : "";
    const cut = this.cut.size && this.cut.has(`${row} ${column}`) ? " cut" : "";
    const names = `grid-cell${kind}${cut}`;
    if (cell.names !== names) cell.className = cell.names = names;
    cell.firstChild.data = value === null ? "NULL" : oneLine(value);
    if (cell.column === column && cell.lefts === this.lefts) return;
    cell.column = column;
    cell.lefts = this.lefts;
    cell.setAttribute("aria-colindex", String(column + 2));
    this.place(cell, column);
  }

  place(cell, column) {
    cell.style.left = `${this.lefts[column]}px`;
    cell.style.width = `${this.lefts[column + 1] - this.lefts[column]}px`;
  }

  // The column that stands `x` pixels from the left.
  columnAt(x) {
    let low = 0;
    let high = Math.max(0, this.columns.length - 1);
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lefts[middle] <= x) low = middle; else high = middle - 1;
    }
    return low;
  }

  mark() {
    const cell = this.cellAt(this.active.row, this.active.column);
    if (this.here && this.here !== cell) this.here.removeAttribute("id");
    this.here = cell;
    if (cell) cell.id = "grid-here";
    this.host.setAttribute("aria-activedescendant", cell ? "grid-here" : "");
  }

  cellAt(row, column) {
    return this.drawn.get(row)?.cells.get(column) ?? null;
  }

  /** Makes a cell the one that keys act on, and brings it into sight. */
  go(row, column) {
    if (!this.rows.length) return;
    this.active = { row: clamp(row, 0, this.rows.length - 1), column: clamp(column, 0, this.columns.length - 1) };
    const top = this.active.row * ROW_HEIGHT;
    const room = this.host.clientHeight - this.headHeight() - ROW_HEIGHT;
    if (top < this.host.scrollTop) this.host.scrollTop = top;
    else if (top > this.host.scrollTop + room) this.host.scrollTop = top - room;
    const left = this.lefts[this.active.column] - this.gutter;
    const right = this.lefts[this.active.column + 1];
    if (left < this.host.scrollLeft) this.host.scrollLeft = left;
    else if (right > this.host.scrollLeft + this.host.clientWidth) this.host.scrollLeft = Math.min(left, right - this.host.clientWidth);
    if (!this.panel.hidden) this.open();
    this.later();
  }

  pressed(event) {
    const { row, column } = this.active;
    const page = Math.max(1, Math.floor(this.host.clientHeight / ROW_HEIGHT) - 2);
    const far = event.ctrlKey || event.metaKey;
    const moves = {
      ArrowUp: [far ? 0 : row - 1, column],
      ArrowDown: [far ? Infinity : row + 1, column],
      ArrowLeft: [row, far ? 0 : column - 1],
      ArrowRight: [row, far ? Infinity : column + 1],
      PageUp: [row - page, column],
      PageDown: [row + page, column],
      Home: [far ? 0 : row, 0],
      End: [far ? Infinity : row, Infinity],
    };
    if (moves[event.key]) this.go(...moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.open();
    else if (event.key === "Escape" && !this.panel.hidden) this.close();
    else return;
    event.preventDefault();
  }

  pointed(event) {
    const cell = event.target.closest(".grid-cell");
    if (!cell) return false;
    if (event.detail > 1) event.preventDefault(); // a second click opens, and selects no word
    const row = Number(cell.parentElement.getAttribute("aria-rowindex")) - 2;
    this.go(row, cell.column);
    return true;
  }

  // Exactly the value; NULL has none.
  copied(event) {
    if (String(window.getSelection())) return;
    const value = this.value();
    if (value === undefined) return;
    event.clipboardData.setData("text/plain", value ?? "");
    event.preventDefault();
  }

  /** Of the cell that keys act on: text, null, or undefined where there is none. */
  value() { return this.rows[this.active.row]?.[this.active.column]; }

  open() {
    const { row, column } = this.active;
    const value = this.value();
    if (value === undefined) return;
    const type = this.columns[column].type;
    const part = (name) => this.panel.querySelector(`[data-part=${name}]`);
    part("title").textContent = this.columns[column].name;
    const whole = this.cut.get(`${row} ${column}`);
    const size = whole === undefined ? sizeOf(value, type) : `only the beginning of ${whole.toLocaleString("en")} bytes`;
    part("about").textContent = `${type}, row ${row + 1}, ${size}`;
    const shown = part("value");
    shown.textContent = value === null ? "NULL" : readable(value, type);
    shown.classList.toggle("null", value === null);
    this.panel.hidden = false;
  }

  close() { this.panel.hidden = true; }
}

export function element(name, className) {
  const made = document.createElement(name);
  made.className = className;
  return made;
}

function clamp(value, least, most) { return Math.max(least, Math.min(most, value)); }

function lengthOf(text) {
  const end = text.indexOf("\n");
  return Math.min(end < 0 ? text.length : end + 2, WIDEST);
}

function widthOfLetter(host) {
  const probe = element("span", "grid-cell grid-probe");
  probe.textContent = "0".repeat(50);
  host.append(probe);
  const width = probe.getBoundingClientRect().width / 50;
  probe.remove();
  return width || 8;
}

function oneLine(value) {
  const start = value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value;
  return /[\n\r\t]/.test(start) ? start.replace(/\r\n|\n|\r/g, "↵").replace(/\t/g, "⇥") : start;
}

function sizeOf(value, type) {
  if (value === null) return "no value";
  if (type === "bytea" && value.startsWith("\\x")) return `${((value.length - 2) / 2).toLocaleString("en")} bytes`;
  return value === "" ? "an empty text" : `${value.length.toLocaleString("en")} characters`;
}

/** As a person reads it best; every letter of the value stays what it is. */
function readable(value, type) {
  if (type === "json" || type === "jsonb") return indented(value);
  return type === "bytea" ? dumped(value) : value;
}

// Not parsed and written again: that would round large numbers and lose what stands twice.
function indented(text) {
  const pieces = text.match(/"(?:[^"\\]|\\.)*"?|[{}[\],:]|[^\s{}[\],:"]+/g) || [];
  let depth = 0;
  let line = "";
  const lines = [];
  const end = () => { lines.push("  ".repeat(depth) + line); line = ""; };
  pieces.forEach((piece, index) => {
    if (piece === "}" || piece === "]") {
      const empty = pieces[index - 1] === "{" || pieces[index - 1] === "[";
      if (line && !empty) end();
      if (!empty) depth = Math.max(0, depth - 1);
      line += piece;
    } else if (piece === "{" || piece === "[") {
      line += piece;
      if (pieces[index + 1] !== "}" && pieces[index + 1] !== "]") { end(); depth += 1; }
    } else if (piece === ",") {
      line += piece;
      end();
    } else line += piece === ":" ? ": " : piece;
  });
  if (line) end();
  return lines.join("\n");
}

const DUMPED = 65_536; // bytes

function dumped(value) {
  if (!value.startsWith("\\x")) return value;
  const bytes = value.slice(2, 2 + 2 * DUMPED).match(/../g) || [];
  const lines = [];
  for (let start = 0; start < bytes.length; start += 16) {
    const part = bytes.slice(start, start + 16);
    const letters = part.map((byte) => { const code = parseInt(byte, 16); return code > 31 && code < 127 ? String.fromCharCode(code) : "·"; });
    lines.push(`${start.toString(16).padStart(6, "0")}  ${part.join(" ").padEnd(47)}  ${letters.join("")}`);
  }
  if (value.length > 2 + 2 * DUMPED) lines.push("…");
  return lines.join("\n");
}
