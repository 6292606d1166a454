package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/watch"
)

// streams counts the streams that are open, by key.
type streams struct {
	mu   sync.Mutex
	open map[string]int
}

// begin takes one of a key's places, if there is one.
func (s *streams) begin(key string, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[key] >= most {
		return false
	}
	if s.open == nil {
		s.open = make(map[string]int)
	}
	s.open[key]++
	return true
}

func (s *streams) end(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[key]--; s.open[key] == 0 {
		delete(s.open, key)
	}
}

// presenceEvent and messageEvent are the data of events of these names.
type presenceEvent struct {
	Account   string    `json:"account"`
	Resource  string    `json:"resource"`
	Available bool      `json:"available"`
	Show      string    `json:"show,omitempty"`
	Status    string    `json:"status,omitempty"`
	Priority  int       `json:"priority"`
	Since     time.Time `json:"since"`
	Position  string    `json:"position,omitempty"` // partition:offset of the record; none of the present that a stream begins with
}

type messageEvent struct {
	Account  string    `json:"account"`
	Kind     string    `json:"kind"` // accepted, sent or delivered
	Resource string    `json:"resource,omitempty"`
	Peer     string    `json:"peer,omitempty"`
	Message  string    `json:"message,omitempty"` // the same in both histories
	Type     string    `json:"type,omitempty"`
	Of       *int64    `json:"of,omitempty"` // of delivered, the offset at which it was accepted
	At       time.Time `json:"at"`
	Position string    `json:"position"`
}

// presentEvent ends the present with which a stream begins.
type presentEvent struct {
	Online int `json:"online"` // events before it
}

// getEvents tells of presence as it changes, as server-sent events (HTML
// standard, section 9.2).
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request, c *call) error {
	filter, from, err := s.wanted(r, c)
	if err != nil {
		return err
	}
	if s.opts.Reads.Feed == nil {
		return away(w, "this server has no streams of events")
	}
	if !s.streams.begin(c.key.ID, s.opts.Reads.Streams) {
		w.Header().Set("Retry-After", "10")
		return problem(TooManyStreams, "the key %s may have %d streams open", c.key.ID, s.opts.Reads.Streams)
	}
	defer s.streams.end(c.key.ID)
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	stream, present, err := s.opts.Reads.Feed.Open(ctx, filter, from)
	cancel()
	if err != nil {
		return s.refused(w, r, c, err)
	}
	defer stream.Close()

	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // the request is read; what has no deadlines needs none
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies are to pass each event on
	w.WriteHeader(http.StatusOK)
	t := &teller{w: w, control: control, patience: s.opts.Reads.Patience}
	if from == nil {
		for _, change := range present {
			if err := t.presence(change, "", ""); err != nil {
				return nil // the client is gone
			}
		}
		t.event("present", stream.At().String(), presentEvent{len(present)})
	}
	t.comment()
	if t.flush() != nil {
		return nil
	}
	return s.stream(r, c, stream, t)
}

// wanted reads what a stream is to be about, and after which position.
func (s *Server) wanted(r *http.Request, c *call) (f feed.Filter, from feed.Vector, err error) {
	query := r.URL.Query()
	switch {
	case query.Has("account") && query.Has("domain"):
		return f, nil, problem(InvalidParameter, "a stream is about an account or a domain, not both")
	case query.Has("account"):
		account, err := ownAccount(query.Get("account"), c)
		if err != nil {
			return f, nil, err
		}
		f.Account = account.String()
	default:
		f.Domain = c.key.Domain
		if query.Has("domain") {
			domain, err := jid.ParseBare(query.Get("domain"))
			if err != nil || domain.Local() != "" {
				return f, nil, problem(BadJID, "%s is no domain", quoted(query.Get("domain")))
			}
			if domain.Domain() != c.key.Domain {
				return f, nil, problem(DomainNotAllowed, "the key %s is for accounts of %s", c.key.ID, c.key.Domain)
			}
		}
	}
	messages, err := choice(r, "messages", "false", "true")
	if err != nil {
		return f, nil, err
	}
	if f.Messages = messages == "true"; f.Messages && !c.key.May(ReadHistory) {
		return f, nil, problem(MissingScope, "the key %s has not the scope %s, which messages=true needs", c.key.ID, ReadHistory)
	}
	// A client that reconnects by itself sends the address that it began with,
	// and the header.
	name, text, given := "after", query.Get("after"), query.Has("after")
	if last := r.Header.Values("Last-Event-ID"); len(last) > 0 {
		name, text, given = "Last-Event-ID", strings.Join(last, ","), true
	}
	if given {
		if from, err = feed.ParseVector(text, s.opts.Partitions); err != nil {
			return f, nil, problem(InvalidParameter, "%s: %s", name, plain(err))
		}
	}
	return f, from, nil
}

