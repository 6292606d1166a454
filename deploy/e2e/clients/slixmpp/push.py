"""An app server as a component, and a client of it, that use slixmpp.

    push.py COMPONENT-HOST COMPONENT-PORT DOMAIN SECRET HOST PORT CERTIFICATE JID PASSWORD

Prints a line for each thing that they did or saw. The client registers the
component as its push service (XEP-0357), goes away, comes back once the
component was told that a message waits, and reads it.
"""

import asyncio
import sys
from xml.etree import ElementTree as ET

from slixmpp import ClientXMPP, ComponentXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

PUSH = "urn:xmpp:push:0"
PUBSUB = "http://jabber.org/protocol/pubsub"
OPTIONS = PUBSUB + "#publish-options"
DATA = "jabber:x:data"


def say(*words):
    print(*words, flush=True)


def form(**fields):
    x = ET.Element("{%s}x" % DATA, type="submit")
    for name, value in fields.items():
        field = ET.SubElement(x, "{%s}field" % DATA, var=name)
        ET.SubElement(field, "{%s}value" % DATA).text = value
    return x


def values(x):
    return {f.get("var"): f.findtext("{%s}value" % DATA) for f in x.iter("{%s}field" % DATA)} if x is not None else {}


class AppServer(ComponentXMPP):
    def __init__(self, host, port, domain, secret):
        super().__init__(domain, secret, host, port)
        self.attached, self.woken = asyncio.Event(), asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.attached.set())
        self.register_handler(Callback("publish", MatchXPath("{%s}iq/{%s}pubsub" % (self.default_ns, PUBSUB)), self.publish))

    def publish(self, iq):
        pubsub = iq.xml.find("{%s}pubsub" % PUBSUB)
        node = pubsub.find("{%s}publish" % PUBSUB).get("node")
        summary = values(pubsub.find(".//{%s}notification/{%s}x" % (PUSH, DATA)))
        options = values(pubsub.find("{%s}publish-options/{%s}x" % (PUBSUB, DATA)))
        iq.reply().send()
        say("told of %s: %s of %s with %s" % (node, summary["message-count"], summary["last-message-sender"], options.get("secret")))
        self.woken.set()


class Phone(ClientXMPP):
    def __init__(self, certificate, jid, password):
        super().__init__(jid, password)
        self.ca_certs = certificate
        self.register_plugin("xep_0030")
        self.started, self.read = asyncio.Event(), asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("message", self.reads)

    def reads(self, message):
        if message["body"]:
            say("reads", message["body"])
            self.read.set()

    async def enable(self, service, node):
        info = await self.plugin["xep_0030"].get_info(jid=self.boundjid.bare)
        if PUSH in info["disco_info"]["features"]:
            say("offered", PUSH)
        iq = self.make_iq_set()
        enable = ET.Element("{%s}enable" % PUSH, jid=service, node=node)
        enable.append(form(FORM_TYPE=OPTIONS, secret="s3cret-option"))
        iq.append(enable)
        await iq.send()
        say("enabled")


async def main(component_host, component_port, domain, secret, host, port, certificate, jid, password):
    app = AppServer(component_host, int(component_port), domain, secret)
    app.connect()
    await app.attached.wait()
    say("attached", domain)
    phone = Phone(certificate, jid, password)
    phone.connect(host, int(port))
    await phone.started.wait()
    await phone.enable(domain, "phone")
    await phone.disconnect()
    say("away")
    await app.woken.wait()
    phone = Phone(certificate, jid, password)
    phone.connect(host, int(port))
    await phone.started.wait()
    phone.send_presence()
    await phone.read.wait()
    await phone.disconnect()
    await app.disconnect()


asyncio.run(main(*sys.argv[1:]))
