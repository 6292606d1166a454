package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// An Entry is a record of an account's history.
type Entry struct {
	At    topic.Position
	Time  time.Time    // by the clock of who wrote it; zero for a dead letter
	Kind  string       // as in the proto: "presence_available"; "dead letter"
	Copy  bool         // a mark says that it is a copy or late: it was not folded
	Text  string       // what it says, in a line
	Event *event.Event // nil for a dead letter
}

// Until bounds a look into the past. Its zero value is now.
type Until struct {
	Offset int64     // records below; 0 for no bound
	Time   time.Time // records whose event is not later; zero for no bound
}

var errEnough = errors.New("enough")

// history calls fn for every record of account up to until, EdgeLost of its
// partition too.
func (o *Options) history(ctx context.Context, of jid.Bare, until Until, fn func(r *fold.Record, admitted bool) error) (topic.Position, error) {
	at := topic.Position{Topic: topic.Account, Partition: topic.Partition(of, o.Partitions)}
	if err := o.check(false); err != nil {
		return at, err
	}
	ends, err := o.Log.Ends(ctx)
	if err != nil {
		return at, err
	}
	to := ends[at.Partition]
	if until.Offset > 0 {
		to = min(to, until.Offset)
	}
	latest := int64(math.MaxInt64)
	if !until.Time.IsZero() {
		latest = until.Time.UnixMicro()
	}
	p := fold.Partition{Number: at.Partition, Of: o.Partitions}
	name := of.String()
	at.Offset = to
	_, err = o.records(ctx, at.Partition, 0, to, func(r fold.Record) error {
		if r.Garbage != nil {
			if r.Key == name {
				return fn(&r, false)
			}
			return nil
		}
		// The clocks of edges differ a little, so the first later event of
		// the account itself ends it, not anybody's.
		mine := r.Key == name
		if mine && r.Event.GetAt() > latest {
			at.Offset = r.Offset
			return errEnough
		}
		if !mine && r.Lost() == nil {
			if _, err := fold.Account(r.Key, p.Number, p.Of); err == nil {
				p.Admit(&r)
			}
			return nil
		}
		if r.Lost() != nil && r.Event.GetAt() > latest {
			return nil
		}
		return fn(&r, p.Admit(&r))
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return at, err
}

// History calls fn for each record of account's history up to until, in order,
// those that were not folded too. An EdgeLost is given if it took a resource of
// the account away.
func History(ctx context.Context, o Options, of jid.Bare, until Until, fn func(Entry) error) error {
	s := account.New(of)
	partition := topic.Partition(of, o.Partitions)
	_, err := o.history(ctx, of, until, func(r *fold.Record, admitted bool) error {
		entry := Entry{At: topic.Position{Topic: topic.Account, Partition: partition, Offset: r.Offset}, Event: r.Event}
		if r.Garbage != nil {
			entry.Kind, entry.Text = "dead letter", r.Garbage.Error()
			return fn(entry)
		}
		s.Changes.Reset()
		if admitted {
			s.Apply(r.Offset, r.Event)
		}
		if r.Lost() != nil && s.Changes.Empty() {
			return nil
		}
		entry.Time, entry.Kind, entry.Copy, entry.Text = event.Time(r.Event), event.KindOf(r.Event).String(), !admitted, describe(r.Event)
		return fn(entry)
	})
	return err
}

// StateAt gives what account was, with all records below until folded, and the
// first offset that is not folded.
func StateAt(ctx context.Context, o Options, of jid.Bare, until Until) (*account.State, topic.Position, error) {
	s := account.New(of)
	at, err := o.history(ctx, of, until, func(r *fold.Record, admitted bool) error {
		if admitted {
			s.Apply(r.Offset, r.Event)
			s.Changes.Reset()
		}
		return nil
	})
	return s, at, err
}

// describe says in a line what an event says.
func describe(e *event.Event) string {
	switch k := e.GetKind().(type) {
	case *event.Event_AccountCreated:
		return "account created"
	case *event.Event_AccountDeleted:
		return "account deleted"
	case *event.Event_ResourceBound:
		return fmt.Sprintf("%s connected at edge %s/%d", k.ResourceBound.GetResource(), k.ResourceBound.GetEdge(), k.ResourceBound.GetEpoch())
	case *event.Event_ResourceClosed:
		return join(k.ResourceClosed.GetResource()+" disconnected", k.ResourceClosed.GetReason())
	case *event.Event_PresenceAvailable:
		return k.PresenceAvailable.GetResource() + " is " + shown(k.PresenceAvailable.GetPresence())
	case *event.Event_PresenceUnavailable:
		return join(k.PresenceUnavailable.GetResource()+" is unavailable", k.PresenceUnavailable.GetPresence().GetStatus())
	case *event.Event_DirectedPresence:
		return k.DirectedPresence.GetResource() + " tells " + k.DirectedPresence.GetTo() + ": " + directed(k.DirectedPresence.GetAvailable(), k.DirectedPresence.GetPresence())
	case *event.Event_DirectedReceived:
		return k.DirectedReceived.GetFrom() + " tells: " + directed(k.DirectedReceived.GetAvailable(), k.DirectedReceived.GetPresence())
	case *event.Event_RosterItemSet:
		return join("sets "+k.RosterItemSet.GetContact(), k.RosterItemSet.GetName(), strings.Join(k.RosterItemSet.GetGroups(), ", "))
	case *event.Event_RosterItemRemoved:
		return "removes " + k.RosterItemRemoved.GetContact()
	case *event.Event_SubscriptionSent:
		return "to " + k.SubscriptionSent.GetContact() + ": " + verb(k.SubscriptionSent.GetVerb())
	case *event.Event_SubscriptionReceived:
		return "from " + k.SubscriptionReceived.GetContact() + ": " + verb(k.SubscriptionReceived.GetVerb())
	case *event.Event_MessageAccepted:
		return join("message from "+k.MessageAccepted.GetFrom(), k.MessageAccepted.GetMessage().GetBody())
	case *event.Event_MessageSent:
		return join("message to "+k.MessageSent.GetTo(), k.MessageSent.GetMessage().GetBody())
	case *event.Event_Delivered:
		return fmt.Sprintf("%s took message %d", k.Delivered.GetResource(), k.Delivered.GetOffset())
	case *event.Event_EdgeLost:
		return fmt.Sprintf("edge %s/%d lost", k.EdgeLost.GetEdge(), k.EdgeLost.GetEpoch())
	}
	return cmp.Or(describeNode(e), describeChat(e), event.KindOf(e).String())
}

func verb(v event.Verb) string { return strings.ToLower(strings.TrimPrefix(v.String(), "VERB_")) }

func directed(available bool, p *event.Presence) string {
	if !available {
		return join("unavailable", p.GetStatus())
	}
	return shown(p)
}

func shown(p *event.Presence) string {
	show := p.GetShow()
	if show == "" {
		show = "available"
	}
	if p.GetPriority() != 0 {
		show += fmt.Sprintf(" (priority %d)", p.GetPriority())
	}
	return join(show, p.GetStatus())
}

// join adds what is not empty, in one line of bounded length.
func join(text string, more ...string) string {
	for _, m := range more {
		if m = strings.Join(strings.Fields(m), " "); m != "" {
			if runes := []rune(m); len(runes) > 60 {
				m = string(runes[:60]) + "…"
			}
			text += ": " + m
		}
	}
	return text
}
