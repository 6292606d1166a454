package account

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/roster"
	"github.com/rollcall/rollcall/schema/subscription"
)

// anyLine draws a line for a world of three accounts.
func anyLine(t *rapid.T) string {
	names := rapid.SampledFrom([]string{"juliet", "romeo", "nurse"})
	resource := rapid.SampledFrom([]string{"a", "b"})
	who, to := names.Draw(t, "who"), names.Draw(t, "to")
	full := who + "/" + resource.Draw(t, "resource")
	old := rapid.SampledFrom([]string{"", "", "", "#1"}).Draw(t, "binding")
	edge := rapid.SampledFrom([]string{"e1/3", "e1/4", "e2/1"})
	target := to + rapid.SampledFrom([]string{"", "/a", "/b"}).Draw(t, "target")
	switch rapid.IntRange(0, 24).Draw(t, "line") {
	case 0, 1:
		return "create " + who
	case 2:
		if rapid.IntRange(0, 3).Draw(t, "really") == 0 {
			return "delete " + who
		}
		return "create " + who
	case 3, 4:
		return full + old + " binds " + edge.Draw(t, "edge") + rapid.SampledFrom([]string{"", " inherits", " resumes", " copies"}).Draw(t, "last")
	case 5:
		return full + old + " closes" + rapid.SampledFrom([]string{"", " resumable"}).Draw(t, "resumable")
	case 6, 7:
		return fmt.Sprintf("%s%s available %d%s", full, old, rapid.IntRange(-1, 1).Draw(t, "priority"), anyStanza(t))
	case 8:
		if rapid.Bool().Draw(t, "copies") {
			return full + old + rapid.SampledFrom([]string{" copies on", " copies off"}).Draw(t, "on") + anyStanza(t)
		}
		return full + old + " unavailable" + anyStanza(t)
	case 9, 10:
		return full + old + " directs " + rapid.SampledFrom([]string{"available", "unavailable"}).Draw(t, "state") + " " + target
	case 11:
		return who + " sets " + to + " N"
	case 12:
		return who + " removes " + to
	case 13:
		return "lost " + edge.Draw(t, "lost")
	case 14:
		if rapid.IntRange(0, 3).Draw(t, "expires") == 0 {
			return fmt.Sprintf("%s expires %d", who, rapid.IntRange(1, 60).Draw(t, "offset"))
		}
		return fmt.Sprintf("%s took %d", full, rapid.IntRange(1, 60).Draw(t, "offset"))
	case 15, 16:
		return full + " -> " + target + ": " + rapid.SampledFrom([]string{"chat", "normal", "groupchat", "headline", "error"}).Draw(t, "message") + " text" +
			rapid.SampledFrom([]string{"", " {o1}", " {o2}"}).Draw(t, "origin") + anyStanza(t)
	}
	if rapid.IntRange(0, 3).Draw(t, "privacy") == 0 {
		return anyPrivacyLine(t)
	}
	if rapid.IntRange(0, 2).Draw(t, "node") == 0 {
		id := rapid.SampledFrom([]string{" 1", " 2", " 3"}).Draw(t, "id")
		return full + " " + rapid.SampledFrom([]string{"publishes mood" + id + " x", "publishes mood" + id + " y 2", "publishes tune" + id + " x transient",
			"retracts mood" + id, "configures mood open 2", "deletes mood", "purges mood", "stores card x", "stores card", "enables push.x n", "disables push.x", "keeps roster always romeo", "keeps never", "keeps always"}).Draw(t, "node")
	}
	return who + " -> " + to + ": " + rapid.SampledFrom([]string{"subscribe", "subscribed", "unsubscribe", "unsubscribed"}).Draw(t, "verb")
}

func anyStanza(t *rapid.T) string {
	if n := rapid.IntRange(0, 6).Draw(t, "stanza"); n > 0 {
		return fmt.Sprintf(" [%d<%d]", n, rapid.IntRange(0, n-1).Draw(t, "before"))
	}
	return ""
}

func play(t *rapid.T, w *world, lines []string) {
	for _, line := range lines {
		w.bindFirst(line)
		if _, err := w.do(line); err != nil {
			t.Fatal(err)
		}
	}
}

// bindFirst gives a resource that is named "#1" a first binding to name.
func (w *world) bindFirst(line string) {
	var who string
	if n, _ := fmt.Sscanf(line, "%s", &who); n == 1 && len(who) > 2 && who[len(who)-2:] == "#1" && len(w.bindings[who[:len(who)-2]]) == 0 {
		w.bindings[who[:len(who)-2]] = [][]byte{make([]byte, 16)}
	}
}

