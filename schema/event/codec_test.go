package event_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/event/eventtest"
)

var accounts = []string{"juliet@example.com", "romeo@example.net"}

func TestRandomEventsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := eventtest.Event(accounts).Draw(t, "event")
		first, err := event.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := event.Decode(first)
		if err != nil || !proto.Equal(got, e) {
			t.Fatalf("got %v, %v, want %v", got, err, e)
		}
		if second, err := event.Marshal(got); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("other bytes: %x, %v, want %x", second, err, first)
		}
		o := eventtest.Output(accounts).Draw(t, "output")
		b, err := event.MarshalOutput(o)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := event.DecodeOutput(b); err != nil || !proto.Equal(got, o) {
			t.Fatalf("got %v, %v, want %v", got, err, o)
		}
	})
}

// newer is a record with a kind of a number that this version does not have.
func newer(envelope []byte, number protowire.Number) []byte {
	b := protowire.AppendTag(bytes.Clone(envelope), number, protowire.BytesType)
	return protowire.AppendBytes(b, []byte("whatever"))
}

func TestDecodeFates(t *testing.T) {
	id := bytes.Repeat([]byte{1}, 16)
	envelope, err := proto.Marshal(&event.Event{Id: id, At: 1, Origin: "edge/a/1"})
	if err != nil {
		t.Fatal(err)
	}
	created := &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}
	encode := func(e *event.Event) []byte {
		b, err := event.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, v := range []struct {
		name  string
		value []byte
		want  string
	}{
		{"newer kind", newer(envelope, 99), "newer"},
		{"unknown field of the envelope, no kind", newer(envelope, 9), "garbage"},
		{"no kind", envelope, "garbage"},
		{"nothing", nil, "garbage"},
		{"text", []byte("hello, world"), "garbage"},
		{"newer kind without origin", newer(nil, 99), "garbage"},
		{"no id", encode(&event.Event{Origin: "edge/a/1", Kind: created}), "garbage"},
		{"no origin", encode(&event.Event{Id: id, Kind: created}), "garbage"},
		{"edge lost needs neither", encode(&event.Event{Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: "a"}}}), ""},
		{"whole", encode(&event.Event{Id: id, Origin: "edge/a/1", Kind: created}), ""},
		{"known kind with a field of a newer version", newer(encode(&event.Event{Id: id, Origin: "edge/a/1", Kind: created}), 9), ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := event.Decode(v.value)
			var garbage *event.GarbageError
			got := ""
			switch {
			case errors.Is(err, event.ErrNewer):
				got = "newer"
			case errors.As(err, &garbage):
				got = "garbage"
			case err != nil:
				got = err.Error()
			}
			if got != v.want {
				t.Errorf("got %q (%v), want %q", got, err, v.want)
			}
		})
	}
	if _, err := event.DecodeOutput(newer([]byte("\x12\x03p/0"), 99)); !errors.Is(err, event.ErrNewer) {
		t.Errorf("newer output: got %v", err)
	}
	if _, err := event.Marshal(&event.Event{}); err == nil {
		t.Error("an event of no kind has bytes")
	}
	if _, err := event.MarshalOutput(&event.Output{}); err == nil {
		t.Error("an output of no kind has bytes")
	}
}

func TestEnvelope(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 123000, time.UTC)
	e := &event.Event{Id: bytes.Repeat([]byte{0xab}, 16), At: at.UnixMicro()}
	if got := event.Time(e); !got.Equal(at) {
		t.Errorf("time is %s, want %s", got, at)
	}
	if got := event.ID(e).String(); got != "abababab-abab-abab-abab-abababababab" {
		t.Errorf("id is %s", got)
	}
	if event.KindOf(e) != 0 {
		t.Errorf("kind is %s", event.KindOf(e))
	}
}

func FuzzDecode(f *testing.F) {
	each((*event.Event)(nil), func(_ string, m proto.Message) {
		if b, err := proto.Marshal(m); err == nil {
			f.Add(b)
		}
	})
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := event.Decode(value)
		if err != nil {
			return
		}
		b, err := event.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := event.Decode(b); err != nil || !proto.Equal(again, e) {
			t.Fatalf("%v became %v, %v", e, again, err)
		}
	})
}

func FuzzDecodeOutput(f *testing.F) {
	each((*event.Output)(nil), func(_ string, m proto.Message) {
		if b, err := proto.Marshal(m); err == nil {
			f.Add(b)
		}
	})
	f.Fuzz(func(t *testing.T, value []byte) {
		o, err := event.DecodeOutput(value)
		if err != nil {
			return
		}
		b, err := event.MarshalOutput(o)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := event.DecodeOutput(b); err != nil || !proto.Equal(again, o) {
			t.Fatalf("%v became %v, %v", o, again, err)
		}
	})
}
