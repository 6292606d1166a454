package account

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/roster"
	"github.com/rollcall/rollcall/schema/subscription"
)

// A world is a few accounts whose histories share one partition. It understands
// lines of text, folds them and what they cause, and answers in text:
//
//	create juliet                      delete juliet
//	juliet/balcony binds e1/3          juliet/balcony closes
//	juliet/balcony available away 5    juliet/balcony unavailable
//	juliet/balcony directs available romeo/orchard
//	juliet sets romeo Romeo Friends    juliet removes romeo
//	juliet -> romeo: subscribe         juliet/balcony -> romeo: chat hello
//	juliet/balcony took 7              lost e1/3
//	juliet expires 7                   juliet/balcony -> romeo: chat hello {o1}
//	show juliet                        limit 3
//
// "binds e2/1 inherits" and "binds e2/1 resumes" are what a client does that
// comes back, "closes resumable" is what an edge does that stops. A line that
// ends with "[5<3]" is of the client's stanza 5, and 3 was the one before.
//
// A session's binding is its latest; "juliet/balcony#1" is the first.
type world struct {
	limit    uint32 // of everything that has one; 0: none
	states   map[jid.Bare]*State
	log      []record
	bindings map[string][][]byte // by resource, "juliet/balcony"
	sequence uint64
}

// A record is what lies at an offset.
type record struct {
	key jid.Bare // zero for EdgeLost, which is every account's
	e   *event.Event
}

func newWorld() *world {
	return &world{states: make(map[jid.Bare]*State), bindings: make(map[string][][]byte)}
}

func bare(name string) jid.Bare { return jid.MustBare(name + "@example.com") }

func address(name string) string {
	name, resource, full := strings.Cut(name, "/")
	if full {
		return bare(name).String() + "/" + resource
	}
	return bare(name).String()
}

func short(address string) string { return strings.Replace(address, "@example.com", "", 1) }

