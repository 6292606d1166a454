package edge_test

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

const (
	nsPubSub = "http://jabber.org/protocol/pubsub"
	nsOwner  = nsPubSub + "#owner"
	nsErrors = nsPubSub + "#errors"
	mood     = "<mood xmlns='http://jabber.org/protocol/mood'><happy/></mood>"
)

func pubsub(inside string) string { return "<pubsub xmlns='" + nsPubSub + "'>" + inside + "</pubsub>" }
func owner(inside string) string  { return "<pubsub xmlns='" + nsOwner + "'>" + inside + "</pubsub>" }

func publish(node, id, payload string, options ...string) string {
	x := ""
	if len(options) > 0 {
		x = "<publish-options>" + form(nsPubSub+"#publish-options", options...) + "</publish-options>"
	}
	return pubsub("<publish node='" + node + "'><item id='" + id + "'>" + payload + "</item></publish>" + x)
}

func form(formType string, fields ...string) string {
	x := "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>" + formType + "</value></field>"
	for i := 0; i < len(fields); i += 2 {
		x += "<field var='pubsub#" + fields[i] + "'><value>" + fields[i+1] + "</value></field>"
	}
	return x + "</x>"
}

func items(node string, inside ...string) string {
	if len(inside) == 0 {
		return pubsub("<items node='" + node + "'/>")
	}
	return pubsub("<items node='" + node + "'>" + strings.Join(inside, "") + "</items>")
}

func item(id, payload string) string { return "<item id='" + id + "'>" + payload + "</item>" }

func pubsubFailure(kind, condition, app string) string {
	return failure(kind, condition) + "/><" + app + " xmlns='" + nsErrors + "'"
}

// lovers has juliet and romeo see each other; nurse sees nobody.
func lovers(t *testing.T, o edge.Options) *play {
	p := newPlay(t, o)
	p.create("juliet", "romeo", "nurse")
	p.house.Befriend("juliet", "romeo")
	p.dial("juliet/balcony")
	p.dial("romeo/orchard")
	p.dial("nurse/home")
	return p
}

