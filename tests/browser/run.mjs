// Runs every journey in headless Chromium and ends with a line `N passed, N failed`.
// Words on the command line choose journeys by name. Pictures of the screens land in target/screens.
import { chromium } from "playwright-core";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import * as agent from "./agent.mjs";
import * as cluster from "./cluster.mjs";
import { journeys as clusters } from "./clusters.mjs";
import { journeys as single } from "./journeys.mjs";
import { journeys as outages } from "./outages.mjs";

const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const screens = path.resolve(import.meta.dirname, "../../target/screens");
fs.mkdirSync(screens, { recursive: true });
const axe = fs.readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const words = process.argv.slice(2);
const chosen = [...single, ...outages, ...clusters].filter(({ name }) => words.every((word) => name.includes(word)));

const profile = fs.mkdtempSync(path.join(os.tmpdir(), "journeys-"));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: flags, env: { ...process.env, HOME: profile } });

// What a journey gets: an agent of its own, pages that fail on console errors and requests to elsewhere.
async function run({ name, args, servers, steps }) {
  // A journey names servers to have a cluster of them; then `muster` is the first one.
  const group = servers ? await cluster.start(servers) : null;
  const muster = group ? { ...group.servers[0], stop: group.stop } : await agent.start(args);
  const faults = [];
  const contexts = [];
  const open = async (target = "/ui/", options = {}) => {
    const { origin = muster.url, outage, clock, before, waitUntil, ...rest } = options;
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...rest });
    contexts.push(context);
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    // Chromium reports every 404 by itself; for a key that is not there, or a check that was deregistered while the page
    // asked about it, it is the API's ordinary answer.
    // While a journey breaks the cluster, failing reads are what it is about.
    const broken = (message) => outage && message.text().startsWith("Failed to load resource");
    const ordinary = (message) => broken(message) || message.text().includes("404") && /\/v1\/(kv|muster\/check\/status)\//.test(message.location().url);
    page.on("console", (message) => message.type() === "error" && !ordinary(message) && faults.push(`console: ${message.text()} (${message.location().url})`));
    page.on("pageerror", (error) => faults.push(`page error: ${error.message}`));
    page.on("request", (request) => !request.url().startsWith(new URL(origin).origin) && !request.url().startsWith("data:") && faults.push(`request leaves the origin: ${request.url()}`));
    // A journey that turns the page's clock need not wait for its watchdogs.
    if (clock) await page.clock.install();
    await before?.(page);
    await page.goto(origin + target, { waitUntil });
    return page;
  };
  // WCAG 2.2 A and AA, on the page as it stands.
  const accessible = async (page, what) => {
    await page.evaluate(axe);
    // What fades in has less contrast until it is there.
    await page.evaluate(() => Promise.all(document.getAnimations().filter((it) => Number.isFinite(it.effect.getComputedTiming().endTime)).map((it) => it.finished.catch(() => {}))));
    const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    for (const { id, help, nodes } of violations) faults.push(`axe, ${what}: ${id}: ${help}: ${nodes.map((node) => node.target.join(" ")).slice(0, 3).join(" | ")}`);
  };
  const picture = (page, file) => page.screenshot({ path: path.join(screens, `${file}.png`) });
  try {
    await steps({ muster, cluster: group, open, accessible, picture, until: agent.until, target: agent.target, proxy: agent.proxy, browser });
  } catch (error) {
    faults.push(error.stack ?? String(error));
    await Promise.all(contexts.flatMap((context) => context.pages()).map((page, at) => picture(page, `FAILED-${name.replaceAll(/\W+/g, "-")}-${at}`).catch(() => {})));
  } finally {
    await Promise.all(contexts.map((context) => context.close()));
    muster.stop();
  }
  return [...new Set(faults)];
}

let failed = 0;
for (const journey of chosen) {
  const started = Date.now();
  const faults = await run(journey);
  console.log(`${faults.length ? "FAILED" : "ok"} ${journey.name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  for (const fault of faults) console.log(`    ${fault.replaceAll("\n", "\n    ")}`);
  failed += faults.length ? 1 : 0;
}
await browser.close();
fs.rmSync(profile, { recursive: true, force: true });
console.log(`${chosen.length - failed} passed, ${failed} failed`);
process.exit(failed || !chosen.length ? 1 : 0);
