// Package messagetest has the rules of RFC 6121, section 8.5, as data, for
// tests of what routes stanzas: what the section allows in each condition, as
// its text and its table 1 say, and beside it what this server chose. It
// computes nothing by the rules that are tested.
package messagetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/presence"
)

// An Outcome is what happens to a stanza. The letters are those of section
// 8.5.4 as far as it has one.
type Outcome byte

// The outcomes.
const (
	Ignored  Outcome = 'S' // silently
	Error    Outcome = 'E' // the sender gets <service-unavailable/>
	Offline  Outcome = 'O' // stored
	Direct   Outcome = 'D' // to the addressed resource, or to the only one that may get it
	Most     Outcome = 'M' // to the most available
	All      Outcome = 'A' // to all of non-negative priority
	Everyone Outcome = 'V' // to all that are available
	Replied  Outcome = 'R' // the server replies on behalf of the account
)

// A Condition is what table 1 tells of an account.
type Condition string

// The conditions of table 1. The text has connected resources, which sent no
// presence, beside the active ones, which are available.
const (
	NoAccount       Condition = "account does not exist"
	NoActive        Condition = "no active resources"
	AllNegative     Condition = "1+ negative resources but zero non-negative resources"
	OneNonNegative  Condition = "1 non-negative resource"
	MoreNonNegative Condition = "1+ non-negative resources"
)

// An Address is the form of a JID.
type Address string

// The forms.
const (
	Bare        Address = "bare"
	FullMatch   Address = "full match"
	FullNoMatch Address = "full no match"
)

// Types are the columns of Messages: those of table 1, and errors, which are
// in the text.
var Types = []string{"normal", "chat", "groupchat", "headline", "error"}

// A Row is a row of table 1.
type Row struct {
	Condition Condition
	Address   Address
	Allowed   []string // of each of Types: the outcomes that the RFC allows, with / between
	Chosen    string   // of each of Types: ours
}

// Messages is table 1 with a column for errors. Our choices:
//
//   - S/E: normal, chat and groupchat are answered with an error, so that their
//     sender knows; a headline is ignored, for nobody expects an answer. An error
//     is never answered (RFC 6120, section 8.3.1).
//   - O/E: it is stored.
//   - M/A: to all, so that a conversation can go on on any device; for chat, a
//     priority that is not negative is the opt-in that the footnote asks for.
//   - D/A: to the addressed resource; others can have copies (XEP-0280).
//
// The table has no row for a connected resource that is addressed by its full
// JID: section 8.5.3.1 counts it as a match.
var Messages = []Row{
	{NoAccount, Bare, []string{"S/E", "S/E", "E", "S", "S/E"}, "EEESS"},
	{NoAccount, FullNoMatch, []string{"S/E", "S/E", "S/E", "S/E", "S/E"}, "EEESS"},
	{NoActive, Bare, []string{"O/E", "O/E", "E", "S", "S"}, "OOESS"},
	{NoActive, FullMatch, []string{"D", "D", "D", "D", "D"}, "DDDDD"},
	{NoActive, FullNoMatch, []string{"S/E", "O/E", "S/E", "S/E", "S"}, "EOESS"},
	{AllNegative, Bare, []string{"O/E", "O/E", "E", "S", "S"}, "OOESS"},
	{AllNegative, FullMatch, []string{"D", "D", "D", "D", "D"}, "DDDDD"},
	{AllNegative, FullNoMatch, []string{"S/E", "O/E", "S/E", "S/E", "S"}, "EOESS"},
	{OneNonNegative, Bare, []string{"D", "D", "E", "D", "S"}, "DDEDS"},
	{OneNonNegative, FullMatch, []string{"D", "D", "D", "D", "D"}, "DDDDD"},
	{OneNonNegative, FullNoMatch, []string{"S/E", "D", "S/E", "S/E", "S"}, "EDESS"},
	{MoreNonNegative, Bare, []string{"M/A", "M/A", "E", "A", "S"}, "AAEAS"},
	{MoreNonNegative, FullMatch, []string{"D", "D/A", "D", "D", "D"}, "DDDDD"},
	{MoreNonNegative, FullNoMatch, []string{"S/E", "M/A", "S/E", "S/E", "S"}, "EAESS"},
}

