package watch

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// A whole is the fold of a partition as the projection makes it: every account
// with all that it has.
type whole struct {
	marks  account.Marks
	states map[string]*account.State
}

func (w *whole) apply(offset int64, key string, e *event.Event) {
	if !w.marks.Admit(e) {
		return
	}
	for name, s := range w.states {
		if e.GetEdgeLost() != nil || name == key {
			s.Apply(offset, e)
			s.Changes.Reset()
		}
	}
}

// online gives what views.resource has of available resources that views.hidden
// does not hide from everybody.
func (w *whole) online() map[string]string {
	all := make(map[string]string)
	for name, s := range w.states {
		for _, r := range s.Resources {
			if _, hidden := s.Hidden[account.Hidden{Resource: r.Name}]; r.Available && !hidden {
				all[name+"/"+r.Name] = fmt.Sprint(r.Show, r.Status, r.Priority, r.Since)
			}
		}
	}
	return all
}

// add adds changes up, as whoever hears them would.
func add(online map[string]string, changes []Change) {
	for _, c := range changes {
		if p := c.Presence; p != nil && p.Available {
			online[c.Account+"/"+p.Resource] = fmt.Sprint(p.Show, p.Status, p.Priority, p.Since)
		} else if p != nil {
			delete(online, c.Account+"/"+p.Resource)
		}
	}
}

// A writer makes a random log.
type writer struct {
	t        *rapid.T
	sequence map[string]uint64
	bindings [][]byte
	at       int64
	before   map[string]uint32 // by binding
}

var (
	people    = []string{"juliet@localhost", "romeo@localhost", "nurse@localhost"}
	resources = []string{"balcony", "orchard"}
)

// next gives a random event of one of the origins that edges and the fold have.
func (w *writer) next() (key string, e *event.Event) {
	t := w.t
	key = rapid.SampledFrom(people).Draw(t, "key")
	resource := rapid.SampledFrom(resources).Draw(t, "resource")
	edge := rapid.SampledFrom([]string{"edge/e1/1", "edge/e1/2", "edge/e2/1", "p/0"}).Draw(t, "origin")
	w.sequence[edge]++
	w.at += int64(rapid.SampledFrom([]int{1, 1, 1, 1, 90_000_000, 700_000_000}).Draw(t, "µs"))
	id := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, edge, w.sequence[edge]))
	e = &event.Event{Id: id[:], At: w.at, Origin: edge, Sequence: w.sequence[edge]}
	binding := func() []byte {
		if len(w.bindings) == 0 {
			return nil
		}
		return w.bindings[max(0, len(w.bindings)-1-rapid.SampledFrom([]int{0, 0, 0, 1, 2, 5}).Draw(t, "back"))]
	}
	e.Binding = binding()
	if rapid.Bool().Draw(t, "managed") {
		e.StanzaBefore = w.before[string(e.Binding)]
		e.Stanza = e.StanzaBefore + 1
		w.before[string(e.Binding)] = e.Stanza
	}
	said := &event.Presence{Show: rapid.SampledFrom([]string{"", "away"}).Draw(t, "show"), Status: rapid.SampledFrom([]string{"", "♥"}).Draw(t, "status"), Priority: int32(rapid.IntRange(-1, 1).Draw(t, "priority"))}
	switch rapid.SampledFrom([]string{"bound", "bound", "available", "available", "available", "unavailable", "closed", "lost", "created", "deleted",
		"invisible", "list", "chosen", "message", "handled", "block"}).Draw(t, "kind") {
	case "bound":
		e.Binding, e.Stanza = nil, 0
		b := &event.ResourceBound{Resource: resource, Edge: "e" + edge[len(edge)-3:len(edge)-2], Epoch: uint64(edge[len(edge)-1] - '0')}
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			b.Inherits = true
		case 1:
			b.Resumes = binding()
		}
		w.bindings = append(w.bindings, e.Id)
		e.Kind = &event.Event_ResourceBound{ResourceBound: b}
	case "available":
		e.Kind = &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: resource, Presence: said}}
	case "unavailable":
		e.Kind = &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{Resource: resource, Presence: said}}
	case "closed":
		e.Kind = &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: resource, Resumable: rapid.Bool().Draw(t, "resumable")}}
	case "lost":
		w.sequence[edge]--
		return "", &event.Event{At: w.at, Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: rapid.SampledFrom([]string{"e1", "e2"}).Draw(t, "edge"), Epoch: 1}}}
	case "created":
		e.Kind = &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}
	case "deleted":
		if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
			e.Kind = &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}
		} else {
			e.Kind = &event.Event_StanzaHandled{StanzaHandled: &event.StanzaHandled{}}
		}
	case "invisible":
		e.Kind = &event.Event_VisibilityChanged{VisibilityChanged: &event.VisibilityChanged{Resource: resource, Invisible: rapid.Bool().Draw(t, "invisible")}}
	case "list":
		e.Kind = &event.Event_PrivacyListChanged{PrivacyListChanged: &event.PrivacyListChanged{Name: "l", Items: []*event.PrivacyItem{{Order: 1, PresenceOut: true}}}}
	case "chosen":
		e.Kind = &event.Event_PrivacyListChosen{PrivacyListChosen: &event.PrivacyListChosen{Name: rapid.SampledFrom([]string{"l", ""}).Draw(t, "name"), Resource: resource}}
	case "block":
		e.Kind = &event.Event_BlockListChanged{BlockListChanged: &event.BlockListChanged{Blocked: []string{"paris@localhost"}}}
	case "handled":
		e.Kind = &event.Event_StanzaHandled{StanzaHandled: &event.StanzaHandled{}}
	default:
		e.Kind = &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: "paris@localhost/hall", Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Storable: true}}}
	}
	return key, e
}

