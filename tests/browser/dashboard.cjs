// Drives the dashboard in Debian's chromium: node dashboard.cjs MODULES SCENARIO '{"url": ..., ...}' and prints what it saw as
// JSON. Whatever the page logs as an error, or would load from elsewhere, fails.
"use strict";
const path = require("path");
const [modules, scenario, given] = process.argv.slice(2);
const puppeteer = require(path.join(modules, "node_modules", "puppeteer-core"));
const options = JSON.parse(given);

const text = (page, selector) => page.$eval(selector, (found) => found.textContent.trim());
const rows = (page, selector) => page.$$eval(`${selector} tbody tr`, (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent.trim())));
const verdict = (page, wanted) => page.waitForFunction((wanted) => new RegExp(wanted).test(document.getElementById("verdict").textContent), {}, wanted);

async function useToken(page) {
  await page.type("#token", options.token);
  await page.keyboard.press("Enter");
}

const scenarios = {
  // A state as it is seen: in light and dark, and on a phone, which must not scroll sideways.
  async look(page) {
    await verdict(page, options.verdict);
    const seen = { verdict: await text(page, "#verdict"), kind: await page.$eval("#verdict", (found) => found.className), handlers: await rows(page, "#handlers"),
      streams: await rows(page, "#streams"), troubles: await page.$$eval("#troubles li", (all) => all.map((one) => one.textContent)), title: await page.title() };
    if (options.shot) {
      await page.screenshot({ path: `${options.shot}-light.png` });
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
      await page.screenshot({ path: `${options.shot}-dark.png` });
      await page.setViewport({ width: 390, height: 844, isMobile: true });
      await page.screenshot({ path: `${options.shot}-phone.png`, fullPage: true });
    }
    await page.setViewport({ width: 390, height: 844, isMobile: true });
    seen.sideways = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    return seen;
  },

  // One letter, whole; then it is redriven.
  async letters(page) {
    await verdict(page, ".");
    await page.waitForSelector("#handlers button.link"); // the letter is counted
    const seen = { buttons: await page.$$eval("#handlers button", (all) => all.map((one) => one.textContent)), hidden: await page.$eval("#redrive-all", (found) => found.hidden) };
    await useToken(page);
    await page.waitForSelector("#handlers button.link");
    await page.click("#handlers button.link");
    await page.waitForSelector("#letters button.link");
    seen.letters = await rows(page, "#letters");
    await page.click("#letters button.link");
    await page.waitForSelector("#letter:not([hidden])");
    seen.letter = await text(page, "#letter");
    seen.difference = await rows(page, "#letter .diff").catch(() => []);
    seen.changed = await page.$$eval("#letter .diff .is", (all) => all.map((one) => one.textContent));
    if (options.shot) await page.screenshot({ path: `${options.shot}.png`, fullPage: true });
    await page.evaluate(() => [...document.querySelectorAll("#letter button")].find((one) => one.textContent === "redrive").click());
    await page.waitForFunction(() => document.getElementById("told").textContent !== "");
    seen.told = await text(page, "#told");
    return seen;
  },

  // By the keyboard alone: to the button, the reason, and back.
  async pause(page) {
    await verdict(page, ".");
    await useToken(page);
    await page.waitForFunction(() => [...document.querySelectorAll("#handlers button")].some((one) => one.textContent === "pause"));
    const press = async (wanted) => {
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press("Tab");
        if (await page.evaluate((wanted) => document.activeElement.textContent === wanted, wanted)) return page.keyboard.press("Enter");
      }
      throw new Error(`the keyboard does not reach ${wanted}`);
    };
    await press("pause");
    await page.waitForSelector("#ask[open]");
    await page.keyboard.type("for a test");
    if (options.shot) await page.screenshot({ path: `${options.shot}.png` });
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => /is paused/.test(document.getElementById("told").textContent));
    await page.waitForFunction(() => [...document.querySelectorAll("#handlers .tag")].some((one) => one.textContent === "paused"));
    const seen = { told: await text(page, "#told"), verdict: await text(page, "#verdict") };
    await press("resume");
    await page.waitForFunction(() => /goes on/.test(document.getElementById("told").textContent));
    return seen;
  },

  // The overview comes by itself; when the host goes, the page says so, and finds it again.
  async live(page) {
    await verdict(page, "^well");
    const before = Number((await rows(page, "#streams"))[0][4]);
    process.stdout.write("seen\n");
    await page.waitForFunction((before) => Number(document.querySelector("#streams tbody tr").cells[4].textContent.replaceAll(",", "")) > before, {}, before);
    process.stdout.write("moved\n");
    await verdict(page, "does not answer");
    process.stdout.write("gone\n");
    await verdict(page, "^well");
    return {};
  },

  // tidemill dev: an item is written by the form, and what the handlers made of it is seen.
  async play(page) {
    await page.waitForSelector("#playground:not([hidden])");
    await page.waitForFunction((table) => [...document.getElementById("table").options].some((one) => one.value === table), {}, options.table);
    await page.select("#table", options.table);
    await page.click("#table-form button");
    await page.waitForFunction(() => document.getElementById("item").value !== "");
    await page.$eval("#item", (area, text) => (area.value = text), options.item);
    await page.click("#item-form button");
    await page.waitForFunction((text) => document.getElementById("items").textContent.includes(text), {}, options.wanted);
    if (options.shot) await page.screenshot({ path: `${options.shot}.png`, fullPage: true });
    await page.waitForFunction(() => {
      document.getElementById("inbox-show").click();
      return document.querySelectorAll("#inbox li:not(.empty)").length > 0;
    }, { polling: 300 });
    const seen = { items: await rows(page, "#items"), inbox: await page.$$eval("#inbox li", (all) => all.map((one) => one.textContent)), buttons: await page.$$eval("#handlers button", (all) => all.map((one) => one.textContent)) };
    await page.$eval("#item", (area) => (area.value = "{ this is no JSON"));
    await page.click("#item-form button");
    await page.waitForFunction(() => /JSON/.test(document.getElementById("told").textContent));
    return seen;
  },

  async details(page) {
    await verdict(page, ".");
    await page.click("#shard-section summary");
    await page.waitForSelector("#shards tbody tr");
    await page.click("#cost-section summary");
    await page.waitForFunction(() => document.getElementById("cost").textContent !== "");
    return { shards: await rows(page, "#shards"), count: await text(page, "#shard-count"), cost: await text(page, "#cost") };
  },
};

(async () => {
  const browser = await puppeteer.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
  try {
    const page = await browser.newPage();
    const wrong = [];
    await page.setViewport({ width: 1200, height: 900 });
    page.setDefaultTimeout(options.patience_ms);
    page.on("console", (message) => message.type() === "error" && !/ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|401/.test(message.text()) && wrong.push(message.text()));
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("request", (request) => !request.url().startsWith(options.url) && !request.url().startsWith("data:") && wrong.push(`loads ${request.url()}`));
    await page.goto(options.url);
    const seen = await scenarios[scenario](page);
    process.stdout.write(`${JSON.stringify({ ...seen, wrong })}\n`);
  } finally {
    await browser.close();
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
