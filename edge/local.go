package edge

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

const (
	// maxTaken is how many messages an account remembers, to drop copies.
	maxTaken = 64
)

// local is an account that has sessions on this edge.
type local struct {
	server    *Server
	account   jid.Bare
	bare      string // its text
	partition int32

	refs int // sessions bound or binding; guarded by shard.mu

	list atomic.Pointer[[]*session] // bound sessions; replaced, never changed

	mu       sync.Mutex
	coming   []*session       // whose ResourceBound is on its way
	contacts map[string]int64 // whom it follows: bare JID -> version of the item
	asOf     int64            // contacts are those of the roster at this next offset; -1 before
	ended    bool             // the last session is gone

	policy      atomic.Pointer[privacy.Compiled] // what the account lets through; nil: everything
	policyKnown atomic.Bool                      // policy is as of an offset
	doubt       atomic.Bool                      // another policy follows, and it may let more through
	policyAt    int64                            // this one; mu
	forPolicy   []func()                         // to be called once it is known for sure; mu

	requests map[string]asking // who asks to subscribe, until the owner decides

	archive archiveQueue

	directedMu sync.Mutex
	directed   map[directedTo]directed
	held       []*wire.Directed // of which it is in doubt whether it may come in
	taken      []taken          // newest last
	carbons    int64            // copies of messages below this offset are taken
}

// taken is a message that went to a session.
type taken struct {
	offset  int64
	binding [16]byte
	settled bool // Delivered was appended
}

// sessions gives the bound sessions; the slice is not to be changed.
func (l *local) sessions() []*session {
	if list := l.list.Load(); list != nil {
		return *list
	}
	return nil
}

// find gives the session of a resource, nil if there is none.
func (l *local) find(resource string) *session {
	for _, s := range l.sessions() {
		if s.resource == resource {
			return s
		}
	}
	return nil
}

// expect makes s known by its binding before it is one of the sessions.
func (l *local) expect(s *session) {
	l.mu.Lock()
	l.coming = append(l.coming, s)
	l.mu.Unlock()
}

// arrived undoes expect. l.mu is held.
func (l *local) arrived(s *session) {
	if l.coming = slices.DeleteFunc(l.coming, func(o *session) bool { return o == s }); len(l.coming) == 0 {
		l.coming = nil
	}
}

// add makes s one of the sessions. Of two of one resource the one that was
// bound later stays; add returns the other.
func (l *local) add(s *session) (older *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived(s)
	list := slices.Clone(l.sessions())
	for i, o := range list {
		if o.resource == s.resource {
			if o.boundAt > s.boundAt {
				return s
			}
			older = o
			list = slices.Delete(list, i, i+1)
			break
		}
	}
	list = append(list, s)
	l.list.Store(&list)
	return older
}

// remove takes s out.
func (l *local) remove(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived(s)
	list := l.sessions()
	i := slices.Index(list, s)
	if i < 0 {
		return
	}
	list = slices.Delete(slices.Clone(list), i, i+1)
	l.list.Store(&list)
}

// shard holds the local accounts of one partition.
type shard struct {
	mu       sync.Mutex
	accounts map[string]*local
	outbox   int64             // the next outbox record that was not taken
	caused   map[string]source // by origin, where the newest came from
}

// join gives the account's local, with one reference more, unless it has max
// already.
func (sh *shard) join(s *Server, account jid.Bare, partition int32, max int) (*local, bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	bare := account.String()
	l := sh.accounts[bare]
	if l == nil {
		l = &local{server: s, account: account, bare: bare, partition: partition, asOf: -1}
		sh.accounts[bare] = l
		// What it lets through comes with the answer.
		s.followed[partition].follow(bare, l)
	}
	if l.refs >= max {
		return nil, false
	}
	l.refs++
	return l, true
}

