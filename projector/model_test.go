package projector_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/logtest"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
)

// A model folds a whole log in memory, without any of the projector's shell,
// and notes which reactions were caused and which arrived.
type model struct {
	t       testing.TB
	log     *logtest.Log
	caused  map[string]string // place -> what
	arrived map[string]int
	pushes  map[string]bool // what push services are to be told
}

func newModel(t testing.TB, l *logtest.Log) *model {
	return &model{t: t, log: l, caused: make(map[string]string), arrived: make(map[string]int), pushes: make(map[string]bool)}
}

func (m *model) partition(p int32) {
	part := fold.Partition{Number: p, Of: m.log.Partitions}
	states := make(map[string]*account.State)
	for offset, record := range m.log.Records(topic.Account, p) {
		r, err := fold.Decode(p, int64(offset), record.Key, record.Value)
		if err != nil {
			m.t.Fatal(err)
		}
		if r.Garbage != nil {
			continue
		}
		admitted := part.Admit(&r)
		if !admitted {
			continue
		}
		if len(r.Event.GetOrigin()) > 2 && r.Event.GetOrigin()[:2] == "p/" {
			m.arrived[fmt.Sprintf("%s/%d/%d", r.Event.GetOrigin(), r.Event.GetSequence(), r.Event.GetIndex())]++
		}
		var in []*account.State
		if r.Lost() != nil {
			for _, name := range sorted(states) {
				in = append(in, states[name])
			}
		} else {
			s := states[r.Key]
			if s == nil {
				b, err := fold.Account(r.Key, p, m.log.Partitions)
				if err != nil {
					m.t.Fatal(err)
				}
				s = account.New(b)
				states[r.Key] = s
			}
			in = []*account.State{s}
		}
		reactions, err := part.Apply(&r, in...)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, c := range reactions {
			m.caused[fmt.Sprintf("p/%d/%d/%d", c.Partition, c.Offset, c.Index)] = c.Topic + " " + c.Kind
		}
	}
	for name, s := range states { // whose changes nobody has taken
		for _, told := range s.Changes.Pushes {
			m.pushes[fmt.Sprintf("%s %s %q %d", name, told.Service, told.Node, told.Offset)] = true
		}
	}
	// What is in an outbox counts once too, by the same rule of its reader.
	newest := make(map[string][2]uint64)
	for _, record := range m.log.Records(topic.Outbox, p) {
		o, err := event.DecodeOutput(record.Value)
		if err != nil {
			m.t.Fatal(err)
		}
		at, last := [2]uint64{o.GetSequence(), uint64(o.GetIndex())}, newest[o.GetOrigin()]
		if _, seen := newest[o.GetOrigin()]; !seen || at[0] > last[0] || at[0] == last[0] && at[1] > last[1] {
			newest[o.GetOrigin()] = at
			m.arrived[fmt.Sprintf("%s/%d/%d", o.GetOrigin(), o.GetSequence(), o.GetIndex())]++
		}
	}
}

func sorted(states map[string]*account.State) []string {
	return slices.Sorted(maps.Keys(states))
}