// copyOf gives a state that shares no map with s.
func copyOf(s *State) *State {
	c := *s
	c.Changes = Changes{}
	c.Roster, c.Resources, c.Inbox = maps.Clone(s.Roster), maps.Clone(s.Resources), maps.Clone(s.Inbox)
	c.Ended, c.Origins = maps.Clone(s.Ended), slices.Clone(s.Origins)
	c.Push = maps.Clone(s.Push)
	c.Nodes, c.Storage = maps.Clone(s.Nodes), maps.Clone(s.Storage)
	c.Directed, c.Hidden, c.Refused = maps.Clone(s.Directed), maps.Clone(s.Hidden), maps.Clone(s.Refused)
	for name, targets := range c.Directed {
		c.Directed[name] = maps.Clone(targets)
	}
	return &c
}

// equal compares what two states hold; a nil map is an empty one.
func equal(a, b *State) bool {
	return a.Account == b.Account && a.Exists == b.Exists && a.Created == b.Created && a.CreatedAt.Equal(b.CreatedAt) &&
		same(a.Roster, b.Roster) && same(a.Resources, b.Resources) && same(a.Inbox, b.Inbox) && same(a.Directed, b.Directed) &&
		same(a.Ended, b.Ended) && same(a.Nodes, b.Nodes) && same(a.Storage, b.Storage) && same(a.Push, b.Push) && a.Departed == b.Departed &&
		slices.Equal(a.Origins, b.Origins) && reflect.DeepEqual(a.Archive, b.Archive) &&
		proto.Equal(a.Privacy.Proto(), b.Privacy.Proto()) && same(a.Hidden, b.Hidden) && same(a.Refused, b.Refused)
}

func same[K comparable, V any](a, b map[K]V) bool {
	return maps.EqualFunc(a, b, func(x, y V) bool { return reflect.DeepEqual(x, y) })
}

// A log with copies and latecomers folds to the same states as one without,
// and the same marks come out wherever they were written down and read back.
func TestCopiesChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		play(t, w, rapid.SliceOfN(rapid.Custom(anyLine), 0, 40).Draw(t, "lines"))
		states := make(map[jid.Bare]*State)
		var marks Marks
		for i, r := range w.log {
			if i > 0 {
				for range rapid.IntRange(0, 2).Draw(t, "copies") {
					late := w.log[rapid.IntRange(0, i-1).Draw(t, "copy")]
					if late.e.GetEdgeLost() == nil && marks.Admit(late.e) {
						t.Fatalf("a copy of %v was admitted", late.e)
					}
				}
			}
			closed := closedBy(w.log[:i], r.e)
			if got := marks.Admit(r.e); got == closed {
				t.Fatalf("%v: admitted %v, its origin is closed: %v", r.e, got, closed)
			}
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				b, _ := marks.AppendBinary(nil)
				if err := marks.UnmarshalBinary(b); err != nil {
					t.Fatal(err)
				}
				if again, _ := marks.AppendBinary(nil); !slices.Equal(b, again) {
					t.Fatal("marks are written differently")
				}
			}
			keys := []jid.Bare{r.key}
			if r.key.IsZero() {
				keys = slices.Collect(maps.Keys(states))
			}
			for _, key := range keys {
				if states[key] == nil {
					states[key] = New(key)
				}
				states[key].Apply(int64(i+1), r.e)
			}
		}
		for key, s := range w.states {
			if other := states[key]; other != nil && !equal(s, other) {
				t.Fatalf("%v and %v", s, other)
			}
		}
	})
}

// closedBy tells that an EdgeLost in the log closed the origin of e.
func closedBy(log []record, e *event.Event) bool {
	edge, epoch, ok := edgeOf(e.GetOrigin())
	return ok && slices.ContainsFunc(log, func(r record) bool {
		l := r.e.GetEdgeLost()
		return l != nil && l.GetEdge() == edge && l.GetEpoch() >= epoch
	})
}

// Every row that differs after Apply is named in Changes.
func TestChangesNameEveryRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		play(t, w, rapid.SliceOfN(rapid.Custom(anyLine), 0, 40).Draw(t, "lines"))
		states := make(map[jid.Bare]*State)
		for _, name := range []string{"juliet", "romeo", "nurse"} {
			states[bare(name)] = New(bare(name))
		}
		for i, r := range w.log {
			for key, s := range states {
				if r.key != key && !r.key.IsZero() {
					continue
				}
				before := copyOf(s)
				s.Changes.Reset()
				s.Apply(int64(i+1), r.e)
				if (before.Exists != s.Exists || before.Departed != s.Departed) && !s.Changes.Account {
					t.Fatalf("%v: account", r.e)
				}
				named(t, "item", before.Roster, s.Roster, s.Changes.Items)
				named(t, "resource", before.Resources, s.Resources, s.Changes.Resources)
				named(t, "directed", before.Directed, s.Directed, s.Changes.Directed)
				named(t, "ended", before.Ended, s.Ended, s.Changes.Ended)
				if !slices.Equal(before.Origins, s.Origins) && !s.Changes.Origins {
					t.Fatalf("%v: origins", r.e)
				}
				named(t, "inbox", before.Inbox, s.Inbox, s.Changes.Inbox)
				named(t, "node", before.configs(), s.configs(), s.Changes.Nodes)
				named(t, "node item", before.items(), s.items(), s.Changes.NodeItems)
				if !proto.Equal(before.Privacy.Proto(), s.Privacy.Proto()) && !s.Changes.Privacy {
					t.Fatalf("%v: privacy", r.e)
				}
				if !proto.Equal(before.Policy().Policy(), s.Policy().Policy()) && !s.Changes.Privacy {
					t.Fatalf("%v: policy", r.e)
				}
				named(t, "refused", before.Refused, s.Refused, s.Changes.Refused)
				named(t, "hidden", before.Hidden, s.Hidden, s.Changes.Hidden)
				if before.Archive != s.Archive && !s.Changes.Archive {
					t.Fatalf("%v: archive", r.e)
				}
				named(t, "push", before.Push, s.Push, s.Changes.Push)
				named(t, "storage", before.Storage, s.Storage, s.Changes.Storage)
			}
		}
	})
}