// The changes of a random log, with copies and latecomers in it, add up to what
// the projection has; and from whatever moment the fold is saved and read
// again, the changes that follow are the same.
func TestChangesAddUpToTheViews(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &writer{t: t, sequence: make(map[string]uint64), before: make(map[string]uint32), at: 1_700_000_000_000_000}
		full := &whole{states: make(map[string]*account.State)}
		p, online := New(0, 1), make(map[string]string)
		again := p
		for _, name := range people {
			full.states[name] = account.New(jid.MustBare(name))
		}
		var keys []string
		var log []*event.Event
		put := func(key string, e *event.Event) {
			offset := int64(len(log))
			keys, log = append(keys, key), append(log, e)
			full.apply(offset, key, e)
			changes, others := p.Apply(offset, key, e), again.Apply(offset, key, e)
			if again != p && !reflect.DeepEqual(changes, others) {
				t.Fatalf("at %d, after being saved: %v, else %v", offset, others, changes)
			}
			add(online, changes)
			if want := full.online(); !maps.Equal(online, want) {
				t.Fatalf("at %d, %v: heard of %v, the views have %v", offset, e, online, want)
			}
			heard := make(map[string]string)
			add(heard, p.Current(func(string) bool { return true }))
			if !maps.Equal(heard, online) {
				t.Fatalf("at %d: current are %v, heard of %v", offset, heard, online)
			}
			for i, c := range changes {
				if c.Place != (Place{Offset: offset, Index: i, Of: len(changes)}) {
					t.Fatalf("at %d, change %d: place %v", offset, i, c.Place)
				}
			}
		}
		for _, name := range people { // they were there from the beginning
			w.sequence["edge/e1/2"]++
			id := uuid.NewSHA1(uuid.Nil, fmt.Append(nil, "edge/e1/2", w.sequence["edge/e1/2"]))
			put(name, &event.Event{Id: id[:], At: w.at, Origin: "edge/e1/2", Sequence: w.sequence["edge/e1/2"],
				Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
		}
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // a copy, perhaps late
				at := rapid.IntRange(0, len(log)-1).Draw(t, "copied")
				put(keys[at], log[at])
			case 1:
				saved, err := p.MarshalBinary()
				if err == nil {
					again, err = Read(saved)
				}
				if err != nil {
					t.Fatal(err)
				}
			default:
				put(w.next())
			}
		}
	})
}

