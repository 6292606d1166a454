package fanout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// told gives what waits to be queued for an edge, and forgets it.
func told(t *testing.T, p *partition, e *peer) (all []*wire.Frame) {
	t.Helper()
	for _, i := range p.pending[e] {
		var f wire.Frames
		if err := proto.Unmarshal(i.bytes, &f); err != nil {
			t.Fatal(err)
		}
		all = append(all, f.GetFrames()...)
	}
	p.pending[e] = nil
	return all
}

// copies says of frames which are messages, for how many sessions, and which
// are copies, not for how many.
func copies(frames []*wire.Frame) (words []string) {
	for _, f := range frames {
		switch f := f.GetWhat().(type) {
		case *wire.Frame_Message:
			words = append(words, "message"+strings.Repeat("+", len(f.Message.GetBindings())))
		case *wire.Frame_Carbon:
			word := "received"
			if f.Carbon.GetSent() {
				word = "sent"
			}
			words = append(words, word+strings.Repeat("-", len(f.Carbon.GetBut())))
		}
	}
	return words
}

func said(kind event.MessageType, id string, c event.Copies) *event.Message {
	return &event.Message{Type: kind, Id: id, Payload: []byte("<body>x</body>"), Storable: true, Copies: c}
}

func toRomeo(from, resource string, binding []byte, m *event.Message) *event.Event {
	id := uuid.Must(uuid.NewV7())
	return &event.Event{Id: id[:], Binding: binding, Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: from, Resource: resource, Message: m,
	}}}
}

func byRomeo(binding []byte, to string, m *event.Message) *event.Event {
	return &event.Event{Id: make([]byte, 16), Binding: binding, Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{Resource: "a", To: to, Message: m}}}
}

// TestCarbonsGoWhereTheyMayBeWanted has romeo with a resource "a" on e1, and
// what each case adds.
func TestCarbonsGoWhereTheyMayBeWanted(t *testing.T) {
	const chat, failed = event.MessageType_MESSAGE_TYPE_CHAT, event.MessageType_MESSAGE_TYPE_ERROR
	const all, none, senders = event.Copies_COPIES_ALL, event.Copies_COPIES_UNSPECIFIED, event.Copies_COPIES_SENT
	type second struct {
		edge     string
		priority int32 // 1000: connected
	}
	for _, c := range []struct {
		name   string
		add    []second // resources "b", "c"
		event  func(a []byte) *event.Event
		e1, e2 []string
	}{
		{"XEP-0280 7 a single resource", nil,
			func([]byte) *event.Event { return toRomeo("juliet@x/j", "a", nil, said(chat, "1", all)) }, []string{"message+"}, nil},
		{"XEP-0280 7 to a full JID, the other on another edge", []second{{"e2", 0}},
			func([]byte) *event.Event { return toRomeo("juliet@x/j", "a", nil, said(chat, "1", all)) }, []string{"message+"}, []string{"received-"}},
		{"XEP-0280 7 to a full JID, the other on the same edge", []second{{"e1", 0}},
			func([]byte) *event.Event { return toRomeo("juliet@x/j", "a", nil, said(chat, "1", all)) }, []string{"message+", "received-"}, nil},
		{"XEP-0280 7 to the bare JID, all have it", []second{{"e2", 5}},
			func([]byte) *event.Event { return toRomeo("juliet@x/j", "", nil, said(chat, "1", all)) }, []string{"message+"}, []string{"message+"}},
		{"XEP-0280 7 to the bare JID, one is negative, one connected", []second{{"e2", -1}, {"e1", 1000}},
			func([]byte) *event.Event { return toRomeo("juliet@x/j", "", nil, said(chat, "1", all)) }, []string{"message+", "received-"}, []string{"received-"}},
		{"XEP-0280 6 not eligible", []second{{"e2", 0}},
			func([]byte) *event.Event { return toRomeo("juliet@x/j", "a", nil, said(chat, "1", none)) }, []string{"message+"}, nil},
		{"XEP-0280 6.1 for the sender's alone", []second{{"e2", 0}},
			func([]byte) *event.Event { return toRomeo("juliet@x/j", "a", nil, said(chat, "1", senders)) }, []string{"message+"}, nil},
		{"XEP-0280 8 sent by a single resource", nil,
			func(a []byte) *event.Event { return byRomeo(a, "juliet@x", said(chat, "1", all)) }, nil, nil},
		{"XEP-0280 8 sent", []second{{"e2", -1}, {"e1", 1000}},
			func(a []byte) *event.Event { return byRomeo(a, "juliet@x", said(chat, "1", senders)) }, []string{"sent-"}, []string{"sent-"}},
		{"XEP-0280 8 sent, not eligible", []second{{"e2", 0}},
			func(a []byte) *event.Event { return byRomeo(a, "juliet@x", said(chat, "1", none)) }, nil, nil},
		{"XEP-0280 7 from oneself", []second{{"e2", 0}, {"e2", 1000}},
			func(a []byte) *event.Event { return toRomeo("romeo@x/a", "b", a, said(chat, "1", all)) }, nil, []string{"message+", "received--"}},
		{"XEP-0280 8 to oneself: the copy is the recipient's", []second{{"e2", 0}},
			func(a []byte) *event.Event { return byRomeo(a, "romeo@x/b", said(chat, "1", all)) }, nil, nil},
		{"XEP-0280 6.1 an error that answers nothing", []second{{"e2", 0}},
			func([]byte) *event.Event { return toRomeo("juliet@x/j", "a", nil, said(failed, "other", none)) }, []string{"message+"}, nil},
		{"XEP-0280 6.1 an error that answers what was copied", []second{{"e2", 0}},
			func([]byte) *event.Event { return toRomeo("juliet@x/j", "a", nil, said(failed, "asked", none)) }, []string{"message+"}, []string{"received-"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, edges := newRouting(t)
			a := bindOn(p, 10, "romeo@x", "a", "e1", 0)
			for n, s := range c.add {
				bindOn(p, int64(20+10*n), "romeo@x", string(rune('b'+n)), s.edge, s.priority)
			}
			p.event(80, "romeo@x", byRomeo(a, "juliet@x", said(chat, "asked", all)))
			told(t, p, edges[0])
			told(t, p, edges[1])
			p.event(90, "romeo@x", c.event(a))
			if got := copies(told(t, p, edges[0])); !slices.Equal(got, c.e1) {
				t.Errorf("e1 is told %q, want %q", got, c.e1)
			}
			if got := copies(told(t, p, edges[1])); !slices.Equal(got, c.e2) {
				t.Errorf("e2 is told %q, want %q", got, c.e2)
			}
		})
	}
}

