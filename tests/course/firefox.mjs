// Pages of the site in Firefox by WebDriver BiDi, with the network off; prints what was seen as JSON.
// node firefox.mjs FOLDER_OF_NODE_MODULES FIREFOX ADDRESS_OF_THE_SITE NOTEBOOK
import { createRequire } from "node:module";

const [modules, executablePath, site, notebook] = process.argv.slice(2);
const puppeteer = createRequire(`${modules}/`)("puppeteer-core");
const closed = { "network.proxy.http": "127.0.0.1", "network.proxy.ssl": "127.0.0.1" };
const ports = { "network.proxy.http_port": 9, "network.proxy.ssl_port": 9 };
const browser = await puppeteer.launch({
  browser: "firefox",
  executablePath,
  headless: true,
  extraPrefsFirefox: { "network.proxy.type": 1, ...closed, ...ports }, // a proxy that is not there
});
const problems = [];
const seen = {};
const page = await browser.newPage();
page.on("pageerror", (error) => problems.push(error.message));
page.on("console", (message) => ["error", "warn"].includes(message.type()) && problems.push(message.text()));
page.on(
  "request",
  (request) => /^(file|data|blob):/.test(request.url()) || problems.push(`asked for ${request.url()}`),
);
await page.setViewport({ width: 1366, height: 768 });

/** Wait until a value of the page is as wanted; the pages forbid the scripts that Puppeteer's own waiting adds. */
async function until(read, wanted = Boolean) {
  const end = Date.now() + 30_000;
  for (;;) {
    const value = await read();
    if (wanted(value)) return value;
    if (Date.now() > end) throw new Error(`waited in vain at ${page.url()}: ${value}\n${problems.join("\n")}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
/** Wait until a wanted value has stayed the same for half a second: a stroke is answered while it is drawn. */
async function settled(read, wanted) {
  let [value, same] = ["", 0];
  await until(async () => {
    const next = await read();
    same = wanted(next) && next === value ? same + 1 : 0;
    value = next;
    return same === 10;
  });
  return value;
}
const textOf = (frame, selector) => frame.evaluate((s) => document.querySelector(s)?.textContent ?? "", selector);
const focus = (frame, selector) => frame.evaluate((s) => document.querySelector(s).focus(), selector);

try {
  // The front page: the pad in its frame answers a stroke of the mouse.
  await page.goto(`${site}/index.html`);
  const pad = await until(async () => page.frames().find((frame) => frame.url().includes("sketchpad.html")));
  const sentence = () => textOf(pad, ".ood-sentence");
  seen.opened = await settled(sentence, (text) => text.includes("the drawing")); // at first the pad is empty
  await pad.evaluate(() => document.querySelector("[data-key=clear]").click());
  seen.cleared = await until(sentence, (text) => text.includes("the empty pad"));
  const [frameBox, box] = [
    await page.evaluate(() => document.querySelector("iframe").getBoundingClientRect().toJSON()),
    await pad.evaluate(() => document.querySelector("[data-key=pad]").getBoundingClientRect().toJSON()),
  ];
  const [x, y] = [frameBox.x + box.x + box.width / 2, frameBox.y + box.y];
  await page.mouse.move(x, y + box.height * 0.2);
  await page.mouse.down();
  await page.mouse.move(x, y + box.height * 0.8, { steps: 5 });
  await page.mouse.up();
  seen.drawn = await settled(sentence, (text) => text.includes("the drawing"));

  // Explorers: a key on a slider changes what they say.
  for (const [name, control] of Object.entries({ scores: "threshold", norm: "norm", playground: "x" })) {
    await page.goto(`${site}/${name}.html`);
    const before = await until(() => textOf(page, ".ood-sentence"));
    if (name === "playground")
      await until(
        () => textOf(page, "[data-key=status]"),
        (text) => text.includes("300 of 300"),
      );
    await focus(page, `input[data-key=${control}]`);
    for (let k = 0; k < 5; k++) await page.keyboard.press("ArrowRight");
    seen[name] = [
      before,
      await until(
        () => textOf(page, ".ood-sentence"),
        (text) => text !== before,
      ),
    ];
  }

  // A notebook: its pictures are there.
  await page.goto(`${site}/${notebook}.html`);
  seen.pictures = await until(
    () => page.evaluate(() => [...document.images].map((image) => image.complete && image.naturalWidth)),
    (widths) => widths.length && widths.every(Boolean),
  );
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify({ seen, problems }));
