/** A visit to the page, in a real Chromium: node page.mjs URL WORK FILE… prints what was seen as JSON. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { inBrowser } from "../../runtime/js/browser.mjs";

const [url, work, key, ...files] = process.argv.slice(2);
const seen = { problems: [] };

const bars = (page) =>
  page.$$eval("#bars li", (items) => items.map((item) => [item.children[1].textContent, item.children[2].textContent]));

async function heard(page, count) {
  await page.waitForFunction(
    (wanted) => [...document.querySelectorAll("#queue .said")].filter((said) => !["", "…"].includes(said.textContent)).length === wanted,
    count,
  );
}

async function saved(page, button) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click(button)]);
  return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
}

await inBrowser(
  async (context) => {
    const page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && seen.problems.push(message.text()));
    page.on("pageerror", (error) => seen.problems.push(error.message));
    page.on("request", (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith("blob:")) seen.problems.push(`asked ${request.url()}`);
    });
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.goto(url);
    if (key) {
      await page.waitForSelector("#key-form:not([hidden])");
      seen.refused = await page.textContent("#model");
      seen.problems = []; // the browser itself tells of the 401 that was expected
      await page.fill("#key", key);
      await page.keyboard.press("Enter");
    }
    await page.waitForSelector("#files:enabled");
    await page.fill("#names", "dog\nsea\n  \nsea\n<b>rain</b> bell");
    await page.waitForFunction(() => document.getElementById("labels-status").textContent === "3 labels.");

    await page.setInputFiles("#files", files);
    await heard(page, files.length);
    seen.queue = await page.$$eval("#queue button", (items) => items.map((item) => [...item.children].map((part) => part.textContent)));
    seen.whole = await bars(page);
    await page.selectOption("#scores", "cosine");
    seen.cosines = await bars(page);
    seen.csv = await saved(page, "#csv");
    seen.audacity = await saved(page, "#audacity");

    await page.focus("#pictures");
    for (const press of ["End", "ArrowLeft"]) await page.keyboard.press(press);
    seen.title = await page.textContent("#bars-title");
    seen.window = await bars(page);
    await page.keyboard.press("Escape");
    await page.fill("#names", "wind");
    await page.waitForFunction(() => document.querySelectorAll("#bars li").length === 1);
    seen.relabelled = await bars(page);
    seen.drawn = await page.$eval("#spectrogram", (canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((value, i) => i % 4 === 3 && value > 0).length / (canvas.width * canvas.height);
    });
    await page.screenshot({ path: join(work, "large.png"), fullPage: true });

    await page.click("#record");
    await page.waitForFunction(() => /Stop \([1-9]/.test(document.getElementById("record-name").textContent));
    await page.click("#record");
    await heard(page, files.length + 1);
    seen.recorded = await page.$eval("#queue button", (item) => [...item.children].map((part) => part.textContent));
    seen.caption = await page.textContent("#caption");

    await page.emulateMedia({ colorScheme: "dark" });
    await page.setViewportSize({ width: 390, height: 800 });
    seen.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    await page.screenshot({ path: join(work, "small.png"), fullPage: true });
  },
  { microphone: files[0] },
);
console.log(JSON.stringify(seen));
