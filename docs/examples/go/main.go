// Command go prints who is online, as the topic account has it: it reads the
// log from its beginning to its present end and folds it. docs/EVENTS.md
// explains each step.
//
//	go run ./docs/examples/go --brokers localhost:9092
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

func main() {
	brokers := flag.String("brokers", "localhost:9092", "host:port of some brokers, with commas")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	online, err := whoIsOnline(ctx, strings.Split(*brokers, ","))
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range online {
		fmt.Println(line)
	}
}

// whoIsOnline gives a line for each available resource, sorted: its full JID
// and what it shows.
func whoIsOnline(ctx context.Context, brokers []string) (online []string, err error) {
	partitions, err := kafka.DefaultDialer.LookupPartitions(ctx, "tcp", brokers[0], topic.Account)
	if err != nil {
		return nil, err
	}
	for _, p := range partitions { // each has accounts of its own, so they may as well be read side by side
		f := fold{states: make(map[string]*account.State)}
		if err := read(ctx, brokers, p.ID, f.apply); err != nil {
			return nil, fmt.Errorf("partition %d: %w", p.ID, err)
		}
		online = append(online, f.online()...)
	}
	slices.Sort(online)
	return online, nil
}

// read gives apply every record of a partition, up to the end as it is now.
func read(ctx context.Context, brokers []string, partition int, apply func(kafka.Message) error) error {
	conn, err := kafka.DefaultDialer.DialLeader(ctx, "tcp", brokers[0], topic.Account, partition)
	if err != nil {
		return err
	}
	defer conn.Close()
	first, end, err := conn.ReadOffsets()
	if err != nil {
		return err
	}
	if first > 0 {
		return fmt.Errorf("the log begins at %d: what was before is in ClickHouse, table events", first)
	}
	if end == 0 {
		return nil
	}
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: topic.Account, Partition: partition, MaxBytes: 8 << 20})
	defer reader.Close()
	for next := int64(0); next < end; {
		m, err := reader.ReadMessage(ctx)
		if err != nil {
			return err
		}
		if m.Offset < next { // never: but who counts must be sure
			return fmt.Errorf("offset %d after %d", m.Offset, next-1)
		}
		next = m.Offset + 1
		if err := apply(m); err != nil {
			return err
		}
	}
	return nil
}

// A fold is what the records of a partition add up to: marks, which tell
// copies from what is new, and the state of each account.
type fold struct {
	marks  account.Marks
	states map[string]*account.State
}

func (f *fold) apply(m kafka.Message) error {
	e, err := event.Decode(m.Value)
	if errors.Is(err, event.ErrNewer) {
		return fmt.Errorf("offset %d: %w", m.Offset, err) // to skip it would give another state
	}
	if err != nil {
		return nil // nobody can read it: the projector has put it into dead-letter
	}
	if !f.marks.Admit(e) {
		return nil // a copy, or late, or of an edge that is dead
	}
	if e.GetEdgeLost() != nil { // has no key: it is for every account of the partition
		for _, s := range f.states {
			s.Apply(m.Offset, e)
		}
		return nil
	}
	name := string(m.Key)
	s := f.states[name]
	if s == nil {
		s = account.New(jid.BareFromCanonical(name))
		f.states[name] = s
	}
	s.Apply(m.Offset, e) // what it gives are reactions, which are in the log already
	s.Changes.Reset()
	return nil
}

// online gives the available resources that are not invisible.
func (f *fold) online() (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(f.states)) {
		s := f.states[name]
		for _, r := range s.Resources {
			if r.Available && !s.Privacy.Session(r.Name).Invisible {
				lines = append(lines, fmt.Sprintf("%s/%s %s %s", name, r.Name, show(r.Show), quoted(r.Status)))
			}
		}
	}
	return lines
}

func show(text string) string {
	if text == "" {
		return "available"
	}
	return text
}

// quoted gives text as JSON has it.
func quoted(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // text can be encoded
	return strings.TrimSuffix(b.String(), "\n")
}