func named[K comparable, V any](t *rapid.T, what string, before, after map[K]V, changes map[K]struct{}) {
	for key, value := range after {
		if old, there := before[key]; !there || !reflect.DeepEqual(old, value) {
			if _, ok := changes[key]; !ok {
				t.Fatalf("%s %v changed unnoticed", what, key)
			}
		}
	}
	for key := range before {
		if _, there := after[key]; !there {
			if _, ok := changes[key]; !ok {
				t.Fatalf("%s %v went unnoticed", what, key)
			}
		}
	}
}

// What State says of itself holds after any history, and the two sides of every
// pair agree once all reactions are folded.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		play(t, w, rapid.SliceOfN(rapid.Custom(anyLine), 0, 60).Draw(t, "lines"))
		for key, s := range w.states {
			if !s.Exists && len(s.Roster)+len(s.Resources)+len(s.Directed)+len(s.Inbox)+len(s.Ended)+len(s.Nodes)+len(s.Storage)+len(s.Origins) > 0 {
				t.Fatalf("%s has something and does not exist", key)
			}
			for contact, i := range s.Roster {
				if i.Contact != contact || contact == key || i.Empty() || !i.State.Valid() {
					t.Fatalf("%s: %+v", key, i)
				}
				if other := w.states[contact]; other != nil {
					agree(t, i, other.item(key))
				}
			}
			for name, r := range s.Resources {
				if r.Name != name || r.Version < r.Bound && !r.Inherited && !r.Available || r.Inherited && !r.Available || r.Began > r.Bound {
					t.Fatalf("%s: %+v", key, r)
				}
			}
			if len(s.Ended) > maxEnded {
				t.Fatalf("%s: %d ended sessions", key, len(s.Ended))
			}
			for binding, e := range s.Ended {
				if e.Binding != binding || e.Handled == (presence.Handled{}) {
					t.Fatalf("%s: %+v", key, e)
				}
			}
			for name, targets := range s.Directed {
				if _, there := s.Resources[name]; !there || len(targets) == 0 {
					t.Fatalf("%s: targets of %s", key, name)
				}
			}
			for offset, m := range s.Inbox {
				if m.Offset != offset || !m.Accepted.GetMessage().GetStorable() {
					t.Fatalf("%s: %+v", key, m)
				}
			}
		}
	})
}

func agree(t *rapid.T, a, b roster.Item) {
	want := map[subscription.State]subscription.State{subscription.To: subscription.From, subscription.From: subscription.To,
		subscription.PendingOut: subscription.PendingIn, subscription.PendingIn: subscription.PendingOut}
	for mine, theirs := range want {
		if (a.State&mine != 0) != (b.State&theirs != 0) {
			t.Fatalf("%v on one side, %v on the other", a.State, b.State)
		}
	}
}

// A presence of a session that was replaced never shows.
func TestOnlyTheLatestBindingCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(bare("juliet"))
		s.Apply(1, &event.Event{Kind: &event.Event_AccountCreated{}})
		var latest byte
		var want presence.Resource
		for offset := int64(2); offset < 30; offset++ {
			binding := byte(rapid.IntRange(1, 3).Draw(t, "binding"))
			id := append(make([]byte, 15), binding)
			switch rapid.IntRange(0, 3).Draw(t, "event") {
			case 0:
				s.Apply(offset, &event.Event{Id: id, Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "r", Edge: "e"}}})
				latest = binding
				want = s.Resources["r"]
			case 1:
				s.Apply(offset, &event.Event{Binding: id, Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "r"}}})
				if binding == latest {
					want = s.Resources["r"]
				}
			case 2:
				s.Apply(offset, &event.Event{Binding: id, Kind: &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{Resource: "r"}}})
				if binding == latest {
					want = s.Resources["r"]
				}
			default:
				s.Apply(offset, &event.Event{Binding: id, Kind: &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: "r"}}})
				if binding == latest {
					want, latest = presence.Resource{}, 0
				}
			}
			if !reflect.DeepEqual(s.Resources["r"], want) {
				t.Fatalf("binding %d of %d changed %+v to %+v", binding, latest, want, s.Resources["r"])
			}
		}
	})
}
