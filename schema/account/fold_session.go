package account

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/fault"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/privacy"
)

// Ended is a session under stream management (XEP-0198) that ended while its
// client was not asked: its edge died or stopped. The client may still resume it.
type Ended struct {
	Binding  uuid.UUID // its last
	Session  uuid.UUID // binding with which it began
	Resource string
	Began    int64 // offset of the ResourceBound of Session
	Handled  presence.Handled
	Copies   bool      // see presence.Resource
	Presence []byte    // event.Presence as its client takes it to be; nil if that is not available
	Offset   int64     // of what ended it
	At       time.Time // of what ended it; UTC, microseconds
}

// resumed gives r, which was just bound, as what goes on with the session. Its
// edge says its presence again; should that edge die before, the next one knows.
func (e Ended) resumed(r presence.Resource) presence.Resource {
	r.Session, r.Began, r.Handled, r.Copies = e.Session, e.Began, e.Handled, e.Copies
	var was event.Presence
	if e.Presence != nil && proto.Unmarshal(e.Presence, &was) == nil {
		r = r.Recall(content(&was))
	}
	return r
}

// How many ended sessions of an account are kept, and until an event of the
// account comes that is how much newer.
const (
	maxEnded  = 8
	KeepEnded = 10 * time.Minute
)

// resourceBound starts a session, or goes on with one. An earlier session of
// the resource ends here; the new one is connected and not available (RFC
// 6121, section 2.2), unless it inherits what the earlier one was. What would
// resume a session that is not the resource's last does nothing.
func (f *folding) resourceBound(b *event.ResourceBound) {
	name := b.GetResource()
	was, had := f.Resources[name]
	r := presence.Bind(name, event.ID(f.e), b.GetEdge(), b.GetEpoch(), f.offset, event.Time(f.e))
	r.Copies = b.GetCopies()
	// What lasts as long as a session (privacy) is not inherited, so neither is
	// a presence that it hides from somebody.
	private := f.Privacy.Session(name) != (privacy.Session{})
	switch last := event.UUID(b.GetResumes()); {
	case len(b.GetResumes()) == 0 && b.GetInherits() && was.Available && !private:
		f.keepResource(r.Inherit(was))
		f.forgetEnded(name)
		return
	case len(b.GetResumes()) == 0:
	case had && was.Binding == last:
		f.keepResource(r.Resume(was))
		return
	case !had && f.Ended[last].Resource == name:
		r = f.Ended[last].resumed(r)
	default:
		return
	}
	f.endDirected(name, nil)
	f.keepResource(r)
	f.departed(was, "")
	f.sessionOver(name)
	f.forgetEnded(name)
}

// resourceClosed ends a session, available or not (RFC 6121, section 4.5.2).
func (f *folding) resourceClosed(c *event.ResourceClosed) {
	if r, ok := f.session(c.GetResource()); ok {
		f.end(r, c.GetResumable())
	}
}

// edgeLost ends the sessions that an edge held in that epoch or an earlier one.
func (f *folding) edgeLost(l *event.EdgeLost) {
	if len(f.Resources) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(f.Resources)) {
		if r := f.Resources[name]; r.Edge == l.GetEdge() && r.Epoch <= l.GetEpoch() {
			f.pruneEnded()
			if fault.Planted == fault.Undirected {
				f.Directed.Take(name)
			}
			f.end(r, true)
		}
	}
}