func TestPublishAndRetrieve(t *testing.T) {
	p := lovers(t, edge.Options{MaxPayload: 500, MaxNodes: 3, MaxItems: 5})
	const juliet = "juliet@example.com"
	// 7.1.2: the answer names node and item; 7.1.4: the node is made.
	p.asks("juliet/balcony", "set", "", publish("mood", "1", mood), "result "+pubsub("<publish node='mood'><item id='1'/></publish>"))
	p.asks("juliet/balcony", "get", juliet, items("mood"), "result "+items("mood", item("1", mood)))
	p.asks("romeo/orchard", "get", juliet, items("mood"), "result "+items("mood", item("1", mood)))
	// 7.1.3.6: an id is made where there is none.
	if got := p.ask("juliet/balcony", "set", "", pubsub("<publish node='mood'><item>"+mood+"</item></publish>")); !strings.HasPrefix(got, "result ") || strings.Contains(got, "id=''") || !strings.Contains(got, "<item id='") {
		t.Errorf("without an id: %s", got)
	}
	// By default a node has one item, the last.
	p.asks("juliet/balcony", "set", "", publish("mood", "3", mood), "result ")
	p.asks("juliet/balcony", "get", "", items("mood"), "result "+items("mood", item("3", mood)))

	// 7.1.3: what cannot be published.
	p.asks("romeo/orchard", "set", juliet, publish("mood", "1", mood), failure("auth", "forbidden"))
	p.asks("juliet/balcony", "set", "", publish("", "1", mood), pubsubFailure("modify", "bad-request", "nodeid-required"))
	p.asks("juliet/balcony", "set", "", pubsub("<publish node='mood'/>"), pubsubFailure("modify", "bad-request", "item-required"))
	p.asks("juliet/balcony", "set", "", publish("mood", "1", ""), pubsubFailure("modify", "bad-request", "payload-required"))
	p.asks("juliet/balcony", "set", "", publish("mood", "1", mood+mood), pubsubFailure("modify", "bad-request", "invalid-payload"))
	p.asks("juliet/balcony", "set", "", pubsub("<publish node='mood'>"+item("1", mood)+item("2", mood)+"</publish>"), failure("modify", "bad-request"))
	p.asks("juliet/balcony", "set", "", publish("mood", "1", "<a xmlns='b'>"+strings.Repeat("x", 500)+"</a>"), pubsubFailure("modify", "not-acceptable", "payload-too-big"))
	p.asks("juliet/balcony", "set", "", publish(strings.Repeat("n", 513), "1", mood), failure("modify", "not-acceptable"))
	p.asks("juliet/balcony", "set", "", publish("mood", strings.Repeat("i", 1025), mood), failure("modify", "not-acceptable"))
	for _, node := range []string{"a", "b"} {
		p.asks("juliet/balcony", "set", "", publish(node, "1", mood), "result ")
	}
	p.asks("juliet/balcony", "set", "", publish("c", "1", mood), pubsubFailure("wait", "resource-constraint", "max-nodes-exceeded"))

	// 6.5: named items, the newest ones, and none.
	p.asks("juliet/balcony", "set", "", owner("<configure node='a'>"+form(nsPubSub+"#node_config", "max_items", "3")+"</configure>"), "result ")
	for _, id := range []string{"2", "3", "4"} {
		p.asks("juliet/balcony", "set", "", publish("a", id, mood), "result ")
	}
	p.asks("romeo/orchard", "get", juliet, items("a"), "result "+items("a", item("2", mood), item("3", mood), item("4", mood)))
	p.asks("romeo/orchard", "get", juliet, pubsub("<items node='a' max_items='2'/>"), "result "+items("a", item("3", mood), item("4", mood)))
	p.asks("romeo/orchard", "get", juliet, items("a", "<item id='3'/>", "<item id='9'/>"), "result "+items("a", item("3", mood)))
	p.asks("romeo/orchard", "get", juliet, items("a", "<item id='9'/>"), "result "+items("a"))
	p.asks("romeo/orchard", "get", juliet, pubsub("<items node='a' max_items='0'/>"), failure("modify", "bad-request"))
	p.asks("romeo/orchard", "get", juliet, pubsub("<items/>"), pubsubFailure("modify", "bad-request", "nodeid-required"))
	p.asks("romeo/orchard", "get", juliet, items("none"), failure("cancel", "item-not-found"))
	p.asks("romeo/orchard", "set", juliet, pubsub("<subscribe node='a' jid='romeo@example.com'/>"), pubsubFailure("cancel", "feature-not-implemented", "unsupported"))
	p.asks("romeo/orchard", "get", juliet, pubsub(""), failure("modify", "bad-request"))
}

// All that an account publishes together is bounded, too.
func TestPublishedInAll(t *testing.T) {
	p := lovers(t, edge.Options{MaxPublished: 2*len(mood) + 10})
	p.asks("juliet/balcony", "set", "", publish("a", "1", mood), "result ")
	p.asks("juliet/balcony", "set", "", publish("b", "1", mood), "result ")
	p.asks("juliet/balcony", "set", "", publish("c", "1", mood), failure("wait", "resource-constraint"))
	p.asks("juliet/balcony", "set", "", owner("<purge node='a'/>"), "result ")
	p.asks("juliet/balcony", "set", "", publish("c", "1", mood), "result ")
}

