package model

// sends is a subscription verb of a to another account (Appendix A.2).
func (m *Model) sends(a *account, verb, to string) {
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
	if before.from && !i.from {
		m.vanish(a, b)
	}
	if routed {
		m.receives(b, verb, a)
	}
	if *i != before {
		a.push(m, to)
	}
	if i.from && !before.from {
		m.appear(a, b)
	}
}

// receives is a subscription verb of another account to b (Appendix A.3).
func (m *Model) receives(b *account, verb string, a *account) {
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
		if before.from {
			m.vanish(b, a)
		}
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

// appear shows a's available resources to b (section 3.1.5). From now on b is
// a subscriber, whatever directed presence it got before (section 4.6.1).
func (m *Model) appear(a, b *account) {
	for _, s := range a.sessions {
		if !s.Available {
			continue
		}
		b.hearAll(s.Full, &s.said)
		delete(s.directed, b.name) // but not a resource of it, which need not be available
	}
}

// vanish takes a's available resources out of b's sight (sections 3.2.2 and 3.3.3).
func (m *Model) vanish(a, b *account) {
	for _, s := range a.sessions {
		if s.Available {
			b.hearAll(s.Full, nil)
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
	if before.from {
		m.vanish(a, b)
	}
	a.push(m, contact)
	if before.to || before.askOut {
		m.receives(b, "unsubscribe", a)
	}
	if before.from || before.askIn {
		m.receives(b, "unsubscribed", a)
	}
	return true
}
