package edge_test

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
)

// What clients publish under the nodes of other XEPs is kept and told as it is.
func TestNodesOfOtherXEPs(t *testing.T) {
	const metadata, avatar = "urn:xmpp:avatar:metadata", "urn:xmpp:avatar:data"
	const bookmarks = "urn:xmpp:bookmarks:1"
	image := strings.Repeat("iVBORw0KGgoAAAANSUhEUgAA", 400)
	for _, x := range []struct {
		name, node, id, payload string
		options                 []string
		told                    bool // to a contact that wants it
	}{
		{"XEP-0084 the image, 4.2.1", avatar, "111f4b3c50d7b0df729d299bc6f8e9ef9066971f",
			"<data xmlns='" + avatar + "'>" + image + "</data>", nil, false},
		{"XEP-0084 what is known of it, 4.2.2", metadata, "111f4b3c50d7b0df729d299bc6f8e9ef9066971f",
			"<metadata xmlns='" + metadata + "'><info bytes='12345' height='64' id='111f4b3c50d7b0df729d299bc6f8e9ef9066971f' type='image/png' width='64'/></metadata>", nil, true},
		{"XEP-0084 none any more, 4.2.3", metadata, "current", "<metadata xmlns='" + metadata + "'/>", nil, true},
		{"XEP-0172 a nickname, 4.3", "http://jabber.org/protocol/nick", "current", "<nick xmlns='http://jabber.org/protocol/nick'>Ishmael</nick>", nil, true},
		{"XEP-0107 a mood, 3.1", "http://jabber.org/protocol/mood", "current",
			"<mood xmlns='http://jabber.org/protocol/mood'><annoyed/><text>curse my nurse!</text></mood>", nil, true},
		{"XEP-0118 a tune, 2.1", "http://jabber.org/protocol/tune", "bffe6584-0f9c-11dc-84ba-001143d5d5db",
			"<tune xmlns='http://jabber.org/protocol/tune'><artist>Yes</artist><length>686</length><rating>8</rating><source>Yessongs</source><title>Heart of the Sunrise</title><track>3</track></tune>", nil, true},
		{"XEP-0118 no tune, 2.1", "http://jabber.org/protocol/tune", "d1", "<tune xmlns='http://jabber.org/protocol/tune'/>", nil, true},
		{"XEP-0402 a bookmark, 3.2", bookmarks, "theplay@conference.shakespeare.lit",
			"<conference xmlns='" + bookmarks + "' name='The Play&apos;s the Thing' autojoin='true'><nick>JC</nick><extensions><state xmlns='http://myclient.example/bookmark/state' minimized='true'/></extensions></conference>",
			[]string{"persist_items", "true", "max_items", "max", "send_last_published_item", "never", "access_model", "whitelist"}, false},
		{"XEP-0402 a second one, with what a client asks besides", bookmarks, "orchard@conference.shakespeare.lit",
			"<conference xmlns='" + bookmarks + "' name='The Orchard' autojoin='1'><nick>JC</nick></conference>",
			[]string{"persist_items", "1", "max_items", "max", "send_last_published_item", "never", "access_model", "whitelist", "notify_delete", "true", "notify_retract", "true"}, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.create("juliet", "romeo")
			p.house.Befriend("juliet", "romeo")
			p.wanting("juliet/balcony", x.node+"+notify")
			p.wanting("juliet/chamber", x.node+"+notify")
			p.wanting("romeo/orchard", x.node+"+notify")
			contact := x.told
			if x.node == avatar {
				contact = true // who wants the images themselves gets them
			}
			p.asks("juliet/balcony", "set", "juliet@example.com", publish(x.node, x.id, x.payload, x.options...), "result "+pubsub("<publish node='"+x.node+"'><item id='"+x.id+"'/></publish>"))
			inside := "<items node='" + x.node + "'>" + item(x.id, x.payload) + "</items>"
			p.hears("juliet/chamber", news("juliet", "juliet/chamber", inside))
			if contact {
				p.hears("romeo/orchard", news("juliet", "romeo/orchard", inside))
				p.asks("romeo/orchard", "get", "juliet@example.com", items(x.node, "<item id='"+x.id+"'/>"), "result "+items(x.node, item(x.id, x.payload)))
			} else {
				p.hears("romeo/orchard")
				p.asks("romeo/orchard", "get", "juliet@example.com", items(x.node), pubsubFailure("cancel", "not-allowed", "closed-node"))
			}
			p.asks("juliet/chamber", "get", "", items(x.node), "result "+items(x.node, item(x.id, x.payload)))
		})
	}
}

// XEP-0402, sections 3.2 and 3.4: bookmarks are items of one node, each by its
// room, and a removed one is told of.
func TestBookmarks(t *testing.T) {
	p := newPlay(t, edge.Options{})
	const node = "urn:xmpp:bookmarks:1"
	room := func(name string) string { return "<conference xmlns='" + node + "' name='" + name + "'/>" }
	options := []string{"persist_items", "true", "max_items", "max", "send_last_published_item", "never", "access_model", "whitelist"}
	p.online("juliet/balcony")
	p.wanting("juliet/chamber", node+"+notify")
	for _, id := range []string{"a@rooms", "b@rooms", "c@rooms", "a@rooms"} {
		p.asks("juliet/balcony", "set", "", publish(node, id, room(id), options...), "result ")
	}
	p.asks("juliet/balcony", "set", "", pubsub("<retract node='"+node+"' notify='true'><item id='b@rooms'/></retract>"), "result ")
	said := func(id string) string {
		return news("juliet", "juliet/chamber", "<items node='"+node+"'>"+item(id, room(id))+"</items>")
	}
	p.hears("juliet/chamber", said("a@rooms"), said("b@rooms"), said("c@rooms"), said("a@rooms"),
		news("juliet", "juliet/chamber", "<items node='"+node+"'><retract id='b@rooms'/></items>"))
	p.asks("juliet/chamber", "get", "", items(node), "result "+items(node, item("c@rooms", room("c@rooms")), item("a@rooms", room("a@rooms"))))
	// The last one is not sent to who logs in: it asks for all.
	p.online("juliet/attic")
	p.want("juliet/attic", node+"+notify")
	p.hears("juliet/attic")
}
