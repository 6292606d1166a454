package model

// sends is a subscription verb of a to another account (Appendix A.2).
func (m *Model) sends(a *account, s *Session, verb, to string) {
	if !a.allows(s, "subscription", to) { // XEP-0191, section 3.3
		m.refuse(s, "not-acceptable")
		return
	}
	i, b := a.contact(to), m.accounts[to]
	before := *i
	routed := true
	switch verb {
	case "subscribe": // table 2
		if !i.to {
			i.askOut, i.listed = true, true
		}
	case "unsubscribe": // table 3
		i.to, i.askOut = false, false
	case "subscribed": // table 4
		if routed = i.askIn; routed {
			i.askIn, i.from, i.listed = false, true, true
		} else if !i.from {
			i.approved, i.listed = true, true // section 3.4.2
		}
	case "unsubscribed": // table 5
		routed = i.askIn || i.from
		i.askIn, i.from, i.approved = false, false, false
	}
	m.part(a, before, b)
	if routed {
		m.receives(b, verb, a)
		m.refuseDirected(b) // by what b's own lists make of it, before b hears more
	}
	m.cancelled(a, before, b)
	if *i != before {
		a.push(m, to)
	}
	if i.from && !before.from {
		m.appear(a, b)
	}
}

// receives is a subscription verb of another account to b (Appendix A.3).
func (m *Model) receives(b *account, verb string, a *account) {
	if !b.allows(nil, "subscription", a.name) {
		return // XEP-0191, section 3.3: without an answer
	}
	i := b.contact(a.name)
	before := *i
	switch verb {
	case "subscribe": // table 6
		if i.from {
			m.receives(a, "subscribed", b)
			return
		}
		if i.approved { // section 3.4.2; the approval is used up
			i.approved, i.from = false, true
			m.receives(a, "subscribed", b)
			b.push(m, a.name)
			m.appear(b, a)
			return
		}
		i.askIn = true
		if !before.askIn {
			for _, s := range b.sessions {
				if s.Available {
					s.Must = append(s.Must, "subscribe "+a.bare)
				}
			}
		}
		return // not shown in the roster
	case "unsubscribe": // table 7
		i.askIn, i.from = false, false
	case "subscribed": // table 8
		if i.askOut {
			i.askOut, i.to = false, true
		}
	case "unsubscribed": // table 9
		i.askOut, i.to = false, false
	}
	if *i == before {
		return
	}
	m.cancelled(b, before, a)
	for _, s := range b.sessions {
		switch told := verb + " " + a.bare; {
		case s.Interested: // sections 3.1.6, 3.2.3, 3.3.3
			s.Must = append(s.Must, told)
		case s.Available:
			s.May = append(s.May, told)
		}
	}
	b.push(m, a.name)
}

// appear shows a's available resources to b (section 3.1.5), whatever
// directed presence it got before (section 4.6.1).
func (m *Model) appear(a, b *account) {
	for _, s := range a.sessions {
		if !s.Available || s.invisible {
			continue
		}
		m.show(a, s, b, &s.said)
	}
}

// part takes out of sight whom a's side of a pair showed before it changed, a
// to b and b to a (sections 3.2.2 and 3.3.3). If only one side has the
// subscription, for a block kept the other from hearing, it shows nothing.
func (m *Model) part(a *account, before item, b *account) {
	now, theirs := a.contact(b.name), b.contact(a.name)
	if before.from && !now.from && theirs.to {
		m.vanish(a, b)
	}
	if before.to && !now.to && theirs.from {
		m.vanish(b, a)
	}
}

// vanish takes a's available resources out of b's sight.
func (m *Model) vanish(a, b *account) {
	for _, s := range a.sessions {
		if s.Available && !s.invisible {
			m.show(a, s, b, nil)
		}
	}
}

// show gives presence of a session to those sessions of b that may see it but
// for the subscription.
func (m *Model) show(a *account, s *Session, b *account, p *Seen) {
	for _, t := range b.sessions {
		if t.Available && a.allows(s, "presence-out", b.name) && b.allows(t, "presence-in", a.name) && (p == nil || b.contact(a.name).to) {
			t.hear(s.Full, p)
		}
	}
}

// sets is a roster set (section 2.3 and 2.4).
func (m *Model) sets(a *account, contact, name, groups string) {
	i := a.contact(contact)
	i.listed, i.name, i.groups = true, name, groups
	a.push(m, contact)
}

// removes is a roster removal, which ends both directions (section 2.5). It
// tells whether there was an item.
func (m *Model) removes(a *account, contact string) bool {
	i, b := a.contact(contact), m.accounts[contact]
	if !i.listed {
		return false
	}
	before := *i
	*i = item{}
	m.part(a, before, b)
	m.cancelled(a, before, b)
	a.push(m, contact)
	if before.to || before.askOut {
		m.receives(b, "unsubscribe", a)
	}
	if before.from || before.askIn {
		m.receives(b, "unsubscribed", a)
	}
	return true
}
