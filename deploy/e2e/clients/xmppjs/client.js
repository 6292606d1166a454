// Somebody uses @xmpp/client. Prints a line for each thing that it did or saw.
// What another device of the account writes to it is a command; what others
// write is read out.
//
//   NODE_EXTRA_CA_CERTS=FILE node client.js DOMAIN USER PASSWORD CONTACT SERVICE
import { webcrypto } from "node:crypto";
import { client, xml } from "@xmpp/client";

globalThis.crypto ??= webcrypto; // Node 18 does not give it by itself

const [domain, username, password, contact, service] = process.argv.slice(2);
const say = (...words) => process.stdout.write(words.join(" ") + "\n");
const xmpp = client({ service, domain, username, password });
const bare = (jid) => jid.split("/")[0];
const ask = (type, child) => xmpp.iqCaller.request(xml("iq", { type }, child));

xmpp.on("error", (err) => console.error(err.message));
let leaving = false;
const done = new Set(); // stanza ids of commands

const commands = {
  say: (text) => xmpp.send(xml("message", { to: contact, type: "chat" }, xml("body", {}, text))),
  subscribe: () => xmpp.send(xml("presence", { to: contact, type: "subscribe" })),
  block: () => ask("set", xml("block", { xmlns: "urn:xmpp:blocking" }, xml("item", { jid: contact }))),
  unblock: () => ask("set", xml("unblock", { xmlns: "urn:xmpp:blocking" }, xml("item", { jid: contact }))),
  avatar: () => ask("set", xml("pubsub", { xmlns: "http://jabber.org/protocol/pubsub" },
    xml("publish", { node: "urn:xmpp:avatar:metadata" }, xml("item", { id: "111f4b3c50d7b0df729d299bc6f8e9ef9066971f" },
      xml("metadata", { xmlns: "urn:xmpp:avatar:metadata" }))))),
  break: async () => {
    say("breaks");
    xmpp.socket.destroy ? xmpp.socket.destroy() : xmpp.socket.socket.destroy();
  },
  leave: async () => {
    leaving = true;
    await xmpp.stop();
  },
};

async function message(st) {
  const sent = st.getChild("sent", "urn:xmpp:carbons:2");
  if (sent) {
    say("also sent", sent.getChild("forwarded", "urn:xmpp:forward:0").getChild("message").getChildText("body"));
    return;
  }
  const body = st.getChildText("body");
  const id = st.getChild("stanza-id", "urn:xmpp:sid:0")?.attrs.id;
  if (st.attrs.type === "error") {
    say("refused", st.getChild("error").children.filter((c) => c.name !== "text").map((c) => c.name).join(" "));
  } else if (body && bare(st.attrs.from) !== bare(xmpp.jid.toString())) {
    say("reads", body);
  } else if (body && !done.has(id)) { // what was not acknowledged comes again
    done.add(id);
    const [verb, ...rest] = body.split(" ");
    await commands[verb](rest.join(" "));
    if (!leaving) say("did", body);
  }
}

xmpp.on("stanza", async (st) => {
  if (st.is("message")) await message(st);
  if (!st.is("presence") || bare(st.attrs.from) === bare(xmpp.jid.toString())) return;
  if (st.attrs.type === "subscribe") {
    say("asked by", st.attrs.from);
    await xmpp.send(xml("presence", { to: st.attrs.from, type: "subscribed" }));
  } else if (st.attrs.type === "subscribed") {
    say("approved by", st.attrs.from);
  } else if (!st.attrs.type || st.attrs.type === "unavailable") {
    say("sees", st.attrs.from, st.attrs.type ?? st.getChildText("show") ?? "available", st.getChildText("status") ?? "");
  }
});

xmpp.streamManagement.on("resumed", () => say("resumed"));

xmpp.on("online", async (jid) => {
  say("is", jid.toString());
  const roster = await ask("get", xml("query", { xmlns: "jabber:iq:roster" }));
  say("knows", roster.getChild("query").children.length);
  await ask("set", xml("enable", { xmlns: "urn:xmpp:carbons:2" }));
  await xmpp.send(xml("presence"));
});

await xmpp.start();
