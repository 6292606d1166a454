package fanout_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/edge/link"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/wire"
)

// Workers makes the world the discovery of its edges.
func (w *world) Workers(context.Context) ([]link.Worker, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []link.Worker
	for _, k := range w.workers {
		list = append(list, link.Worker{ID: k.id, Epoch: 1, Address: k.address})
	}
	return list, nil
}

// edge merges what it hears, as edges do, behind a real link.
type edge struct {
	w     *world
	t     testing.TB
	id    string
	epoch uint64
	link  *link.Link
	stop  func()

	onMessage func(*wire.Message) // called with mu held

	mu        sync.Mutex
	follows   map[string][]string // account -> followers
	registers map[string]*wire.Presence
	admitted  map[string]*wire.Admission // "account follower"
	audiences map[string]*wire.Audience  // by account
	answers   int
	heard     []string // what came, in order, in words
	messages  []*wire.Message
	outputs   []*wire.Output
	iqs       []*wire.Iq
}

func (w *world) attach(id string, epoch uint64) *edge {
	w.t.Helper()
	e := &edge{
		w: w, t: w.t, id: id, epoch: epoch, follows: make(map[string][]string),
		registers: make(map[string]*wire.Presence), admitted: make(map[string]*wire.Admission),
		audiences: make(map[string]*wire.Audience),
	}
	l, err := link.New(link.Options{
		Edge: id, Epoch: epoch, Partitions: parts, Discover: w, Handler: e, Logger: quiet,
		DiscoverEvery: 20 * time.Millisecond, RedialAfter: 5 * time.Millisecond, Gather: -1,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	e.link = l
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Run(ctx); err != nil {
			w.t.Errorf("link of %s: %v", id, err)
		}
	}()
	e.stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(e.stop)
	return e
}

func (e *edge) origin() string { return fmt.Sprintf("edge/%s/%d", e.id, e.epoch) }

// follow makes followers follow the account, and waits for the answer.
func (e *edge) follow(account string, followers ...string) {
	e.t.Helper()
	eventually(e.t, "every partition has a worker", e.link.Ready)
	e.mu.Lock()
	for _, f := range followers {
		e.follows[account] = append(e.follows[account], f)
		e.link.Follow(partitionOf(account), account, f)
	}
	e.mu.Unlock()
	eventually(e.t, "answer about "+account, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, f := range followers {
			if e.admitted[account+" "+f] == nil {
				return false
			}
		}
		return true
	})
}

func (e *edge) Whole(partition int32) (all []*wire.Followed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for account, followers := range e.follows {
		if partitionOf(account) == partition {
			all = append(all, &wire.Followed{Account: account, Followers: followers})
		}
	}
	return all
}

func (e *edge) Answer(a *wire.Answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	present := make(map[string]bool)
	for _, p := range a.GetPresent() {
		present[p.GetAccount()+"/"+p.GetResource()] = true
		e.merge(p)
	}
	for full, r := range e.registers {
		if r.GetAvailable() && slices.Contains(a.GetAccounts(), r.GetAccount()) && !present[full] && r.GetVersion() < a.GetNextOffset() {
			e.merge(&wire.Presence{Account: r.GetAccount(), Resource: r.GetResource(), Version: a.GetNextOffset() - 1})
		}
	}
	for _, m := range a.GetAdmissions() {
		e.admission(m)
	}
	policies := make(map[string]*wire.Audience)
	for _, m := range a.GetAudiences() {
		policies[m.GetAccount()] = m
	}
	for _, account := range a.GetAccounts() {
		p := policies[account]
		e.audience(&wire.Audience{Account: account, Offset: a.GetNextOffset() - 1, Policy: p.GetPolicy(), Doubt: p.GetDoubt()})
	}
	e.answers++
	e.heard = append(e.heard, fmt.Sprintf("answer %v %d present", a.GetAccounts(), len(a.GetPresent())))
}

func (e *edge) merge(p *wire.Presence) {
	full := p.GetAccount() + "/" + p.GetResource()
	if old := e.registers[full]; old == nil || old.GetVersion() < p.GetVersion() {
		e.registers[full] = proto.CloneOf(p)
	}
}

func (e *edge) audience(m *wire.Audience) {
	if old := e.audiences[m.GetAccount()]; old == nil || old.GetOffset() <= m.GetOffset() {
		e.audiences[m.GetAccount()] = m
	}
}

func (e *edge) admission(m *wire.Admission) {
	if m.GetFollower() == "" {
		for _, f := range e.follows[m.GetAccount()] {
			if f != m.GetAccount() {
				e.admission(&wire.Admission{Account: m.GetAccount(), Follower: f, Offset: m.GetOffset()})
			}
		}
		return
	}
	key := m.GetAccount() + " " + m.GetFollower()
	if old := e.admitted[key]; old == nil || old.GetOffset() <= m.GetOffset() {
		e.admitted[key] = m
	}
}

