package fanout

import (
	"slices"
	"time"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/wire"
)

// Copies of messages (XEP-0280) go to the edges of an account that has two
// resources or more; of one that has fewer nobody could get any, and it costs
// nothing. Which sessions asked for them, only their edges know.
//
// A copy is in no inbox. What an earlier worker of the partition may not have
// sent, because it died, is sent again from the last records before those that
// were loaded; what a stream that broke may have lost, from the last copies. The
// edges drop those that they have.

const (
	// repeatRecords is how many records are read again, and repeatFor how old
	// the messages may be that are copied again: a worker that dies is missed
	// for a group session's timeout.
	repeatRecords = 4096
	repeatFor     = time.Minute
	// maxRepeated is how many copies of a partition are kept for streams that
	// break, and maxRepeatedBytes how many bytes.
	maxRepeated      = 256
	maxRepeatedBytes = 256 << 10
)

// received sends copies of a message that an account was sent, after the
// message itself, to those resources that d does not choose.
func (p *partition) received(offset int64, a *acct, e *event.Event, m *event.MessageAccepted, d message.Decision) {
	if len(a.resources) < 2 || d.Action != message.Deliver && d.Action != message.Store {
		return
	}
	from := jid.FromCanonical(m.GetFrom())
	if msg := m.GetMessage(); !message.Copies(msg.GetCopies()).ToReceiver() &&
		(msg.GetType() != event.MessageType_MESSAGE_TYPE_ERROR || !a.recent.Answers(from.Bare().String(), msg.GetId())) {
		return
	}
	but := make([][]byte, 0, len(d.To)+1)
	for _, name := range d.To {
		but = appendBinding(but, a, name)
	}
	if from.Bare().String() == a.name && !slices.Contains(d.To, from.Resource()) {
		but = appendBinding(but, a, from.Resource())
	}
	to := a.name
	if m.GetResource() != "" {
		to += "/" + m.GetResource()
	}
	p.copy(a, &wire.Carbon{
		Account: a.name, Offset: offset, But: but, From: m.GetFrom(), To: to, Message: m.GetMessage(), At: e.GetAt(),
	})
}

// sent sends copies of a message that an account has sent.
func (p *partition) sent(offset int64, name string, e *event.Event, m *event.MessageSent) {
	a := p.accounts[name]
	if a == nil || len(a.resources) < 2 || !message.Copies(m.GetMessage().GetCopies()).ToSender() {
		return
	}
	to := jid.FromCanonical(m.GetTo()).Bare().String()
	if a.recent == nil {
		a.recent = new(message.Recent)
	}
	a.recent.Note(to, m.GetMessage().GetId())
	if to == name {
		return // all sessions have it, or a copy as its recipient's
	}
	p.copy(a, &wire.Carbon{
		Account: name, Offset: offset, Sent: true, But: appendBinding(nil, a, m.GetResource()),
		From: name + "/" + m.GetResource(), To: m.GetTo(), Message: m.GetMessage(), At: e.GetAt(),
	})
}

// repeats is what was read again of the records before those that were loaded.
type repeats struct {
	marks    account.Marks // the loaded ones are those after it
	messages []record
	changed  map[string]struct{} // accounts that changed what they let through
}

// repeat notes a record that is in what was loaded.
func (p *partition) repeat(r *record) {
	if !p.repeats.marks.Admit(r.event) {
		return // a late copy of a record
	}
	switch r.event.GetKind().(type) {
	case *event.Event_BlockListChanged, *event.Event_PrivacyListChanged, *event.Event_PrivacyListChosen:
		if p.repeats.changed == nil {
			p.repeats.changed = make(map[string]struct{})
		}
		p.repeats.changed[r.key] = struct{}{}
	case *event.Event_MessageAccepted, *event.Event_MessageSent:
		if a := p.accounts[r.key]; a != nil && len(a.resources) >= 2 && time.Since(event.Time(r.event)) < repeatFor {
			p.repeats.messages = append(p.repeats.messages, *r)
		}
	}
}

// repeated sends the copies, once all is read that was loaded. What came to an
// account that has changed what it lets through since is left out: it may have
// been refused then.
func (p *partition) repeated() {
	all := p.repeats
	p.repeats = repeats{}
	for _, r := range all.messages {
		m := r.event.GetMessageAccepted()
		if m == nil {
			p.sent(r.offset, r.key, r.event, r.event.GetMessageSent())
			continue
		}
		a := p.accounts[r.key]
		if _, changed := all.changed[r.key]; changed || a == nil || p.isCopy(a, r.offset, m) {
			continue
		}
		t, from := message.Type(m.GetMessage().GetType()), jid.FromCanonical(m.GetFrom())
		p.received(r.offset, a, r.event, m, p.lets(r.key).Route(t, m.GetResource(), from, a.resources))
	}
}

// sentCopy is a copy that an edge was sent.
type sentCopy struct {
	to edgeKey
	i  item
}

// keepCopy keeps a copy, for a while, for the edge's next stream.
func (p *partition) keepCopy(c sentCopy) {
	p.copies = append(p.copies, c)
	p.copiesBytes += len(c.i.bytes)
	n := 0
	for ; p.copiesBytes > maxRepeatedBytes || len(p.copies)-n > maxRepeated; n++ {
		p.copiesBytes -= len(p.copies[n].i.bytes)
		p.copies[n] = sentCopy{}
	}
	p.copies = p.copies[n:]
}

// resendCopies sends an edge that attached anew the last copies.
func (p *partition) resendCopies(e *peer) {
	for _, c := range p.copies {
		if c.to == e.edgeKey {
			c.i.at, c.i.free = 0, true
			p.send(e, c.i)
		}
	}
}

// appendBinding appends the binding of a resource, if it is there. Who sent a
// message gets no copy of it by its full JID (XEP-0280, section 8): its session
// may have been resumed under another binding since.
func appendBinding(bindings [][]byte, a *acct, resource string) [][]byte {
	if r, ok := a.resources[resource]; ok {
		bindings = append(bindings, r.Binding[:])
	}
	return bindings
}

// copy sends c to every edge that holds a session which may get it.
func (p *partition) copy(a *acct, c *wire.Carbon) {
	var told []edgeKey
	var i item
	for _, r := range a.resources {
		key := edgeKey{r.Edge, r.Epoch}
		if hasBinding(c.GetBut(), r) || slices.Contains(told, key) {
			continue
		}
		if told == nil {
			i = item{kind: kindCarbon, at: p.measured(c.GetAt()), bytes: frame(&wire.Frame{What: &wire.Frame_Carbon{Carbon: c}})}
		}
		told = append(told, key)
		if e := p.peers[key]; e != nil {
			p.send(e, i)
		}
		p.keepCopy(sentCopy{key, i})
	}
}

func hasBinding(bindings [][]byte, r presence.Resource) bool {
	for _, b := range bindings {
		if string(b) == string(r.Binding[:]) {
			return true
		}
	}
	return false
}
