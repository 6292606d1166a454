package edge

import (
	"slices"
	"sync"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// notified is what a session's client hears of nodes. While last items are
// being read it remembers which news overtook them.
type notified struct {
	mu      sync.Mutex
	wanted  []string // nodes, sorted; shared, never changed
	reading int
	seen    map[nodeOf]int64 // version of the newest news; nil unless reading

	given map[string]bool // nodes whose last items were read since the client became available; the mailbox's
}

type nodeOf struct{ account, node string }

// wants says of which nodes the client wants news.
func (s *session) wants(nodes []string) {
	n := s.notified.Load()
	if n == nil {
		if len(nodes) == 0 {
			return
		}
		n = new(notified)
		s.notified.Store(n)
	}
	n.mu.Lock()
	n.wanted = nodes
	n.mu.Unlock()
	s.giveLast()
}

// opened notes that a follower who is admitted hears by itself what happens to
// nodes from the offset next on. f.mu is held.
func (f *followed) opened(b *batch, a *wire.Admission, next int64) {
	w := f.accounts[a.GetAccount()]
	if w == nil {
		return
	}
	fo := w.followers[a.GetFollower()]
	if fo == nil || !fo.admitted || fo.newsFrom > 0 {
		return
	}
	fo.newsFrom = max(next, 1)
	b.begin(fo.local, w.bare)
}

// answeredAgain notes that an answer has come for an account. If it is not the
// first one, the stream to the worker was another in between, and news may have
// been missed that a session wants. f.mu is held.
func (f *followed) answeredAgain(b *batch, w *watched, next int64) {
	from := max(w.answered, w.heard)
	first := w.answered == 0
	w.answered = next
	if first {
		return
	}
	for _, fo := range w.followers {
		for _, s := range fo.local.sessions() {
			if fo.newsFrom > 0 && s.notified.Load() != nil {
				b.gaps = append(b.gaps, NewsGap{w.bare, from})
				return
			}
		}
	}
}

// fillGaps reads what was missed and tells it as news. It tries until that is
// read, or the server stops.
func (s *Server) fillGaps(f *followed, gaps []NewsGap, after int64) {
	for {
		ctx, cancel := s.context(s.opts.ReadIn)
		items, err := s.opts.Published.Missed(ctx, f.number, gaps, after)
		cancel()
		if err == nil {
			var b batch
			for _, i := range items {
				f.news(&b, &wire.NodeNews{
					Account: i.Account, Offset: i.Item.Version, Node: i.Node, Access: event.Access(i.Access), Item: i.Item.ID, Payload: i.Item.Payload,
				})
			}
			b.flush()
			return
		}
		s.log.Warn("missed items not read, will be tried again", "partition", f.number, "err", err)
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(s.opts.RetryEvery):
		}
	}
}

// hearMissed has sessions given the last items of an account whose news did not
// pass while that was in doubt, once it is not. f.mu is held.
func (f *followed) hearMissed(b *batch, w *watched, fo *follower) {
	if !fo.missed || w.doubt || fo.local.doubt.Load() {
		return
	}
	fo.missed = false
	b.begin(fo.local, w.bare)
}

// begin notes that news of an account begin to come to l.
func (b *batch) begin(l *local, account string) {
	if b.begun == nil {
		b.begun = make(map[*local][]string)
	}
	b.begun[l] = append(b.begun[l], account)
}

// giveLast has sessions given the last items of accounts whose news begin to
// come. The caller holds no lock.
func (b *batch) giveLast() {
	for l, accounts := range b.begun {
		for _, s := range l.sessions() {
			if s.notified.Load() != nil {
				s.post(func() { s.giveLastOf(accounts) })
			}
		}
	}
	b.begun = nil
}

// lastAfter gives what of the account's history the projection must have, so
// that last items and what comes by itself make a whole. It is not ok where
// nothing comes yet: that begins with last items, too.
func (f *followed) lastAfter(bare string, l *local) (next int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.accounts[bare]; w != nil {
		if fo := w.followers[l.bare]; fo != nil && fo.newsFrom > 0 {
			return max(fo.newsFrom, w.heard), true
		}
	}
	return 0, false
}

// giveLast gives the client the last items of nodes that it wants and was not
// given since it became available: of the accounts that it follows, and of its
// own (XEP-0163, section 4.3.4).
func (s *session) giveLast() {
	n := s.notified.Load()
	if n == nil || s.ended || !s.available.Load() || !s.local.loaded() {
		return
	}
	var nodes []string
	for _, name := range n.wanted {
		if !n.given[name] {
			nodes = append(nodes, name)
		}
	}
	if len(nodes) == 0 {
		return
	}
	if n.given == nil {
		n.given = make(map[string]bool, len(nodes))
	}
	for _, name := range nodes {
		n.given[name] = true
	}
	s.readLast(n, s.local.follows(), nodes, func() {
		for _, name := range nodes {
			delete(n.given, name)
		}
		s.giveLast()
	})
}

// giveLastOf gives the client the last items of accounts whose news begin to
// come. Before it was given any it has yet to become available, or to say what
// it wants: then it is given all.
func (s *session) giveLastOf(accounts []string) {
	if n := s.notified.Load(); !s.ended && s.available.Load() && len(n.given) > 0 {
		s.readLast(n, accounts, n.wanted, func() { s.giveLastOf(accounts) })
	}
}