// A session that was resumed gets no copy of what it sent before, under its
// earlier binding.
func TestCarbonIsNotForTheSender(t *testing.T) {
	p, edges := newRouting(t)
	a := bindOn(p, 10, "romeo@x", "a", "e1", 0)
	bindOn(p, 20, "romeo@x", "b", "e2", 0)
	bindOn(p, 30, "romeo@x", "a", "e1", 0)
	told(t, p, edges[0])
	told(t, p, edges[1])
	p.event(90, "romeo@x", byRomeo(a, "juliet@x", said(event.MessageType_MESSAGE_TYPE_CHAT, "1", event.Copies_COPIES_ALL)))
	p.event(91, "romeo@x", toRomeo("romeo@x/a", "b", a, said(event.MessageType_MESSAGE_TYPE_CHAT, "1", event.Copies_COPIES_ALL)))
	if got := copies(told(t, p, edges[0])); got != nil {
		t.Errorf("the sender's edge is told %q", got)
	}
	if got := copies(told(t, p, edges[1])); !slices.Equal(got, []string{"sent-", "message+"}) {
		t.Errorf("the other is told %q", got)
	}
}

// A copy tells what its message was.
func TestCarbonIsWhole(t *testing.T) {
	p, edges := newRouting(t)
	a := bindOn(p, 10, "romeo@x", "a", "e1", 0)
	bindOn(p, 20, "romeo@x", "b", "e2", 0)
	told(t, p, edges[1])
	m := said(event.MessageType_MESSAGE_TYPE_CHAT, "1", event.Copies_COPIES_ALL)
	accepted := toRomeo("juliet@x/j", "a", nil, m)
	accepted.At = 7
	sent := byRomeo(a, "juliet@x/j", m)
	sent.At = 8
	p.event(90, "romeo@x", accepted)
	p.event(91, "romeo@x", sent)
	want := []*wire.Carbon{
		{Account: "romeo@x", Offset: 90, But: [][]byte{a}, From: "juliet@x/j", To: "romeo@x/a", Message: m, At: 7},
		{Account: "romeo@x", Offset: 91, Sent: true, But: [][]byte{a}, From: "romeo@x/a", To: "juliet@x/j", Message: m, At: 8},
	}
	got := told(t, p, edges[1])
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for n := range want {
		if !proto.Equal(got[n].GetCarbon(), want[n]) {
			t.Errorf("%v, want %v", got[n].GetCarbon(), want[n])
		}
	}
}

// Copies cost an account with one resource nothing.
func TestCarbonsOfOneResourceAreFree(t *testing.T) {
	p, _ := newRouting(t)
	a := bindOn(p, 10, "romeo@x", "a", "e1", 0)
	m := said(event.MessageType_MESSAGE_TYPE_CHAT, "1", event.Copies_COPIES_ALL)
	accepted, sent := toRomeo("juliet@x/j", "a", nil, m), byRomeo(a, "juliet@x/j", m)
	one := p.accounts["romeo@x"]
	d := message.Route(message.Chat, "a", one.resources)
	n := testing.AllocsPerRun(100, func() {
		p.received(90, one, accepted, accepted.GetMessageAccepted(), d)
		p.sent(91, "romeo@x", sent, sent.GetMessageSent())
	})
	if n != 0 || one.recent != nil {
		t.Errorf("%v allocations, remembered: %v", n, one.recent != nil)
	}
}

