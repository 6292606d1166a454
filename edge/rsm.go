package edge

import (
	"strconv"

	"github.com/rollcall/rollcall/edge/stanza"
)

// page is what a client asks for of a result set (XEP-0059).
type page struct {
	max           int    // < 0: not said
	index         int    // < 0: not said
	after, before string // ids; "": not said
	last          bool   // the page is the one at the end, or before an id
}

// pageIn reads the <set/> in an element, if there is one. What contradicts
// itself, which XEP-0059 gives no meaning, and a number that is none, is a
// bad-request.
func pageIn(c stanza.Child) (page, error) {
	p := page{max: -1, index: -1}
	var set *stanza.Element
	for child := range c.Children() {
		if !child.Is(stanza.NSRSM, "set") {
			continue
		}
		if set != nil {
			return p, stanza.NewError(stanza.BadRequest, "more than one page is asked for")
		}
		var err error
		if set, err = child.Element(); err != nil {
			return p, stanza.NewError(stanza.BadRequest, "")
		}
	}
	if set == nil {
		return p, nil
	}
	seen := make(map[string]bool)
	for _, e := range set.Children {
		if e.Space != stanza.NSRSM {
			continue
		}
		if seen[e.Local] {
			return p, stanza.NewError(stanza.BadRequest, e.Local+" is given twice")
		}
		seen[e.Local] = true
		switch e.Local {
		case "max", "index":
			n, err := strconv.ParseUint(e.Text, 10, 31)
			if err != nil {
				return p, stanza.NewError(stanza.BadRequest, e.Local+" is no number of messages")
			}
			if e.Local == "max" {
				p.max = int(n)
			} else {
				p.index = int(n)
			}
		case "after":
			p.after = e.Text
		case "before":
			p.before, p.last = e.Text, true
		}
	}
	switch {
	case p.last && seen["after"]:
		return p, stanza.NewError(stanza.BadRequest, "a page is before or after a message")
	case seen["index"] && (p.last || seen["after"]):
		return p, stanza.NewError(stanza.BadRequest, "a page is at an index, or before or after a message")
	case seen["after"] && p.after == "":
		return p, stanza.NewError(stanza.BadRequest, "after what is not said")
	}
	return p, nil
}

// resultSet tells which page was given (XEP-0059, section 2.2); first and last
// are the ids of its ends, empty for a page without anything.
func resultSet(first, last string, index, count int) *stanza.Element {
	set := stanza.New(stanza.NSRSM, "set")
	if first != "" {
		set.Add(stanza.New(stanza.NSRSM, "first", "index", strconv.Itoa(index)).WithText(first))
		set.AddText("last", last)
	}
	return set.AddText("count", strconv.Itoa(count))
}
