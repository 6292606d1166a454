// Somebody uses converse.js: logs in, sees a contact come online, talks to
// them, leaves the page and comes back, which resumes the stream, and logs
// out. Each line of output is something that was done or seen; the contact is
// played by who starts this. A line of input brings them back to the page.
//
//   node converse.js CHROMIUM WSS-URL KEY-SHA256 JID PASSWORD CONTACT PICTURE
import { Browser } from "./browser.js";
import { serve } from "./page.js";

const [binary, websocket_url, trust, jid, password, contact, picture] = process.argv.slice(2);
const told = new Promise((resolve) => process.stdin.once("data", () => resolve(process.stdin.destroy())));
const say = (line) => process.stdout.write(line + "\n");
const text = "O Romeo, Romeo! <wherefore> art thou & Romeo? ♥";

const [url, stop] = await serve({
  websocket_url, assets_path: "/dist/", view_mode: "fullscreen", authentication: "login", discover_connection_methods: false,
  allow_registration: false, loglevel: "debug", i18n: "en", enable_smacks: true, play_sounds: false, show_desktop_notifications: false,
});
const browser = new Browser({ binary, trust });
try {
  await browser.open(url);
  await browser.type("input[name=jid]", jid);
  await browser.type("input[name=password]", password);
  await browser.enter();
  const shows = (status) => browser.until(`the contact is ${status}`, (jid, status) => {
    const item = document.querySelector(`#converse-roster [data-jid="${jid}"]`)?.closest(".list-item");
    return item && (!status || item.dataset.status === status);
  }, contact, status);
  await shows();
  say("connected");
  await shows("online");
  say("sees the contact online");
  await browser.click(`#converse-roster [data-jid="${contact}"]`);
  await browser.type("textarea.chat-textarea", text);
  await browser.enter();
  say("said: " + text);
  const message = (n) => browser.until(`message ${n}`, (n) => document.querySelectorAll(".chat-msg__text")[n - 1]?.textContent.trim(), n);
  say("heard: " + (await message(2)));
  await browser.picture(picture);
  await shows("away");
  say("sees the contact away");
  await browser.go("about:blank");
  say("left the page");
  await told;
  await browser.go(url);
  await shows("away");
  say("heard later: " + (await message(3)));
  await browser.click(".show-profile");
  await browser.click("converse-profile-modal .btn-danger"); // log out
  await browser.click("converse-confirm-modal [type=submit]"); // are you sure?
  await browser.until("the way in again", () => document.querySelector("input[name=jid]"));
  say("left");
} catch (err) {
  console.error(`${err.message}\n${browser.console.slice(-200).join("\n")}`);
  await browser.picture(picture).catch(() => {});
  process.exitCode = 1;
} finally {
  process.stdin.destroy();
  await browser.close();
  stop();
}
