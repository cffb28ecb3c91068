// A drawing of 32x32 cells, counted in blocks of 4x4 as scikit-learn's digits were: 8x8 counts of 0 to 16.

export const CELLS = 32; // in a row
const BLOCK = 4; // cells of a block in a row
export const BLOCKS = CELLS / BLOCK;
export const FULL = BLOCK * BLOCK; // cells in a block
export const PEN = 2.5; // cells from the middle of a line to its edge: the digits' lines are about five cells wide

const blockOf = (cell) => Math.floor(cell / CELLS / BLOCK) * BLOCKS + Math.floor((cell % CELLS) / BLOCK);

/** Inked cells in each block. */
export function countsOf(cells) {
  const counts = new Array(BLOCKS * BLOCKS).fill(0);
  cells.forEach((ink, cell) => (counts[blockOf(cell)] += ink));
  return counts;
}

/** Counts as pixels of 0..255, rounded as the training images are. */
export const pixelsOf = (counts) => counts.map((count) => Math.round((count * 255) / FULL));

/** Counts as text, one digit of base 17 each: the drawing in the page's address. */
export const toText = (counts) => counts.map((count) => count.toString(FULL + 1)).join("");
export const fromText = (text) => [...text].map((digit) => parseInt(digit, FULL + 1));

/** Ink, or take ink from, the cells under a pen that moves from one cell to another. */
export function drawLine(cells, [x0, y0], [x1, y1], ink) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const square = dx * dx + dy * dy || 1;
  for (let y = Math.floor(Math.min(y0, y1) - PEN); y <= Math.max(y0, y1) + PEN; y++) {
    for (let x = Math.floor(Math.min(x0, x1) - PEN); x <= Math.max(x0, x1) + PEN; x++) {
      if (x < 0 || y < 0 || x >= CELLS || y >= CELLS) continue;
      const along = Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / square));
      if (Math.hypot(x - x0 - along * dx, y - y0 - along * dy) <= PEN) cells[y * CELLS + x] = ink;
    }
  }
}

/**
 * Cells that have the counts: in each block those on the side of the darker neighbours. Blocks of `before` that have
 * their count already stay as they are, in the others its cells come first.
 */
export function cellsOf(counts, before = null) {
  const old = before && countsOf(before);
  const cells = new Uint8Array(CELLS * CELLS);
  const at = (row, column) => counts[clampBlock(row) * BLOCKS + clampBlock(column)];
  const shade = (cell) => {
    // The counts as a smooth picture, at the middle of the cell.
    const [y, x] = [Math.floor(cell / CELLS), cell % CELLS].map((k) => (k + 0.5) / BLOCK - 0.5);
    const [row, column] = [Math.floor(y), Math.floor(x)];
    const [down, right] = [y - row, x - column];
    const above = at(row, column) * (1 - right) + at(row, column + 1) * right;
    const below = at(row + 1, column) * (1 - right) + at(row + 1, column + 1) * right;
    return above * (1 - down) + below * down + (before?.[cell] ? FULL : 0);
  };
  const members = counts.map(() => []);
  for (let cell = 0; cell < cells.length; cell++) members[blockOf(cell)].push(cell);
  members.forEach((block, k) => {
    if (old?.[k] === counts[k]) return block.forEach((cell) => (cells[cell] = before[cell]));
    const shades = new Map(block.map((cell) => [cell, shade(cell)]));
    block.sort((a, b) => shades.get(b) - shades.get(a) || a - b);
    block.slice(0, counts[k]).forEach((cell) => (cells[cell] = 1));
  });
  return cells;
}

const clampBlock = (k) => Math.min(BLOCKS - 1, Math.max(0, k));

/** One drawing at share 0, the other at share 1. */
export const blendCounts = (from, to, share) => from.map((count, k) => Math.round(count + (to[k] - count) * share));
