package play

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// A Scenario is a story of a few clients, told line by line:
//
//	# a comment
//	juliet/balcony connects e0
//	juliet/balcony -> <presence/>
//	romeo/orchard <- presence from=juliet@example.com/balcony
//	juliet/balcony cuts                  breaks the connection
//	juliet/balcony closes                ends the stream
//	quiet
//	sees juliet/balcony juliet@example.com/balcony romeo@example.com/orchard
//	kill e0
//
// What is sent one line after another is on its way at the same time. At a
// quiet point everything has arrived; the lines with <- that follow tell all
// the presence and messages that each client was told since the last one, in
// any order, and as much of the rest as the story wants. They name the
// stanza, its type and, as far as they matter, from, to and id; after a ~
// comes what is in it. "sees" is a quiet point that says only whom a client
// sees then, whatever all were told. A client whose resource was bound anew goes on as
// juliet/balcony'.
type Scenario struct {
	Text   string
	Server Server
	Domain string // in place of example.com
	Suffix string // of localparts, so that several scenarios do not meet
	Within time.Duration

	clients map[string]*listener
}

// listener is a client and what it was told that no line has named.
type listener struct {
	*edgetest.Client
	heard []*stanza.Stanza
	view  map[string]bool // full JIDs that are available
	edge  int
}

// people are the localparts that a scenario may use.
var people = regexp.MustCompile(`\b(juliet|romeo|nurse)\b`)

// Accounts gives the localparts that the scenario needs.
func (s *Scenario) Accounts() []string {
	names := make(map[string]bool)
	for _, name := range people.FindAllString(s.Text, -1) {
		names[name+s.Suffix] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// Play plays it.
func (s *Scenario) Play() error {
	s.clients = make(map[string]*listener)
	defer func() {
		for _, c := range s.clients {
			c.Conn.Close()
		}
	}()
	text := strings.ReplaceAll(people.ReplaceAllString(s.Text, "${1}"+s.Suffix), "example.com", s.Domain)
	lines := strings.Split(text, "\n")
	for n := 0; n < len(lines); n++ {
		var err error
		if strings.TrimSpace(lines[n]) == "quiet" {
			var want []string
			for n+1 < len(lines) && (strings.Contains(lines[n+1], "<-") || blank(lines[n+1])) {
				n++
				if !blank(lines[n]) {
					want = append(want, lines[n])
				}
			}
			err = s.quiet(want)
		} else if !blank(lines[n]) {
			err = s.do(lines[n])
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return nil
}

func blank(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || strings.HasPrefix(line, "#")
}

func (s *Scenario) do(line string) error {
	if rest, ok := strings.CutPrefix(line, "sees "); ok {
		who, want, _ := strings.Cut(rest, " ")
		return s.await(func() error {
			if got := s.clients[who].view; !maps.Equal(got, set(strings.Fields(want))) {
				return fmt.Errorf("%s sees %v", who, slices.Sorted(maps.Keys(got)))
			}
			return nil
		})
	}
	if edge, ok := strings.CutPrefix(line, "kill e"); ok {
		for who, c := range s.clients {
			if err := s.listen(c); err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
		}
		at := int(edge[0] - '0')
		maps.DeleteFunc(s.clients, func(_ string, c *listener) bool { return c.edge == at })
		return s.Server.Kill(at)
	}
	who, what, _ := strings.Cut(line, " ")
	c := s.clients[who]
	user, resource, _ := strings.Cut(who, "/")
	if edge, ok := strings.CutPrefix(what, "connects e"); ok {
		conn, err := s.Server.Dial(int(edge[0]-'0'), user, resource)
		if err != nil {
			return err
		}
		if s.clients[who] = (&listener{Client: conn, view: make(map[string]bool), edge: int(edge[0] - '0')}); c == nil {
			return nil
		}
		s.clients[who+"'"] = c
		rest, _ := c.Rest() // an edge that died ends nothing
		c.heard = append(c.heard, rest...)
		return nil
	}
	if c == nil {
		return fmt.Errorf("%s is not connected", who)
	}
	if xml, ok := strings.CutPrefix(what, "-> "); ok {
		return c.Send(xml)
	}
	delete(s.clients, who)
	switch what {
	case "cuts":
		c.Conn.Close()
	case "closes":
		if err := c.Close(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("what is %q?", line)
	}
	return s.Server.Gone(c.Full)
}

// listen reads what has come.
func (s *Scenario) listen(c *listener) error {
	all, err := c.Sync()
	c.heard = append(c.heard, all...)
	for _, st := range all {
		if st.Kind == stanza.Presence && st.Type == "" {
			c.view[st.From] = true
		} else if st.Kind == stanza.Presence && st.Type == "unavailable" {
			delete(c.view, st.From)
		}
	}
	return err
}

func set(all []string) map[string]bool {
	is := make(map[string]bool)
	for _, v := range all {
		is[v] = true
	}
	return is
}

// quiet waits until all clients were told what is wanted, and finds what they
// were told besides.
func (s *Scenario) quiet(want []string) error {
	return s.await(func() error { return s.compare(want) })
}

// await waits until cond gives no error at a quiet point, and forgets what was
// told until then.
func (s *Scenario) await(cond func() error) error {
	deadline := time.Now().Add(s.Within)
	for {
		for range 2 {
			for who, c := range s.clients {
				if err := s.listen(c); err != nil && !strings.HasSuffix(who, "'") {
					return fmt.Errorf("%s: %w", who, err)
				}
			}
			if err := s.Server.Settle(); err != nil {
				return err
			}
		}
		err := cond()
		if err == nil {
			for _, c := range s.clients {
				c.heard = nil
			}
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *Scenario) compare(want []string) (err error) {
	left := make(map[string][]*stanza.Stanza)
	for who, c := range s.clients {
		left[who] = slices.Clone(c.heard)
	}
	for _, line := range want {
		who, pattern, _ := strings.Cut(line, " <- ")
		i := slices.IndexFunc(left[who], func(st *stanza.Stanza) bool { return matches(st, pattern) })
		if i < 0 {
			err = errors.Join(err, fmt.Errorf("%s was not told: %s", who, pattern))
			continue
		}
		left[who] = slices.Delete(left[who], i, i+1)
	}
	for _, who := range slices.Sorted(maps.Keys(left)) {
		for _, st := range left[who] {
			if strings.HasSuffix(who, "'") {
				continue // it may hear of itself
			}
			if st.Kind == stanza.Presence || st.Kind == stanza.Message {
				err = errors.Join(err, fmt.Errorf("%s was told, too: %s", who, edgetest.Text(st)))
			}
		}
	}
	return err
}

// matches tells whether a stanza is what a line says.
func matches(st *stanza.Stanza, pattern string) bool {
	pattern, inside, _ := strings.Cut(pattern, " ~ ")
	kind := ""
	words := strings.Fields(pattern)
	if st.Local != words[0] || !strings.Contains(string(st.Inner), strings.TrimSpace(inside)) {
		return false
	}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		var is string
		switch name {
		case "type":
			is, kind = st.Type, value
		case "from":
			is = st.From
		case "to":
			is = st.To
		case "id":
			is = st.ID
		}
		if is != value {
			return false
		}
	}
	return st.Kind != stanza.Presence || st.Type == kind
}