// What a broken stream may have lost goes out again to the edge's next one, in
// its order, as far as it is kept.
func TestCarbonsOfABrokenStreamAreRepeated(t *testing.T) {
	p, edges := newRouting(t)
	a := bindOn(p, 10, "romeo@x", "a", "e1", 0)
	bindOn(p, 20, "romeo@x", "b", "e2", 0)
	m := said(event.MessageType_MESSAGE_TYPE_CHAT, "1", event.Copies_COPIES_ALL)
	p.event(90, "romeo@x", byRomeo(a, "juliet@x", m))
	p.detach(edges[1])
	p.event(91, "romeo@x", byRomeo(a, "juliet@x", m))
	offsets := func(e *peer) (all []int64) {
		for _, f := range told(t, p, e) {
			if f.GetCarbon() != nil {
				all = append(all, f.GetCarbon().GetOffset())
			}
		}
		return all
	}
	again := func() *peer {
		e := &peer{edgeKey: edges[1].edgeKey, queue: testQueue(1<<40, 1<<30)}
		p.attach(e)
		return e
	}
	e := again()
	whole := slices.DeleteFunc(p.pending[e], func(i item) bool { return i.whole })
	p.pending[e] = whole
	if got := offsets(e); !slices.Equal(got, []int64{90, 91}) {
		t.Errorf("repeated: %d", got)
	}
	p.event(92, "romeo@x", byRomeo(a, "juliet@x", m))
	if got := offsets(e); !slices.Equal(got, []int64{92}) {
		t.Errorf("then: %d", got)
	}
	for n := range int64(2 * maxRepeated) {
		p.event(100+n, "romeo@x", byRomeo(a, "juliet@x", m))
	}
	large := said(event.MessageType_MESSAGE_TYPE_CHAT, "1", event.Copies_COPIES_ALL)
	if len(p.copies) != maxRepeated {
		t.Errorf("%d are kept", len(p.copies))
	}
	large.Payload = make([]byte, maxRepeatedBytes/2)
	p.event(1000, "romeo@x", byRomeo(a, "juliet@x", large))
	p.event(1001, "romeo@x", byRomeo(a, "juliet@x", large))
	if len(p.copies) != 1 || p.copiesBytes != len(p.copies[0].i.bytes) {
		t.Errorf("%d large ones are kept, of %d bytes", len(p.copies), p.copiesBytes)
	}
	p.event(1002, "romeo@x", byRomeo(a, "juliet@x", m))
	if got := offsets(e); got[len(got)-1] != 1002 {
		t.Errorf("at the end: %d", got)
	}
}

// A worker that takes a partition over makes copies of the last messages
// that it finds folded: one that died may not have.
func TestCarbonsOfADeadWorkerAreRepeated(t *testing.T) {
	p, edges := newRouting(t)
	a := bindOn(p, 10, "romeo@x", "a", "e1", 0)
	bindOn(p, 20, "romeo@x", "b", "e2", 0)
	told(t, p, edges[1])
	m := said(event.MessageType_MESSAGE_TYPE_CHAT, "1", event.Copies_COPIES_ALL)
	at := func(offset int64, e *event.Event, ago time.Duration) record {
		e.At, e.Origin, e.Sequence = time.Now().Add(-ago).UnixMicro(), "edge/e1/1", uint64(offset)
		return record{offset, "romeo@x", e}
	}
	p.next = 95
	late := at(90, byRomeo(a, "juliet@x", m), time.Second)
	late.offset = 94
	read := []record{
		at(89, byRomeo(a, "juliet@x", m), 2*repeatFor), // too old
		at(90, byRomeo(a, "juliet@x", m), time.Second),
		at(91, toRomeo("juliet@x/j", "a", nil, m), time.Second),
		at(92, &event.Event{Binding: a, Kind: &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: "a"}}}, time.Second),
		{93, "nobody@x", byRomeo(a, "juliet@x", m)},
		late, // the broker has it twice
	}
	p.apply(read)
	p.repeated()
	if got := copies(told(t, p, edges[0])); got != nil {
		t.Errorf("the addressee's edge is told %q", got) // the inbox has it
	}
	if got := copies(told(t, p, edges[1])); !slices.Equal(got, []string{"sent-", "received-"}) {
		t.Errorf("the other is told %q", got)
	}
	if p.next != 95 || len(p.accounts["romeo@x"].resources) != 2 || len(p.accounts["romeo@x"].inbox) != 0 {
		t.Errorf("it was folded again: next %d", p.next)
	}
	// Who unblocks somebody meanwhile gets nothing of what was refused before.
	unblocks := at(94, &event.Event{Kind: &event.Event_BlockListChanged{BlockListChanged: &event.BlockListChanged{UnblockedAll: true}}}, time.Second)
	p.apply(append(read[:5:5], unblocks))
	p.repeated()
	if got := copies(told(t, p, edges[1])); !slices.Equal(got, []string{"sent-"}) {
		t.Errorf("after a change of the block list it is told %q", got)
	}
	// Nor of what would be refused now.
	p.apply(read)
	p.set(95, "romeo@x", &privacy.State{Blocked: []string{"juliet@x"}})
	p.repeated()
	if got := copies(told(t, p, edges[1])); !slices.Equal(got, []string{"sent-"}) {
		t.Errorf("while it blocks the sender it is told %q", got)
	}
}
