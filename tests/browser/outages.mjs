// Journeys in which something is refused, held back or gone: the page says what, keeps what it has, and recovers by itself.
import assert from "node:assert/strict";

const main = (page) => page.locator("main");
const row = (page, name) => main(page).getByRole("link", { name, exact: true });
const link = (page) => page.locator(".live [role=status]");
const register = (muster, name, more = {}) => muster.put("/v1/agent/service/register", { Name: name, Check: { TTL: "1h", Status: "passing" }, ...more });

export const journeys = [
  {
    name: "what a token may not read is said, and a better token reads it",
    async steps({ muster, open, accessible, picture, proxy }) {
      await register(muster, "web", { Check: { HTTP: "http://127.0.0.1:1/", Interval: "1h" } });
      const behind = await proxy(muster.url);
      const denied = (path) => path.startsWith("/v1/muster/catalog/services") || path.startsWith("/v1/muster/check/run/");
      behind.rule = ({ path, headers }) => (denied(path) && headers["x-consul-token"] !== "good" ? { status: 403, body: "Permission denied" } : null);
      const page = await open("/ui/dc1/services", { origin: behind.url, outage: true });
      await main(page).getByText("You are not signed in, and anonymous requests may not read this.").waitFor();
      await main(page).getByText("Permission denied").waitFor();
      await accessible(page, "denied");
      await picture(page, "denied");
      await main(page).getByLabel("Token").fill("bad");
      await main(page).getByRole("button", { name: "Use this token" }).click();
      await main(page).getByText("Your token may not read this.").waitFor();
      await main(page).getByLabel("Token").fill("good");
      await main(page).getByRole("button", { name: "Use this token" }).click();
      await row(page, "web").waitFor();
      // Keys are listed folder by folder, and say so as well.
      behind.rule = ({ path, headers }) => (path.startsWith("/v1/kv/") && headers["x-consul-token"] !== "better" ? { status: 403, body: "Permission denied: key_prefix" } : null);
      await page.keyboard.press("g");
      await page.keyboard.press("k");
      await main(page).getByText("Permission denied: key_prefix").waitFor();
      await main(page).getByLabel("Token").fill("better");
      await main(page).getByRole("button", { name: "Use this token" }).click();
      await main(page).getByText("There are no keys yet").waitFor();
      await page.goBack();
      await row(page, "web").waitFor();
      // A refused deed says so where it was asked for.
      behind.rule = ({ path }) => (path.startsWith("/v1/muster/check/run/") ? { status: 403, body: "Permission denied" } : null);
      await row(page, "web").click();
      await main(page).getByRole("button", { name: /^Run check now/ }).click();
      await main(page).getByText("It could not be run.").waitFor();
      await main(page).getByText("Permission denied").waitFor();
      behind.stop();
    },
  },
  {
    name: "a change stream that a proxy holds back is noticed, replaced by reading again, and taken up once it flows",
    async steps({ muster, open, accessible, picture, proxy, until }) {
      await register(muster, "web");
      const behind = await proxy(muster.url);
      const page = await open("/ui/dc1/services", { origin: behind.url, clock: true, outage: true });
      await row(page, "web").waitFor();
      await link(page).getByText("Live").waitFor();
      behind.silent = true;
      await register(muster, "held");
      assert.equal(await row(page, "held").count(), 0);
      // The agent beats every 5 s; 15 s without a beat are enough.
      await page.clock.fastForward(16_000);
      await link(page).getByText("Every 2 s").waitFor();
      await row(page, "held").waitFor();
      await accessible(page, "polling");
      await picture(page, "polling");
      await register(muster, "polled");
      await page.clock.fastForward(2_000);
      await row(page, "polled").waitFor();
      behind.silent = false;
      await page.clock.fastForward(16_000);
      await link(page).getByText("Live").waitFor();
      await register(muster, "streamed");
      await row(page, "streamed").waitFor();
      // A stream that is refused outright is no different.
      behind.rule = ({ path }) => (path.startsWith("/v1/muster/changes") ? { status: 404, body: "no such thing here" } : null);
      await page.reload();
      await link(page).getByText("Every 2 s").waitFor();
      await register(muster, "refused");
      await page.clock.fastForward(2_000);
      await row(page, "refused").waitFor();
      await until("the stream to be let go", () => behind.streams === 0);
      behind.stop();
    },
  },
  {
    name: "a hidden tab asks for nothing, and catches up when it is shown",
    async steps({ muster, open, proxy, until }) {
      await register(muster, "web");
      const behind = await proxy(muster.url);
      const page = await open("/ui/dc1/services", { origin: behind.url, clock: true });
      await row(page, "web").waitFor();
      await link(page).getByText("Live").waitFor();
      const show = (hidden) =>
        page.evaluate((hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
        }, hidden);
      await show(true);
      await page.clock.fastForward(30_000);
      assert.equal(behind.streams, 1, "a tab that is hidden for a moment keeps its stream");
      await page.clock.fastForward(31_000);
      await until("the stream to be let go", () => behind.streams === 0);
      await register(muster, "missed");
      const calls = behind.calls;
      for (let more = 0; more < 5; more += 1) await page.clock.fastForward(10_000);
      assert.equal(behind.calls, calls, "a hidden tab still asks");
      assert.equal(await row(page, "missed").count(), 0);
      await show(false);
      await row(page, "missed").waitFor();
      await link(page).getByText("Live").waitFor();
      behind.stop();
    },
  },
  {
    name: "an agent that is gone leaves the page as it was, and says so",
    async steps({ muster, open, accessible, picture }) {
      await register(muster, "web");
      const page = await open("/ui/dc1/services", { outage: true });
      await row(page, "web").waitFor();
      muster.stop();
      await link(page).getByText("No answer").waitFor();
      await main(page).getByText(/^The agent does not answer\. Showing data from/).first().waitFor();
      await row(page, "web").waitFor();
      await accessible(page, "without an agent");
      await picture(page, "agent-gone");
    },
  },
  {
    name: "a dashboard whose files are held up says so, and starts once they come",
    async steps({ open, picture }) {
      let held = true;
      const page = await open("/ui/dc1/nodes", {
        clock: true,
        waitUntil: "commit",
        before: (page) => page.route("**/app-*.wasm*", (route) => (held ? undefined : route.continue())),
      });
      await page.getByText("Loading the dashboard.").waitFor();
      await page.clock.fastForward(3_100);
      await page.getByText("The agent is slow to send the dashboard.").waitFor();
      await page.waitForFunction(() => getComputedStyle(document.querySelector(".say")).opacity === "1");
      await picture(page, "boot-slow");
      await page.clock.fastForward(30_000);
      await page.getByText("Trying again").waitFor();
      held = false;
      await page.clock.fastForward(2_100);
      await page.getByRole("heading", { level: 1, name: "Nodes" }).waitFor();
    },
  },
  {
    name: "an app that is there before the page around it waits for the whole page",
    async steps({ muster, open, proxy }) {
      const behind = await proxy(muster.url);
      behind.half = true;
      const page = await open("/ui/dc1/nodes", { origin: behind.url, waitUntil: "commit" });
      const wasm = await (await page.waitForFunction(() => performance.getEntriesByType("resource").find(({ name, responseEnd }) => name.includes(".wasm") && responseEnd > 0)?.name, null, { polling: 20 })).jsonValue();
      // By the time it was compiled a second time here, the app would have started.
      await page.evaluate(async (wasm) => void (await WebAssembly.compile(await (await fetch(wasm)).arrayBuffer())), wasm);
      behind.rest();
      await page.getByRole("heading", { level: 1, name: "Nodes" }).waitFor();
      behind.stop();
    },
  },
  {
    name: "an API that does not answer leaves the frame, a skeleton and then words",
    async steps({ open, accessible, picture }) {
      let held = true;
      const page = await open("/ui/dc1/services", { clock: true, outage: true, before: (page) => page.route("**/v1/**", (route) => (held ? undefined : route.continue())) });
      await page.getByRole("heading", { level: 1, name: "Services" }).waitFor();
      await page.clock.fastForward(200);
      await main(page).getByRole("status", { name: "Loading" }).first().waitFor();
      await page.clock.fastForward(20_100);
      await main(page).getByText("The services could not be read").waitFor();
      await main(page).getByText("The agent does not answer.").waitFor();
      await accessible(page, "an API that hangs");
      await picture(page, "api-hangs");
      held = false;
      await page.clock.fastForward(20_100);
      await row(page, "consul").waitFor();
    },
  },
  {
    name: "a check whose agent is gone says that its agent cannot be reached",
    servers: 3,
    async steps({ cluster, open, picture, until }) {
      const [one, , three] = cluster.servers;
      await three.put("/v1/agent/service/register", { Name: "web", Check: { HTTP: `${three.url}/v1/status/leader`, Interval: "1h" } });
      await until("the catalog", () => one.get("/v1/health/service/web").then((found) => found.length === 1));
      const page = await open("/ui/dc1/services/web/instances", { origin: one.url, outage: true });
      const run = main(page).getByRole("button", { name: /^Run check now/ });
      await run.waitFor();
      three.kill();
      await run.click();
      await main(page).getByText("It could not be run.").waitFor();
      await main(page).getByText(/cannot be reached|no agent of node "n3" is connected/).first().waitFor();
      await picture(page, "agent-unreachable");
      // Once gossip knows, nothing is offered that only that agent could do.
      await main(page).getByText("Agent not live or unreachable").waitFor({ timeout: 30_000 });
      assert.equal(await run.getAttribute("aria-disabled"), "true");
      assert.equal(await main(page).getByRole("button", { name: "Maintenance", exact: true }).last().getAttribute("aria-disabled"), "true");
    },
  },
];
