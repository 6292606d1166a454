package stanza

import "bytes"

// push opens the element of the tag that was just read.
func (s *scratch) push(space string) {
	s.stack = append(s.stack, open{name: len(s.names), bindings: s.tagBindings(), space: space})
	s.names = append(s.names, s.val[:s.tag.nameEnd]...)
}

// tagBindings gives the number of bindings before those of the current tag.
func (s *scratch) tagBindings() int {
	n := len(s.bindings)
	for i := range s.attrs {
		if s.declares(&s.attrs[i]) {
			n--
		}
	}
	return n
}

// pop closes the innermost element.
func (s *scratch) pop() {
	top := s.stack[len(s.stack)-1]
	s.stack = s.stack[:len(s.stack)-1]
	s.names = s.names[:top.name]
	clear(s.bindings[top.bindings:])
	s.bindings = s.bindings[:top.bindings]
}

// lookup gives the namespace of a prefix.
func (s *scratch) lookup(prefix string) (string, bool) {
	for i := len(s.bindings) - 1; i >= 0; i-- {
		if s.bindings[i].prefix == prefix {
			return s.bindings[i].space, true
		}
	}
	if prefix == "xml" {
		return NSXML, true
	}
	return "", prefix == ""
}

// declares tells whether the attribute is a namespace declaration.
func (s *scratch) declares(a *attr) bool {
	n := s.val[a.name:a.nameEnd]
	return len(n) >= 5 && string(n[:5]) == "xmlns" && (len(n) == 5 || n[5] == ':')
}

