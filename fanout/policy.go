package fanout

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// guard is what an account has set of what it lets through, and the policy
// that follows. The roster, to which lists may refer, is not known here: until
// the projector tells what follows from it, the policy lets nothing through
// that might be denied.
type guard struct {
	state    *privacy.State
	policy   *privacy.Compiled // nil: everything passes
	doubt    int64             // the policy is not known before a PolicyChanged of this offset or a later one; -1: it is
	told     bool              // the edges know it to be in doubt
	withheld int64             // the last storable message that was not routed while in doubt and is not loaded since; -1 if there is none
}

// lets gives the policy of an account, nil for nearly all.
func (p *partition) lets(name string) *privacy.Compiled {
	if g := p.guards[name]; g != nil {
		return g.policy
	}
	return nil
}

// privacy applies what an account sets, as the fold does.
func (p *partition) privacy(offset int64, name string, e *event.Event) {
	if _, absent := p.absent[name]; absent {
		return
	}
	var state *privacy.State
	if g := p.guards[name]; g != nil {
		state = g.state
	}
	next := state
	switch k := e.GetKind().(type) {
	case *event.Event_BlockListChanged:
		next, _, _ = state.Block(k.BlockListChanged)
	case *event.Event_PrivacyListChanged:
		next, _ = state.SetList(k.PrivacyListChanged, p.connected(name))
	case *event.Event_PrivacyListChosen:
		if _, _, ok := p.session(name, k.PrivacyListChosen.GetResource(), e); ok || k.PrivacyListChosen.GetDefault() {
			next, _ = state.Choose(k.PrivacyListChosen, p.connected(name))
		}
	case *event.Event_VisibilityChanged:
		v := k.VisibilityChanged
		a, r, ok := p.session(name, v.GetResource(), e)
		if !ok {
			return
		}
		next = state.Visible(r.Name, !v.GetInvisible(), event.Time(e))
		if !v.GetInvisible() && next != state && r.Available {
			// Before anybody may see it.
			a.resources[r.Name] = r.Withdraw(presence.Content{}, offset, event.Time(e))
			p.withdrawn(offset, a, r, e.GetAt(), nil)
		}
	}
	p.set(offset, name, next)
}

func (p *partition) connected(name string) []string {
	if a := p.accounts[name]; a != nil {
		return slices.Collect(maps.Keys(a.resources))
	}
	return nil
}

// passes tells that a verb between the account and a contact may count. In
// doubt it does: it takes something from the contact.
func (p *partition) passes(name, resource, contact string) bool {
	g := p.guards[name]
	return g == nil || g.doubt >= 0 || g.policy.Allows(privacy.Subscription, resource, jid.FromCanonical(contact).Bare().JID())
}

// sender gives the resource of the session that an event came from, empty if
// that is not the latest of any.
func (p *partition) sender(name string, e *event.Event) string {
	if a := p.accounts[name]; a != nil && p.guards[name] != nil {
		for _, r := range a.resources {
			if bytes.Equal(r.Binding[:], e.GetBinding()) {
				return r.Name
			}
		}
	}
	return ""
}

// private tells that a session has something that is not inherited.
func (p *partition) private(name, resource string) bool {
	g := p.guards[name]
	return g != nil && g.state.Session(resource) != (privacy.Session{})
}

// sessionOver ends what lasts as long as a session.
func (p *partition) sessionOver(offset int64, name, resource string) {
	if g := p.guards[name]; g != nil {
		p.set(offset, name, g.state.Ended(resource))
	}
}

// set makes state what the account has set.
func (p *partition) set(offset int64, name string, state *privacy.State) {
	g := p.guards[name]
	if g == nil && state == nil || g != nil && g.state == state {
		return
	}
	if g == nil {
		g = &guard{doubt: -1, withheld: -1}
		p.guards[name] = g
	}
	policy, exact := privacy.Recompile(jid.BareFromCanonical(name), state, g.state, g.policy.Policy())
	g.state = state
	switch {
	case !exact:
		g.doubt = offset
	case !policy.GetRoster():
		g.doubt = -1
	}
	p.enforce(offset, name, g, policy)
	if state == nil {
		delete(p.guards, name)
	}
}

