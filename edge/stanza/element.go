package stanza

import "strconv"

// Attr is an attribute. Space is empty for nearly all; it is NSXML for xml:lang.
type Attr struct{ Space, Local, Value string }

func findAttr(attrs []Attr, space, local string) string {
	for _, a := range attrs {
		if a.Local == local && a.Space == space {
			return a.Value
		}
	}
	return ""
}

// Element is a parsed element. Text is its character data joined; where text
// and elements are mixed, their mutual order is lost, so what is only passed
// on is kept as canonical XML and never goes through an Element.
type Element struct {
	Space, Local string
	Attrs        []Attr
	Text         string
	Children     []*Element
}

// New makes an element with attributes given as name, value, name, value.
// An empty value leaves its attribute out.
func New(space, local string, attrs ...string) *Element {
	e := &Element{Space: space, Local: local}
	for i := 0; i+1 < len(attrs); i += 2 {
		e.Set(attrs[i], attrs[i+1])
	}
	return e
}

// Set appends an attribute unless value is empty. It returns e.
func (e *Element) Set(local, value string) *Element {
	if value != "" {
		a := Attr{Local: local, Value: value}
		if local == "xml:lang" {
			a.Space, a.Local = NSXML, "lang"
		}
		e.Attrs = append(e.Attrs, a)
	}
	return e
}

// Add appends children. It returns e.
func (e *Element) Add(children ...*Element) *Element {
	e.Children = append(e.Children, children...)
	return e
}

// AddText appends a child in e's own namespace that holds text. It returns e.
func (e *Element) AddText(local, text string) *Element {
	return e.Add(&Element{Space: e.Space, Local: local, Text: text})
}

// WithText sets the character data. It returns e.
func (e *Element) WithText(text string) *Element {
	e.Text = text
	return e
}

// Is tells whether the element has this name.
func (e *Element) Is(space, local string) bool { return e.Local == local && e.Space == space }

// Attr gives the value of an attribute without a namespace, "" if absent.
func (e *Element) Attr(local string) string { return findAttr(e.Attrs, "", local) }

// Lang gives xml:lang, "" if absent.
func (e *Element) Lang() string { return findAttr(e.Attrs, NSXML, "lang") }

// Child gives the first child with this name, or nil.
func (e *Element) Child(space, local string) *Element {
	for _, c := range e.Children {
		if c.Is(space, local) {
			return c
		}
	}
	return nil
}

// ChildText gives the text of the first child with this name, "" if none.
func (e *Element) ChildText(space, local string) string {
	if c := e.Child(space, local); c != nil {
		return c.Text
	}
	return ""
}

// AppendTo appends the element as canonical XML.
func (e *Element) AppendTo(dst []byte) []byte { return e.appendTo(dst, NSClient) }

// AppendIn appends the element as canonical XML inside one of a namespace.
func (e *Element) AppendIn(dst []byte, parent string) []byte { return e.appendTo(dst, parent) }

// Bytes gives the element as canonical XML.
func (e *Element) Bytes() []byte { return e.AppendTo(nil) }

func (e *Element) appendTo(dst []byte, parent string) []byte {
	dst = append(dst, '<')
	dst = append(dst, e.Local...)
	if e.Space != parent {
		dst = appendAttr(dst, "xmlns", e.Space)
	}
	for i, a := range e.Attrs {
		switch a.Space {
		case "":
			dst = appendAttr(dst, a.Local, a.Value)
		case NSXML:
			dst = appendAttr(dst, "xml:"+a.Local, a.Value)
		default:
			p := "n" + strconv.Itoa(i)
			dst = appendAttr(dst, "xmlns:"+p, a.Space)
			dst = appendAttr(dst, p+":"+a.Local, a.Value)
		}
	}
	if e.Text == "" && len(e.Children) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	dst = AppendText(dst, e.Text)
	for _, c := range e.Children {
		dst = c.appendTo(dst, e.Space)
	}
	dst = append(dst, "</"...)
	dst = append(dst, e.Local...)
	return append(dst, '>')
}

// Element parses the whole stanza, its own attributes included.
func (s *Stanza) Element() (*Element, error) {
	e := New(s.Space, s.Local, "to", s.To, "from", s.From, "id", s.ID, "type", s.Type, "xml:lang", s.Lang)
	e.Attrs = append(e.Attrs, s.Attrs...)
	e.Text = s.Text()
	for c := range Children(s.Inner) {
		child, err := c.Element()
		if err != nil {
			return nil, err
		}
		e.Children = append(e.Children, child)
	}
	return e, nil
}