// What is too much for one answer is left out, and the answer says so (6.5.4).
func TestItemsAreTruncated(t *testing.T) {
	p := lovers(t, edge.Options{SoftOutbound: 4000, HardOutbound: 16000})
	big := "<a xmlns='b'>" + strings.Repeat("x", 1800) + "</a>"
	p.asks("juliet/balcony", "set", "", publish("n", "0", big, "max_items", "9"), "result ")
	for _, id := range []string{"1", "2", "3", "4"} {
		p.asks("juliet/balcony", "set", "", publish("n", id, big), "result ")
	}
	got := p.ask("juliet/balcony", "get", "", items("n"))
	if strings.Contains(got, "<item id='1'>") || !strings.Contains(got, "<item id='2'>") ||
		!strings.Contains(got, "<set xmlns='http://jabber.org/protocol/rsm'><first>2</first><last>4</last><count>5</count></set>") {
		t.Errorf("got %s", strings.ReplaceAll(got, strings.Repeat("x", 1800), "…"))
	}
	// Who asks for as many as fit is told nothing of others.
	if got := p.ask("juliet/balcony", "get", "", pubsub("<items node='n' max_items='2'/>")); strings.Contains(got, "rsm") {
		t.Error("two of two are said to be truncated")
	}
}

func TestAccessModels(t *testing.T) {
	p := lovers(t, edge.Options{})
	const juliet = "juliet@example.com"
	for node, access := range map[string]string{"p": "presence", "o": "open", "w": "whitelist"} {
		p.asks("juliet/balcony", "set", "", publish(node, "1", mood, "access_model", access), "result ")
	}
	for _, node := range []string{"p", "o", "w"} {
		p.asks("juliet/balcony", "get", juliet, items(node), "result ")
	}
	p.asks("romeo/orchard", "get", juliet, items("p"), "result ")
	p.asks("romeo/orchard", "get", juliet, items("o"), "result ")
	p.asks("romeo/orchard", "get", juliet, items("w"), pubsubFailure("cancel", "not-allowed", "closed-node"))
	// A stranger reads what is open, and cannot tell one of the others from
	// what is not there.
	p.asks("nurse/home", "get", juliet, items("o"), "result ")
	for _, to := range []string{juliet, "nobody@example.com"} {
		for _, node := range []string{"p", "w", "none"} {
			p.asks("nurse/home", "get", to, items(node), pubsubFailure("auth", "not-authorized", "presence-subscription-required"))
		}
	}
	// A subscription in the other direction gives nothing: who cancels romeo's
	// is not read by him.
	p.send("juliet/balcony", "<presence type='unsubscribed' to='romeo@example.com'/>")
	p.heard("juliet/balcony")
	p.asks("romeo/orchard", "get", juliet, items("p"), pubsubFailure("auth", "not-authorized", "presence-subscription-required"))

	// XEP-0163, section 6: disco shows to each what it may read.
	p.asks("juliet/balcony", "get", "", "<query xmlns='http://jabber.org/protocol/disco#items'/>",
		"result <query xmlns='http://jabber.org/protocol/disco#items'><item jid='"+juliet+"' node='o'/><item jid='"+juliet+"' node='p'/><item jid='"+juliet+"' node='w'/></query>")
	p.asks("nurse/home", "get", juliet, "<query xmlns='http://jabber.org/protocol/disco#items'/>",
		"result <query xmlns='http://jabber.org/protocol/disco#items'><item jid='"+juliet+"' node='o'/></query>")
	p.asks("nurse/home", "get", "nobody@example.com", "<query xmlns='http://jabber.org/protocol/disco#items'/>", failure("cancel", "service-unavailable"))
	p.asks("nurse/home", "get", "nobody@example.com", "<query xmlns='http://jabber.org/protocol/disco#info'/>", failure("cancel", "service-unavailable"))
	p.asks("nurse/home", "get", juliet, "<query xmlns='http://jabber.org/protocol/disco#items' node='o'/>",
		"result <query xmlns='http://jabber.org/protocol/disco#items' node='o'><item jid='"+juliet+"' name='1'/></query>")
	p.asks("nurse/home", "get", juliet, "<query xmlns='http://jabber.org/protocol/disco#info' node='o'/>",
		"result <query xmlns='http://jabber.org/protocol/disco#info' node='o'><identity category='pubsub' type='leaf'/>")
	p.asks("nurse/home", "get", juliet, "<query xmlns='http://jabber.org/protocol/disco#info' node='w'/>", pubsubFailure("auth", "not-authorized", "presence-subscription-required"))
	info := p.ask("juliet/balcony", "get", juliet, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
	for _, want := range []string{"<identity category='pubsub' type='pep'/>", "<feature var='" + nsPubSub + "#publish-options'/>", "<feature var='" + nsPubSub + "#filtered-notifications'/>"} {
		if !strings.Contains(info, want) {
			t.Errorf("no %s in %s", want, info)
		}
	}
}

func TestPublishOptions(t *testing.T) {
	p := lovers(t, edge.Options{MaxItems: 50})
	bookmarks := []string{"persist_items", "true", "max_items", "max", "send_last_published_item", "never", "access_model", "whitelist"}
	p.asks("juliet/balcony", "set", "", publish("b", "1", mood, bookmarks...), "result ")
	config := p.ask("juliet/balcony", "get", "", owner("<configure node='b'/>"))
	for field, value := range map[string]string{"access_model": "whitelist", "max_items": "50", "persist_items": "1", "send_last_published_item": "never"} {
		if !strings.Contains(config, "var='pubsub#"+field+"'") || !strings.Contains(config, "<value>"+value+"</value>") {
			t.Errorf("%s is not %s: %s", field, value, config)
		}
	}
	// 7.1.5: what the node is like is published to, what it is not is refused.
	p.asks("juliet/balcony", "set", "", publish("b", "2", mood, bookmarks...), "result ")
	p.asks("juliet/balcony", "set", "", publish("b", "3", mood), "result ")
	for _, option := range [][]string{{"access_model", "open"}, {"max_items", "7"}, {"persist_items", "0"}, {"send_last_published_item", "on_sub_and_presence"}, {"access_model", "roster"}, {"nonsense", "1"}, {"deliver_payloads", "0"}} {
		p.asks("juliet/balcony", "set", "", publish("b", "9", mood, option...), pubsubFailure("cancel", "conflict", "precondition-not-met"))
	}
	p.asks("juliet/balcony", "set", "", publish("new", "1", mood, "access_model", "roster"), pubsubFailure("modify", "not-acceptable", "unsupported-access-model"))
	p.asks("juliet/balcony", "set", "", publish("new", "1", mood, "nonsense", "1"), failure("modify", "bad-request"))
	p.asks("juliet/balcony", "set", "", publish("new", "1", mood, "max_items", "0"), failure("modify", "not-acceptable"))
	p.asks("juliet/balcony", "set", "", pubsub("<publish node='new'>"+item("1", mood)+"</publish><publish-options>"+form("other")+"</publish-options>"), failure("modify", "bad-request"))
	p.asks("juliet/balcony", "get", "", items("new"), failure("cancel", "item-not-found"))
	p.asks("juliet/balcony", "get", "", items("b"), "result "+items("b", item("1", mood), item("2", mood), item("3", mood)))
	// A transient node keeps nothing.
	p.asks("juliet/balcony", "set", "", publish("t", "1", mood, "persist_items", "false"), "result ")
	p.asks("juliet/balcony", "get", "", items("t"), "result "+items("t"))
}

func TestOwnersRequests(t *testing.T) {
	p := lovers(t, edge.Options{MaxNodes: 2})
	const juliet = "juliet@example.com"
	config := func(fields ...string) string { return form(nsPubSub+"#node_config", fields...) }
	// 8.1: made, with a configuration; not twice, not without a name, not too many.
	p.asks("juliet/balcony", "set", "", pubsub("<create node='n'/><configure>"+config("access_model", "open")+"</configure>"), "result ")
	p.asks("nurse/home", "get", juliet, items("n"), "result ")
	p.asks("juliet/balcony", "set", "", pubsub("<create node='n'/>"), failure("cancel", "conflict"))
	p.asks("juliet/balcony", "set", "", pubsub("<create/>"), pubsubFailure("modify", "not-acceptable", "nodeid-required"))
	p.asks("juliet/balcony", "set", "", pubsub("<create node='m'/><configure>"+config("access_model", "authorize")+"</configure>"), pubsubFailure("modify", "not-acceptable", "unsupported-access-model"))
	p.asks("juliet/balcony", "set", "", pubsub("<create node='m'/>"), "result ")
	p.asks("juliet/balcony", "set", "", pubsub("<create node='k'/>"), pubsubFailure("wait", "resource-constraint", "max-nodes-exceeded"))
	// 8.2: configured; 8.3: the default.
	p.asks("juliet/balcony", "set", "", owner("<configure node='n'>"+config("access_model", "whitelist")+"</configure>"), "result ")
	p.asks("romeo/orchard", "get", juliet, items("n"), pubsubFailure("cancel", "not-allowed", "closed-node"))
	p.asks("juliet/balcony", "set", "", owner("<configure node='k'>"+config("access_model", "open")+"</configure>"), failure("cancel", "item-not-found"))
	p.asks("juliet/balcony", "get", "", owner("<configure node='k'/>"), failure("cancel", "item-not-found"))
	p.asks("juliet/balcony", "get", "", owner("<default/>"), "result <pubsub xmlns='"+nsOwner+"'><default><x xmlns='jabber:x:data' type='form'>")
	p.asks("juliet/balcony", "get", "", owner("<affiliations node='n'/>"), pubsubFailure("cancel", "feature-not-implemented", "unsupported"))
	// 7.2: retracted.
	p.asks("juliet/balcony", "set", "", publish("n", "1", mood), "result ")
	retract := func(node, id string) string {
		return pubsub("<retract node='" + node + "'><item id='" + id + "'/></retract>")
	}
	p.asks("romeo/orchard", "set", juliet, retract("n", "1"), failure("auth", "forbidden"))
	p.asks("juliet/balcony", "set", "", retract("n", "9"), failure("cancel", "item-not-found"))
	p.asks("juliet/balcony", "set", "", retract("k", "1"), failure("cancel", "item-not-found"))
	p.asks("juliet/balcony", "set", "", retract("n", ""), pubsubFailure("modify", "bad-request", "item-required"))
	p.asks("juliet/balcony", "set", "", retract("", "1"), pubsubFailure("modify", "bad-request", "nodeid-required"))
	p.asks("juliet/balcony", "set", "", retract("n", "1"), "result ")
	p.asks("juliet/balcony", "set", "", retract("n", "1"), failure("cancel", "item-not-found"))
	// 8.5: purged; 8.4: deleted.
	p.asks("juliet/balcony", "set", "", publish("n", "2", mood), "result ")
	p.asks("juliet/balcony", "set", "", owner("<purge node='n'/>"), "result ")
	p.asks("juliet/balcony", "get", "", items("n"), "result "+items("n"))
	p.asks("romeo/orchard", "set", juliet, owner("<delete node='n'/>"), failure("auth", "forbidden"))
	p.asks("juliet/balcony", "set", "", owner("<delete node='n'/>"), "result ")
	p.asks("juliet/balcony", "set", "", owner("<delete node='n'/>"), failure("cancel", "item-not-found"))
	p.asks("juliet/balcony", "set", "", owner("<purge node='n'/>"), failure("cancel", "item-not-found"))
	p.asks("juliet/balcony", "get", "", items("n"), failure("cancel", "item-not-found"))
	// What is sent one after the other happens so.
	p.send("juliet/balcony", "<iq type='set' id='one'>"+publish("m", "1", mood)+"</iq>"+
		"<iq type='set' id='two'>"+retract("m", "1")+"</iq><iq type='set' id='three'>"+publish("m", "2", mood)+"</iq>")
	p.asks("juliet/balcony", "get", "", items("m"), "result "+items("m", item("2", mood)))
	for _, aside := range p.aside {
		if strings.Contains(aside, "error") {
			t.Errorf("got %s", aside)
		}
	}
}

func TestNodeLimitsAreNotNegative(t *testing.T) {
	h := edgetest.NewHouse("example.com", 1)
	defer h.Close()
	if _, err := h.Open(edge.Options{MaxNodes: -1}); err == nil || !strings.Contains(err.Error(), "MaxNodes -1") {
		t.Error(err)
	}
}