// content takes everything up to the end tag of the outermost open element,
// and writes it to s.out as canonical XML.
func (d *Decoder) content(s *scratch) error {
	for len(s.stack) > 0 {
		c, err := d.peek()
		if err != nil {
			return err
		}
		if c != '<' {
			// A start tag gets its > only if something follows.
			mark := len(s.out)
			if s.pending {
				s.out = append(s.out, '>')
			}
			before := len(s.out)
			if s.out, err = d.text(s.out); err != nil {
				return err
			}
			if len(s.out) == before {
				s.out = s.out[:mark]
			} else {
				s.pending = false
			}
			continue
		}
		d.pos++
		if c, err = d.peek(); err != nil {
			return err
		}
		switch c {
		case '/':
			d.pos++
			err = d.endTag(s)
		case '!':
			d.pos++
			mark := len(s.out)
			if s.pending {
				s.out = append(s.out, '>')
			}
			before := len(s.out)
			if s.out, err = d.cdata(s.out); err == nil {
				if len(s.out) == before {
					s.out = s.out[:mark]
				} else {
					s.pending = false
				}
			}
		case '?':
			err = restricted("processing instruction")
		default:
			if len(s.stack) >= d.limits.Depth {
				return violation("elements nested too deeply")
			}
			if err = d.startTag(s); err == nil {
				s.emitStart()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// startTag takes a start tag after its <, resolves its names and leaves it
// in s.val, s.attrs and s.tag.
func (d *Decoder) startTag(s *scratch) error {
	if c, err := d.peek(); err != nil {
		return err
	} else if c == '!' {
		return restricted("document type declaration or comment")
	} else if c == '?' {
		return restricted("processing instruction")
	}
	s.val, s.attrs = s.val[:0], s.attrs[:0]
	var colon int
	var err error
	if s.val, colon, err = d.name(s.val); err != nil {
		return err
	}
	s.tag = tag{nameEnd: len(s.val), local: colon + 1}
	for {
		white, err := d.space()
		if err != nil {
			return err
		}
		c, err := d.peek()
		if err != nil {
			return err
		}
		if c == '>' {
			d.pos++
			break
		}
		if c == '/' {
			d.pos++
			if err := d.expect(">", notWellFormed); err != nil {
				return err
			}
			s.tag.empty = true
			break
		}
		if !white {
			return notWellFormed("no space before an attribute")
		}
		if len(s.attrs) == d.limits.Attrs {
			return violation("too many attributes")
		}
		if err := d.attribute(s); err != nil {
			return err
		}
	}
	return s.resolve(colon)
}

// attribute takes name = value.
func (d *Decoder) attribute(s *scratch) (err error) {
	a := attr{name: len(s.val)}
	if s.val, a.colon, err = d.name(s.val); err != nil {
		return err
	}
	a.nameEnd = len(s.val)
	if _, err = d.space(); err != nil {
		return err
	}
	if err = d.expect("=", notWellFormed); err != nil {
		return err
	}
	if _, err = d.space(); err != nil {
		return err
	}
	a.value = len(s.val)
	if s.val, err = d.value(s.val); err != nil {
		return err
	}
	a.valueEnd = len(s.val)
	s.attrs = append(s.attrs, a)
	return nil
}

// resolve applies the declarations of the current tag and checks its names
// (Namespaces in XML 1.0, section 6.3: no attribute twice).
func (s *scratch) resolve(colon int) error {
	for i := range s.attrs {
		a := &s.attrs[i]
		for j := range s.attrs[:i] {
			b := &s.attrs[j]
			if bytes.Equal(s.val[a.name:a.nameEnd], s.val[b.name:b.nameEnd]) {
				return notWellFormed("attribute given twice")
			}
		}
		if s.declares(a) {
			if err := s.declare(a); err != nil {
				return err
			}
		}
	}
	if colon >= 0 {
		prefix := s.val[:colon]
		space, ok := s.prefix(prefix)
		if !ok || string(prefix) == "xmlns" {
			return &StreamError{Condition: BadNamespacePrefix}
		}
		s.tag.space = space
	} else {
		s.tag.space, _ = s.lookup("")
	}
	for i := range s.attrs {
		a := &s.attrs[i]
		if a.colon < 0 || s.declares(a) {
			continue
		}
		space, ok := s.prefix(s.val[a.name : a.name+a.colon])
		if !ok {
			return &StreamError{Condition: BadNamespacePrefix}
		}
		for j := range s.attrs[:i] {
			b := &s.attrs[j]
			if b.colon < 0 || s.declares(b) || !bytes.Equal(s.val[a.name+a.colon:a.nameEnd], s.val[b.name+b.colon:b.nameEnd]) {
				continue
			}
			if other, _ := s.prefix(s.val[b.name : b.name+b.colon]); other == space {
				return notWellFormed("attribute given twice")
			}
		}
	}
	return nil
}

// prefix is lookup without an allocation.
func (s *scratch) prefix(p []byte) (string, bool) {
	for i := len(s.bindings) - 1; i >= 0; i-- {
		if s.bindings[i].prefix == string(p) {
			return s.bindings[i].space, true
		}
	}
	if string(p) == "xml" {
		return NSXML, true
	}
	return "", false
}

// declare applies one namespace declaration.
func (s *scratch) declare(a *attr) error {
	var prefix string
	if a.colon >= 0 {
		prefix = intern(s.val[a.name+a.colon+1 : a.nameEnd])
	}
	mark := len(s.val)
	s.val = appendUnescaped(s.val, s.val[a.value:a.valueEnd])
	space := intern(s.val[mark:])
	s.val = s.val[:mark]
	switch {
	case prefix == "xmlns", space == nsXMLNS, (prefix == "xml") != (space == NSXML), prefix != "" && space == "":
		return notWellFormed("namespace declaration not allowed")
	}
	if space == s.alias && space != "" {
		space = NSClient
	}
	s.bindings = append(s.bindings, binding{prefix, space})
	return nil
}

// emitStart writes the current start tag to s.out and opens its element.
func (s *scratch) emitStart() {
	parent := s.stack[len(s.stack)-1].space
	out := s.out
	if s.pending {
		out = append(out, '>')
	}
	out = append(out, '<')
	out = append(out, s.val[s.tag.local:s.tag.nameEnd]...)
	if s.tag.space != parent {
		out = appendAttr(out, "xmlns", s.tag.space)
	}
	for i := range s.attrs {
		a := &s.attrs[i]
		if s.declares(a) {
			continue
		}
		if a.colon >= 0 && string(s.val[a.name:a.name+a.colon]) != "xml" && s.firstWith(i) {
			p := s.val[a.name : a.name+a.colon]
			space, _ := s.prefix(p)
			out = append(out, " xmlns:"...)
			out = append(out, p...)
			out = append(out, "='"...)
			out = appendEscaped(out, space, true)
			out = append(out, '\'')
		}
		out = append(out, ' ')
		out = append(out, s.val[a.name:a.nameEnd]...)
		out = append(out, "='"...)
		out = append(out, s.val[a.value:a.valueEnd]...)
		out = append(out, '\'')
	}
	s.out, s.pending = out, true
	s.push(s.tag.space)
	if s.tag.empty {
		s.finish()
	}
}

// firstWith tells whether no earlier attribute of the tag has the prefix of
// attribute i.
func (s *scratch) firstWith(i int) bool {
	a := &s.attrs[i]
	for j := range s.attrs[:i] {
		b := &s.attrs[j]
		if b.colon == a.colon && bytes.Equal(s.val[b.name:b.name+b.colon], s.val[a.name:a.name+a.colon]) {
			return false
		}
	}
	return true
}

// endTag takes an end tag after its </.
func (d *Decoder) endTag(s *scratch) (err error) {
	s.val = s.val[:0]
	if s.val, _, err = d.name(s.val); err != nil {
		return err
	}
	if !bytes.Equal(s.val, s.names[s.stack[len(s.stack)-1].name:]) {
		return notWellFormed("end tag does not match")
	}
	if err = d.closeTag(); err != nil {
		return err
	}
	s.finish()
	return nil
}

func (d *Decoder) closeTag() error {
	if _, err := d.space(); err != nil {
		return err
	}
	return d.expect(">", notWellFormed)
}

// finish writes the end of the innermost element and closes it. The
// outermost one's tags are not part of s.out.
func (s *scratch) finish() {
	if len(s.stack) > 1 {
		if s.pending {
			s.out = append(s.out, "/>"...)
			s.pending = false
		} else {
			name := s.names[s.stack[len(s.stack)-1].name:]
			if i := bytes.IndexByte(name, ':'); i >= 0 {
				name = name[i+1:]
			}
			s.out = append(s.out, "</"...)
			s.out = append(s.out, name...)
			s.out = append(s.out, '>')
		}
	}
	s.pop()
}