// refused tells why there is no stream.
func (s *Server) refused(w http.ResponseWriter, r *http.Request, c *call, err error) error {
	if p := ended(err); p != nil {
		if p.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		return p
	}
	return s.asked(w, r, c, err)
}

// plain gives what is wrong with a position, as clients are told.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "feed: ") }

// ended gives the problem with which a stream ends, or cannot begin; nil for
// what is none of the stream's.
func ended(err error) *Problem {
	var old *feed.TooOldError
	switch {
	case errors.As(err, &old):
		return problem(PositionTooOld, "changes are told from %d:%d on, not after %d:%d; begin again without a position", old.Partition, old.First, old.Partition, old.Asked)
	case errors.Is(err, feed.ErrAhead), errors.Is(err, feed.ErrPosition):
		return problem(InvalidParameter, "%s", plain(err))
	case errors.Is(err, feed.ErrSlow):
		return problem(SlowReader, "go on after the last id")
	case errors.Is(err, feed.ErrStarting):
		return problem(Unavailable, "the server does not know who is online yet; try again")
	case errors.Is(err, feed.ErrStopped):
		return problem(Unavailable, "the server does not follow the log; try another")
	}
	return nil
}

// stream tells what comes, until the client is gone or it is over.
func (s *Server) stream(r *http.Request, c *call, stream *feed.Stream, t *teller) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		quiet, stop := context.WithTimeout(ctx, s.opts.Reads.Heartbeat)
		err := stream.Next(quiet, t.tell)
		stop()
		if err == nil {
			err = t.flush()
		} else if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			if err = s.still(ctx, c); err == nil {
				stream.Touch()
				t.comment()
				err = t.flush()
			}
		}
		if err == nil {
			continue
		}
		var p *Problem
		if !errors.As(err, &p) {
			p = ended(err)
		}
		if p == nil && r.Context().Err() == nil && ctx.Err() != nil {
			p = problem(Unavailable, "the server stops; go on after the last id")
		}
		if p != nil {
			p.Request = c.id
			t.event("problem", "", p)
			_ = t.flush()
		}
		return nil // its status is sent long since
	}
}

// still tells a stream whose key was revoked meanwhile.
func (s *Server) still(ctx context.Context, c *call) error {
	held, err := s.keys.find(ctx, c.key.ID)
	switch {
	case err != nil: // Postgres is away: what it said last stands
		return nil
	case held == nil || !held.key.Revoked.IsZero() || !held.key.May(ReadEvents):
		return problem(RevokedKey, "the key %s may no longer hear of this", c.key.ID)
	}
	return nil
}

// A teller writes events.
type teller struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	buffer   bytes.Buffer
}

// tell writes a change with the position after it.
func (t *teller) tell(c watch.Change, at feed.Vector) error {
	id := at.String()
	position := fmt.Sprintf("%d:%d", c.Partition, c.Offset)
	switch {
	case c.Presence != nil:
		return t.presence(c, id, position)
	case c.Message != nil:
		m := messageEvent{Account: c.Account, Kind: string(c.Message.Kind), Resource: c.Message.Resource, Peer: c.Message.Peer, Type: c.Message.Type,
			At: c.At, Position: position}
		if c.Message.Kind == watch.Delivered {
			m.Of = &c.Message.Of
		}
		if c.Message.ID != uuid.Nil {
			m.Message = c.Message.ID.String()
		}
		t.event("message", id, m)
	default: // where it stands, without an event: clients keep the id
		fmt.Fprintf(&t.buffer, "id: %s\n\n", id)
	}
	return t.spill()
}

func (t *teller) presence(c watch.Change, id, position string) error {
	p := c.Presence
	t.event("presence", id, presenceEvent{c.Account, p.Resource, p.Available, p.Show, p.Status, int(p.Priority), p.Since, position})
	return t.spill()
}

// event writes one event; without an id clients keep the last.
func (t *teller) event(name, id string, data any) {
	t.buffer.WriteString("event: " + name + "\n")
	if id != "" {
		t.buffer.WriteString("id: " + id + "\n")
	}
	text, err := json.Marshal(data) // one line
	if err != nil {
		panic(err) // our own types
	}
	t.buffer.WriteString("data: ")
	t.buffer.Write(text)
	t.buffer.WriteString("\n\n")
}

// comment keeps the connection alive.
func (t *teller) comment() { t.buffer.WriteString(":\n\n") }

// spill sends what was written, once it is much.
func (t *teller) spill() error {
	if t.buffer.Len() < 32<<10 {
		return nil
	}
	return t.flush()
}

// flush sends what was written. A client that takes it too slowly is an error.
func (t *teller) flush() error {
	if t.buffer.Len() == 0 {
		return nil
	}
	_ = t.control.SetWriteDeadline(time.Now().Add(t.patience))
	_, err := t.buffer.WriteTo(t.w)
	if err == nil {
		err = t.control.Flush()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// errGone tells that the client takes nothing more.
var errGone = errors.New("httpapi: the client is gone")