// leave gives a reference back; with the last one the account follows nobody.
func (sh *shard) leave(l *local) {
	sh.mu.Lock()
	l.refs--
	last := l.refs == 0
	if last {
		delete(sh.accounts, l.bare)
	}
	sh.mu.Unlock()
	if !last {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	var b batch
	for contact := range l.contacts {
		l.server.followedOf(contact).unfollow(&b, contact, l)
	}
	l.server.followed[l.partition].unfollow(&b, l.bare, l)
	l.contacts = nil
	b.flush()
}

// find gives the local of a bare JID, nil if it has no session here.
func (sh *shard) find(bare string) *local {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.accounts[bare]
}

// setContacts makes the contacts those of a roster.
func (l *local) setContacts(r *Roster) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || r.NextOffset <= l.asOf {
		return
	}
	var b batch
	l.asOf = r.NextOffset
	l.server.followed[l.partition].follow(l.bare, l)
	old := l.contacts
	l.contacts = make(map[string]int64, len(r.Items))
	requests := make(map[string]asking) // what is older than the roster is as it says
	for contact, e := range l.requests {
		if e.at >= r.NextOffset {
			requests[contact] = e
		}
	}
	for _, it := range r.Items {
		contact := it.GetContact()
		if e := l.requests[contact]; it.GetPendingIn() && e.at < r.NextOffset {
			requests[contact] = asking{it.Request, r.NextOffset - 1, false}
		}
		if v, ok := old[contact]; ok && v >= r.NextOffset {
			continue // a push that is newer than this roster decided
		}
		if it.GetTo() && !it.GetRemoved() {
			l.contacts[contact] = it.Version
			l.server.followedOf(contact).follow(contact, l)
		}
	}
	l.requests = requests
	for contact, v := range old {
		if _, ok := l.contacts[contact]; ok {
			continue
		}
		if v >= r.NextOffset {
			l.contacts[contact] = v
			continue
		}
		l.server.followedOf(contact).unfollow(&b, contact, l)
	}
	b.flush()
}

// push keeps the contacts what the roster says.
func (l *local) push(b *batch, p *event.RosterPush) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || p.GetVersion() < l.asOf {
		return
	}
	contact := p.GetItem().GetContact()
	if !p.GetItem().GetPendingIn() {
		l.request(contact, asking{at: p.GetVersion(), over: true})
	}
	v, known := l.contacts[contact]
	if known && v >= p.GetVersion() {
		return
	}
	switch to := p.GetItem().GetTo() && !p.GetItem().GetRemoved(); {
	case to:
		if l.contacts == nil {
			l.contacts = make(map[string]int64)
		}
		l.contacts[contact] = p.GetVersion()
		if !known {
			l.server.followedOf(contact).follow(contact, l)
		}
	case known:
		delete(l.contacts, contact)
		l.server.followedOf(contact).unfollow(b, contact, l)
	}
}

// follows gives whom the account follows, itself too.
func (l *local) follows() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]string, 0, len(l.contacts)+1)
	for contact := range l.contacts {
		all = append(all, contact)
	}
	return append(all, l.bare)
}

// asking is a contact's request to subscribe, or that it is over, and the
// offset of its account's history at which it became so.
type asking struct {
	said *event.Presence
	at   int64
	over bool
}

// request notes who asks to subscribe, or asks no more. l.mu is held.
func (l *local) request(contact string, a asking) {
	if e, known := l.requests[contact]; known && e.at > a.at || !known && a.over {
		return
	}
	if l.requests == nil {
		l.requests = make(map[string]asking)
	}
	l.requests[contact] = a
}

// loaded tells whether the contacts are known.
func (l *local) loaded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asOf >= 0
}

// showAll gives a session that has become available what its account may
// know of its contacts, and the requests that nobody answered
// (RFC 6121, section 3.1.3).
func (l *local) showAll(s *session) {
	var b batch
	l.mu.Lock()
	if !s.unprobed.Load() {
		for contact := range l.contacts {
			l.server.followedOf(contact).show(&b, contact, s)
		}
	}
	l.mu.Unlock()
	b.flush()
	if l.sure() {
		l.showRequests(s)
	} else {
		l.oncePolicy(func() { s.post(func() { l.showRequests(s) }) })
	}
}

// showRequests gives a session the requests that nobody answered, but those
// that are not let through.
func (l *local) showRequests(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.ended || !s.available.Load() || s.asked {
		return
	}
	s.asked, s.askedAsOf = true, l.asOf
	var b batch
	for contact, asks := range l.requests {
		if !asks.over && l.policy.Load().Allows(privacy.Subscription, s.resource, jid.FromCanonical(contact)) {
			s.subscription(&b, contact, event.Verb_VERB_SUBSCRIBE, asks.said)
		}
	}
	b.flush()
}

// take tells whether the session of the binding has not had the message, and
// notes that it has.
func (l *local) take(offset int64, binding [16]byte) bool {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	for _, t := range l.taken {
		if t.offset == offset && (t.settled || t.binding == binding) {
			return false
		}
	}
	if len(l.taken) >= maxTaken {
		l.taken = slices.Delete(l.taken, 0, 1)
	}
	l.taken = append(l.taken, taken{offset: offset, binding: binding})
	return true
}

// settle tells whether Delivered is still to be appended for the message.
func (l *local) settle(offset int64) bool {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	first := true
	for i := range l.taken {
		if t := &l.taken[i]; t.offset == offset {
			first = first && !t.settled
			t.settled = true
		}
	}
	return first
}

// forget undoes take: the session did not get the message after all.
func (l *local) forget(offset int64, binding [16]byte) {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	l.taken = slices.DeleteFunc(l.taken, func(t taken) bool {
		return t.offset == offset && t.binding == binding && !t.settled
	})
}
