package feed_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/watch"
)

func TestParseVector(t *testing.T) {
	for _, text := range []string{"0:0", "0:-1", "3:9223372036854775806", "0:12.3", "0:1,1:2.5,3:-1"} {
		v, err := feed.ParseVector(text, 4)
		if err != nil || v.String() != text {
			t.Errorf("%q is read as %q, %v", text, v, err)
		}
	}
	for _, text := range []string{"", ",", "0", "0:", ":1", "4:0", "-1:0", "0:-2", "0:+1", "0:01", "00:1", "0:1.0", "0:1.", "0:1.-1", "0:-1.1", "0:1,0:2",
		"0:1,", "0: 1", "0:9223372036854775807", "0:99999999999999999999", "a:b", "0:1\n", strings.Repeat("0:1,", 20000), "0:1.2.3", "💙:1"} {
		if v, err := feed.ParseVector(text, 4); err == nil {
			t.Errorf("%.20q is read as %v", text, v)
		}
	}
}

func FuzzParseVector(f *testing.F) {
	for _, text := range []string{"0:-1", "0:1,1:2.5,3:-1", "3:9223372036854775806", "1:01", ":", "0:1."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := feed.ParseVector(text, 8)
		if err != nil {
			return
		}
		again, err := feed.ParseVector(v.String(), 8)
		if err != nil || !maps.Equal(v, again) {
			t.Errorf("%q is read as %v, which is read as %v, %v", text, v, again, err)
		}
	})
}

