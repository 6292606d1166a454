// A person with an XMPP client: does things, sees things, and tells when.
import { webcrypto } from "node:crypto";
import { client, xml } from "@xmpp/client";

globalThis.crypto ??= webcrypto; // Node 18 does not give it by itself

const start = Date.now();
const clock = () => ((Date.now() - start) / 1000).toFixed(3).padStart(8);

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const section = (title) => console.log(`\n== ${title}`);
export const say = (who, what) => console.log(`${clock()}  ${who.padEnd(9)} ${what}`);

// until gives the first true answer of question, asked again and again.
export async function until(what, question, timeout = 20000) {
  const end = Date.now() + timeout;
  for (;;) {
    const answer = await Promise.resolve().then(question).catch((err) => ((until.last = err), false));
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within ${timeout / 1000} s: ${what}${until.last ? ` (${until.last.message})` : ""}`);
    await sleep(50);
  }
}

let lastDeed = performance.now(); // of anybody

export class Person {
  constructor(name, { service, domain, password }) {
    Object.assign(this, { name, service, domain, password, heard: [], unread: [], cutIsFine: false, serial: 0 });
  }

  async connects(where) {
    const began = performance.now();
    this.client = client({ service: this.service, domain: this.domain, username: this.name, password: this.password, resource: `${this.name}-pc` });
    this.client.reconnect.stop();
    this.unread = [];
    this.cutIsFine = false;
    this.client.on("error", (err) => {
      if (!this.cutIsFine) fail(new Error(`${this.name}'s connection: ${err.message}`));
    });
    this.client.on("stanza", (stanza) => {
      stanza.heardAt = performance.now();
      this.heard.push(stanza);
      this.unread.push(stanza);
      this.woken?.();
    });
    await this.client.start();
    await this.client.iqCaller.request(xml("iq", { type: "get" }, xml("query", { xmlns: "jabber:iq:roster" })));
    say(this.name, `is connected to ${where} after ${Math.round(performance.now() - began)} ms`);
    this.marks();
    await this.client.send(xml("presence"));
  }

  marks() {
    lastDeed = performance.now();
  }

  does(what, ...stanzas) {
    say(this.name, what);
    this.marks();
    for (const stanza of stanzas) this.client.send(stanza).catch(fail);
  }

  // settles returns when the server has taken all that was sent: the answer
  // to a ping comes after it.
  async settles() {
    await this.client.iqCaller.request(xml("iq", { type: "get", to: this.domain }, xml("ping", { xmlns: "urn:xmpp:ping" })));
  }

  // sees waits for the first unread stanza that passes the test.
  async sees(what, test, timeout = 10000) {
    const end = Date.now() + timeout;
    for (;;) {
      const i = this.unread.findIndex(test);
      if (i >= 0) {
        const [stanza] = this.unread.splice(i, 1);
        say(this.name, `sees ${what}, after ${Math.max(0, stanza.heardAt - lastDeed).toFixed(1)} ms`);
        return stanza;
      }
      const left = end - Date.now();
      if (left <= 0) throw new Error(`${this.name} did not see ${what} within ${timeout / 1000} s; unread: ${this.unread.join(" ")}`);
      await Promise.race([sleep(left), new Promise((resolve) => (this.woken = resolve))]);
    }
  }

  forget() {
    this.heard = [];
  }

  leaves() {
    say(this.name, "goes offline");
    this.marks();
    this.client.stop().catch(() => {});
  }

  expectsCut() {
    this.cutIsFine = true;
  }
}

export function fail(err) {
  console.error(`\ndemo: ${err.message}`);
  process.exit(1);
}
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
