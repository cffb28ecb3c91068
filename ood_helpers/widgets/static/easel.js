// The pad to draw on, with its tools: mouse, touch, pen, and a cursor for the keyboard.
import { BLOCKS, CELLS, PEN, cellsOf, drawLine } from "./drawing.js";
import { dashed, line, sheet } from "./plot.js";
import { OWN_KEYS, button, h, placeOn } from "./view.js";

const UNDONE = 60; // steps that can be taken back
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS =
  "Draw with a finger, a pen or the mouse. Keys: arrows move, space puts the pen down and lifts it, " +
  "E eraser, P pen, U undo, Delete clears.";

/**
 * A pad with its tools. keep() gives what belongs to the present drawing, and is asked before each stroke;
 * changed(kept) is called after each change, with what now belongs to it; later() asks for a new picture.
 */
export function makeEasel({ keep, changed, later }) {
  let cells = new Uint8Array(CELLS * CELLS);
  let eraser = false;
  let hand = null; // where a pointer was last
  const undo = [];
  const cursor = { at: [CELLS / 2, CELLS / 4], down: false, shown: false };
  const pad = h("canvas", {
    class: "ood-pad",
    "data-key": "pad",
    role: "application",
    tabindex: 0,
    "aria-label": "Drawing pad of 32 by 32 cells",
    "aria-description": KEYS,
    ...OWN_KEYS,
  });
  const status = h("p", { class: "ood-announced", role: "status" });
  const tools = {
    pen: button("Pen", () => use(false), "pen"),
    eraser: button("Eraser", () => use(true), "eraser"),
    undo: button("Undo", takeBack, "undo"),
    clear: button("Clear", clear, "clear"),
  };
  use(false);

  function use(erasing) {
    eraser = erasing;
    tools.pen.setAttribute("aria-pressed", String(!erasing));
    tools.eraser.setAttribute("aria-pressed", String(erasing));
  }

  function show(next, kept) {
    cells = next;
    changed(kept);
  }

  function remember() {
    undo.push({ cells: cells.slice(), kept: keep() });
    if (undo.length > UNDONE) undo.shift();
  }

  /** Put cells on the pad, as a step that can be taken back. */
  function put(next, kept = null) {
    remember();
    show(next, kept);
  }

  function clear() {
    put(new Uint8Array(CELLS * CELLS));
  }

  function takeBack() {
    const before = undo.pop();
    if (before) show(before.cells, before.kept);
  }

  function ink(from, to) {
    drawLine(cells, from, to, eraser ? 0 : 1);
    show(cells, keep());
  }

  const cellAt = (event) => placeOn(pad, event).map((v) => (v / pad.clientWidth) * CELLS - 0.5);
  pad.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    pad.setPointerCapture(event.pointerId);
    cursor.shown = false;
    remember();
    hand = cellAt(event);
    ink(hand, hand);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!hand) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) {
      const at = cellAt(move);
      ink(hand, at);
      hand = at;
    }
  });
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => (hand = null));

  function lower(down) {
    cursor.down = down;
    status.textContent = down ? `${eraser ? "Eraser" : "Pen"} down` : "Lifted";
  }

  function move(step, reach) {
    const from = cursor.at;
    cursor.at = from.map((v, k) => Math.min(CELLS - 1, Math.max(0, v + reach * step[k])));
    if (cursor.down) ink(from, cursor.at);
  }

  function press() {
    lower(!cursor.down);
    if (!cursor.down) return;
    remember();
    ink(cursor.at, cursor.at);
  }

  pad.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    const chord = event.ctrlKey || event.metaKey || event.altKey;
    if (key === "z" && chord) takeBack();
    else if (chord) return;
    else if (ARROWS[event.key]) move(ARROWS[event.key], event.shiftKey ? 4 : 1);
    else if (key === " " || key === "enter") press();
    else if (key === "u") takeBack();
    else if (key === "e" || key === "p") use(key === "e");
    else if (key === "delete" || key === "backspace") clear();
    else return;
    cursor.shown = true;
    event.preventDefault();
    later();
  });
  pad.addEventListener("focus", () => {
    cursor.shown = pad.matches(":focus-visible") && !hand;
    later();
  });
  pad.addEventListener("blur", () => {
    cursor.shown = false;
    if (cursor.down) lower(false);
    later();
  });

  function draw(look) {
    const [pen, width] = sheet(pad);
    const size = width / CELLS;
    tools.undo.disabled = !undo.length;
    pen.fillStyle = look.ink(0.92);
    pen.beginPath(); // one shape, so that no seams are seen between cells
    cells.forEach((inked, cell) => {
      if (inked) pen.rect((cell % CELLS) * size, Math.floor(cell / CELLS) * size, size + 0.4, size + 0.4);
    });
    pen.fill();
    Object.assign(pen, { strokeStyle: "rgba(128,128,128,0.28)", lineWidth: 1 });
    for (let k = 1; k < BLOCKS; k++) {
      const at = Math.round((k * width) / BLOCKS) + 0.5;
      if (k > 1 && k < BLOCKS - 1) line(pen, [at, 0], [at, width]);
      line(pen, [0, at], [width, at]);
    }
    pen.strokeStyle = look.id; // the digits of the training set lie between these lines
    for (const k of [1, BLOCKS - 1]) dashed(pen, [4, 4], [(k * width) / BLOCKS, 0], [(k * width) / BLOCKS, width]);
    if (!cursor.shown) return;
    const [x, y] = cursor.at.map((k) => (k + 0.5) * size);
    for (const [strokeStyle, lineWidth] of [
      [look.paper, 5],
      [cursor.down ? look.ood : look.id, 2.5],
    ]) {
      Object.assign(pen, { strokeStyle, lineWidth });
      pen.beginPath();
      pen.arc(x, y, PEN * size, 0, 7);
      pen.stroke();
    }
  }

  return {
    pad,
    tools: h("div", { class: "ood-tools", role: "group", "aria-label": "Tools" }, ...Object.values(tools)),
    hint: h("p", { class: "ood-hint ood-keys", "aria-hidden": "true" }, KEYS),
    status,
    cells: () => cells,
    /** Counts from elsewhere, which cannot be taken back. */
    open: (counts) => (cells = cellsOf(counts)),
    remember,
    show,
    put,
    draw,
  };
}
