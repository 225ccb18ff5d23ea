// What the portal uses of CodeMirror 6: one editor for SQL, and the colours for SQL that is only shown.
// Bundled as the global `SqlEditor`; README.md says how.
import { autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { PostgreSQL, sql } from "@codemirror/lang-sql";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { classHighlighter, highlightCode, tags } from "@lezer/highlight";

// The page's own variables: they reach into the shadow, and light or dark is decided in one stylesheet.
const look = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "var(--surface)", height: "100%", fontSize: "0.9375rem" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", overflow: "auto" },
  ".cm-content": { caretColor: "var(--ink)", padding: "0.6rem 0" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "var(--sunken)", color: "var(--muted)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine": { backgroundColor: "transparent" },
  "&.cm-focused .cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--sunken) 60%, transparent)" },
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    backgroundColor: "color-mix(in srgb, var(--focus) 28%, transparent)",
  },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "1px solid var(--accent)" },
  ".cm-placeholder": { color: "var(--muted)" },
  ".cm-wrong": { textDecoration: "underline wavy var(--bad)", backgroundColor: "var(--bad-soft)", textDecorationSkipInk: "none" },
  ".cm-tooltip": { backgroundColor: "var(--surface)", border: "1px solid var(--line-strong)", borderRadius: "8px", color: "var(--ink)", overflow: "hidden" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", maxHeight: "16rem" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "0.2rem 0.6rem" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
  ".cm-completionDetail": { fontStyle: "normal", color: "var(--muted)", marginLeft: "1rem" },
  "li[aria-selected] .cm-completionDetail": { color: "inherit" },
});

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--accent)", fontWeight: "600" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--good)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--info)" },
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
  { tag: [tags.typeName, tags.standard(tags.name)], color: "var(--wait)" },
]);

const point = StateEffect.define();
const pointed = StateField.define({
  create: () => Decoration.none,
  update(marks, transaction) {
    for (const effect of transaction.effects) {
      if (effect.is(point)) {
        return effect.value ? Decoration.set(Decoration.mark({ class: "cm-wrong" }).range(...effect.value)) : Decoration.none;
      }
    }
    return transaction.docChanged ? Decoration.none : marks;
  },
  provide: (field) => EditorView.decorations.from(field),
});

// Databases count characters; a string here counts UTF-16 units.
function unitsBefore(text, characters) {
  let units = 0;
  for (const letter of text) {
    if (characters-- <= 0) break;
    units += letter.length;
  }
  return units;
}

function wordAt(text, start) {
  const found = /^("(?:[^"]|"")*"?|[\p{L}\p{N}_$]+|\S)/u.exec(text.slice(start));
  return found ? start + found[0].length : Math.min(text.length, start + 1);
}

// Left to itself a browser keeps the looks of what is typed over, in inline styles, which the CSP refuses loudly.
const typedOver = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to } = view.state.selection.main;
    if (event.inputType !== "insertText" || event.isComposing || from === to || !event.data) return false;
    const insert = () => view.state.update(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
    const taken = view.state.facet(EditorView.inputHandler).some((handle) => handle(view, from, to, event.data, insert));
    if (!taken) view.dispatch(insert());
    event.preventDefault();
    return true;
  },
});

/**
 * An editor in a shadow root of `host`: there its rules come as a constructed stylesheet, which a strict CSP allows.
 * `schema` is a SQLNamespace of lang-sql: {schema: {table: [column or {label, detail, type}]}}.
 * `onRun` is called on Ctrl-Enter, `onChange` with the whole text after each change.
 */
export function create({ host, text = "", label, hint = "", schema = {}, onRun = () => {}, onChange = () => {} }) {
  const root = host.attachShadow({ mode: "open" });
  const mount = document.createElement("div");
  mount.style.height = "100%";
  root.append(mount);
  const editable = new Compartment();
  const view = new EditorView({
    root,
    parent: mount,
    state: EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(),
        history(),
        drawSelection(),
        highlightActiveLine(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false }),
        EditorView.lineWrapping,
        placeholder(hint),
        EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false", autocapitalize: "none" }),
        sql({ dialect: PostgreSQL, schema, upperCaseKeywords: true }),
        syntaxHighlighting(colours),
        look,
        pointed,
        editable.of(EditorView.editable.of(true)),
        typedOver,
        keymap.of([
          { key: "Mod-Enter", preventDefault: true, run: (view) => (closeCompletion(view), onRun(), true) },
          ...closeBracketsKeymap,
          ...defaultKeymap.filter((binding) => binding.key !== "Mod-Enter"),
          ...historyKeymap,
          ...completionKeymap,
        ]),
        EditorView.updateListener.of((update) => { if (update.docChanged) onChange(update.state.doc.toString()); }),
      ],
    }),
  });

  return {
    text: () => view.state.doc.toString(),
    /** What is marked, and where it begins; null where nothing is. */
    selection() {
      const { from, to } = view.state.selection.main;
      return from === to ? null : { text: view.state.sliceDoc(from, to), start: from };
    },
    set(value) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: value }, selection: { anchor: value.length } });
    },
    insert(value) {
      view.dispatch(view.state.replaceSelection(value), { scrollIntoView: true });
      view.focus();
    },
    /** Marks the word at `position`, which counts characters from 0 in the text that begins at `start`. */
    mark(position, start = 0) {
      const whole = view.state.doc.toString();
      const from = start + unitsBefore(whole.slice(start), position);
      const to = wordAt(whole, from);
      if (from < to) view.dispatch({ effects: [point.of([from, to]), EditorView.scrollIntoView(from)] });
      const line = view.state.doc.lineAt(Math.min(from, view.state.doc.length));
      return { line: line.number, column: from - line.from + 1 };
    },
    unmark: () => view.dispatch({ effects: point.of(null) }),
    lock: (locked) => view.dispatch({ effects: editable.reconfigure(EditorView.editable.of(!locked)) }),
    focus: () => view.focus(),
  };
}

/** Colours what an element says; its text stays the same to the letter. */
export function colour(element) {
  const text = element.textContent;
  const parts = [];
  const put = (piece, classes) => {
    const span = document.createElement("span");
    span.textContent = piece;
    if (classes) span.className = classes;
    parts.push(span);
  };
  highlightCode(text, PostgreSQL.language.parser.parse(text), classHighlighter, put, () => parts.push("\n"));
  element.replaceChildren(...parts);
}