// What is asked of a stream and cannot be is told apart.
func TestStreamsThatCannotBe(t *testing.T) {
	h := newHouse(t, localtest.Kafka(t))
	h.project()
	h.create()
	h.traffic(50)
	h.settled()
	early, err := feed.New(feed.Options{Postgres: h.pool, Brokers: h.brokers, Offsets: h.offsets, Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	hub, die := h.hub(feed.Options{CheckpointEvery: 1_000_000})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	here := feed.Filter{Domain: "localhost"}
	parse := func(text string) feed.Vector {
		v, err := feed.ParseVector(text, partitions)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	short, end := context.WithCancel(ctx)
	end()
	if _, _, err := early.Open(short, here, nil); !errors.Is(err, feed.ErrStarting) {
		t.Errorf("before Run: %v", err)
	}
	for name, one := range map[string]struct {
		filter feed.Filter
		from   string
		want   error
	}{
		"a partition is missing":     {here, "0:1,1:1,2:1", feed.ErrPosition},
		"a partition too many":       {feed.Filter{Account: people[0]}, "0:1,1:1,2:1,3:1", feed.ErrPosition},
		"of another account":         {feed.Filter{Account: people[0]}, "3:1", feed.ErrPosition},
		"ahead of the log":           {here, "0:1000000,1:0,2:0,3:-1", feed.ErrAhead},
		"neither account nor domain": {feed.Filter{}, "", nil},
		"account and domain":         {feed.Filter{Account: people[0], Domain: "localhost"}, "", nil},
	} {
		var from feed.Vector
		if one.from != "" {
			from = parse(one.from)
		}
		s, _, err := hub.Open(ctx, one.filter, from)
		if err == nil {
			s.Close()
		}
		if err == nil || one.want != nil && !errors.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	die()
	if _, _, err := hub.Open(ctx, here, nil); !errors.Is(err, feed.ErrStopped) {
		t.Errorf("after Run: %v", err)
	}
}

// What the log, or what is kept beside it, no longer has cannot be told.
func TestPositionsThatAreTooOld(t *testing.T) {
	h := newHouse(t, localtest.Kafka(t))
	h.project()
	h.create()
	h.traffic(50)
	ends := h.settled()
	h.truncate(ends)
	h.traffic(10)
	hub, _ := h.hub(feed.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var old *feed.TooOldError
	n := topic.Partition(jid.MustBare(people[0]), partitions)
	if _, _, err := hub.Open(ctx, feed.Filter{Account: people[0]}, feed.Vector{n: {Offset: 1}}); !errors.As(err, &old) || old.Partition != n || old.Asked != 1 || old.First < ends[n] {
		t.Fatalf("%v", err)
	}
	s, _, err := hub.Open(ctx, feed.Filter{Account: people[0]}, feed.Vector{n: {Offset: old.First - 1}})
	if err != nil {
		t.Fatalf("where changes can be told from: %v", err)
	}
	s.Close()
}

// truncate has the log forget what is before these offsets.
func (h *house) truncate(before map[int32]int64) {
	h.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(h.brokers...))
	if err != nil {
		h.t.Fatal(err)
	}
	defer client.Close()
	ask := kmsg.NewPtrDeleteRecordsRequest()
	ask.TimeoutMillis = 10_000
	one := kmsg.NewDeleteRecordsRequestTopic()
	one.Topic = topic.Account
	for n, offset := range before {
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = n, offset
		one.Partitions = append(one.Partitions, p)
	}
	ask.Topics = append(ask.Topics, one)
	answer, err := ask.RequestWith(h.t.Context(), client)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, p := range answer.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			h.t.Fatalf("partition %d is not truncated: error %d", p.Partition, p.ErrorCode)
		}
	}
}

// Who does not read is cut, and goes on where it was.
func TestWhoDoesNotReadIsCut(t *testing.T) {
	h := newHouse(t, localtest.Kafka(t))
	h.project()
	h.create()
	hub, _ := h.hub(feed.Options{MaxChanges: 5})
	l := listen(t, feed.Filter{Domain: "localhost", Messages: true})
	l.open(hub)
	steady, _ := h.hub(feed.Options{})
	other := listen(t, l.filter)
	other.open(steady)
	h.traffic(80)
	ends := h.settled()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for behind := true; behind; { // the Hub has all, the stream was too slow
		_, _, at, err := hub.Online()
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
		behind = false
		for n, end := range ends {
			behind = behind || at[n].Offset+1 < end
		}
	}
	heard, err := 0, error(nil)
	for err == nil {
		err = l.stream.Next(ctx, func(c watch.Change, at feed.Vector) error {
			l.apply(c)
			l.at = at
			heard++
			return nil
		})
	}
	if !errors.Is(err, feed.ErrSlow) || heard > 6 {
		t.Errorf("heard %d changes, then %v", heard, err)
	}
	l.stream.Close()
	l.open(steady)
	l.hears(l.through(ends), 1<<30)
	other.hears(other.through(ends), 1<<30)
	if len(l.online) == 0 || len(l.online) != len(other.online) {
		t.Errorf("it has %v, others have %v", l.online, other.online)
	}
	l.stream.Close()
	other.stream.Close()
}

// A record of a newer version ends the streams that read its partition.
func TestNewerRecordEndsStreams(t *testing.T) {
	h := newHouse(t, localtest.Kafka(t))
	h.project()
	h.create()
	h.settled()
	hub, _ := h.hub(feed.Options{})
	l := listen(t, feed.Filter{Domain: "localhost"})
	l.open(hub)
	defer l.stream.Close()
	r := h.of("edge/e1/1", people[0], &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}})
	e, err := event.Decode(r.Value)
	if err != nil {
		t.Fatal(err)
	}
	e.Kind = nil
	// Field 1000, of length 0, instead of a kind that is known.
	e.ProtoReflect().SetUnknown([]byte{0xc2, 0x3e, 0})
	if r.Value, err = proto.Marshal(e); err != nil {
		t.Fatal(err)
	}
	h.put(r)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for err == nil {
		err = l.stream.Next(ctx, func(watch.Change, feed.Vector) error { return nil })
	}
	if !errors.Is(err, feed.ErrStopped) || !errors.Is(err, event.ErrNewer) {
		t.Errorf("it ends with %v", err)
	}
	if err := hub.Health(); !errors.Is(err, event.ErrNewer) {
		t.Errorf("health: %v", err)
	}
}
