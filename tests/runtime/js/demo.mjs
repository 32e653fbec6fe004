/**
 * The demo page as a user would use it: node demo.mjs PAGE MICROPHONE.wav SHOTS FILE...
 *
 * What is seen is written as JSON, and pictures into the folder SHOTS.
 */

import { join } from "node:path";

import { inBrowser, serve } from "./browser.mjs";

const [page, microphone, shots, ...sounds] = process.argv.slice(2);
const server = await serve({ "/": page });
const found = await inBrowser(async (context) => {
  const tab = await context.newPage();
  const problems = [];
  tab.on("pageerror", (error) => problems.push(String(error)));
  tab.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  const texts = (selector) => tab.locator(selector).allTextContents();
  const shot = (name) => tab.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  await tab.setViewportSize({ width: 1280, height: 860 });
  await tab.emulateMedia({ colorScheme: "light" });
  await tab.goto(server.url);
  await tab.waitForSelector("#files:enabled", { timeout: 60_000, state: "attached" });
  const model = await tab.locator("#model").textContent();

  await tab.setInputFiles("#files", sounds);
  await tab.waitForFunction((count) => document.querySelectorAll("#results li").length === count, sounds.length);
  await tab.waitForFunction(() => document.querySelector("#status").textContent === "", null, { timeout: 60_000 });
  const results = await texts("#results button");
  const errors = await texts("#results .error");
  await tab.evaluate(() => document.querySelector("#player").play());
  await tab.waitForTimeout(1500);
  await shot("files-light");
  await tab.evaluate(() => document.querySelector("#player").pause());

  await tab.locator("summary").focus();
  await tab.keyboard.press("Enter");
  await tab.locator("#names").fill("dog\nfrog croaking\nrain\nsiren\ncar horn");
  await tab.waitForFunction(() => document.querySelectorAll("#bars li").length === 5);
  await tab.waitForFunction(() => document.querySelector("#status").textContent === "");
  const relabelled = await texts("#results button");

  await tab.locator("#microphone").focus();
  await tab.keyboard.press("Enter");
  await tab.waitForFunction(() => document.querySelector("#clock").textContent >= "0:09", null, { timeout: 60_000 });
  await tab.emulateMedia({ colorScheme: "dark" });
  const bars = await texts("#bars li");
  await shot("microphone-dark");
  await tab.keyboard.press("Enter");
  await tab.waitForSelector("#microphone[aria-pressed=false]");
  const events = await texts("#events li");

  await tab.setViewportSize({ width: 390, height: 780 });
  await shot("small-dark");
  await tab.emulateMedia({ colorScheme: "light" });
  await shot("small-light");
  const overflow = await tab.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  return { model, results, errors, relabelled, bars, events, overflow, problems };
}, { microphone }).finally(() => server.close());
console.log(JSON.stringify(found, null, 2));
