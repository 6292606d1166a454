package edge

import (
	"errors"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// session is one bound resource of one client. Its reader is its only
// goroutine while it is idle; what happens to it goes through its mailbox,
// and fields without another word belong to whoever runs the mailbox.
type session struct {
	server   *Server
	local    *local
	resource string
	full     string   // full JID
	binding  [16]byte // id of its ResourceBound
	boundAt  int64    // its offset
	began    [16]byte // binding of the session as it began: its own, unless it was resumed elsewhere
	anew     bool     // it goes on with no earlier session of its resource
	reader   reader
	mail     mailbox
	out      outbound

	available atomic.Bool // takes presence of contacts
	// availableSince is an offset of its account's history at which it had
	// become so, before anything that it was given since.
	availableSince atomic.Int64
	inactive       atomic.Bool  // its client says that nobody looks at it (XEP-0352)
	echo           atomic.Bool  // waits for its own unavailable presence
	asked          bool         // was given the requests that waited when it became available; guarded by local.mu
	askedAsOf      int64        // all that its account's history has below this offset; guarded by local.mu
	carbons        atomic.Bool  // gets copies of its account's messages (XEP-0280)
	asking         atomic.Int32 // iqs to others that are not answered

	order order // of its appends

	paused     *pause // the client's stanzas wait for something; nil: they do not
	blind      bool   // it took too long to know what the account lets through
	blockList  bool   // asked for the block list (XEP-0191, section 3.2)
	visibility visibility
	unprobed   atomic.Bool // asks nobody for presence (XEP-0186, section 3.1)

	sm       *management // nil without stream management
	taking   uint32      // number of the client's stanza that is being taken; 0 without stream management
	reads    bool        // a reader is at work
	detached bool        // its connection broke, and it waits for another
	until    *time.Timer // ends it while it is detached

	spoke       bool // its client has sent broadcast presence
	ended       bool
	held        bool                // its client waits outside
	superseded  bool                // its binding counts no more: no farewell is appended
	presence    *event.Event        // what it wants to be seen as; nil: unavailable
	retrying    bool                // presence was refused and is tried again
	interested  bool                // asked for the roster
	reading     bool                // its roster is being read
	early       []*event.RosterPush // pushes that came while it was being read
	asOf        int64               // the roster that it has was true at this next offset
	rosterTag   string              // of its versions; empty before it has one
	pushes      int                 // roster pushes sent, for their ids
	requests    map[string]request  // that an Outcome answers, by the ids of their iqs
	positions   map[int32]int64     // last offset of its own appends, by partition
	rosterAfter int64               // what a roster must have: all of its partition below this offset
	nodesAfter  int64               // the same of nodes and storage
	caps        *clientCaps         // what its client announces; nil before it does
	notified    atomic.Pointer[notified]
	closed      chan struct{} // closed when its end is in the log, or never will be
}

// reader gives the client's stanzas, as stanza.Reader does.
type reader interface {
	Next() (*stanza.Stanza, error)
}

// post has f run as the next thing of the session.
func (s *session) post(f func()) { s.mail.post(f) }

// read takes the client's stanzas until its stream ends.
func (s *session) read() {
	reader, idle := s.reader, s.server.opts.IdlePing
	pace := newPace(&s.server.opts.Limits)
	if r, ok := reader.(interface{ Pace(func(int) error) }); ok {
		r.Pace(func(bytes int) error { return s.slow(pace, 0, bytes) })
	}
	for {
		since := time.Now()
		if idle > 0 {
			s.deadline(since.Add(idle))
		}
		st, err := reader.Next()
		if err == nil {
			err = s.slow(pace, 1, 0)
		}
		// In the middle of a stanza the same error comes again at once.
		if idle > 0 && errors.Is(err, os.ErrDeadlineExceeded) && time.Since(since) >= idle && s.alive() {
			if !s.out.ask() {
				s.out.raw(func(dst []byte) []byte { return append(dst, ' ') })
			}
			continue
		}
		if err != nil {
			s.out.readerGone()
			s.post(func() { s.readFailed(err) })
			return
		}
		s.mail.postWait(func() { s.take(st) })
	}
}

// deadline sets the reader's deadline unless the session is parting.
func (s *session) deadline(t time.Time) {
	s.out.mu.Lock()
	if !s.out.closing {
		_ = s.out.conn.SetReadDeadline(t)
	}
	s.out.mu.Unlock()
}

// alive tells whether the session takes anything more.
func (s *session) alive() bool {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return !s.out.closing
}

func (s *session) readFailed(err error) {
	s.reads = false
	var bad *stanza.StreamError
	switch {
	case s.ended:
	case s.detached: // by a client that has come back
	case errors.Is(err, stanza.ErrStreamClosed):
		s.end("closed", nil)
	case errors.As(err, &bad):
		s.end("stream error: "+string(bad.Condition), bad)
	default:
		s.lost()
	}
	s.resume()
}

// press has the client wait outside while too much of what it sent is not
// settled.
func (s *session) press() {
	n := s.order.backlog()
	if !s.held && n >= maxBacklog && !s.ended || s.held && n <= maxBacklog/2 {
		s.held = !s.held
		s.mail.hold(s.held || s.paused != nil)
	}
}

// take acts on one stanza of the client.
func (s *session) take(st *stanza.Stanza) {
	if s.ended {
		return
	}
	if s.waits(st) {
		return
	}
	defer s.press()
	if st.Kind == stanza.Other && st.Space == stanza.NSSM {
		s.takeSM(st)
		return
	}
	if st.Kind == stanza.Other && st.Space == stanza.NSCSI {
		s.takeCSI(st)
		return
	}
	if s.sm != nil {
		s.sm.in++
		s.taking = s.sm.in
		defer func() { s.taking = 0 }()
	}
	// RFC 6120, section 8.1.2.1: the server vouches for the sender, and says
	// itself which resource that is: a page of converse.js that was loaded
	// anew resumes a stream under its old resource, and names its new one.
	if st.From != "" && st.From != s.full && st.From != s.local.bare && !s.isSelf(st.From) {
		s.end("invalid from", &stanza.StreamError{Condition: stanza.InvalidFrom})
		return
	}
	if st.Foreign() {
		// RFC 6120, section 4.8.3: one content namespace for a stream.
		s.end("invalid namespace", &stanza.StreamError{Condition: stanza.InvalidNamespace})
		return
	}
	if st.Space != stanza.NSClient {
		s.end("unsupported element", &stanza.StreamError{Condition: stanza.UnsupportedStanzaType})
		return
	}
	if s.toComponent(st) {
		return
	}
	switch st.Kind {
	case stanza.Presence:
		s.takePresence(st)
	case stanza.Message:
		s.takeMessage(st)
	case stanza.IQ:
		s.takeIQ(st)
	default:
		s.end("unsupported element", &stanza.StreamError{Condition: stanza.UnsupportedStanzaType})
	}
}

// isSelf tells whether a JID is one of the session's account.
func (s *session) isSelf(from string) bool {
	a, err := jid.Parse(from)
	return err == nil && a.Bare() == s.local.account
}

// edgeStops is why sessions end that a client may resume on another edge.
const edgeStops = "edge stops"

// end ends the session, once: its end is appended, then its stream is closed
// with bad, if any.
func (s *session) end(reason string, bad *stanza.StreamError) {
	if s.ended {
		return
	}
	s.ended = true
	if s.until != nil {
		s.until.Stop()
	}
	s.resume() // whoever would resume it is told that it is over
	s.available.Store(false)
	s.mail.hold(false)
	s.local.remove(s)
	s.server.sessionEnded(s)
	var last []byte
	if bad != nil {
		last = bad.AppendTo(last)
	}
	last = append(last, stanza.StreamEnd...)
	s.out.close(last)
	if s.superseded {
		close(s.closed)
		return
	}
	closed := &event.ResourceClosed{Resource: s.resource, Reason: reason, Resumable: reason == edgeStops && s.resumable()}
	s.server.append(s.local.account, s.stamp(&event.Event{Kind: &event.Event_ResourceClosed{ResourceClosed: closed}}), func(topic.Position, error) {
		close(s.closed)
	})
}

// supersede ends a session whose resource was bound by another (RFC 6120,
// section 7.7.2.2).
func (s *session) supersede() {
	s.superseded = true
	s.end("conflict", &stanza.StreamError{Condition: stanza.StreamConflict, Text: "the resource was bound by another session"})
}

// broke is told by the outbound that the client gets nothing more.
func (s *session) broke(overflowed bool) {
	s.post(func() {
		if overflowed {
			s.end("too slow", nil)
		} else {
			s.lost()
		}
	})
}

// stamp makes e an event of this session.
func (s *session) stamp(e *event.Event) *event.Event {
	e.Binding = s.binding[:]
	return e
}

// append appends to the history of the account. done runs in the mailbox,
// and only then is what waits for this append released.
func (s *session) append(account jid.Bare, e *event.Event, done func(error)) {
	n := s.order.issue()
	s.number(e)
	s.server.append(account, e, func(at topic.Position, err error) {
		s.post(func() {
			if err == nil {
				if s.positions == nil {
					s.positions = make(map[int32]int64, 1)
				}
				s.positions[at.Partition] = max(s.positions[at.Partition], at.Offset)
				if changesNodes(e) {
					s.nodesAfter = max(s.nodesAfter, at.Offset+1)
				}
				if changesRoster(e) {
					s.rosterAfter = max(s.rosterAfter, at.Offset+1)
				}
			}
			if err != nil {
				s.notStored(e)
			}
			if done != nil && !s.ended {
				done(err)
			}
			s.order.settle(n)
			s.press()
		})
	})
}

// changesRoster tells whether a roster, or a list, that is read later must
// show e.
func changesRoster(e *event.Event) bool {
	switch e.GetKind().(type) {
	case *event.Event_RosterItemSet, *event.Event_RosterItemRemoved, *event.Event_SubscriptionSent,
		*event.Event_PrivacyListChanged, *event.Event_PrivacyListChosen:
		return true
	}
	return false
}

// send writes bytes of the session's own to the client.
func (s *session) send(encode func(dst []byte) []byte) { s.out.write(nil, encode, nil) }

// fail answers a stanza with an error, unless it is one (RFC 6120, section 8.3.1).
func (s *session) fail(st *stanza.Stanza, err error) {
	if st.Type == "error" || st.Kind == stanza.IQ && st.Type == "result" {
		return
	}
	bad := stanzaError(err)
	h := stanza.Header{From: st.To, To: s.full, ID: st.ID}
	s.send(func(dst []byte) []byte { return stanza.AppendError(dst, st.Kind, h, bad) })
}

func (s *session) nextPush() string {
	s.pushes++
	return "push-" + strconv.Itoa(s.pushes)
}