func TestWhatIsNoRecordOfThePartition(t *testing.T) {
	p := New(1, 8) // juliet@localhost is in another one
	id := uuid.New()
	bound := func() *event.Event {
		return &event.Event{Id: id[:], Origin: "edge/e/1", Sequence: 1, Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "r"}}}
	}
	for offset, key := range []string{"", "@", "Juliet@localhost", "juliet@localhost", "juliet@localhost/balcony"} {
		if got := p.Apply(int64(offset), key, bound()); got != nil || len(p.accounts) > 0 || p.marks.Len() > 0 {
			t.Errorf("%q is taken for an account of the partition", key)
		}
	}
	if p.Apply(9, "romeo@localhost", nil); p.Next != 10 {
		t.Errorf("next offset %d after what cannot be read at 9", p.Next)
	}
}

func TestEdgeLostIsToldInOneOrder(t *testing.T) {
	p := New(0, 1)
	offset := int64(0)
	put := func(key string, e *event.Event) []Change {
		offset++
		e.Origin, e.Sequence = "edge/e1/1", uint64(offset)
		if e.GetEdgeLost() != nil {
			e.Origin = ""
		}
		return p.Apply(offset, key, e)
	}
	for _, name := range people {
		for _, resource := range resources {
			id := uuid.New()
			put(name, &event.Event{Id: id[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: resource, Edge: "e1", Epoch: 1}}})
			put(name, &event.Event{Id: id[:], Binding: id[:], Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: resource}}})
		}
	}
	if accounts, all := p.Online(); accounts != 3 || all != 6 {
		t.Fatalf("%d accounts and %d resources are online", accounts, all)
	}
	var order []string
	for _, c := range put("", &event.Event{Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: "e1", Epoch: 1}}}) {
		order = append(order, c.Account+"/"+c.Presence.Resource)
		if c.Of != 6 || c.Presence.Available {
			t.Errorf("%+v", c)
		}
	}
	if len(order) != 6 || !slices.IsSorted(order) {
		t.Errorf("told in the order %v", order)
	}
}

func TestReadRefuses(t *testing.T) {
	good, err := New(0, 1).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"nothing": nil, "garbage": []byte("garbage"), "half": good[:len(good)/2]} {
		if _, err := Read(b); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// Only a session that its history can still resume is resumed (XEP-0198).
func TestResumedAfterItsEdgeDied(t *testing.T) {
	for _, managed := range []bool{true, false} {
		p, key, old, next := New(0, 1), people[0], uuid.New(), uuid.New()
		sequence := uint64(0)
		put := func(e *event.Event) []Change {
			sequence++
			e.Origin, e.Sequence, e.At = "edge/e2/1", sequence, int64(sequence)
			return p.Apply(int64(sequence), key, e)
		}
		said := func(binding uuid.UUID, stanza uint32) *event.Event {
			return &event.Event{Binding: binding[:], Stanza: stanza, Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "balcony"}}}
		}
		put(&event.Event{Id: old[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "balcony", Edge: "e1", Epoch: 1}}})
		put(said(old, 0))
		if managed { // by a message, of which nothing else is kept
			put(&event.Event{Binding: old[:], Stanza: 1, Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{}}})
		}
		p.Apply(10, "", &event.Event{Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: "e1", Epoch: 1}}})
		put(&event.Event{Id: next[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "balcony", Edge: "e2", Epoch: 1, Resumes: old[:]}}})
		if changes := put(said(next, 2)); (len(changes) == 1) != managed {
			t.Errorf("under stream management %v: %v", managed, changes)
		}
	}
}
