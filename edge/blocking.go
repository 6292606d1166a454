package edge

import (
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// getBlockList answers with the block list (XEP-0191, section 3.2). The
// session hears of its changes from now on.
func (s *session) getBlockList(q query) {
	s.blockList = true
	s.local.oncePolicy(func() {
		s.post(func() {
			if !s.ended {
				s.answer(q.Stanza, blockItems("blocklist", s.local.policy.Load().Policy().GetBlocked()).Bytes())
			}
		})
	})
}

// block adds to the block list (XEP-0191, section 3.3).
func (s *session) block(q query) {
	list, err := blockedJIDs(q)
	if err == nil && len(list) == 0 {
		err = stanza.NewError(stanza.BadRequest, "whom to block is not said")
	}
	s.changeBlockList(q, err, &event.BlockListChanged{Blocked: list})
}

// unblock takes out of the block list, or empties it (XEP-0191, sections 3.4
// and 3.5).
func (s *session) unblock(q query) {
	list, err := blockedJIDs(q)
	s.changeBlockList(q, err, &event.BlockListChanged{Unblocked: list, UnblockedAll: len(list) == 0})
}

func (s *session) changeBlockList(q query, err error, c *event.BlockListChanged) {
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	c.RequestId, c.Resource = q.ID, s.resource
	s.request(q.Stanza, &event.Event{Kind: &event.Event_BlockListChanged{BlockListChanged: c}}, nil)
}

// blockedJIDs gives the canonical JIDs of a command's items.
func blockedJIDs(q query) (list []string, err error) {
	command, err := q.payload.Element()
	if err != nil {
		return nil, stanza.NewError(stanza.BadRequest, "")
	}
	for _, item := range command.Children {
		if !item.Is(stanza.NSBlocking, "item") {
			continue
		}
		j, err := jid.Parse(item.Attr("jid"))
		if err != nil {
			return nil, err
		}
		if len(j.String()) > maxAddress {
			return nil, stanza.NewError(stanza.JIDMalformed, "the address is too long")
		}
		list = append(list, j.String())
	}
	return list, nil
}

func blockItems(command string, list []string) *stanza.Element {
	e := stanza.New(stanza.NSBlocking, command)
	for _, j := range list {
		e.Add(stanza.New(stanza.NSBlocking, "item", "jid", j))
	}
	return e
}

// pushBlockList tells a client that asked for the block list of a change.
func (s *session) pushBlockList(p *event.BlockListPush) {
	if s.ended || !s.blockList {
		return
	}
	if p.GetUnblockedAll() {
		s.push(blockItems("unblock", nil))
	} else if len(p.GetUnblocked()) > 0 {
		s.push(blockItems("unblock", p.GetUnblocked()))
	}
	if len(p.GetBlocked()) > 0 {
		s.push(blockItems("block", p.GetBlocked()))
	}
}

// push sends an iq of the server's own.
func (s *session) push(payload *stanza.Element) {
	h := stanza.Header{Type: "set", ID: s.nextPush(), To: s.full}
	s.send(func(dst []byte) []byte { return stanza.AppendIQ(dst, h, payload.Bytes()) })
}
