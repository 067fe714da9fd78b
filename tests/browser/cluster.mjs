// A cluster for the journeys: three real servers on loopback addresses of their own, each killed and started at will.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { address, until } from "./agent.mjs";

// Answers { servers, leader, stop }; a server has { name, host, url, get, put, kill, start }.
export async function start(count = 3) {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), "cluster-"));
  const servers = [];
  for (let at = 1; at <= count; at += 1) {
    const server = { name: `n${at}`, host: await address(servers.map(({ host }) => host)) };
    server.url = `http://${server.host}:8500`;
    servers.push(server);
  }
  for (const server of servers) {
    const call = async (method, where, body) => {
      const answer = await fetch(server.url + where, { method, body: body === undefined || typeof body === "string" ? body : JSON.stringify(body) });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${method} ${where}: ${answer.status} ${text}`);
      return text ? JSON.parse(text) : null;
    };
    server.get = (where) => call("GET", where);
    server.put = (where, body) => call("PUT", where, body);
    server.start = () => {
      const join = servers.flatMap(({ host }) => (host === server.host ? [] : [`-retry-join=${host}`]));
      const args = ["agent", "-server", "-ui", `-node=${server.name}`, `-bind=${server.host}`, `-client=${server.host}`, `-data-dir=${path.join(data, server.name)}`, `-bootstrap-expect=${count}`, "-retry-interval=1s", ...join];
      server.child = spawn(process.env.MUSTER_BIN, args, { stdio: "ignore" });
    };
    server.kill = () => server.child.kill("SIGKILL");
    server.start();
  }
  const leader = async () => {
    for (const server of servers) {
      const raft = await server.get("/v1/muster/raft?stale").catch(() => null);
      const found = raft?.Leader && raft.Servers.find(({ ID }) => ID === raft.Leader);
      if (found && raft.Servers.length === count) return servers.find(({ name }) => name === found.Name);
    }
    return null;
  };
  const stop = () => {
    for (const { child } of servers) child.kill("SIGKILL");
    fs.rmSync(data, { recursive: true, force: true });
  };
  try {
    await until("the cluster", leader, 60);
    for (const { get, name } of servers) await until(`${name} to answer`, () => get("/v1/catalog/nodes").then((nodes) => nodes.length === count, () => false), 60);
  } catch (error) {
    stop();
    throw error;
  }
  return { servers, leader, stop };
}
