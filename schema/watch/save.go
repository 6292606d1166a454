package watch

import (
	"bytes"
	"compress/gzip"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/privacy"
)

// A Known is what a fold begins with of an account.
type Known struct {
	Account   string
	Resources []presence.Resource
	Ended     []account.Ended
	Privacy   *event.Privacy // nil if it has set nothing
}

// From gives the fold of a partition, one of that many, as of next, where marks and accounts are
// the projection's.
func From(number int32, of int, next int64, marks []byte, known []Known) (*Partition, error) {
	p := New(number, of)
	p.Next = next
	if err := p.marks.UnmarshalBinary(marks); err != nil {
		return nil, err
	}
	for _, k := range known {
		s := account.New(jid.BareFromCanonical(k.Account))
		s.Exists = true
		if len(k.Resources) > 0 {
			s.Resources = make(map[string]presence.Resource, len(k.Resources))
		}
		for _, r := range k.Resources {
			s.Resources[r.Name] = r
		}
		if len(k.Ended) > 0 {
			s.Ended = make(map[uuid.UUID]account.Ended, len(k.Ended))
		}
		for _, e := range k.Ended {
			s.Ended[e.Binding] = e
		}
		if k.Privacy != nil {
			s.Privacy = privacy.FromProto(k.Privacy)
		}
		p.accounts[k.Account] = s
	}
	return p, nil
}

// saved is a Partition in bytes: this, by encoding/gob, compressed.
type saved struct {
	Fold     int // account.Version
	Number   int32
	Of       int
	Next     int64
	Marks    []byte
	Accounts []savedAccount
	Deleted  map[string]int64
}

type savedAccount struct {
	Account   string
	Resources []presence.Resource
	Ended     []account.Ended
	Privacy   []byte // event.Privacy; nil if there is none
}

// MarshalBinary gives bytes from which Read makes the same fold.
func (p *Partition) MarshalBinary() ([]byte, error) {
	s := saved{Fold: account.Version, Number: p.Number, Of: p.Of, Next: p.Next, Deleted: p.deleted}
	var err error
	if s.Marks, err = p.marks.MarshalBinary(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(p.accounts)) {
		state := p.accounts[name]
		a := savedAccount{Account: name, Resources: slices.Collect(maps.Values(state.Resources)), Ended: slices.Collect(maps.Values(state.Ended))}
		if state.Privacy != nil {
			if a.Privacy, err = proto.Marshal(state.Privacy.Proto()); err != nil {
				return nil, err
			}
		}
		s.Accounts = append(s.Accounts, a)
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err == nil {
		err = errors.Join(gob.NewEncoder(z).Encode(s), z.Close())
	}
	return b.Bytes(), err
}

// Read gives the fold that MarshalBinary wrote. One of another version of the
// fold is an error.
func Read(b []byte) (*Partition, error) {
	var s saved
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		err = gob.NewDecoder(z).Decode(&s)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("watch: read a saved fold: %w", err)
	case s.Fold != account.Version:
		return nil, fmt.Errorf("watch: saved by version %d of the fold, this is %d", s.Fold, account.Version)
	}
	known := make([]Known, len(s.Accounts))
	for i, a := range s.Accounts {
		known[i] = Known{Account: a.Account, Resources: a.Resources, Ended: a.Ended}
		if a.Privacy != nil {
			known[i].Privacy = new(event.Privacy)
			if err := proto.Unmarshal(a.Privacy, known[i].Privacy); err != nil {
				return nil, fmt.Errorf("watch: read a saved fold: %w", err)
			}
		}
	}
	p, err := From(s.Number, s.Of, s.Next, s.Marks, known)
	if err == nil && s.Deleted != nil {
		p.deleted = s.Deleted
	}
	return p, err
}
