// The journeys: what a user does, step by step, on an agent of its own. Each fails on any console error, any request that
// leaves the agent's origin, and any accessibility violation it asks about.
import assert from "node:assert/strict";

const register = (muster, name, extra = {}) => muster.put("/v1/agent/service/register", { Name: name, ...extra });
const external = (muster, node, service, status, extra = {}) =>
  muster.put("/v1/catalog/register", {
    Node: node,
    Address: "10.0.0.1",
    Service: { ID: `${service}-1`, Service: service, Port: 80, ...extra },
    Check: { CheckID: `${service}-c`, Name: `${service} answers`, Status: status, ServiceID: `${service}-1`, Output: `${service} says ${status}` },
  });
const sidebar = (page, name) => page.getByRole("complementary", { name: "Primary" }).getByRole("link", { name: new RegExp(name) });
const main = (page) => page.locator("main");

export const journeys = [
  {
    name: "the main job: register, watch it live, run its check, see it recover",
    async steps({ muster, open, accessible, picture, target, until }) {
      const web = await target();
      await register(muster, "web", { Port: web.port, Tags: ["v1"], Check: { Name: "HTTP /", HTTP: web.url, Interval: "1h" } });
      const page = await open("/ui/");
      await page.getByRole("heading", { level: 1 }).waitFor();
      await sidebar(page, "Services").click();
      await main(page).getByRole("link", { name: "web", exact: true }).click();
      await page.getByRole("heading", { level: 1, name: "web" }).waitFor();
      const run = main(page).getByRole("button", { name: /^Run( check)? now|^Run$/ }).first();
      await run.click();
      await main(page).getByText("Passing").first().waitFor();
      await until("the catalog to have the run", async () => (await muster.get("/v1/health/service/web?passing")).length === 1);
      web.status = 503;
      web.body = "pool exhausted";
      await run.click();
      await main(page).getByText("Critical").first().waitFor();
      await main(page).getByText("pool exhausted").first().waitFor();
      await accessible(page, "a service with a failing check");
      await picture(page, "service-light");
      web.status = 200;
      await run.click();
      await until("it to recover on the screen", async () => (await main(page).getByText("Critical").count()) === 0 || (await main(page).getByText("Passing").count()) > 0);
      web.stop();
    },
  },
  {
    name: "changes made elsewhere show within a second, without a reload",
    async steps({ muster, open, until }) {
      const page = await open("/ui/dc1/services");
      await main(page).getByRole("link", { name: "consul", exact: true }).waitFor();
      await page.evaluate(() => (window.kept = true));
      const before = Date.now();
      await external(muster, "ext1", "mail", "passing");
      await main(page).getByRole("link", { name: "mail", exact: true }).waitFor();
      assert.ok(Date.now() - before < 2000, `shown after ${Date.now() - before} ms`);
      await external(muster, "ext1", "mail", "critical");
      await main(page).getByRole("row", { name: /mail/ }).getByText("Critical").waitFor();
      await muster.put("/v1/catalog/deregister", { Node: "ext1", ServiceID: "mail-1" });
      await until("the row to go", async () => (await main(page).getByRole("link", { name: "mail", exact: true }).count()) === 0);
      assert.equal(await page.evaluate(() => window.kept), true, "the page was reloaded");
    },
  },
  {
    name: "a service is registered from the dashboard's form",
    async steps({ muster, open, accessible, picture, until }) {
      const page = await open("/ui/dc1/services");
      await main(page).getByRole("button", { name: "Register service" }).click();
      assert.match(page.url(), /v=register/);
      const drawer = page.getByRole("dialog");
      await drawer.getByLabel("Service name").fill("billing");
      await drawer.getByLabel("Port").first().fill("8443");
      await accessible(page, "the register drawer");
      await picture(page, "register-light");
      await drawer.getByRole("button", { name: /^Register/ }).click();
      await until("the agent to have it", async () => (await muster.get("/v1/agent/services")).billing?.Port === 8443);
      await page.getByRole("heading", { level: 1, name: "billing" }).waitFor();
    },
  },
  {
    name: "maintenance is started with a reason and undone, a service is deregistered",
    async steps({ muster, open, until }) {
      await register(muster, "api", { Check: { TTL: "1h", Status: "passing" } });
      await until("the catalog", async () => (await muster.get("/v1/health/service/api"))?.length);
      const page = await open("/ui/dc1/services/api/instances");
      await main(page).getByRole("button", { name: "Maintenance" }).first().click();
      await page.getByRole("dialog").getByLabel("Reason").fill("schema migration");
      await page.getByRole("dialog").getByRole("button", { name: "Start maintenance" }).click();
      await until("maintenance", async () => (await muster.get("/v1/agent/checks"))["_service_maintenance:api"]?.Notes === "schema migration");
      await main(page).getByText("schema migration").first().waitFor();
      await page.getByRole("button", { name: "Undo" }).click();
      await until("the undo", async () => !(await muster.get("/v1/agent/checks"))["_service_maintenance:api"]);
      await main(page).getByRole("button", { name: "Deregister" }).first().click();
      await page.getByRole("dialog").getByRole("button", { name: "Deregister" }).click();
      await until("it to go", async () => !(await muster.get("/v1/agent/services")).api);
    },
  },
  {
    name: "keys are created, edited against conflicts, deleted and brought back",
    async steps({ muster, open, accessible, picture, until }) {
      await fetch(`${muster.url}/v1/kv/shop/limits.json`, { method: "PUT", body: '{"cart": 50}' });
      const page = await open("/ui/dc1/kv/");
      await page.getByRole("link", { name: "New key" }).first().click();
      await page.getByLabel("Key", { exact: true }).fill("shop/colour");
      await page.getByRole("textbox", { name: "Value" }).fill("green");
      await page.getByRole("button", { name: "Create", exact: true }).click();
      await until("the key", async () => (await fetch(`${muster.url}/v1/kv/shop/colour?raw`)).text().then((text) => text === "green"));
      await page.goto(`${muster.url}/ui/dc1/kv/shop/limits.json`);
      await main(page).getByText("cart").first().waitFor();
      await accessible(page, "a key");
      await picture(page, "kv-light");
      await page.getByRole("button", { name: "Edit" }).click();
      await page.getByRole("textbox", { name: "Value" }).fill('{"cart": 60}');
      await fetch(`${muster.url}/v1/kv/shop/limits.json`, { method: "PUT", body: '{"cart": 70}' });
      await page.getByRole("button", { name: "Keep mine" }).waitFor();
      assert.equal(await (await fetch(`${muster.url}/v1/kv/shop/limits.json?raw`)).text(), '{"cart": 70}', "nothing is overwritten unasked");
      await page.getByRole("button", { name: "Keep mine" }).click();
      await page.getByRole("button", { name: "Save changes" }).click();
      await until("the save", async () => (await fetch(`${muster.url}/v1/kv/shop/limits.json?raw`)).text().then((text) => text === '{"cart": 60}'));
      // One key is deleted at once and can be brought back; only folders ask.
      await page.getByRole("button", { name: "Delete" }).first().click();
      await until("the delete", async () => (await fetch(`${muster.url}/v1/kv/shop/limits.json`)).status === 404);
      await page.getByText("shop/limits.json deleted").waitFor();
      await page.getByRole("button", { name: "Undo" }).last().click();
      await until("the undo", async () => (await fetch(`${muster.url}/v1/kv/shop/limits.json?raw`)).text().then((text) => text === '{"cart": 60}'));
    },
  },
  {
    name: "keys that end like an action, and the palette's finds, open to be looked at",
    async steps({ muster, open, until }) {
      const put = (key, value) => fetch(`${muster.url}/v1/kv/${key}`, { method: "PUT", body: value });
      for (const key of ["app/edit", "app/create", "edit", "app/a%20b"]) await put(key, `value of ${key}`);
      const page = await open("/ui/dc1/kv/app/");
      for (const key of ["edit", "create", "a b"]) {
        await page.goto(`${muster.url}/ui/dc1/kv/app/`);
        await main(page).getByRole("link", { name: key, exact: true }).last().click();
        await main(page).getByText(`value of app/${key.replace(" ", "%20")}`).waitFor();
        await page.reload();
        await main(page).getByText(`value of app/${key.replace(" ", "%20")}`).waitFor();
        await main(page).getByRole("button", { name: "Edit" }).click();
        await page.getByRole("textbox", { name: "Value" }).waitFor();
      }
      await page.keyboard.press("Control+k");
      await page.keyboard.type("app/ed");
      await page.getByRole("option", { name: /app\/edit/ }).click();
      await main(page).getByText("value of app/edit").waitFor();
      assert.equal(await page.getByRole("textbox", { name: "Value" }).count(), 0, "a key that was looked for is not being edited");
    },
  },
  {
    name: "maintenance, version and what can be run are shown where they belong",
    async steps({ muster, open, picture, until }) {
      await register(muster, "web", { Check: { TTL: "1h", Status: "passing" } });
      await muster.put("/v1/agent/service/maintenance/web?enable=true&reason=upgrade");
      await external(muster, "ext1", "mail", "critical");
      await until("the catalog", async () => (await muster.get("/v1/health/service/web"))?.[0]?.Checks.length === 3);
      const version = (await muster.get("/v1/agent/self")).Config.Muster;
      const page = await open("/ui/dc1/nodes");
      const node = (name) => main(page).getByRole("row", { name: new RegExp(`\\b${name}\\b`) });
      await node("n1").getByText("Passing").waitFor();
      await node("n1").getByText(version, { exact: true }).waitFor();
      await picture(page, "nodes-service-in-maintenance");
      await muster.put("/v1/agent/maintenance?enable=true&reason=kernel");
      await node("n1").getByText("Maintenance").waitFor();
      await muster.put("/v1/agent/maintenance?enable=false");
      await node("n1").getByText("Passing").waitFor();
      await page.goto(`${muster.url}/ui/dc1/nodes/n1/health-checks`);
      await main(page).getByText("the service reports").waitFor();
      await main(page).getByText("set by hand").waitFor();
      await main(page).getByText("runs by itself").waitFor();
      assert.equal(await main(page).getByRole("button", { name: /^Run check now/ }).count(), 0, "nobody can run these");
      assert.equal(await main(page).getByRole("button", { name: "Run all checks" }).getAttribute("aria-disabled"), "true");
      await page.goto(`${muster.url}/ui/dc1/overview`);
      await main(page).getByRole("link", { name: "mail", exact: true }).first().waitFor();
      assert.equal(await main(page).getByRole("button", { name: /^Run/ }).count(), 0, "a check of the catalog alone is run by nobody");
      await page.goto(`${muster.url}/ui/dc1/services/mail/instances`);
      await main(page).getByText("no agent runs it").waitFor();
      assert.equal(await main(page).getByRole("button", { name: /^Run check now/ }).count(), 0);
    },
  },
  {
    name: "an edit keeps what the checks found, and maintenance",
    async steps({ muster, open, target, until }) {
      const web = await target();
      await register(muster, "web", { Checks: [{ HTTP: web.url, Interval: "1h", Name: "answers" }, { TTL: "1h", Name: "reports" }] });
      // Only what the catalog has is found and run; the agent tells it a moment after it has answered.
      await until("the checks in the catalog", async () => (await muster.get("/v1/health/service/web"))[0]?.Checks.length === 3);
      await muster.put("/v1/muster/check/run/n1/service:web:1");
      await muster.put("/v1/agent/check/pass/service:web:2?note=well");
      await muster.put("/v1/agent/service/maintenance/web?enable=true&reason=upgrade");
      const states = async () => (await muster.get("/v1/health/service/web"))[0].Checks.filter(({ ServiceID }) => ServiceID).map(({ CheckID, Status, Output }) => `${CheckID} ${Status} ${Output}`).sort();
      await until("the catalog", async () => ((found) => found.length === 3 && found.filter((state) => state.includes("passing")).length === 2)(await states()));
      const before = await states();
      const page = await open("/ui/dc1/services/web/instances/n1/web/health-checks?v=edit");
      await page.getByLabel("Tags").fill("blue");
      await page.getByRole("button", { name: "Save", exact: true }).click();
      await until("the edit", async () => (await muster.get("/v1/health/service/web"))[0].Service.Tags?.[0] === "blue");
      assert.deepEqual(await states(), before);
      web.stop();
    },
  },
  {
    name: "every page is accessible in both themes and on a phone",
    async steps({ muster, open, accessible, picture }) {
      await external(muster, "ext1", "mail", "critical", { Tags: ["smtp"], Meta: { group: "platform" } });
      await external(muster, "ext2", "cart", "warning", { Tags: ["redis"] });
      await register(muster, "web", { Tags: ["v1"], Check: { TTL: "1h", Status: "passing" } });
      await fetch(`${muster.url}/v1/kv/shop/limits.json`, { method: "PUT", body: '{"cart": 50}' });
      const places = { overview: "overview", services: "services", service: "services/mail/instances", history: "services/mail/history", definition: "services/web/definition", nodes: "nodes", node: "nodes/n1/health-checks", key: "kv/shop/limits.json", keys: "kv/", "new-key": "kv/shop/create", unknown: "nothing-here" };
      for (const colorScheme of ["light", "dark"]) {
        for (const [size, viewport] of Object.entries({ desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } })) {
          const page = await open("/ui/", { colorScheme, viewport });
          await page.getByRole("heading", { level: 1 }).first().waitFor();
          for (const [name, place] of Object.entries(places)) {
            await page.goto(`${muster.url}/ui/dc1/${place}`);
            await page.getByRole("heading", { level: 1 }).first().waitFor();
            await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
            await accessible(page, `${name}, ${colorScheme}, ${size}`);
            await picture(page, `${name}-${colorScheme}-${size}`);
            const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
            assert.ok(overflow <= 0, `${name} on ${size} is ${overflow} px too wide`);
          }
        }
      }
    },
  },
  {
    name: "the keyboard alone finds a service and runs its check",
    async steps({ muster, open, target, until }) {
      const web = await target();
      await register(muster, "web", { Check: { HTTP: web.url, Interval: "1h" } });
      await until("the catalog", async () => (await muster.get("/v1/health/service/web"))?.length);
      const page = await open("/ui/dc1/overview");
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.keyboard.press("Control+k");
      await page.keyboard.type("web");
      await page.getByRole("option", { name: /web/ }).first().waitFor();
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { level: 1, name: "web" }).waitFor();
      const run = main(page).getByRole("button", { name: /^Run( check)? now|^Run$/ }).first();
      await run.waitFor();
      for (let at = 0; at < 60 && !(await run.evaluate((button) => button === document.activeElement)); at += 1) await page.keyboard.press("Tab");
      assert.ok(await run.evaluate((button) => button === document.activeElement), "Tab reaches the button");
      await page.keyboard.press("Enter");
      await until("the run", async () => (await muster.get("/v1/health/service/web?passing"))?.length === 1);
      await page.keyboard.press("g");
      await page.keyboard.press("n");
      await page.getByRole("heading", { level: 1, name: "Nodes" }).waitFor();
      web.stop();
    },
  },
  {
    name: "filters, sort and theme live in the address or stay after a reload",
    async steps({ muster, open, until }) {
      await external(muster, "ext1", "mail", "critical");
      await external(muster, "ext2", "cart", "passing");
      const page = await open("/ui/dc1/services");
      await page.getByLabel("Filter services").fill("mail");
      await until("the filter", async () => (await main(page).getByRole("link", { name: "cart", exact: true }).count()) === 0);
      assert.match(page.url(), /mail/);
      await page.reload();
      await main(page).getByRole("link", { name: "mail", exact: true }).waitFor();
      assert.equal(await main(page).getByRole("link", { name: "cart", exact: true }).count(), 0);
      assert.equal(await page.getByLabel("Filter services").inputValue(), "mail");
    },
  },
  {
    name: "ten thousand services: the first rows are quick, search is quick, scrolling reaches the end",
    async steps({ muster, open, picture, until, browser }) {
      for (let at = 0; at < 100; at += 1) await muster.put("/v1/catalog/register", { Node: `m${at}`, Address: `10.2.0.${at}` });
      const put = (at) =>
        muster.put("/v1/catalog/register", { Node: `m${at % 100}`, SkipNodeUpdate: true, Service: { Service: `service-${String(at).padStart(5, "0")}`, Port: 80 }, Check: { CheckID: `c${at}`, Name: "c", Status: at % 500 ? "passing" : "critical", ServiceID: `service-${String(at).padStart(5, "0")}` } });
      for (let at = 0; at < 10_000; at += 50) await Promise.all(Array.from({ length: 50 }, (_, more) => put(at + more)));
      const started = Date.now();
      const page = await open("/ui/dc1/services");
      await main(page).getByRole("link", { name: "service-00000", exact: true }).waitFor();
      console.log(`    10,000 services: rows shown ${Date.now() - started} ms after opening`);
      await picture(page, "services-10000");
      await page.getByLabel("Filter services").fill("service-09999");
      const typed = Date.now();
      await main(page).getByRole("link", { name: "service-09999", exact: true }).waitFor();
      console.log(`    10,000 services: found ${Date.now() - typed} ms after typing`);
      assert.ok((await main(page).getByRole("row").count()) < 200, "only the rows in view are in the page");
      await page.goto(`${muster.url}/ui/dc1/overview`);
      await page.getByRole("heading", { level: 1, name: /20 services are failing/ }).waitFor();
      await picture(page, "overview-10000");
    },
  },
  {
    name: "long names and values stay inside the page",
    async steps({ muster, open, accessible, picture }) {
      const name = "a-service-with-a-very-long-name-that-nobody-would-really-choose-but-somebody-did";
      await register(muster, name, { ID: `${name}-7f9c6d5b4-x2x9z`, Address: "2001:db8:85a3:8d3:1319:8a2e:370:7348", Port: 65535, Tags: ["traefik.http.routers.payments-frontend.rule=Host(`payments.example.com`)"], Check: { Name: `${name} answers`, TTL: "1h", Status: "critical" } });
      await muster.put(`/v1/catalog/register`, { Node: "web-frontend-eu-central-1a-0123456789.internal.example.com", Address: "10.0.0.1", Check: { CheckID: "c", Name: "c", Status: "warning", Output: "x".repeat(500) } });
      await muster.put("/v1/kv/a/very/long/path/that/goes/deeper/and/deeper/than/anybody/likes/key", JSON.stringify({ value: "x".repeat(300) }));
      const places = ["overview", "services", `services/${name}/instances`, "nodes", "overview/server-status", "gossip", "nodes/web-frontend-eu-central-1a-0123456789.internal.example.com", "kv/a/very/long/path/that/goes/deeper/and/deeper/than/anybody/likes/key"];
      for (const [at, place] of places.entries()) {
        const page = await open(`/ui/dc1/${place}`);
        await page.getByRole("heading", { level: 1 }).waitFor();
        await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
        for (const width of [1440, 1024, 800, 390]) {
          await page.setViewportSize({ width, height: 900 });
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          assert.ok(wide <= 0, `${place} is ${wide} px too wide at ${width}`);
          const names = await main(page).locator(".tbl .svc").evaluateAll((names) => names.map(({ clientWidth }) => clientWidth));
          assert.ok(names.every((px) => px >= 60), `${place} has no room for names at ${width}: ${names}`);
          await picture(page, `long-${at}-${width}`);
        }
        await accessible(page, `long names, ${place}, phone`);
      }
    },
  },
  {
    name: "under a sub-path behind a reverse proxy",
    async steps({ muster, open, proxy }) {
      const behind = await proxy(muster.url, "/tools/muster");
      const page = await open("/ui/", { origin: behind.url });
      await page.getByRole("heading", { level: 1 }).waitFor();
      await sidebar(page, "Services").click();
      await main(page).getByRole("link", { name: "consul", exact: true }).click();
      await page.getByRole("heading", { level: 1, name: "consul" }).waitFor();
      assert.ok(page.url().startsWith(`${behind.url}/ui/`), page.url());
      await page.reload();
      await page.getByRole("heading", { level: 1, name: "consul" }).waitFor();
      behind.stop();
    },
  },
  {
    name: "at a path of its own, with and without a reverse proxy before it",
    args: ["-ui-content-path=/ops/consul/"],
    async steps({ muster, open, proxy }) {
      const behind = await proxy(muster.url, "/tools");
      for (const origin of [muster.url, behind.url]) {
        const page = await open("/", { origin });
        await page.getByRole("heading", { level: 1 }).waitFor();
        await sidebar(page, "Services").click();
        await main(page).getByRole("link", { name: "consul", exact: true }).click();
        await page.getByRole("heading", { level: 1, name: "consul" }).waitFor();
        assert.ok(page.url().startsWith(`${origin}/ops/consul/dc1/services/consul`), page.url());
        await page.reload();
        await main(page).getByText("Passing").first().waitFor();
      }
      behind.stop();
    },
  },
  {
    name: "the first load is small and quick",
    async steps({ muster, open }) {
      const page = await open("/ui/dc1/services");
      await main(page).getByRole("link", { name: "consul", exact: true }).waitFor();
      const { files, paint } = await page.evaluate(() => ({
        files: performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation")).filter(({ name }) => name.includes("/ui/")).map(({ name, transferSize }) => ({ name: name.split("/").pop(), transferSize })),
        paint: performance.getEntriesByType("paint").find(({ name }) => name === "first-contentful-paint")?.startTime,
      }));
      const bytes = files.reduce((sum, { transferSize }) => sum + transferSize, 0);
      console.log(`    first load: ${bytes} bytes in ${files.length} requests, first contentful paint ${Math.round(paint)} ms`);
      // A ratchet: set to what was reached, so that it only shrinks. The goal is 350,000.
      assert.ok(bytes > 50_000 && bytes < 400_000, `${bytes} bytes over the wire: ${JSON.stringify(files)}`);
      assert.ok(files.length <= 10, `${files.length} requests`);
    },
  },
];