// end ends the session of r. A resumable one that is under stream management
// is kept for a while, unless it had a privacy of its own, which ends here.
func (f *folding) end(r presence.Resource, resumable bool) {
	private := f.Privacy.Session(r.Name) != (privacy.Session{})
	f.endDirected(r.Name, nil)
	f.dropResource(r.Name)
	f.departed(r, "")
	f.sessionOver(r.Name)
	if !resumable || private || r.Handled == (presence.Handled{}) {
		return
	}
	e := Ended{
		Binding: r.Binding, Session: r.Session, Resource: r.Name, Began: r.Began, Handled: r.Handled, Copies: r.Copies,
		Offset: f.offset, At: event.Time(f.e),
	}
	if c, ok := r.Meant(); ok {
		// Marshalling what has no message that could be invalid cannot fail.
		e.Presence, _ = proto.MarshalOptions{Deterministic: true}.Marshal(said(c))
		e.Presence = append([]byte{}, e.Presence...) // not nil
	}
	if len(f.Ended) >= maxEnded {
		oldest := e
		for _, other := range f.Ended {
			if other.Offset < oldest.Offset || other.Offset == oldest.Offset && bytes.Compare(other.Binding[:], oldest.Binding[:]) < 0 {
				oldest = other
			}
		}
		f.dropEnded(oldest.Binding)
	}
	put(&f.Ended, e.Binding, e)
	note(&f.Changes.Ended, e.Binding)
}

func said(c presence.Content) *event.Presence {
	return &event.Presence{Show: c.Show, Status: c.Status, Priority: int32(c.Priority), Payload: c.Payload, Lang: c.Lang, Id: c.ID}
}

// pruneEnded drops what ended too long before this event.
func (f *folding) pruneEnded() {
	for binding, e := range f.Ended {
		if event.Time(f.e).Sub(e.At) >= KeepEnded {
			f.dropEnded(binding)
		}
	}
}

// forgetEnded drops the ended sessions of a resource, which has another now.
func (f *folding) forgetEnded(name string) {
	for binding, e := range f.Ended {
		if e.Resource == name {
			f.dropEnded(binding)
		}
	}
}

func (f *folding) dropEnded(binding uuid.UUID) {
	delete(f.Ended, binding)
	note(&f.Changes.Ended, binding)
}

// stanzaHandled notes which of its client's stanzas this event came from.
func (f *folding) stanzaHandled() {
	binding := event.UUID(f.e.GetBinding())
	for _, r := range f.Resources {
		if r.Binding == binding {
			r.Handled = r.Handled.Note(f.e.GetStanzaBefore(), f.e.GetStanza())
			f.keepResource(r)
			return
		}
	}
	if e, ok := f.Ended[binding]; ok {
		e.Handled = e.Handled.Note(f.e.GetStanzaBefore(), f.e.GetStanza())
		f.Ended[binding] = e
		note(&f.Changes.Ended, binding)
	}
}

// copiesAsked notes that a session gets copies of messages, or gets them no
// more (XEP-0280).
func (f *folding) copiesAsked(h *event.StanzaHandled) {
	binding := event.UUID(f.e.GetBinding())
	if h.Copies == nil {
		return
	}
	for _, r := range f.Resources {
		if r.Binding == binding && r.Copies != h.GetCopies() {
			r.Copies = h.GetCopies()
			f.keepResource(r)
		}
	}
	if e, ok := f.Ended[binding]; ok && e.Copies != h.GetCopies() {
		e.Copies = h.GetCopies()
		f.Ended[binding] = e
		note(&f.Changes.Ended, binding)
	}
}

// answerStanza tells the history of the sender that its stanza was folded
// here: by the MessageSent, if there is one, else by a StanzaHandled.
func (f *folding) answerStanza(m *event.MessageAccepted) {
	from := jid.FromCanonical(m.GetFrom())
	if f.e.GetStanza() == 0 || from.Local() == "" {
		return
	}
	for _, r := range f.reactions {
		if r.Event.GetMessageSent() != nil {
			r.Event.Stanza, r.Event.StanzaBefore = f.e.GetStanza(), f.e.GetStanzaBefore()
			return
		}
	}
	f.react(from.Bare(), &event.Event{
		Binding: f.e.GetBinding(), Stanza: f.e.GetStanza(), StanzaBefore: f.e.GetStanzaBefore(),
		Kind: &event.Event_StanzaHandled{StanzaHandled: &event.StanzaHandled{}},
	})
}