// do folds one line and gives the answers.
func (w *world) do(line string) ([]string, error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return nil, fmt.Errorf("not understood: %q", line)
	}
	switch words[0] {
	case "show":
		return w.show(bare(words[1])), nil
	case "limit":
		n, err := strconv.ParseUint(words[1], 10, 32)
		w.limit = uint32(n)
		return nil, err
	case "create":
		return w.append(bare(words[1]), &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}}), nil
	case "delete":
		return w.append(bare(words[1]), &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}}), nil
	case "lost":
		edge, epoch, _ := strings.Cut(words[1], "/")
		n, err := strconv.ParseUint(epoch, 10, 64)
		if err != nil {
			return nil, err
		}
		return w.append(jid.Bare{}, &event.Event{Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: edge, Epoch: n}}}), nil
	}
	who, generation, old := strings.Cut(words[0], "#")
	name, resource, _ := strings.Cut(who, "/")
	e := &event.Event{}
	if all := w.bindings[who]; len(all) > 0 {
		e.Binding = all[len(all)-1]
		if n, err := strconv.Atoi(generation); old && err == nil {
			e.Binding = all[n-1]
		}
	}
	key := bare(name)
	rest := words[2:]
	if n, _ := fmt.Sscanf(words[len(words)-1], "[%d<%d]", &e.Stanza, &e.StanzaBefore); n == 2 {
		rest = rest[:len(rest)-1]
	}
	arg := func(i int) string {
		if i < len(rest) {
			return rest[i]
		}
		return ""
	}
	switch words[1] {
	case "binds":
		edge, epoch, _ := strings.Cut(arg(0), "/")
		n, err := strconv.ParseUint(epoch, 10, 64)
		if err != nil {
			return nil, err
		}
		id := w.id()
		w.bindings[who] = append(w.bindings[who], id)
		e.Id = id
		b := &event.ResourceBound{Resource: resource, Edge: edge, Epoch: n, Inherits: arg(1) == "inherits", Copies: arg(1) == "copies"}
		if arg(1) == "resumes" {
			b.Resumes = e.Binding
		}
		e.Kind = &event.Event_ResourceBound{ResourceBound: b}
	case "closes":
		e.Kind = &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: resource, Resumable: arg(0) == "resumable"}}
	case "available":
		p := &event.Presence{}
		for _, word := range rest {
			if n, err := strconv.Atoi(word); err == nil {
				p.Priority = int32(n)
			} else {
				p.Show = word
			}
		}
		e.Kind = &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: resource, Presence: p}}
	case "copies":
		e.Kind = &event.Event_StanzaHandled{StanzaHandled: &event.StanzaHandled{Copies: proto.Bool(arg(0) == "on")}}
	case "unavailable":
		e.Kind = &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{Resource: resource, Presence: &event.Presence{Status: strings.Join(rest, " ")}}}
	case "directs":
		e.Kind = &event.Event_DirectedPresence{DirectedPresence: &event.DirectedPresence{Resource: resource, To: address(arg(1)), Available: arg(0) == "available", MaxTargets: w.limit}}
	case "sets":
		e.Kind = &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: address(arg(0)), Name: arg(1), Groups: rest[min(2, len(rest)):], RequestId: "r1", Resource: resource, MaxItems: w.limit}}
	case "removes":
		e.Kind = &event.Event_RosterItemRemoved{RosterItemRemoved: &event.RosterItemRemoved{Contact: address(arg(0)), RequestId: "r1", Resource: resource}}
	case "took":
		n, err := strconv.ParseInt(arg(0), 10, 64)
		if err != nil {
			return nil, err
		}
		e.Kind = &event.Event_Delivered{Delivered: &event.Delivered{Offset: n, Resource: resource}}
	case "expires":
		n, err := strconv.ParseInt(arg(0), 10, 64)
		if err != nil {
			return nil, err
		}
		e.Kind = &event.Event_MessageExpired{MessageExpired: &event.MessageExpired{Offset: n}}
	case "->":
		to, verb := strings.TrimSuffix(arg(0), ":"), arg(1)
		text := strings.Join(rest[min(2, len(rest)):], " ")
		if v, ok := event.Verb_value["VERB_"+strings.ToUpper(verb)]; ok {
			e.Kind = &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{Contact: address(to), Verb: event.Verb(v), Presence: &event.Presence{Status: text}, Resource: resource, MaxItems: w.limit, MaxRequests: w.limit}}
			break
		}
		t, ok := event.MessageType_value["MESSAGE_TYPE_"+strings.ToUpper(verb)]
		if !ok {
			return nil, fmt.Errorf("no verb and no message: %q", line)
		}
		target, toResource, _ := strings.Cut(to, "/")
		origin := ""
		if before, id, ok := strings.Cut(text, "{"); ok {
			text, origin = strings.TrimSpace(before), strings.TrimSuffix(id, "}")
		}
		key = bare(target)
		storable := t <= int32(event.MessageType_MESSAGE_TYPE_CHAT) && text != ""
		e.Kind = &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: address(who), Resource: toResource, MaxWaiting: w.limit,
			Message: &event.Message{Type: event.MessageType(t), Id: "m1", Body: text, Storable: storable, OriginId: origin}}}
	default:
		kind := nodeEvent(resource, words[1], rest)
		if kind == nil {
			kind = privacyEvent(resource, words[1], rest)
		}
		if kind == nil {
			kind = pushEvent(resource, words[1], rest)
		}
		if kind == nil {
			kind = archiveEvent(resource, words[1], rest)
		}
		if kind == nil {
			return nil, fmt.Errorf("not understood: %q", line)
		}
		e.Kind = kind.Kind
	}
	return w.append(key, e), nil
}

func (w *world) id() []byte {
	w.sequence++
	id := uuid.UUID{6: 0x70, 8: 0x80, 15: byte(w.sequence), 14: byte(w.sequence >> 8)}
	return id[:]
}

