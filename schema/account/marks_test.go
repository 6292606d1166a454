package account

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/rollcall/rollcall/schema/event"
)

func from(origin string, sequence uint64, index uint32) *event.Event {
	return &event.Event{Origin: origin, Sequence: sequence, Index: index, At: 1}
}

func lost(edge string, epoch uint64) *event.Event {
	return &event.Event{At: 1, Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: edge, Epoch: epoch}}}
}

func TestAdmit(t *testing.T) {
	var m Marks
	for _, step := range []struct {
		name string
		e    *event.Event
		want bool
	}{
		{"first", from("edge/a/1", 5, 0), true},
		{"copy", from("edge/a/1", 5, 0), false},
		{"late copy", from("edge/a/1", 4, 0), false},
		{"newer, with a gap", from("edge/a/1", 9, 0), true},
		{"another epoch", from("edge/a/2", 1, 0), true},
		{"another edge", from("edge/b/1", 1, 0), true},
		{"reaction", from("p/7", 100, 0), true},
		{"next reaction to the same offset", from("p/7", 100, 1), true},
		{"copy of a reaction", from("p/7", 100, 0), false},
		{"reaction to a later offset", from("p/7", 101, 0), true},
		{"sequence zero", from("http/x", 0, 0), true},
		{"copy of sequence zero", from("http/x", 0, 0), false},
		{"edge lost", lost("a", 1), true},
		{"edge lost again", lost("a", 1), true},
		{"late event of the lost epoch", from("edge/a/1", 10, 0), false},
		{"late event of an earlier epoch", from("edge/a/0", 10, 0), false},
		{"event of a later epoch", from("edge/a/2", 2, 0), true},
		{"edge with the same prefix", from("edge/a/b/1", 1, 0), true},
		{"copy of an earlier loss", lost("a", 0), true},
		{"still closed", from("edge/a/1", 11, 0), false},
		{"origin that only looks like an edge", from("edge/a/x", 1, 0), true},
	} {
		if got := m.Admit(step.e); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
}

func TestOldOriginsAreForgotten(t *testing.T) {
	var m Marks
	hour := time.Hour.Microseconds()
	for i := range sweepAt - 1 {
		m.Admit(&event.Event{Origin: fmt.Sprintf("edge/%d/1", i), Sequence: 1, At: int64(i)})
	}
	if m.Len() != sweepAt-1 {
		t.Fatalf("%d origins", m.Len())
	}
	m.Admit(&event.Event{Origin: "edge/new/1", Sequence: 1, At: hour + 10})
	if want := sweepAt - 10; m.Len() != want { // those at 0 to 9 are older than an hour
		t.Errorf("%d origins, want %d", m.Len(), want)
	}
	if !m.Admit(&event.Event{Origin: "edge/20/1", Sequence: 2, At: 1}) || m.Admit(&event.Event{Origin: "edge/20/1", Sequence: 2, At: 1}) {
		t.Error("a mark that is not old was forgotten")
	}
}

func TestMarksEncoding(t *testing.T) {
	var m Marks
	for i := range 40 {
		m.Admit(&event.Event{Origin: fmt.Sprintf("edge/%d/1", i), Sequence: uint64(i) << 40, Index: uint32(i), At: int64(i) * 1e15})
	}
	m.Admit(lost("3", 7))
	b, err := m.AppendBinary([]byte("before"))
	if err != nil || !bytes.HasPrefix(b, []byte("before")) {
		t.Fatal(err)
	}
	b = b[len("before"):]
	var read Marks
	if err := read.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	again, _ := read.MarshalBinary()
	clone := read.Clone()
	cloned, _ := clone.MarshalBinary()
	if !bytes.Equal(b, again) || !bytes.Equal(b, cloned) {
		t.Error("not the same bytes")
	}
	clone.Admit(from("edge/5/1", 1<<60, 0))
	if after, _ := read.MarshalBinary(); !bytes.Equal(b, after) {
		t.Error("the clone shares marks")
	}
	for n := 1; n < len(b); n++ {
		if err := read.UnmarshalBinary(b[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes were read", n, len(b))
		}
	}
	if err := read.UnmarshalBinary([]byte{99}); err == nil {
		t.Error("an unknown format was read")
	}
	if err := read.UnmarshalBinary(nil); err != nil || read.Len() != 0 {
		t.Error("nothing is not the zero Marks")
	}
}

func FuzzMarks(f *testing.F) {
	var m Marks
	m.Admit(from("edge/a/1", 5, 2))
	m.Admit(lost("b", 3))
	b, _ := m.MarshalBinary()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again Marks
		if m.UnmarshalBinary(b) != nil {
			return
		}
		canonical, _ := m.MarshalBinary()
		if err := again.UnmarshalBinary(canonical); err != nil {
			t.Fatal(err)
		}
		if twice, _ := again.MarshalBinary(); !bytes.Equal(canonical, twice) {
			t.Fatal("not the same bytes")
		}
	})
}
