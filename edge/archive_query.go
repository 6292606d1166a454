package edge

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
)

// Bounds of a query of an archive.
const (
	defaultArchivePage = 50   // messages of a page, if the client says nothing
	maxArchivePage     = 250  // whatever it says
	maxArchiveIDs      = 250  // that are asked for by name
	maxArchiveText     = 1024 // bytes of what is searched for
	maxQueryID         = 256  // bytes; it goes with each message
)

// The form of a query (XEP-0313, section 5.1; XEP-0431).
const (
	fieldFullText = "{" + stanza.NSFullText + "}fulltext"
	// Where XEP-0431 is not known the field has one of these names.
	fieldPlainText = "fulltext"
	fieldWithText  = "withtext"
)

// archiveForm gives the form that a query may fill in (section 5.1.5).
func archiveForm() *stanza.Element {
	form := stanza.New(stanza.NSData, "x", "type", "form")
	field := func(kind, name string) *stanza.Element {
		f := stanza.New(stanza.NSData, "field", "type", kind, "var", name)
		form.Add(f)
		return f
	}
	field("hidden", "FORM_TYPE").AddText("value", stanza.NSMAM)
	field("jid-single", "with")
	for _, name := range []string{"start", "end", "before-id", "after-id"} {
		field("text-single", name)
	}
	field("list-multi", "ids").Add(stanza.New(stanza.NSValidate, "validate", "datatype", "xs:string").Add(stanza.New(stanza.NSValidate, "open")))
	field("boolean", "include-groupchat")
	field("text-single", fieldFullText)
	return form
}

// A sought is a query as a client puts it.
type sought struct {
	ArchiveQuery
	id   string // queryid
	flip bool   // the page is sent with its last message first (section 5.3.4)
}

// soughtIn reads a query for messages.
func soughtIn(c stanza.Child) (sought, error) {
	s := sought{id: c.Attr("queryid"), ArchiveQuery: ArchiveQuery{Above: -1, Below: NoBound, After: -1, Before: NoBound}}
	switch {
	case len(s.id) > maxQueryID:
		return s, stanza.NewError(stanza.BadRequest, "the queryid is too long")
	case c.Attr("node") != "":
		return s, stanza.NewError(stanza.FeatureNotImplemented, "nodes have no archive")
	}
	if _, ok := c.First(stanza.NSMAM, "flip-page"); ok {
		s.flip = true
	}
	if err := s.fill(c); err != nil {
		return s, err
	}
	return s, s.turn(c)
}

// fill takes what the form of a query says.
func (s *sought) fill(c stanza.Child) error {
	var form *stanza.Element
	for child := range c.Children() {
		if !child.Is(stanza.NSData, "x") {
			continue
		}
		if form != nil {
			return stanza.NewError(stanza.BadRequest, "more than one form")
		}
		var err error
		if form, err = child.Element(); err != nil {
			return stanza.NewError(stanza.BadRequest, "")
		}
	}
	switch {
	case form == nil:
		return nil
	case form.Attr("type") != "submit":
		return stanza.NewError(stanza.BadRequest, "the form is not submitted")
	}
	seen := make(map[string]bool)
	for _, f := range form.Children {
		if !f.Is(stanza.NSData, "field") {
			continue
		}
		name := f.Attr("var")
		if name == fieldPlainText || name == fieldWithText {
			name = fieldFullText
		}
		switch {
		case name == "":
			return stanza.NewError(stanza.BadRequest, "a field without a name")
		case seen[name]:
			return stanza.NewError(stanza.BadRequest, name+" is given twice")
		}
		seen[name] = true
		var values []string
		for _, v := range f.Children {
			// What a form has for the client to fill in and it left empty is not said.
			if v.Is(stanza.NSData, "value") && v.Text != "" {
				values = append(values, v.Text)
			}
		}
		if err := s.field(name, values); err != nil {
			return err
		}
	}
	if !seen["FORM_TYPE"] {
		return stanza.NewError(stanza.BadRequest, "the form has no FORM_TYPE")
	}
	return nil
}

// field takes one field of the form.
func (s *sought) field(name string, values []string) error {
	if name == "ids" {
		return s.named(values)
	}
	if len(values) > 1 {
		return stanza.NewError(stanza.BadRequest, name+" has more than one value")
	}
	value := ""
	if len(values) == 1 {
		value = values[0]
	}
	if name == "FORM_TYPE" {
		if value != stanza.NSMAM {
			return stanza.NewError(stanza.BadRequest, "the form is of another type")
		}
		return nil
	}
	set, known := map[string]func(string) error{
		"with":  s.with,
		"start": func(v string) (err error) { s.Start, err = moment("start", v); return err },
		"end":   func(v string) (err error) { s.End, err = moment("end", v); return err },
		"after-id": func(v string) (err error) {
			s.Above, err = s.known(v)
			return err
		},
		"before-id": func(v string) (err error) {
			s.Below, err = s.known(v)
			return err
		},
		"include-groupchat": func(v string) error {
			include, ok := boolean(v)
			if !ok {
				return stanza.NewError(stanza.BadRequest, "include-groupchat is neither true nor false")
			}
			s.NoGroupchat = !include
			return nil
		},
		fieldFullText: func(v string) error {
			if len(v) > maxArchiveText {
				return stanza.NewError(stanza.BadRequest, "what is searched for is too long")
			}
			s.Text = strings.TrimSpace(v)
			return nil
		},
	}[name]
	switch {
	case !known: // section 5.1.5
		return stanza.NewError(stanza.FeatureNotImplemented, name+" is not known")
	case value == "":
		return nil
	}
	return set(value)
}

func (s *sought) with(value string) error {
	with, err := jid.Parse(value)
	if err != nil {
		return stanza.NewError(stanza.JIDMalformed, "with is no JID")
	}
	s.With = with
	return nil
}

// named takes the ids of messages that are wanted (section 5.1.3).
func (s *sought) named(ids []string) error {
	if len(ids) > maxArchiveIDs {
		return stanza.NewError(stanza.PolicyViolationStanza, "more than "+strconv.Itoa(maxArchiveIDs)+" ids")
	}
	for _, v := range ids {
		id, err := s.known(v)
		if err != nil {
			return err
		}
		s.IDs = append(s.IDs, id)
	}
	return nil
}

// turn takes which page is wanted.
func (s *sought) turn(c stanza.Child) error {
	p, err := pageIn(c)
	if err != nil {
		return err
	}
	s.Max, s.Skip, s.Last = defaultArchivePage, max(p.index, 0), p.last
	if p.max >= 0 {
		s.Max = min(p.max, maxArchivePage)
	}
	if p.after != "" {
		if s.After, err = s.known(p.after); err != nil {
			return err
		}
	}
	if p.before != "" {
		s.Before, err = s.known(p.before)
	}
	return err
}

// known gives the id of a message that must be there. What no message can have
// for its id is not in the archive (sections 5.1.3 and 5.3.2).
func (s *sought) known(id string) (int64, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 0 || n == math.MaxInt64 || archiveID(n) != id {
		return 0, stanza.NewError(stanza.ItemNotFound, "no message has this id")
	}
	if !slices.Contains(s.Known, n) {
		s.Known = append(s.Known, n)
	}
	return n, nil
}

// archiveID is the id of a message for clients.
func archiveID(id int64) string { return strconv.FormatInt(id, 10) }

// moment reads a time of a form (XEP-0082, DateTime).
func moment(field, value string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return t, stanza.NewError(stanza.BadRequest, field+" is no time as XEP-0082 has it")
	}
	return t.UTC(), nil
}