// MessageOutcome gives what this server does with a message; a type that is
// not among Types is normal (section 5.2.2).
func MessageOutcome(c Condition, a Address, kind string) Outcome {
	column := max(0, slices.Index(Types, kind))
	for _, r := range Messages {
		if r.Condition == c && r.Address == a {
			return Outcome(r.Chosen[column])
		}
	}
	panic(fmt.Sprintf("messagetest: no row %s, %s", c, a))
}

// PresenceOutcome gives what is done with directed presence, available or
// unavailable: sections 8.5.1, 8.5.2.1.2, 8.5.2.2.2, 8.5.3.1 and 8.5.3.2.2. The
// other types are sections 3 and 4.3.
func PresenceOutcome(c Condition, a Address) Outcome {
	switch {
	case a == FullMatch:
		return Direct
	case a == FullNoMatch, c == NoAccount, c == NoActive:
		return Ignored
	}
	return Everyone
}

// IQOutcome gives what is done with an iq: sections 8.5.1, 8.5.2.1.3, 8.5.2.2.3
// and 8.5.3. shared tells that its sender may know that the resource is there.
//
// The RFC has every iq that cannot be delivered answered by an error. An
// answer, of type result or error, is not (RFC 6120, sections 8.2.3 and 8.3.1).
func IQOutcome(c Condition, a Address, kind string, shared bool) Outcome {
	request := kind == "get" || kind == "set"
	switch {
	case a == FullMatch && (shared || !request):
		return Direct
	case !request:
		return Ignored
	case a == Bare && c != NoAccount:
		return Replied
	}
	return Error
}

// Connected is the priority of a resource that has sent no presence.
const Connected = 1000

// Resources gives resources by their priorities; they are named r0, r1 and so
// on. Connected ones are in it too.
func Resources(priorities []int) map[string]presence.Resource {
	all := make(map[string]presence.Resource, len(priorities))
	for i, p := range priorities {
		r := presence.Resource{Name: Name(i)}
		if p != Connected {
			r.Available, r.Priority = true, int8(p)
		}
		all[r.Name] = r
	}
	return all
}

// Name gives the name of the resource i.
func Name(i int) string { return fmt.Sprint("r", i) }

// ConditionOf gives the condition of an account that exists.
func ConditionOf(priorities []int) Condition {
	available, taking := 0, 0
	for _, p := range priorities {
		if p != Connected {
			available++
		}
		if p != Connected && p >= 0 {
			taking++
		}
	}
	switch {
	case available == 0:
		return NoActive
	case taking == 0:
		return AllNegative
	case taking == 1:
		return OneNonNegative
	}
	return MoreNonNegative
}

// Receivers gives the names of the resources that get a stanza, sorted, nil
// for none. addressed is a resource's name, of one that is there or not, or empty.
func Receivers(o Outcome, addressed string, priorities []int) []string {
	var names []string
	for i, p := range priorities {
		switch {
		case o == Direct && addressed == Name(i):
			return []string{addressed}
		case (o == Direct || o == All) && p != Connected && p >= 0, o == Everyone && p != Connected:
			names = append(names, Name(i))
		}
	}
	return names
}

// Action gives the outcome as schema/message names it.
func (o Outcome) Action() message.Action {
	switch o {
	case Error:
		return message.Bounce
	case Offline:
		return message.Store
	case Direct, All, Everyone:
		return message.Deliver
	case Replied:
		return message.Serve
	}
	return message.Ignore
}

// Allows tells whether a cell allows an outcome.
func Allows(cell string, o Outcome) bool {
	return slices.Contains(strings.Split(cell, "/"), string(rune(o)))
}
