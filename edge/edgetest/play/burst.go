package play

import (
	"fmt"
	"strings"

	"github.com/rollcall/rollcall/edge/edgetest/model"
)

// Ordered is a Server that can say in which order it took what was sent at
// the same time.
type Ordered interface {
	Server
	// Order gives the ids of the stanzas that were taken since the last call.
	Order() []string
	// Late holds back what some partitions have to tell, until it is called
	// without any; nobody but who sends is answered by those.
	Late(partitions []bool)
}

// Step does a command, or a burst of them.
func (p *Play) Step(some []model.Command) error {
	if len(some) == 1 {
		return p.Do(some[0])
	}
	return p.burst(some)
}

// Steps takes a list apart as Step takes it.
func Steps(all []model.Command) (steps [][]model.Command) {
	for len(all) > 0 {
		n := 1
		for all[0].Burst != 0 && n < len(all) && all[n].Burst == all[0].Burst {
			n++
		}
		steps = append(steps, all[:n])
		all = all[n:]
	}
	return steps
}

// burst sends the stanzas of all commands and then does in the model what the
// server made of it: the same, in the order that it chose.
func (p *Play) burst(all []model.Command) error {
	server := p.server.(Ordered)
	server.Order()
	byID := make(map[string]model.Command)
	p.loose = true
	late := make([]bool, 8)
	for i := range late {
		late[i] = (all[0].Burst>>(i%4))&1 == 0
	}
	if p.Late {
		server.Late(late)
	}
	for _, c := range all {
		at := p.clients[c.Who]
		if at == nil {
			continue
		}
		xml, asks := p.xml(c)
		if asks {
			at.asked[c.ID] = true
		}
		if err := at.Send(xml); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		byID[c.ID] = c
	}
	for _, c := range all {
		if at := p.clients[c.Who]; at != nil {
			if err := at.sync(); err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
		}
	}
	server.Late(nil)
	for _, c := range all {
		if at := p.clients[c.Who]; at != nil {
			if err := at.settle(); err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
		}
	}
	if err := server.Settle(); err != nil {
		return err
	}
	stored := make(map[string]bool)
	order := server.Order()
	for _, id := range order {
		stored[id] = true
	}
	// What the server refused to store it refused before it took what the same
	// client sent later.
	do := func(until model.Command) {
		for _, c := range all {
			if _, left := byID[c.ID]; left && (c.ID == until.ID || c.Who == until.Who && !stored[c.ID]) {
				p.model.Do(c)
				delete(byID, c.ID)
			}
			if c.ID == until.ID {
				return
			}
		}
	}
	for _, id := range order {
		if c, ours := byID[id]; ours {
			do(c)
		}
	}
	for _, c := range all {
		do(c)
	}
	return p.eventually(func() error {
		for _, c := range all {
			user, _, _ := strings.Cut(c.Who, "/")
			if c.Verb == "message" {
				user, _, _ = strings.Cut(c.Args[1], "/")
			}
			if err := p.waiting(user); err != nil {
				return err
			}
			if c.Verb == "available" && p.clients[c.Who] != nil {
				if err := p.clients[c.Who].settle(); err != nil {
					return err
				}
				if err := p.same(c.Who); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