// append writes e, folds it and all that it causes, and tells of it.
func (w *world) append(key jid.Bare, e *event.Event) (answers []string) {
	if e.Id == nil {
		e.Id = w.id()
	}
	if e.GetEdgeLost() == nil {
		e.Origin, e.Sequence = "edge/e1/3", w.sequence
	}
	queue := []record{{key, e}}
	touched := make(map[jid.Bare]bool)
	for len(queue) > 0 {
		r := queue[0]
		queue = queue[1:]
		offset := int64(len(w.log) + 1)
		if r.e.At == 0 {
			r.e.At = offset * 1e6
		}
		w.log = append(w.log, r)
		keys := []jid.Bare{r.key}
		if r.key.IsZero() {
			keys = slices.SortedFunc(maps.Keys(w.states), jid.Compare)
		}
		index := uint32(0)
		for _, key := range keys {
			s := w.state(key)
			touched[key] = true
			for _, reaction := range s.Apply(offset, r.e) {
				answers = append(answers, "  "+describe(reaction))
				if next := reaction.Event; next != nil {
					next.Id, next.Origin, next.Sequence, next.Index = w.id(), "p/0", uint64(offset), index
					queue = append(queue, record{reaction.Account, next})
				}
				index++
			}
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(touched), jid.Compare) {
		answers = append(answers, w.changed(w.states[key])...)
	}
	return answers
}

func (w *world) state(key jid.Bare) *State {
	s := w.states[key]
	if s == nil {
		s = New(key)
		w.states[key] = s
	}
	return s
}

// changed describes what was touched, and forgets it.
func (w *world) changed(s *State) (lines []string) {
	name := short(s.Account.String())
	if s.Changes.Account {
		text := fmt.Sprintf("%s: exists %v", name, s.Exists)
		if s.Departed != (Departure{}) {
			text += strings.TrimRight(fmt.Sprintf(", left at %d %s", s.Departed.At/1e6, s.Departed.Status), " ")
		}
		lines = append(lines, text)
	}
	for _, contact := range slices.SortedFunc(maps.Keys(s.Changes.Items), jid.Compare) {
		lines = append(lines, name+": "+s.describeItem(contact))
	}
	for _, r := range slices.Sorted(maps.Keys(s.Changes.Resources)) {
		lines = append(lines, name+"/"+r+": "+s.describeResource(r))
	}
	for _, r := range slices.Sorted(maps.Keys(s.Changes.Directed)) {
		lines = append(lines, name+"/"+r+": "+s.describeDirected(r))
	}
	for _, binding := range slices.SortedFunc(maps.Keys(s.Changes.Ended), byBytes) {
		lines = append(lines, name+": "+s.describeEnded(binding))
	}
	for _, offset := range slices.Sorted(maps.Keys(s.Changes.Inbox)) {
		lines = append(lines, name+": "+s.describeStored(offset))
	}
	if s.Changes.Origins {
		var offsets []int64
		for _, o := range s.Origins {
			offsets = append(offsets, o.Offset)
		}
		lines = append(lines, fmt.Sprintf("%s: origins of %v", name, offsets))
	}
	lines = append(lines, s.changedNodes(name)...)
	lines = append(lines, s.changedPrivacy(name)...)
	lines = append(lines, s.changedPush(name)...)
	lines = append(lines, s.changedArchive(name)...)
	s.Changes.Reset()
	return lines
}

// show describes the whole state.
func (w *world) show(key jid.Bare) []string {
	s := *w.state(key)
	s.Changes = Changes{Account: true, Origins: len(s.Origins) > 0}
	for contact := range s.Roster {
		note(&s.Changes.Items, contact)
	}
	for name := range s.Resources {
		note(&s.Changes.Resources, name)
	}
	for name := range s.Directed {
		note(&s.Changes.Directed, name)
	}
	for offset := range s.Inbox {
		note(&s.Changes.Inbox, offset)
	}
	for binding := range s.Ended {
		note(&s.Changes.Ended, binding)
	}
	s.touchNodes()
	s.touchPush()
	s.Changes.Archive = s.Archive != nil
	s.touchPrivacy()
	return w.changed(&s)
}

func (s *State) describeItem(contact jid.Bare) string {
	i, ok := s.Roster[contact]
	name := short(contact.String())
	if !ok {
		return name + " unknown"
	}
	return name + " " + itemText(i)
}

func itemText(i roster.Item) string {
	text := fmt.Sprintf("%s, version %d", i.State, i.Version)
	if i.Name != "" || len(i.Groups) > 0 {
		text += fmt.Sprintf(", %q %q", i.Name, i.Groups)
	}
	if i.Removed {
		text += ", not in the roster"
	}
	if len(i.Request) > 0 {
		text += ", request kept"
	}
	return text
}

func (s *State) describeResource(name string) string {
	r, ok := s.Resources[name]
	if !ok {
		return "gone"
	}
	text := fmt.Sprintf("connected to %s/%d", r.Edge, r.Epoch)
	if r.Available {
		text = fmt.Sprintf("available %q %d", r.Show, r.Priority)
	}
	if r.Status != "" {
		text += fmt.Sprintf(" %q", r.Status)
	}
	text = fmt.Sprintf("%s, version %d, since %d", text, r.Version, r.Since.Unix())
	if r.Inherited {
		text += ", inherited"
	}
	if r.Session != r.Binding {
		text += fmt.Sprintf(", a session of %d", r.Began)
	}
	if r.Copies {
		text += ", gets copies"
	}
	return text + describeHandled(r.Handled)
}

func describeHandled(h presence.Handled) (text string) {
	if h != (presence.Handled{}) {
		text = fmt.Sprintf(", handled %d", h.Upto)
	}
	if len(h.Ahead) > 0 {
		text += fmt.Sprintf(" and %d beyond", len(h.Ahead)/8)
	}
	return text
}

func byBytes(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) }