// rosterChanged doubts, where lists refer to the roster, what the account lets
// through of a contact.
func (p *partition) rosterChanged(offset int64, name, contact string) {
	g := p.guards[name]
	if g == nil || !g.state.Roster() {
		return
	}
	g.doubt = offset
	p.enforce(offset, name, g, privacy.Doubt(g.policy.Policy(), jid.FromCanonical(contact).Bare().String()))
}

// policyChanged takes the policy that the projector has compiled, unless
// something has changed since.
func (p *partition) policyChanged(name string, c *event.PolicyChanged) {
	g := p.guards[name]
	if g == nil || g.doubt < 0 || c.GetVersion() < g.doubt {
		return
	}
	g.doubt = -1
	p.enforce(p.next-1, name, g, c.GetPolicy())
	p.releaseIqs()
}

// enforce makes policy what counts from now on: the edges that follow the
// account, among them those that hold its sessions, hear of it before anything
// that comes later.
func (p *partition) enforce(offset int64, name string, g *guard, policy *event.Policy) {
	if !proto.Equal(policy, g.policy.Policy()) || g.told != (g.doubt >= 0) {
		g.policy, g.told = privacy.New(policy), g.doubt >= 0
		i := audienceItem(name, offset, g)
		for _, e := range p.routes[name] {
			p.send(e, i)
		}
	}
	a := p.accounts[name]
	if a == nil || g.doubt >= 0 {
		return
	}
	p.fetchWithheld(a, g)
	p.route(a)
}

// fetchWithheld has the inbox loaded where it may hold what was withheld while
// the policy was in doubt. A load that is under way may be of an earlier
// snapshot: its end comes here again.
func (p *partition) fetchWithheld(a *acct, g *guard) {
	if g.doubt < 0 && g.withheld >= 0 && !a.loading {
		a.loading = true
		p.worker.inboxes.ask(p, a, g.withheld)
	}
}

func audienceItem(name string, offset int64, g *guard) item {
	return item{kind: kindAudience, pins: name + "/", bytes: frame(&wire.Frame{What: &wire.Frame_Audience{Audience: g.audience(name, offset)}})}
}

// audience tells edges what the account lets through, as far as that is known.
func (g *guard) audience(name string, offset int64) *wire.Audience {
	return &wire.Audience{Account: name, Offset: offset, Policy: g.policy.Policy(), Doubt: g.doubt >= 0}
}

// doubts tells that what the account lets through is not known.
func (p *partition) doubts(name string) bool {
	g := p.guards[name]
	return g != nil && g.doubt >= 0
}

// routed decides on a message as the fold does. Where the policy is in doubt
// more may be refused: what may be stored all the same is looked for in
// Postgres when the policy is known, all else is gone.
func (p *partition) routed(offset int64, a *acct, m *event.MessageAccepted) message.Decision {
	t, from := message.Type(m.GetMessage().GetType()), jid.FromCanonical(m.GetFrom())
	g := p.guards[a.name]
	if g == nil {
		return message.Route(t, m.GetResource(), a.resources)
	}
	d := g.policy.Route(t, m.GetResource(), from, a.resources)
	if g.doubt >= 0 && d.Action == message.Bounce && m.GetMessage().GetStorable() {
		g.withheld = offset
	}
	return d
}

// unguard forgets what an account that is deleted had set.
func (p *partition) unguard(offset int64, name string) {
	p.set(offset, name, nil)
	p.absent[name] = struct{}{}
}

// readGuards reads account, state and policy.
func (p *partition) readGuards(rows pgx.Rows) error {
	clear(p.guards)
	for rows.Next() {
		var name string
		var state, policy []byte
		if err := rows.Scan(&name, &state, &policy); err != nil {
			return err
		}
		set := new(event.Privacy)
		g := &guard{doubt: -1, withheld: -1}
		if err := proto.Unmarshal(state, set); err != nil {
			return fmt.Errorf("privacy of %s: %w", name, err)
		}
		g.state = privacy.FromProto(set)
		if len(policy) > 0 {
			compiled := new(event.Policy)
			if err := proto.Unmarshal(policy, compiled); err != nil {
				return fmt.Errorf("policy of %s: %w", name, err)
			}
			g.policy = privacy.New(compiled)
		}
		p.guards[name] = g
	}
	return rows.Err()
}
