"""Somebody uses slixmpp, over TLS that must be the server's own.

    client.py HOST PORT CERTIFICATE JID PASSWORD CONTACT

Prints a line for each thing that it did or saw. What another device of the
account writes to it is a command; what others write is read out.
"""

import asyncio
import sys

from slixmpp import ClientXMPP, JID
from slixmpp.exceptions import IqError


def say(*words):
    print(*words, flush=True)


class Client(ClientXMPP):
    def __init__(self, host, port, certificate, jid, password, contact):
        super().__init__(jid, password)
        self.edge_address, self.contact, self.over = (host, port), contact, asyncio.Event()
        self.ca_certs = certificate
        self.auto_authorize = self.auto_subscribe = None  # asked before it answers
        for plugin in ("xep_0030", "xep_0115", "xep_0163", "xep_0172", "xep_0184", "xep_0191", "xep_0198", "xep_0199", "xep_0280", "xep_0313", "xep_0441"):
            self.register_plugin(plugin)
        self.plugin["xep_0184"].auto_request = True
        self.plugin["xep_0163"].add_interest("http://jabber.org/protocol/nick")
        for event, handler in (
            ("session_start", self.started), ("session_resumed", self.resumed), ("sm_enabled", lambda e: say("stream managed")),
            ("failed_auth", lambda e: say("not authenticated")),
            ("presence_subscribe", self.asked), ("presence_subscribed", lambda p: say("approved by", p["from"])),
            *(("presence_" + what, lambda p: self.seen(p, p["type"])) for what in ("available", "away", "chat", "dnd", "xa", "unavailable")),
            ("message", self.read), ("message_error", lambda m: say("refused", m["error"]["condition"])),
            ("receipt_received", lambda m: say("receipt from", m["from"])),
            ("carbon_sent", lambda m: say("also sent", m["carbon_sent"]["body"])),
            ("user_nick_publish", self.nick),
        ):
            self.add_event_handler(event, handler)

    async def started(self, _):
        say("is", self.boundjid.full)
        await self.get_roster()
        say("knows", " ".join(sorted(j + ":" + self.client_roster[j]["subscription"] for j in self.client_roster if j != self.boundjid.bare)))
        await self.plugin["xep_0280"].enable()
        self.send_presence()

    async def resumed(self, _):
        say("resumed")

    def asked(self, p):
        say("asked by", p["from"])
        self.send_presence(pto=p["from"].bare, ptype="subscribed")

    def seen(self, p, what):
        if p["from"].bare != self.boundjid.bare:
            say("sees", p["from"], what, p["status"])

    def nick(self, m):
        say("nick of", m["from"].bare, m["pubsub_event"]["items"]["item"]["nick"]["nick"])

    async def read(self, m):
        if m["from"].bare != self.boundjid.bare:
            say("reads", m["body"])
            return
        try:
            await self.do(m["body"])
            say("did", m["body"])
        except IqError as e:
            say("failed", m["body"], e.condition)

    async def do(self, command):
        verb, _, rest = command.partition(" ")
        blocking = self.plugin["xep_0191"]
        if verb == "say":
            self.send_message(mto=self.contact, mbody=rest, mtype="chat")
        elif verb == "subscribe":
            self.send_presence_subscription(pto=self.contact)
        elif verb == "archive":
            pages = {"rsm": {"max": 2}, "with_jid": JID(self.contact), "reverse": rest == "backwards"}
            async for m in self.plugin["xep_0313"].iterate(**pages):
                kept = m["mam_result"]["forwarded"]["stanza"]
                if kept["body"]:  # receipts are kept too
                    say("kept", kept["from"].bare, kept["body"])
        elif verb == "keep":
            await self.plugin["xep_0441"].set_preferences(default=rest)
            default, _, _ = await self.plugin["xep_0441"].get_preferences()
            say("keeps", default)
        elif verb == "block":
            await blocking.block(self.contact)
        elif verb == "unblock":
            await blocking.unblock(self.contact)
        elif verb == "nick":
            await self.plugin["xep_0172"].publish_nick(rest)
        elif verb == "break":
            self.transport.abort()
            await self.wait_until("disconnected", 10)
            say("breaks")
            self.connect(*self.edge_address)
        elif verb == "leave":
            await self.disconnect()
            self.over.set()


async def main(host, port, *rest):
    client = Client(host, int(port), *rest)
    client.connect(*client.edge_address)
    await client.over.wait()


asyncio.run(main(*sys.argv[1:]))
