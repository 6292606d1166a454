// What happens in the demo: Juliet, Romeo and the Nurse, and what each of
// them must see. Exits 0 if all that was expected was seen.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { xml } from "@xmpp/client";
import { Person, say, section, sleep, until } from "./person.js";

const [data, binary] = process.argv.slice(2);
const readRun = () => JSON.parse(readFileSync(path.join(data, "run.json"), "utf8"));
const run = readRun();
const domain = run.domain;
const edge = (i) => run.parts.find((p) => p.name === `edge-${i}`);
const environment = {
  ...process.env,
  ROLLCALL_KAFKA_BROKERS: run.kafka_brokers.join(","),
  ROLLCALL_POSTGRES_URL: run.postgres_url,
  ROLLCALL_CLICKHOUSE_ADDR: run.clickhouse_addr,
  ROLLCALL_LOG_LEVEL: "warn",
};

async function rollcall(args, input) {
  const promise = promisify(execFile)(binary, args, { env: environment });
  if (input !== undefined) promise.child.stdin.end(input);
  return (await promise).stdout;
}

const password = "r0m30-forever";
const bare = (name) => `${name}@${domain}`;
const presence = (name, test = () => true) => (s) =>
  s.is("presence") && s.attrs.from?.startsWith(bare(name) + "/") && test(s);
const available = (name) => presence(name, (s) => !s.attrs.type);
const gone = (name) => presence(name, (s) => s.attrs.type === "unavailable");
const verb = (name, type) => (s) => s.is("presence") && s.attrs.type === type && s.attrs.from === bare(name);
const message = (text) => (s) => s.is("message") && s.getChildText("body") === text;

async function befriend(a, b) {
  a.does(`asks ${b.name} for a subscription`, xml("presence", { to: bare(b.name), type: "subscribe" }));
  await b.sees(`the request of ${a.name}`, verb(a.name, "subscribe"));
  b.does(`grants it, and asks back`, xml("presence", { to: bare(a.name), type: "subscribed" }), xml("presence", { to: bare(a.name), type: "subscribe" }));
  await a.sees(`that ${b.name} granted it`, verb(b.name, "subscribed"));
  await a.sees(`${b.name} online`, available(b.name));
  await a.sees(`the request of ${b.name}`, verb(b.name, "subscribe"));
  a.does("grants it", xml("presence", { to: bare(b.name), type: "subscribed" }));
  await b.sees(`that ${a.name} granted it`, verb(a.name, "subscribed"));
  await b.sees(`${a.name} online`, available(a.name));
}

section("Accounts");
for (const name of ["juliet", "romeo", "nurse"]) {
  await rollcall(["user", "add", bare(name)], password + "\n");
  say("operator", `adds ${bare(name)}`);
}

section("Coming online, on two edges");
const juliet = new Person("juliet", { service: `xmpps://${edge(1).listen.tls}`, domain, password });
const romeo = new Person("romeo", { service: `xmpp://${edge(2).listen.starttls}`, domain, password });
const nurse = new Person("nurse", { service: `xmpps://${edge(1).listen.tls}`, domain, password });
await juliet.connects("edge-1, direct TLS");
await romeo.connects("edge-2, STARTTLS");

section("Subscriptions (RFC 6121, section 3)");
await befriend(juliet, romeo);

section("Presence (section 4)");
juliet.does("is away, on the balcony", xml("presence", {}, xml("show", {}, "away"), xml("status", {}, "on the balcony")));
await romeo.sees("juliet away, on the balcony", presence("juliet", (s) => s.getChildText("show") === "away" && s.getChildText("status") === "on the balcony"));
juliet.does("is back", xml("presence"));
await romeo.sees("juliet available", presence("juliet", (s) => !s.attrs.type && !s.getChild("show")));

