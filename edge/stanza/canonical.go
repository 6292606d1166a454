package stanza

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

var errCanonical = errors.New("stanza: not canonical XML")

// Child is one element directly inside a stanza, as a range of its canonical
// XML: no byte is copied.
type Child struct {
	Raw   []byte // the whole element
	start []byte // what is between the < and the > (or />) of its start tag
	inner []byte // what is between its tags
	scope string // namespace where it declares none; empty for jabber:client
}

// Children gives the elements directly inside canonical XML, in order. Text
// between them is passed over; it ends early where the bytes are not canonical.
func Children(inner []byte) iter.Seq[Child] {
	return func(yield func(Child) bool) {
		for rest := inner; ; {
			_, c, after, ok := cutChild(rest)
			if !ok || !yield(c) {
				return
			}
			rest = after
		}
	}
}

// cutChild cuts the first element off canonical XML. before is the text in
// front of it, still escaped.
func cutChild(b []byte) (before []byte, c Child, after []byte, ok bool) {
	at := bytes.IndexByte(b, '<')
	if at < 0 {
		return b, Child{}, nil, false
	}
	before = b[:at]
	depth, innerFrom := 0, 0
	for i := at; i < len(b); {
		// In canonical XML no < and no > stands anywhere but around a tag.
		end := bytes.IndexByte(b[i:], '>')
		if end < 2 {
			return before, Child{}, nil, false
		}
		end += i
		switch {
		case b[i+1] == '/':
			if depth--; depth < 0 {
				return before, Child{}, nil, false
			}
			if depth == 0 {
				c.Raw, c.inner = b[at:end+1], b[innerFrom:i]
				return before, c, b[end+1:], true
			}
		case b[end-1] == '/':
			if depth == 0 {
				c.Raw, c.start = b[at:end+1], b[at+1:end-1]
				return before, c, b[end+1:], true
			}
		default:
			if depth == 0 {
				c.start, innerFrom = b[at+1:end], end+1
			}
			depth++
		}
		next := bytes.IndexByte(b[end:], '<')
		if next < 0 {
			return before, Child{}, nil, false
		}
		i = end + next
	}
	return before, Child{}, nil, false
}

// name gives the local name's bytes.
func (c Child) name() []byte {
	if i := bytes.IndexByte(c.start, ' '); i >= 0 {
		return c.start[:i]
	}
	return c.start
}

// Local gives the local name.
func (c Child) Local() string { return intern(c.name()) }

// Space gives the namespace.
func (c Child) Space() string {
	if v, ok := rawAttr(c.start, "xmlns"); ok {
		return intern(unescaped(v))
	}
	return c.inherited()
}

// Is tells whether the element has this name. It allocates nothing.
func (c Child) Is(space, local string) bool {
	if string(c.name()) != local {
		return false
	}
	v, ok := rawAttr(c.start, "xmlns")
	if !ok {
		return space == c.inherited()
	}
	return string(unescaped(v)) == space
}

// Attr gives an attribute that has no namespace, or "xml:lang"; "" if absent.
func (c Child) Attr(name string) string {
	v, _ := rawAttr(c.start, name)
	return string(unescaped(v))
}

// Text gives the character data directly inside the element.
func (c Child) Text() string { return innerText(c.inner) }

// Mixed tells whether there are elements inside: in canonical XML a < always
// opens a tag.
func (c Child) Mixed() bool { return bytes.IndexByte(c.inner, '<') >= 0 }

// Inner gives what is between the tags. Where the element is not in
// jabber:client that is not canonical by itself.
func (c Child) Inner() []byte { return c.inner }

// Element parses it.
func (c Child) Element() (*Element, error) {
	e, rest, err := parseElement(c.Raw, c.inherited(), 0)
	if err == nil && len(rest) > 0 {
		err = errCanonical
	}
	return e, err
}

// rawAttr finds an attribute's escaped value in a start tag.
func rawAttr(start []byte, name string) ([]byte, bool) {
	for n, v := range rawAttrs(start) {
		if string(n) == name {
			return v, true
		}
	}
	return nil, false
}

// rawAttrs gives names and escaped values of a start tag.
func rawAttrs(start []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		i := bytes.IndexByte(start, ' ')
		for i >= 0 && i < len(start) {
			rest := start[i+1:]
			eq := bytes.IndexByte(rest, '=')
			if eq <= 0 || eq+1 >= len(rest) || rest[eq+1] != '\'' {
				return
			}
			end := bytes.IndexByte(rest[eq+2:], '\'')
			if end < 0 || !yield(rest[:eq], rest[eq+2:eq+2+end]) {
				return
			}
			i += 1 + eq + 2 + end + 1
		}
	}
}

