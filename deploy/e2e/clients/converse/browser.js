// A headless Chromium, driven over a pipe by the DevTools protocol.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Browser {
  // trust is the SHA-256 of the one public key that is trusted beside the
  // usual ones, in base64.
  constructor({ binary, trust }) {
    this.home = mkdtempSync(path.join(tmpdir(), "converse-"));
    const flags = ["--headless=new", "--remote-debugging-pipe", `--user-data-dir=${this.home}`, `--ignore-certificate-errors-spki-list=${trust}`,
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", // a test asks nobody else
      "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,800", "--disable-background-networking", "--disable-component-update"];
    if (process.getuid() === 0) flags.push("--no-sandbox"); // which root must not use
    this.process = spawn(binary, [...flags, "about:blank"], { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
    this.said = "";
    this.process.stderr.on("data", (text) => (this.said = (this.said + text).slice(-4000)));
    this.ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.ended.then(() => {
      for (const { reject } of this.waiting.values()) reject(new Error(`Chromium has ended; it said: ${this.said}`));
    });
    this.waiting = new Map();
    this.serial = 0;
    this.console = [];
    let rest = "";
    this.process.stdio[4].setEncoding("utf8").on("data", (text) => {
      const messages = (rest + text).split("\0");
      rest = messages.pop();
      for (const message of messages) this.take(JSON.parse(message));
    });
  }

  take({ id, result, error, method, params }) {
    const note = (text) => this.console.push(`${(performance.now() / 1000).toFixed(3)} ${text}`);
    if (method === "Runtime.consoleAPICalled") note(`${params.type}: ${params.args.map((a) => a.value ?? a.description).join(" ")}`);
    if (method === "Runtime.exceptionThrown") note(`exception: ${params.exceptionDetails.exception?.description ?? params.exceptionDetails.text}`);
    if (method === "Log.entryAdded") note(`${params.entry.level}: ${params.entry.text} ${params.entry.url ?? ""}`);
    const waits = this.waiting.get(id);
    if (!waits) return;
    this.waiting.delete(id);
    if (error) waits.reject(new Error(error.message));
    else waits.resolve(result);
  }

  call(method, params = {}) {
    return new Promise((resolve, reject) => {
      const id = ++this.serial;
      this.waiting.set(id, { resolve, reject });
      this.process.stdio[3].write(JSON.stringify({ id, method, params, sessionId: this.session }) + "\0");
    });
  }

  async open(url) {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    this.session = (await this.call("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    for (const domain of ["Runtime", "Log", "Page"]) await this.call(`${domain}.enable`);
    await this.go(url);
  }

  async go(url) {
    await this.call("Page.navigate", { url });
    await this.until(url, (url) => location.href === url && document.readyState === "complete", url);
  }

  // ask gives what the function gives in the page.
  async ask(question, ...args) {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression: `(${question})(...${JSON.stringify(args)})`, awaitPromise: true, returnByValue: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  // until asks again and again for the first true answer.
  async until(what, question, ...args) {
    const end = Date.now() + 30000;
    for (let last; ; await sleep(50)) {
      const answer = await this.ask(question, ...args).catch((err) => ((last = err), false));
      if (answer) return answer;
      if (Date.now() > end) throw new Error(`not within 30 s: ${what} ${last?.message ?? ""}`);
    }
  }

  // type types into what the selector finds, as keys are pressed.
  async type(selector, text) {
    await this.until(selector, (s) => (document.querySelector(s)?.focus(), document.activeElement?.matches(s)), selector);
    await this.call("Input.insertText", { text });
  }

  async enter() {
    const key = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" };
    await this.call("Input.dispatchKeyEvent", { type: "keyDown", ...key });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", ...key });
  }

  async click(selector) {
    const at = await this.until(selector, (s) => {
      const box = document.querySelector(s)?.getBoundingClientRect();
      return box?.width && { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    }, selector);
    for (const type of ["mousePressed", "mouseReleased"]) {
      await this.call("Input.dispatchMouseEvent", { type, ...at, button: "left", clickCount: 1 });
    }
  }

  async picture(file) {
    const { data } = await this.call("Page.captureScreenshot", { format: "png" });
    writeFileSync(file, Buffer.from(data, "base64"));
  }

  async close() {
    this.session = undefined;
    await this.call("Browser.close").catch(() => {});
    await this.ended;
    rmSync(this.home, { recursive: true, force: true, maxRetries: 10 });
  }
}
