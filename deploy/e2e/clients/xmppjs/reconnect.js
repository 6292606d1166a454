// A program logs in by its password, then at another edge by the token that it
// was given (XEP-0484). Each line of output is something that was done or seen.
//
//   NODE_EXTRA_CA_CERTS=FILE node reconnect.js DOMAIN USER PASSWORD AGENT-UUID SERVICE...
import { webcrypto } from "node:crypto";
import { client, xml } from "@xmpp/client";

globalThis.crypto ??= webcrypto; // Node 18 does not give it by itself

const [domain, username, password, id, ...services] = process.argv.slice(2);
const say = (line) => process.stdout.write(line + "\n");
const userAgent = xml("user-agent", { id }, xml("software", {}, "xmppjs"), xml("device", {}, "the test's"));
let token = null;

for (const service of services) {
  // Who has a token is not asked for the password.
  const xmpp = client({ service, domain, userAgent, resource: "robot", username, password: token ? undefined : password });
  xmpp.reconnect.stop();
  xmpp.fast.fetchToken = async () => token;
  xmpp.fast.saveToken = async (given) => { token = given; };
  xmpp.fast.deleteToken = async () => { token = null; };
  xmpp.on("error", (err) => {
    console.error(err);
    process.exit(1);
  });
  xmpp.on("send", (element) => {
    if (element.is("authenticate", "urn:xmpp:sasl:2")) say(`authenticates by ${element.attrs.mechanism}`);
  });
  const address = await xmpp.start();
  say(`is ${address}`);
  await xmpp.iqCaller.request(xml("iq", { type: "get", to: domain }, xml("ping", { xmlns: "urn:xmpp:ping" })));
  say("is answered");
  await xmpp.stop();
}