// forgetGiven is called when the client is not available any more.
func (s *session) forgetGiven() {
	if n := s.notified.Load(); n != nil {
		n.given = nil
	}
}

// readLast reads last items and gives them to the client, but for those that
// newer news came before. If they cannot be read it calls again, in the
// mailbox, after a while.
func (s *session) readLast(n *notified, accounts, nodes []string, again func()) {
	after := make(map[int32]int64)
	known := accounts[:0:0]
	for _, bare := range accounts {
		f := s.server.followedOf(bare)
		if next, ok := f.lastAfter(bare, s.local); ok {
			known = append(known, bare)
			after[f.number] = max(after[f.number], next)
		}
	}
	if len(known) == 0 {
		return
	}
	n.mu.Lock()
	n.reading++
	n.mu.Unlock()
	go func() {
		ctx, cancel := s.server.context(s.server.opts.ReadIn)
		defer cancel()
		items, err := s.server.opts.Published.LastItems(ctx, s.local.account, known, nodes, after)
		var b batch
		n.mu.Lock()
		for _, i := range items {
			if n.seen[nodeOf{i.Account, i.Node}] < i.Item.Version && s.available.Load() && s.mayHear(i.Account, privacy.New(i.Policy), "") {
				last := &wire.NodeNews{Account: i.Account, Node: i.Node, Item: i.Item.ID, Payload: i.Item.Payload, Several: true}
				s.out.hear(&b, last, prepareNews(last, stanza.AppendDelay(nil, i.Account, time.UnixMicro(i.Item.At))), s.full)
			}
		}
		if n.reading--; n.reading == 0 {
			n.seen = nil
		}
		n.mu.Unlock()
		b.flush()
		if err != nil {
			s.server.log.Warn("last items not read, will be tried again", "account", s.local.bare, "err", err)
			s.server.later(s, time.Now().Add(s.server.opts.RetryEvery), again)
		}
	}()
}

// mayHear tells whether news that a resource of the account caused may reach
// this session, by the policies of both.
func (s *session) mayHear(account string, of *privacy.Compiled, resource string) bool {
	return account == s.local.bare ||
		!of.Hides(resource, s.jid()) && s.local.policy.Load().Allows(privacy.Message, s.resource, jid.FromCanonical(account))
}

// news gives the account's sessions on this edge, and those of its followers,
// what happened to a node, if they want it (XEP-0163, section 4.3).
func (f *followed) news(b *batch, n *wire.NodeNews) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.accounts[n.GetAccount()]
	if w == nil {
		return
	}
	if newest, ok := w.newest[n.GetNode()]; ok && n.GetOffset() <= newest {
		return // a copy, or what was missed and is overtaken
	}
	if w.newest == nil {
		w.newest = make(map[string]int64, 1)
	}
	w.newest[n.GetNode()] = n.GetOffset()
	w.heard = max(w.heard, n.GetOffset()+1)
	var said *stanza.Prepared
	for _, fo := range w.followers {
		self := fo.local.bare == w.bare
		if !self && (!fo.admitted || n.GetAccess() == event.Access_ACCESS_OWNER) {
			continue
		}
		for _, s := range fo.local.sessions() {
			if !s.available.Load() || !s.wantsNews(n) {
				continue
			}
			if !s.mayHear(w.bare, w.policy, n.GetResource()) {
				fo.missed = fo.missed || w.doubt || fo.local.doubt.Load()
				continue
			}
			if said == nil {
				said = prepareNews(n, nil)
			}
			s.hearNews(b, n, said)
			f.metrics.deliveries.Inc()
		}
	}
}

// wantsNews tells whether the client wants to hear of the node.
func (s *session) wantsNews(n *wire.NodeNews) bool {
	known := s.notified.Load()
	if known == nil {
		return false
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	_, ok := slices.BinarySearch(known.wanted, n.GetNode())
	return ok
}

// hearNews writes the news, in one order with last items.
func (s *session) hearNews(b *batch, n *wire.NodeNews, said *stanza.Prepared) {
	known := s.notified.Load()
	known.mu.Lock()
	defer known.mu.Unlock()
	if known.reading > 0 {
		if known.seen == nil {
			known.seen = make(map[nodeOf]int64)
		}
		known.seen[nodeOf{n.GetAccount(), n.GetNode()}] = n.GetOffset()
	}
	s.out.hear(b, n, said, s.full)
}

// prepareNews encodes a notification for all who hear it (XEP-0060, sections
// 7.1.2.1, 7.2.2.1, 8.4.2 and 8.5.2), with more after it.
func prepareNews(n *wire.NodeNews, extra []byte) *stanza.Prepared {
	inner := []byte("<event xmlns='" + stanza.NSPubEvent + "'>")
	node := func(name, end string) {
		inner = append(append(inner, '<'), name...)
		inner = append(stanza.AppendAttr(inner, "node", n.GetNode()), end...)
	}
	switch {
	case n.GetDeleted():
		node("delete", "/>")
	case n.GetPurged():
		node("purge", "/>")
	case n.GetRetracted():
		node("items", "><retract")
		inner = append(stanza.AppendAttr(inner, "id", n.GetItem()), "/></items>"...)
	default:
		node("items", ">")
		inner = append(appendItem(inner, n.GetItem(), n.GetPayload()), "</items>"...)
	}
	inner = append(inner, "</event>"...)
	said := stanza.PrepareMessage(stanza.Header{Type: "headline", From: n.GetAccount()}, inner, extra)
	return &said
}