func (e *edge) Frames(_ int32, frames []*wire.Frame) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range frames {
		switch f := f.GetWhat().(type) {
		case *wire.Frame_Presence:
			e.merge(f.Presence)
			e.heard = append(e.heard, fmt.Sprintf("presence %s/%s %v %s", f.Presence.GetAccount(), f.Presence.GetResource(),
				f.Presence.GetAvailable(), f.Presence.GetPresence().GetStatus()))
		case *wire.Frame_Admission:
			e.admission(f.Admission)
			e.heard = append(e.heard, fmt.Sprintf("admission %s %s %v", f.Admission.GetAccount(), f.Admission.GetFollower(), f.Admission.GetAdmitted()))
		case *wire.Frame_Audience:
			e.audience(f.Audience)
			p := f.Audience.GetPolicy()
			e.heard = append(e.heard, fmt.Sprintf("audience %s at %d blocks %v, %d rules, %d sessions", f.Audience.GetAccount(), f.Audience.GetOffset(),
				p.GetBlocked(), len(p.GetDefaultRules()), len(p.GetSessions())))
		case *wire.Frame_Message:
			e.messages = append(e.messages, f.Message)
			e.heard = append(e.heard, "message "+f.Message.GetAccepted().GetMessage().GetBody())
			if e.onMessage != nil {
				e.onMessage(f.Message)
			}
		case *wire.Frame_Carbon:
			e.heard = append(e.heard, "copy "+f.Carbon.GetMessage().GetBody())
		case *wire.Frame_Output:
			e.outputs = append(e.outputs, f.Output)
		case *wire.Frame_Superseded:
			e.heard = append(e.heard, fmt.Sprintf("superseded %s", f.Superseded.GetAccount()))
		case *wire.Frame_NodeNews:
			n := f.NodeNews
			e.heard = append(e.heard, fmt.Sprintf("news %s %s %s %q %s by %s, retracted %v, purged %v, deleted %v", n.GetAccount(), n.GetNode(), n.GetItem(),
				n.GetPayload(), n.GetAccess(), n.GetResource(), n.GetRetracted(), n.GetPurged(), n.GetDeleted()))
		case *wire.Frame_Directed:
			e.heard = append(e.heard, fmt.Sprintf("directed %s from %s %v", f.Directed.GetAccount(), f.Directed.GetFrom(), f.Directed.GetAvailable()))
		}
	}
}

func (e *edge) Iq(iq *wire.Iq) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.iqs = append(e.iqs, iq)
}

func (e *edge) Replaced(r *wire.Replaced) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, fmt.Sprintf("replaced %s %d", r.GetDomain(), r.GetSince()))
}

// look runs f with what was heard.
func (e *edge) look(f func() bool) func() bool {
	return func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return f()
	}
}

// hears waits until the words were heard.
func (e *edge) hears(words string) {
	e.t.Helper()
	eventually(e.t, e.id+" hears "+words, e.look(func() bool { return slices.Contains(e.heard, words) }))
}

// session is a bound resource on an edge.
type session struct {
	e                 *edge
	account, resource string
	binding           []byte
	bound             int64
}

func (e *edge) bind(account, resource string) *session {
	return e.begin(account, &event.ResourceBound{Resource: resource})
}

// begin binds as b says.
func (e *edge) begin(account string, b *event.ResourceBound) *session {
	b.Edge, b.Epoch = e.id, e.epoch
	resource, ev := b.GetResource(), &event.Event{Kind: &event.Event_ResourceBound{ResourceBound: b}}
	offset := e.w.write(e.origin(), account, ev)
	return &session{e, account, resource, ev.Id, offset}
}

func (s *session) write(e *event.Event) int64 {
	e.Binding = s.binding
	return s.e.w.write(s.e.origin(), s.account, e)
}

func (s *session) available(priority int32, status string) int64 {
	return s.write(&event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{
		Resource: s.resource, Presence: &event.Presence{Priority: priority, Status: status},
	}}})
}

func (s *session) unavailable() int64 {
	return s.write(&event.Event{Kind: &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{Resource: s.resource}}})
}

func (s *session) close() int64 {
	return s.write(&event.Event{Kind: &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: s.resource}}})
}

func (s *session) subscription(verb event.Verb, contact string) int64 {
	return s.write(&event.Event{Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{Contact: contact, Verb: verb}}})
}

// message sends a chat message to an account, or one of its resources.
func (w *world) message(to, resource, body string) int64 {
	return w.write("edge/sender/1", to, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: "sender@x/s", Resource: resource,
		Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Body: body, Storable: true},
	}}})
}

// take has the edge append Delivered for each message that it gets.
func (e *edge) take() {
	taken := make(map[string]bool)
	e.onMessage = func(m *wire.Message) {
		key := fmt.Sprint(m.GetAccount(), m.GetOffset())
		if !m.GetStored() || taken[key] {
			return
		}
		taken[key] = true
		e.w.write(e.origin(), m.GetAccount(), &event.Event{Binding: m.GetBindings()[0], Kind: &event.Event_Delivered{
			Delivered: &event.Delivered{Offset: m.GetOffset()},
		}})
	}
}

func (w *world) create(names ...string) {
	for _, name := range names {
		w.write("edge/door/1", name, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
	}
}

// befriend makes b a subscriber of a.
func (w *world) befriend(a, b string) {
	w.write("edge/door/1", b, &event.Event{Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{Contact: a, Verb: event.Verb_VERB_SUBSCRIBE}}})
	w.projectAll()
	w.write("edge/door/1", a, &event.Event{Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{Contact: b, Verb: event.Verb_VERB_SUBSCRIBED}}})
	w.projectAll()
}