section("Messages (section 5)");
romeo.does("writes to juliet", xml("message", { to: bare("juliet"), type: "chat", id: "m1" }, xml("body", {}, "Soft! what light?")));
await juliet.sees("romeo's message", message("Soft! what light?"));
juliet.does("answers", xml("message", { to: romeo.client.jid.toString(), type: "chat", id: "m2" }, xml("body", {}, "Wherefore art thou?")));
await romeo.sees("juliet's message", message("Wherefore art thou?"));
juliet.does("writes to the nurse, who is offline", xml("message", { to: bare("nurse"), type: "chat", id: "m3" }, xml("body", {}, "Come hither, nurse")));
await juliet.settles();
await nurse.connects("edge-1, direct TLS");
await nurse.sees("the message that waited for her, with its delay", (s) => message("Come hither, nurse")(s) && s.getChild("delay", "urn:xmpp:delay"));
await befriend(juliet, nurse);

section("Going away");
romeo.leaves();
await juliet.sees("romeo offline", gone("romeo"));
await romeo.connects("edge-2, STARTTLS");
await juliet.sees("romeo online again", available("romeo"));

section("An edge is killed (SIGKILL)");
juliet.forget();
say("operator", `kills edge-2, process ${readRun().parts.find((p) => p.name === "edge-2").pid}`);
romeo.expectsCut();
process.kill(readRun().parts.find((p) => p.name === "edge-2").pid, "SIGKILL");
juliet.marks();
await juliet.sees("romeo offline", gone("romeo"), 15000);
await until("edge-2 serves again", async () => (await fetch(`http://${readRun().parts.find((p) => p.name === "edge-2").admin}/readyz`)).ok);
say("dev", "has started edge-2 again");
await romeo.connects("edge-2, STARTTLS");
await juliet.sees("romeo online again", available("romeo"));
const farewells = juliet.heard.filter(gone("romeo")).length;
if (farewells !== 1) throw new Error(`juliet heard ${farewells} times that romeo went offline, not once`);
say("juliet", "heard exactly once that he had gone");

section("The same story in Postgres: SELECT * FROM online_friends");
const postgres = new pg.Client({ connectionString: run.postgres_url });
await postgres.connect();
const friends = await until("online_friends has the four pairs", async () => {
  const { rows } = await postgres.query("SELECT owner, contact, resource, show, status, priority FROM online_friends ORDER BY owner, contact");
  return rows.length === 4 && rows;
});
console.table(friends);
await postgres.end();

section("in the log: rollcall replay show " + bare("juliet"));
console.log(await rollcall(["replay", "show", bare("juliet")]));

section("in ClickHouse");
const clickhouse = async (sql) => {
  const answer = await fetch(`http://${run.clickhouse_http}/?database=rollcall&default_format=JSON`, { method: "POST", body: sql });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${sql}: ${text}`);
  return JSON.parse(text).data;
};
const table = async (sql, enough) => {
  console.log(sql);
  console.table(await until(sql, async () => {
    const rows = await clickhouse(sql);
    return enough(rows) && rows;
  }));
};
await table(`SELECT owner, peer, direction, body FROM chat_log WHERE owner = '${bare("juliet")}' ORDER BY id`, (rows) => rows.length === 3);
await table(`SELECT kind, count() AS n FROM events WHERE account = '${bare("juliet")}' GROUP BY kind ORDER BY kind`, (rows) => rows.length > 5);
await table(`SELECT resource, online_from, online_to FROM presence_spans WHERE account = '${bare("romeo")}' ORDER BY online_from`, (rows) => rows.length === 3 && rows.filter((r) => r.online_to === null).length === 1);
await table(`SELECT account, sum(messages_sent) AS sent, sum(messages_received) AS received FROM account_counters GROUP BY account ORDER BY account`, (rows) => rows.length === 3 && rows.some((r) => r.account === bare("juliet") && Number(r.sent) === 2 && Number(r.received) === 1));

section("rollcall replay verify");
console.log(await rollcall(["replay", "verify"]));

for (const person of [juliet, romeo, nurse]) person.leaves();
await sleep(300);
section("All that was expected was seen.");
process.exit(0);