func (s *State) describeEnded(binding uuid.UUID) string {
	e, ok := s.Ended[binding]
	if !ok {
		return "an ended session is forgotten"
	}
	text := fmt.Sprintf("the session of %d of %s, ended at %d, may be resumed", e.Began, e.Resource, e.Offset)
	if e.Presence != nil {
		text += ", was available"
	}
	if e.Copies {
		text += ", gets copies"
	}
	return text + describeHandled(e.Handled)
}

func (s *State) describeDirected(name string) string {
	var targets []string
	for _, target := range slices.Sorted(maps.Keys(s.Directed[name])) {
		targets = append(targets, short(target))
	}
	return fmt.Sprintf("directed to %q", targets)
}

func (s *State) describeStored(offset int64) string {
	m, ok := s.Inbox[offset]
	if !ok {
		return fmt.Sprintf("message %d is out of the inbox", offset)
	}
	return fmt.Sprintf("message %d from %s waits: %q", offset, short(m.Accepted.GetFrom()), m.Accepted.GetMessage().GetBody())
}

// describe tells of a reaction: "=>" goes into a history, ">>" to an outbox.
func describe(r Reaction) string {
	who := short(r.Account.String())
	if e := r.Event; e != nil {
		who = "=> " + who + ": "
		switch k := e.GetKind().(type) {
		case *event.Event_SubscriptionReceived:
			return who + short(k.SubscriptionReceived.GetContact()) + " " + subscription.Verb(k.SubscriptionReceived.GetVerb()).String() + status(k.SubscriptionReceived.GetPresence())
		case *event.Event_DirectedReceived:
			state := "unavailable"
			if k.DirectedReceived.GetAvailable() {
				state = "available"
			}
			return fmt.Sprintf("%s%s directs %s to %q, version %d%s", who, short(k.DirectedReceived.GetFrom()), state, k.DirectedReceived.GetResource(), k.DirectedReceived.GetVersion(), status(k.DirectedReceived.GetPresence()))
		case *event.Event_MessageWithheld:
			m := k.MessageWithheld
			reason := strings.ToLower(strings.TrimPrefix(m.GetReason().String(), "REASON_"))
			return fmt.Sprintf("%smessage %d from %s of %d is withheld: %s", who, m.GetOffset(), short(m.GetPeer()), m.GetMessageAt()/1e6, reason)
		case *event.Event_MessageSent:
			return fmt.Sprintf("%s%q sent %q to %s", who, k.MessageSent.GetResource(), k.MessageSent.GetMessage().GetBody(), short(k.MessageSent.GetTo()))
		}
		if k := event.KindOf(e).String(); e.GetStanza() != 0 {
			return fmt.Sprintf("%s%s %d<%d", who, k, e.GetStanza(), e.GetStanzaBefore())
		} else {
			return who + k
		}
	}
	who = ">> " + who + ": "
	switch k := r.Output.GetKind().(type) {
	case *event.Output_RosterPush:
		i := k.RosterPush.GetItem()
		state := subscription.None
		for bit, on := range map[subscription.State]bool{subscription.To: i.GetTo(), subscription.From: i.GetFrom(), subscription.PendingOut: i.GetPendingOut(), subscription.PendingIn: i.GetPendingIn(), subscription.Approved: i.GetApproved()} {
			if on {
				state |= bit
			}
		}
		text := who + "push " + short(i.GetContact()) + " " + itemText(roster.Item{Name: i.GetName(), Groups: i.GetGroups(), State: state, Version: k.RosterPush.GetVersion(), Removed: i.GetRemoved()})
		if i.GetHidden() {
			text += ", hidden"
		}
		return text
	case *event.Output_SubscriptionStanza:
		return who + short(k.SubscriptionStanza.GetFrom()) + " " + subscription.Verb(k.SubscriptionStanza.GetVerb()).String() + status(k.SubscriptionStanza.GetPresence())
	case *event.Output_Outcome:
		o := k.Outcome
		return strings.TrimRight(fmt.Sprintf("%sanswer %s of %q from %q %s", who, o.GetId(), o.GetResource(), short(o.GetFrom()), o.GetCondition()), " ")
	}
	return who + cmp.Or(describePrivacy(r.Output), "?")
}

func status(p *event.Presence) string {
	if p.GetStatus() == "" {
		return ""
	}
	return fmt.Sprintf(" %q", p.GetStatus())
}

// run folds lines and gives the answers to the last one.
func (w *world) run(t testing.TB, lines ...string) (answers []string) {
	t.Helper()
	for _, line := range lines {
		var err error
		if answers, err = w.do(line); err != nil {
			t.Fatal(err)
		}
	}
	return answers
}
