// Journeys through a cluster of three real servers: the Raft and gossip pages, a server lost, a quorum lost and found again.
import assert from "node:assert/strict";

const main = (page) => page.locator("main");
const heading = (page, name) => page.getByRole("heading", { level: 1, name });
const go = async (page, letter) => {
  await page.keyboard.press("g");
  await page.keyboard.press(letter);
};
const THEMES = ["light", "dark"];
const SIZES = { desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } };

export const journeys = [
  {
    name: "the cluster's pages are accessible in both themes and on a phone",
    servers: 3,
    async steps({ open, accessible, picture }) {
      for (const colorScheme of THEMES) {
        for (const [size, viewport] of Object.entries(SIZES)) {
          const page = await open("/ui/dc1/overview/server-status", { colorScheme, viewport });
          const look = async (name, title) => {
            await heading(page, title).waitFor();
            await page.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
            await accessible(page, `${name}, ${colorScheme}, ${size}`);
            await picture(page, `${name}-${colorScheme}-${size}`);
            const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
            assert.ok(overflow <= 0, `${name} on ${size} is ${overflow} px too wide`);
          };
          await look("raft", "Three servers, one may be lost.");
          await go(page, "m");
          await look("gossip", "3 members, all of them well.");
          // Round trips to the two others: nothing else on the page is told in milliseconds.
          if (size === "desktop") {
            await main(page).getByRole("cell", { name: /^\d+(\.\d)? ms$/ }).nth(1).waitFor();
          }
          await go(page, "b");
          await look("snapshots", /snapshot/);
        }
      }
    },
  },
  {
    name: "leadership is handed over and a dead server is removed, without a reload",
    servers: 3,
    async steps({ cluster, open, accessible, picture, until }) {
      const before = await cluster.leader();
      const page = await open("/ui/dc1/overview", { origin: before.url });
      await page.getByRole("heading", { level: 1 }).waitFor();
      await page.evaluate(() => (window.kept = true));
      await go(page, "r");
      await heading(page, "Three servers, one may be lost.").waitFor();
      await page.keyboard.press("Control+k");
      await page.keyboard.type("transfer");
      await page.getByRole("option", { name: /Transfer leadership/ }).waitFor();
      await page.keyboard.press("Enter");
      const dialog = page.getByRole("dialog", { name: "Transfer leadership?" });
      const [to, other] = cluster.servers.filter(({ name }) => name !== before.name);
      await dialog.getByLabel("To").selectOption({ label: to.name });
      await accessible(page, "the transfer dialog");
      await picture(page, "raft-transfer");
      await dialog.getByRole("button", { name: "Transfer leadership" }).click();
      await until(`${to.name} to lead`, async () => (await cluster.leader())?.name === to.name);
      await main(page).getByText(new RegExp(`^${to.name} has led`)).waitFor();
      other.kill();
      await heading(page, `${other.name} is not well: losing one more stops writes.`).waitFor({ timeout: 30_000 });
      await main(page).getByText("Failed").first().waitFor({ timeout: 30_000 });
      assert.equal(await main(page).getByRole("button", { name: `Make ${other.name} the leader` }).getAttribute("aria-disabled"), "true");
      await picture(page, "raft-one-lost");
      await main(page).getByRole("button", { name: `Remove ${other.name} from the Raft configuration` }).click();
      const sure = page.getByRole("dialog", { name: `Remove ${other.name}?` });
      await sure.getByText("Two servers stay, and none of them may be lost.").waitFor();
      assert.equal(await sure.getByRole("button", { name: "Remove server" }).getAttribute("aria-disabled"), "true");
      await sure.getByLabel("Type the server's name to confirm").fill(other.name);
      await accessible(page, "the removal dialog");
      await sure.getByRole("button", { name: "Remove server" }).click();
      await heading(page, "Two servers, and none may be lost.").waitFor();
      await go(page, "m");
      await heading(page, "1 member has failed.").waitFor();
      await accessible(page, "gossip with a failed member");
      await picture(page, "gossip-failed");
      await page.getByRole("tab", { name: /Who accuses whom/ }).click();
      await main(page).getByText(/^Failed for/).first().waitFor();
      await main(page).getByRole("columnheader", { name: new RegExp(`^About ${other.name} ?accused by `) }).waitFor();
      await main(page).getByText("accuser", { exact: true }).first().waitFor();
      await accessible(page, "who accuses whom");
      await picture(page, "gossip-views");
      await page.getByRole("tab", { name: /Members/ }).click();
      await main(page).getByRole("button", { name: `Force ${other.name} to leave` }).click();
      await page.getByRole("dialog").getByRole("button", { name: "Force leave" }).click();
      await heading(page, /all of them well/).waitFor();
      assert.equal(await page.evaluate(() => window.kept), true, "the page was reloaded");
    },
  },
  {
    name: "a snapshot is taken, a saved file is looked into and restored",
    servers: 3,
    async steps({ muster, open, accessible, picture, until }) {
      const put = (value) => fetch(`${muster.url}/v1/kv/colour`, { method: "PUT", body: value });
      await put("green");
      // Chromium reports the refusal of the broken file by itself.
      const page = await open("/ui/dc1/snapshots", { outage: true });
      await heading(page, "No snapshot has been taken yet.").waitFor();
      await main(page).getByRole("button", { name: "Take a snapshot" }).click();
      await page.getByText("Snapshot taken").waitFor();
      await heading(page, /^The newest snapshot was taken/).waitFor();
      const saved = Buffer.from(await (await fetch(`${muster.url}/v1/snapshot`)).arrayBuffer());
      const download = page.waitForEvent("download");
      await main(page).getByRole("link", { name: "Download" }).click();
      assert.match((await download).suggestedFilename(), /^dc1-\d+\.snap$/);
      await put("red");
      const choose = main(page).getByLabel("Choose a snapshot file");
      await choose.setInputFiles({ name: "broken.snap", mimeType: "application/octet-stream", buffer: Buffer.from("no snapshot") });
      await main(page).locator("p.bad").waitFor();
      await choose.setInputFiles({ name: "saved.snap", mimeType: "application/octet-stream", buffer: saved });
      await main(page).getByRole("rowheader", { name: "kv" }).waitFor();
      await accessible(page, "a saved file");
      await picture(page, "snapshots-file");
      await main(page).getByRole("button", { name: "Restore this file" }).click();
      const dialog = page.getByRole("dialog", { name: "Restore dc1?" });
      await dialog.getByText("there is no undo").waitFor();
      assert.equal(await dialog.getByRole("button", { name: "Restore" }).getAttribute("aria-disabled"), "true");
      await dialog.getByLabel("Type the datacenter's name to confirm").fill("dc1");
      await accessible(page, "the restore dialog");
      await dialog.getByRole("button", { name: "Restore" }).click();
      await page.getByText("dc1 restored").waitFor();
      await until("the key to be as it was", async () => (await (await fetch(`${muster.url}/v1/kv/colour?raw`)).text()) === "green");
    },
  },
  {
    name: "without a quorum the dashboard shows what it has, and heals by itself",
    servers: 3,
    async steps({ cluster, open, accessible, picture, until }) {
      const [one, ...others] = cluster.servers;
      await one.put("/v1/agent/service/register", { Name: "web", Check: { TTL: "1h", Status: "passing" } });
      await until("the catalog", () => one.get("/v1/health/service/web?stale").then((found) => found.length === 1));
      await one.put("/v1/kv/colour", "green");
      const page = await open("/ui/dc1/services", { origin: one.url, outage: true });
      await main(page).getByRole("link", { name: "web", exact: true }).waitFor();
      await page.evaluate(() => (window.kept = true));
      others.forEach(({ kill }) => kill());
      await page.getByText(/^No leader for \d+ s/).waitFor({ timeout: 20_000 });
      await main(page).getByRole("link", { name: "web", exact: true }).waitFor();
      await accessible(page, "services without a leader");
      await picture(page, "services-no-leader");
      // A page that is opened only now shows data at once as well.
      const late = await open("/ui/dc1/services/web/instances", { origin: one.url, outage: true });
      const started = Date.now();
      await heading(late, "web").waitFor();
      await main(late).getByText("Passing").first().waitFor();
      console.log(`    without a leader a service is shown ${Date.now() - started} ms after opening`);
      const keys = await open("/ui/dc1/kv", { origin: one.url, outage: true });
      await main(keys).getByRole("link", { name: "colour", exact: true }).first().waitFor({ timeout: 3_000 });
      await page.getByRole("link", { name: "What to do" }).click();
      await heading(page, /^No leader:/).waitFor();
      await heading(page, "No leader: two of three servers are gone.").waitFor({ timeout: 30_000 });
      await main(page).getByText("These servers are missing").waitFor();
      assert.equal(await main(page).getByRole("button", { name: "Transfer leadership" }).getAttribute("aria-disabled"), "true");
      assert.deepEqual(JSON.parse(await main(page).locator("pre").innerText()).map(({ address }) => address), [`${one.host}:8300`]);
      await accessible(page, "raft without a quorum");
      await picture(page, "raft-no-quorum-light-desktop");
      others.forEach(({ start }) => start());
      await heading(page, "Three servers, one may be lost.").waitFor({ timeout: 30_000 });
      await until("the banner to go", async () => (await page.getByText(/^No leader for/).count()) === 0);
      assert.equal(await page.evaluate(() => window.kept), true, "the page was reloaded");
      // The same in the other theme and on a phone, for the pictures and for axe.
      others.forEach(({ kill }) => kill());
      const phone = await open("/ui/dc1/overview/server-status", { origin: one.url, outage: true, colorScheme: "dark", viewport: SIZES.phone });
      await heading(phone, "No leader: two of three servers are gone.").waitFor({ timeout: 30_000 });
      await accessible(phone, "raft without a quorum, dark, phone");
      await picture(phone, "raft-no-quorum-dark-phone");
    },
  },
];