// unescaped gives what escaped bytes mean, without a copy where they can.
func unescaped(b []byte) []byte {
	if bytes.IndexByte(b, '&') < 0 {
		return b
	}
	return appendUnescaped(make([]byte, 0, len(b)), b)
}

// innerText joins the character data directly inside canonical XML.
func innerText(inner []byte) string {
	if bytes.IndexByte(inner, '<') < 0 {
		return string(unescaped(inner))
	}
	var text []byte
	for rest := inner; ; {
		before, _, after, ok := cutChild(rest)
		text = appendUnescaped(text, before)
		if !ok {
			return string(text)
		}
		rest = after
	}
}

// Canonical checks XML from elsewhere and brings it into canonical form:
// any number of elements and text, in the scope of jabber:client and without
// other prefixes declared. Its error is a *StreamError that names the fault.
func Canonical(raw []byte, l Limits) ([]byte, error) {
	// The reader knows streams only, so the bytes are read as a message.
	const before, after = "<stream:stream xmlns='" + NSClient + "' xmlns:stream='" + NSStreams + "'><message>", "</message>"
	if l = l.withDefaults(); len(raw) > l.Bytes {
		return nil, violation("stanza too large")
	}
	l.Bytes += len(before) + len(after)
	d := NewDecoder(io.MultiReader(bytes.NewReader([]byte(before)), bytes.NewReader(raw), bytes.NewReader([]byte(after))), l)
	if _, err := d.Open(); err != nil {
		return nil, err
	}
	s, err := d.Next()
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, notWellFormed("element without an end")
		}
		return nil, err
	}
	// "</message><message>" inside would end the first one early.
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		return nil, notWellFormed("end tag without a start tag")
	}
	return s.Inner, nil
}

// Without leaves out the elements for which drop is true. The result shares
// memory with inner only if nothing was left out.
func Without(inner []byte, drop func(Child) bool) []byte {
	var out []byte
	changed := false
	for rest := inner; ; {
		before, c, after, ok := cutChild(rest)
		if !ok {
			if !changed {
				return inner
			}
			return append(out, before...)
		}
		if drop(c) {
			if !changed {
				changed = true
				out = append(out, inner[:len(inner)-len(rest)]...)
			}
			out = append(out, before...)
		} else if changed {
			out = append(out, before...)
			out = append(out, c.Raw...)
		}
		rest = after
	}
}

// parseElement parses the element that b begins with.
func parseElement(b []byte, parent string, depth int) (*Element, []byte, error) {
	if depth > 1000 {
		return nil, nil, fmt.Errorf("%w: too deep", errCanonical)
	}
	before, c, after, ok := cutChild(b)
	if !ok || len(before) > 0 {
		return nil, nil, errCanonical
	}
	e := &Element{Space: parent, Local: c.Local()}
	type declared struct{ prefix, space string }
	var prefixes []declared
	for n, v := range rawAttrs(c.start) {
		prefix, local, found := bytes.Cut(n, []byte{':'})
		switch value := string(unescaped(v)); {
		case string(n) == "xmlns":
			e.Space = intern(unescaped(v))
		case !found:
			e.Attrs = append(e.Attrs, Attr{Local: intern(n), Value: value})
		case string(prefix) == "xmlns":
			prefixes = append(prefixes, declared{string(local), value})
		case string(prefix) == "xml":
			e.Attrs = append(e.Attrs, Attr{Space: NSXML, Local: intern(local), Value: value})
		default:
			a := Attr{Local: intern(local), Value: value}
			for _, p := range prefixes {
				if p.prefix == string(prefix) {
					a.Space = p.space
				}
			}
			e.Attrs = append(e.Attrs, a)
		}
	}
	var text []byte
	for rest := c.inner; ; {
		before, inner, next, ok := cutChild(rest)
		text = appendUnescaped(text, before)
		if !ok {
			break
		}
		child, _, err := parseElement(inner.Raw, e.Space, depth+1)
		if err != nil {
			return nil, nil, err
		}
		e.Children = append(e.Children, child)
		rest = next
	}
	e.Text = string(text)
	return e, after, nil
}
