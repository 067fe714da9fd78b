// Starts agents for the journeys: the real binary on its own loopback address, killed at the end.
import { spawn } from "node:child_process";
import net from "node:net";

const free = (host, port) =>
  new Promise((resolve) => {
    const probe = net.createServer().once("error", () => resolve(false)).once("listening", () => probe.close(() => resolve(true)));
    probe.listen(port, host);
  });

// An address nothing listens on, and none of those taken already.
export async function address(taken = []) {
  for (let at = process.pid; ; at += 1) {
    const host = `127.${100 + (at % 100)}.${(at >> 4) % 250}.${1 + (at % 250)}`;
    if (!taken.includes(host) && (await free(host, 8500))) return host;
  }
}

// Asks until the answer is truthy; fails with `what` after the deadline.
export async function until(what, ask, seconds = 20) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${seconds} s in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Answers { host, url, put, get, stop, log }.
export async function start(args = []) {
  const host = await address();
  const child = spawn(process.env.MUSTER_BIN, ["agent", "-dev", "-node=n1", `-bind=${host}`, `-client=${host}`, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stdout.on("data", (text) => (log += text));
  child.stderr.on("data", (text) => (log += text));
  const url = `http://${host}:8500`;
  const call = async (method, path, body) => {
    const answer = await fetch(url + path, { method, body: body === undefined || typeof body === "string" ? body : JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok && answer.status !== 404) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return answer.ok && text ? JSON.parse(text) : null;
  };
  await until("the agent", async () => {
    if (child.exitCode !== null) throw new Error(`the agent ended:\n${log}`);
    return fetch(`${url}/v1/health/node/n1`).then((answer) => answer.text()).then((text) => text.includes("serfHealth"), () => false);
  });
  return { host, url, log: () => log, put: (path, body) => call("PUT", path, body), get: (path) => call("GET", path), del: (path) => call("DELETE", path), stop: () => child.kill("SIGKILL") };
}

// A listener that answers with the status it is told: `target.status = 503`.
export async function target(host = "127.0.0.1") {
  const { createServer } = await import("node:http");
  const state = { status: 200, body: "fine" };
  const server = createServer((_, answer) => answer.writeHead(state.status).end(state.body));
  await new Promise((resolve) => server.listen(0, host, resolve));
  state.url = `http://${host}:${server.address().port}/`;
  state.port = server.address().port;
  state.stop = () => server.close();
  return state;
}

// A reverse proxy that serves the agent, under a sub-path if one is given and says so. It can be told to misbehave:
// `rule(request)` answers `{ status, body }` in place of the agent, and while `silent` no byte of a change stream gets through.
// While `half`, a page is held up before its `<body>` until `rest()` lets the rest of it through.
// `streams` counts the change streams that are open, `calls` the requests to the API.
export async function proxy(url, prefix = "") {
  const http = await import("node:http");
  const state = { rule: () => null, silent: false, half: false, streams: 0, calls: 0 };
  const server = http.createServer((request, answer) => {
    if (!request.url.startsWith(`${prefix}/`)) return answer.writeHead(404).end("outside the sub-path");
    const path = request.url.slice(prefix.length);
    if (path.startsWith("/v1/")) state.calls += 1;
    const refusal = state.rule({ method: request.method, path, headers: request.headers });
    if (refusal) return answer.writeHead(refusal.status, { "content-type": "text/plain" }).end(refusal.body);
    const stream = path.startsWith("/v1/muster/changes");
    state.streams += stream ? 1 : 0;
    const headers = { ...request.headers, ...(prefix && { "x-forwarded-prefix": prefix }), ...(state.half && { "accept-encoding": "identity" }) };
    const upstream = http.request(url + path, { method: request.method, headers }, (from) => {
      if (state.half && from.headers["content-type"]?.startsWith("text/html")) {
        answer.writeHead(from.statusCode, from.headers);
        from.toArray().then((parts) => {
          const whole = Buffer.concat(parts);
          answer.write(whole.subarray(0, whole.indexOf("<body>")));
          state.rest = () => answer.end(whole.subarray(whole.indexOf("<body>")));
        });
        return;
      }
      if (!stream || !state.silent) answer.writeHead(from.statusCode, from.headers);
      from.on("data", (bytes) => (!stream || !state.silent) && answer.write(bytes)).on("end", () => answer.end());
    });
    upstream.on("error", () => answer.destroy());
    answer.on("close", () => {
      state.streams -= stream ? 1 : 0;
      upstream.destroy();
    });
    request.pipe(upstream);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(state, { url: `http://127.0.0.1:${server.address().port}${prefix}`, stop: () => server.close() });
}
