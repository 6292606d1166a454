// The main job, end to end, with real XMPP clients of a library that is not
// ours. Starts `rollcall dev` on an empty data directory, lets story.js play,
// and stops it; with --keep it stays, and how to connect is printed.
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, readSync } from "node:fs";
import { connect } from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const checkout = path.resolve(here, "../../..");
const binary = path.join(checkout, "bin/rollcall");
const keep = process.argv.includes("--keep");
const data = path.join(checkout, ".rollcall/demo");

const taken = (port, host = "127.0.0.1") =>
  new Promise((resolve) => {
    const socket = connect({ port, host });
    socket.once("connect", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false));
  });

async function freePortBase() {
  for (const base of [5222, 15222, 25222, 35222]) {
    const ports = await Promise.all(
      ["127.0.0.1", "127.0.0.2"].flatMap((host) => [0, 1, 221].map((above) => taken(base + above, host))),
    );
    if (!ports.includes(true)) return base;
  }
  throw new Error("ports 5222, 15222, 25222 and 35222 are all taken: stop what listens there");
}

// startDev starts `rollcall dev`. What it says goes straight to a file, so that
// it lives on when this process ends; we read along.
function startDev(portBase) {
  const file = path.join(data, "dev.log");
  const out = openSync(file, "w");
  const args = ["dev", "--data", data, "--fresh", "--port-base", String(portBase), "--kafka", process.env.DEMO_KAFKA ?? "auto"];
  const dev = spawn(binary, args, { stdio: ["ignore", out, out], detached: keep });
  closeSync(out);
  dev.ended = new Promise((resolve) => dev.once("exit", (code, signal) => resolve(code ?? signal)));
  const ready = new Promise((resolve, reject) => {
    const said = openSync(file, "r");
    const last = [];
    let rest = "";
    const readOn = () => {
      for (const chunk = Buffer.alloc(1 << 16); ; ) {
        const n = readSync(said, chunk);
        if (n === 0) return;
        const lines = (rest + chunk.toString("utf8", 0, n)).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          last.push(line);
          if (last.length > 15) last.shift();
          if (line === "ready") resolve();
          else if (/^dev +\|/.test(line)) console.log("   ", line.replace(/^dev +\| /, ""));
        }
      }
    };
    const timer = setInterval(readOn, 20);
    dev.ended.then((code) => {
      clearInterval(timer);
      readOn();
      reject(new Error(`rollcall dev ended (${code}); its last lines:\n${last.join("\n")}`));
    });
  });
  return { dev, ready };
}

async function main() {
  const began = Date.now();
  mkdirSync(data, { recursive: true });
  console.log(`rollcall dev --data ${path.relative(checkout, data)} (its log: ${path.relative(checkout, data)}/dev.log)`);
  const { dev, ready } = startDev(await freePortBase());
  process.once("SIGINT", () => dev.kill("SIGTERM"));
  let code = 1;
  try {
    await ready;
    console.log(`ready after ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
    const run = JSON.parse(readFileSync(path.join(data, "run.json"), "utf8"));
    const story = spawn(process.execPath, [path.join(here, "story.js"), data, binary], {
      stdio: "inherit",
      env: { ...process.env, NODE_EXTRA_CA_CERTS: path.join(run.certificates, run.domain + ".crt") },
    });
    code = await new Promise((resolve) => story.once("exit", (c) => resolve(c ?? 1)));
    if (keep && code === 0) {
      invite(run, dev.pid);
      dev.unref();
      process.exit(0);
    }
  } catch (err) {
    console.error("demo:", err.message);
  }
  dev.kill("SIGTERM");
  const ended = await dev.ended;
  if (code === 0 && ended !== 0) {
    console.error(`demo: rollcall dev did not stop cleanly: ${ended}`);
    code = 1;
  }
  process.exit(code);
}

function invite(run, pid) {
  const edges = run.parts.filter((p) => p.role === "edge");
  console.log(`
Everything keeps running (process ${pid}; stop it with: kill ${pid}).
Connect your own XMPP client:
  account   juliet@${run.domain}, password r0m30-forever (or register one in the client)
  server    ${edges.map((e) => `${e.listen.starttls} (STARTTLS) or ${e.listen.tls} (TLS)`).join(", ")}
  trust     ${path.join(run.certificates, run.domain + ".crt")}
Query:
  Postgres    psql '${run.postgres_url}' -c 'SELECT * FROM roster_item' (online_friends has rows again once clients connect)
  ClickHouse  curl '${run.clickhouse_http ? `http://${run.clickhouse_http}` : "…"}/?database=rollcall' --data 'SELECT * FROM chat_log'
  the log     bin/rollcall replay show juliet@${run.domain} --kafka-brokers ${run.kafka_brokers.join(",")}`);
}

await main();
