package history

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// sessions are those of a partition that last at an offset. What is said, in
// order, tells when a resource became available and when it was so no more
// (RFC 6121, sections 4.2 to 4.5): these turns make the spans of presence_span.
// The zero value has none.
type sessions struct {
	of    map[string][]session // by account
	count int
}

// A session lasts from the binding of its resource to its own close, the next
// binding of the resource, the loss of its edge or the end of its account.
type session struct {
	Resource  string
	Binding   uuid.UUID
	Edge      string
	Epoch     uint64
	Available bool
	Begun     uint64 // offset of the presence that made it available
	Since     int64  // its time, µs
}

// take applies the next row that is not ignored and gives what turns by it.
func (s *sessions) take(r *row) []turn {
	switch r.kind {
	case "resource_bound":
		turns := s.end(r.account, r.at, func(e *session) bool { return e.Resource == r.resource })
		s.add(r.account, session{Resource: r.resource, Binding: r.binding, Edge: r.edge, Epoch: r.epoch})
		return turns
	case "presence_available":
		return s.begin(r)
	case "presence_unavailable":
		return s.stop(r)
	case "resource_closed":
		return s.end(r.account, r.at, func(e *session) bool { return e.Resource == r.resource && e.Binding == r.binding })
	case "account_deleted":
		return s.end(r.account, r.at, func(*session) bool { return true })
	case "edge_lost":
		return s.lose(r)
	}
	return nil
}

func (s *sessions) add(account string, e session) {
	if s.of == nil {
		s.of = make(map[string][]session)
	}
	s.of[account] = append(s.of[account], e)
	s.count++
}

// find gives the session that said r, nil if it is over.
func (s *sessions) find(r *row) *session {
	of := s.of[r.account]
	i := slices.IndexFunc(of, func(e session) bool { return e.Resource == r.resource && e.Binding == r.binding })
	if i < 0 {
		return nil
	}
	return &of[i]
}

func (s *sessions) begin(r *row) []turn {
	e := s.find(r)
	if e == nil || e.Available {
		return nil
	}
	e.Available, e.Begun, e.Since = true, r.offset, r.at.UnixMicro()
	return []turn{e.turn(r.account, r.at, false)}
}

func (s *sessions) stop(r *row) []turn {
	e := s.find(r)
	if e == nil || !e.Available {
		return nil
	}
	e.Available = false
	return []turn{e.turn(r.account, r.at, true)}
}

// end ends those sessions of an account that are over, at a time.
func (s *sessions) end(account string, at time.Time, over func(*session) bool) (turns []turn) {
	last := s.of[account]
	left := slices.DeleteFunc(last, func(e session) bool {
		if !over(&e) {
			return false
		}
		if e.Available {
			turns = append(turns, e.turn(account, at, true))
		}
		s.count--
		return true
	})
	if len(left) > 0 {
		s.of[account] = left
	} else {
		delete(s.of, account)
	}
	return turns
}

// lose ends the sessions of an edge up to an epoch.
func (s *sessions) lose(r *row) (turns []turn) {
	for account := range s.of {
		turns = append(turns, s.end(account, r.at, func(e *session) bool { return e.Edge == r.edge && e.Epoch <= r.epoch })...)
	}
	return turns
}

func (e *session) turn(account string, at time.Time, ended bool) turn {
	since := time.UnixMicro(e.Since).UTC()
	if at.Before(since) { // by the clock of another edge
		at = since
	}
	return turn{account, e.Resource, e.Binding, e.Edge, e.Begun, since, at, ended}
}

// MarshalBinary gives what UnmarshalBinary reads.
func (s *sessions) MarshalBinary() ([]byte, error) {
	b := new(bytes.Buffer)
	if err := gob.NewEncoder(b).Encode(s.of); err != nil {
		return nil, fmt.Errorf("encode sessions: %w", err)
	}
	return b.Bytes(), nil
}

// UnmarshalBinary reads what MarshalBinary wrote; nothing at all is no sessions.
func (s *sessions) UnmarshalBinary(b []byte) error {
	*s = sessions{}
	if len(b) == 0 {
		return nil
	}
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&s.of); err != nil {
		return fmt.Errorf("decode sessions: %w", err)
	}
	for _, of := range s.of {
		s.count += len(of)
	}
	return nil
}
