package edge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/message/messagetest"
)

// stage85 is a play on two edges for section 8.5: romeo has resources r0, r1,
// ... of some priorities, on one edge and the other in turn. Juliet is a
// stranger to him; he shares his presence with the nurse.
type stage85 struct {
	*play
	priorities []int
	cases      map[string]*case85 // by id
}

// case85 is a stanza to romeo, and what must come of it.
type case85 struct {
	what, from, to string
	want           messagetest.Outcome
	receivers      []string // resources of romeo
	again          bool     // each resource that becomes available gets it, too
	answer         string   // what the sender hears of it, if it is no error
}

func (c *case85) String() string {
	return fmt.Sprintf("%s from %s to %s: want %c", c.what, c.from, c.to, c.want)
}

func newStage85(t *testing.T, priorities []int) *stage85 {
	s := &stage85{play: newPlay(t, edge.Options{}), priorities: priorities, cases: make(map[string]*case85)}
	edges := []*edgetest.Edge{s.edge, s.open("e2")}
	s.create("romeo", "nurse")
	s.house.Befriend("romeo", "nurse")
	for i, p := range priorities {
		s.edge = edges[(i+1)%2]
		who := "romeo/" + messagetest.Name(i)
		s.reads(who)
		if p != messagetest.Connected {
			s.send(who, fmt.Sprintf("<presence><priority>%d</priority></presence>", p))
		}
	}
	s.edge = edges[0]
	s.dial("juliet/balcony")
	s.dial("nurse/chamber")
	for range 2 { // when all have been heard, each has heard all
		for i := range priorities {
			s.heard("romeo/" + messagetest.Name(i))
		}
	}
	return s
}

// reads logs in and reads the roster: with that the edge has it, and requests
// are shown at once.
func (p *play) reads(who string) {
	p.t.Helper()
	p.dial(who)
	p.send(who, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
	p.until(who, "iq type=result id=roster")
}

// An address85 is a JID of romeo.
type address85 struct {
	form     messagetest.Address
	resource string
}

func (a address85) String() string {
	if a.resource == "" {
		return "romeo@example.com"
	}
	return "romeo@example.com/" + a.resource
}

// addresses gives the JIDs by which romeo can be addressed.
func (s *stage85) addresses() []address85 {
	all := []address85{{messagetest.Bare, ""}, {messagetest.FullNoMatch, "none"}}
	for i := range s.priorities {
		all = append(all, address85{messagetest.FullMatch, messagetest.Name(i)})
	}
	return all
}

// say has who ("juliet/balcony") send a stanza to romeo; in format %s stands for
// the attributes id and to. It gives the id.
func (s *stage85) say(who, what, format string, to address85, want messagetest.Outcome) string {
	name, resource, _ := strings.Cut(who, "/")
	c := &case85{what: what, from: name + "@example.com/" + resource, to: to.String(), want: want}
	switch want {
	case messagetest.Direct, messagetest.All, messagetest.Everyone:
		c.receivers = messagetest.Receivers(want, to.resource, s.priorities)
	}
	id := fmt.Sprintf("case-%03d", len(s.cases))
	s.cases[id] = c
	s.send(who, fmt.Sprintf(format, fmt.Sprintf("id='%s' to='%s'", id, to)))
	return id
}

// stanzas gives all that a client is told until the house is quiet.
func (p *play) stanzas(who string) (all []*stanza.Stanza) {
	p.t.Helper()
	for range 3 {
		got, err := p.clients[who].Sync()
		if err != nil {
			p.t.Fatalf("%s: %v", who, err)
		}
		all = append(all, got...)
		p.house.Quiet()
	}
	return all
}

// check compares what came of the cases with what must have: who got each,
// what its sender was answered, and what waits for a resource that takes it.
func (s *stage85) check() {
	s.t.Helper()
	answers, got := make(map[string][]*stanza.Stanza), make(map[string][]string)
	edgetest.WaitFor(s.t, "what is read first is answered", func() bool {
		for _, who := range []string{"juliet/balcony", "nurse/chamber"} {
			for _, st := range s.stanzas(who) {
				answers[st.ID] = append(answers[st.ID], st)
			}
		}
		for id, c := range s.cases {
			if c.answer != "" && len(answers[id]) == 0 {
				return false
			}
		}
		return true
	})
	for i := range s.priorities {
		for _, st := range s.stanzas("romeo/" + messagetest.Name(i)) {
			if c := s.cases[st.ID]; c != nil {
				got[st.ID] = append(got[st.ID], messagetest.Name(i))
				if st.To != c.to || st.From != c.from {
					s.t.Errorf("%s: came to %q from %q", c, st.To, st.From)
				}
			}
		}
	}
	waited := s.waited()
	for id, c := range s.cases {
		if !slices.Equal(got[id], c.receivers) {
			s.t.Errorf("%s: got by %v, want %v", c, got[id], c.receivers)
		}
		if (waited[id] == 1) != (c.again || c.want == messagetest.Offline) || waited[id] > 1 {
			s.t.Errorf("%s: waited as %d", c, waited[id])
		}
		a := answers[id]
		if c.answer != "" {
			if len(a) != 1 || !strings.HasPrefix(edgetest.Text(a[0]), c.answer) {
				s.t.Errorf("%s: the sender heard %v, want %s", c, a, c.answer)
			}
		} else if c.want != messagetest.Error && c.want != messagetest.Replied {
			if len(a) != 0 {
				s.t.Errorf("%s: the sender heard %s", c, edgetest.Text(a[0]))
			}
		} else if len(a) != 1 || a[0].Type != "error" || a[0].From != c.to || !strings.Contains(string(a[0].Inner), "<service-unavailable ") {
			s.t.Errorf("%s: the sender heard %v", c, a)
		}
	}
}

// waited gives, by id, what a new resource of romeo gets that takes what
// waits, and how often.
func (s *stage85) waited() map[string]int {
	s.reads("romeo/later")
	s.send("romeo/later", "<presence/>")
	got := make(map[string]int)
	for _, st := range s.stanzas("romeo/later") {
		if s.cases[st.ID] == nil {
			continue
		}
		got[st.ID]++
		if _, delayed := stanza.Find(st.Inner, stanza.NSDelay, "delay"); st.Kind == stanza.Message && !delayed {
			s.t.Errorf("%s: waited and does not say so", s.cases[st.ID])
		}
	}
	return got
}

// accounts85 gives all accounts of at most two resources that are connected,
// negative, 0 or positive, and some of three.
func accounts85() [][]int {
	classes := []int{messagetest.Connected, -1, 0, 5}
	all := [][]int{nil}
	for i, p := range classes {
		all = append(all, []int{p})
		for _, q := range classes[i:] {
			all = append(all, []int{p, q})
		}
	}
	return append(all, []int{0, 0, 0}, []int{-1, 0, 5}, []int{-1, -128, -1}, []int{messagetest.Connected, -5, 127})
}

func each85(t *testing.T, do func(s *stage85, c messagetest.Condition, a address85)) {
	for _, priorities := range accounts85() {
		c := messagetest.ConditionOf(priorities)
		t.Run(fmt.Sprintf("8.5 %s %v", c, priorities), func(t *testing.T) {
			s := newStage85(t, priorities)
			for _, a := range s.addresses() {
				do(s, c, a)
			}
			s.check()
		})
	}
}

func TestSection8_5Messages(t *testing.T) {
	// Without a type, and of one that nobody knows, it is normal (5.2.2).
	kinds := append([]string{"", "unheard-of"}, messagetest.Types...)
	each85(t, func(s *stage85, c messagetest.Condition, a address85) {
		for _, kind := range kinds {
			s.say("juliet/balcony", "message "+kind, "<message %s type='"+kind+"'><body>b</body></message>", a, messagetest.MessageOutcome(c, a.form, kind))
		}
	})
}

// Whoever sends it: directed presence needs no permission.
func TestSection8_5DirectedPresence(t *testing.T) {
	each85(t, func(s *stage85, c messagetest.Condition, a address85) {
		for _, kind := range []string{"", "unavailable"} {
			s.say("juliet/balcony", "presence "+kind, "<presence %s type='"+kind+"'/>", a, messagetest.PresenceOutcome(c, a.form))
		}
	})
}

// An error is not passed on (8.5 does not name it, and a client's error
// answers nobody), a probe is the server's to answer (4.3), and a verb that
// means nothing between strangers is silent (3.1.6, 3.2.3, 3.3.3).
func TestSection8_5OtherPresence(t *testing.T) {
	each85(t, func(s *stage85, c messagetest.Condition, a address85) {
		for _, kind := range []string{"error", "subscribed", "unsubscribe", "unsubscribed"} {
			s.say("juliet/balcony", "presence "+kind, "<presence %s type='"+kind+"'/>", a, messagetest.Ignored)
		}
		id := s.say("juliet/balcony", "presence probe", "<presence %s type='probe'/>", a, messagetest.Ignored)
		s.cases[id].answer = "presence type=unsubscribed id=" + id + " from=romeo@example.com"
	})
}

// To the bare JID the server replies on the account's behalf; nothing that it
// knows is asked, so the reply is an error. To a full JID who may not know
// that the resource is there hears the same as if it were not.
func TestSection8_5IQs(t *testing.T) {
	each85(t, func(s *stage85, c messagetest.Condition, a address85) {
		for who, shared := range map[string]bool{"juliet/balcony": false, "nurse/chamber": true} {
			for _, kind := range []string{"get", "set"} {
				s.say(who, "iq "+kind, "<iq %s type='"+kind+"'><q xmlns='urn:x'/></iq>", a, messagetest.IQOutcome(c, a.form, kind, shared))
			}
		}
	})
}

// A request goes to all available resources, or waits for one; it is always
// for the bare JID (3.1.2, 3.1.3).
func TestSection8_5Subscribe(t *testing.T) {
	n := 0
	each85(t, func(s *stage85, c messagetest.Condition, a address85) {
		n++
		who := fmt.Sprintf("tybalt%d/square", n)
		s.dial(who)
		want := messagetest.Everyone
		if c == messagetest.NoActive {
			want = messagetest.Offline
		}
		id := s.say(who, "presence subscribe to "+a.String(), "<presence %s type='subscribe'/>", a, want)
		s.cases[id].from, s.cases[id].to = fmt.Sprintf("tybalt%d@example.com", n), "romeo@example.com"
		s.cases[id].again = want == messagetest.Everyone // until romeo decides
		s.expect(who)
	})
}

// An answer goes to whom it answers, whoever that is to the one that gives it
// (8.5.3.1), once. The RFC would have one that answers nothing delivered too: it is
// not, for after the server has answered in time's stead a second answer may
// not follow (RFC 6120, section 8.2.3), and nobody shall make up answers.
func TestSection8_5Answers(t *testing.T) {
	s := newStage85(t, []int{messagetest.Connected, -1, 0})
	for i := range s.priorities {
		for n, kind := range []string{"result", "error"} {
			romeo, id := "romeo/"+messagetest.Name(i), fmt.Sprintf("q%d%d", i, n)
			ask := fmt.Sprintf("<iq id='%s' type='get' to='romeo@example.com/r%d'><q xmlns='urn:x'/></iq>", id, i)
			s.send("nurse/chamber", ask)
			s.until(romeo, "iq type=get id="+id+" from=nurse@example.com/chamber to=romeo@example.com/"+messagetest.Name(i)+" <q xmlns='urn:x'/>")
			answer := fmt.Sprintf("<iq id='%s' type='%s' to='%%s'/>", id, kind)
			s.send(romeo, fmt.Sprintf(answer, "juliet@example.com/balcony")) // she did not ask
			s.send(romeo, fmt.Sprintf(answer, "nurse@example.com"))
			s.send(romeo, fmt.Sprintf(answer, "nurse@example.com/nowhere"))
			s.send(romeo, strings.Repeat(fmt.Sprintf(answer, "nurse@example.com/chamber"), 2))
			s.expect(romeo)
			s.expect("nurse/chamber", "iq type="+kind+" id="+id+" from=romeo@example.com/"+messagetest.Name(i)+" to=nurse@example.com/chamber")
			s.expect("juliet/balcony")
		}
	}
}

// Directed presence lets its receiver ask the resource that sent it, as long
// as that is available to it (8.5.3.1, 4.6).
func TestSection8_5SharedByDirectedPresence(t *testing.T) {
	s := newStage85(t, []int{0, 0})
	ask := func(id, resource string) {
		s.send("juliet/balcony", "<iq id='"+id+"' type='get' to='romeo@example.com/"+resource+"'><q xmlns='urn:x'/></iq>")
	}
	refused := func(id, resource string) {
		t.Helper()
		ask(id, resource)
		s.expect("juliet/balcony", "iq type=error id="+id+" from=romeo@example.com/"+resource+" to=juliet@example.com/balcony <error type='cancel'><service-unavailable ")
		s.expect("romeo/" + resource)
	}
	for n, to := range []string{"juliet@example.com", "juliet@example.com/balcony"} {
		refused(fmt.Sprint("a", n), "r0")
		s.send("romeo/r0", "<presence to='"+to+"'/>")
		s.heard("romeo/r0")
		s.heard("juliet/balcony")
		id := fmt.Sprint("b", n)
		ask(id, "r0")
		s.until("romeo/r0", "iq type=get id="+id+" from=juliet@example.com/balcony")
		s.send("romeo/r0", "<iq type='result' id='"+id+"' to='juliet@example.com/balcony'/>")
		s.until("juliet/balcony", "iq type=result id="+id+" from=romeo@example.com/r0")
		refused(fmt.Sprint("c", n), "r1") // that did not send it
		s.send("romeo/r0", "<presence type='unavailable' to='"+to+"'/>")
		s.heard("romeo/r0")
		s.heard("juliet/balcony")
		refused(fmt.Sprint("d", n), "r0")
	}
}

// Sections 8.1 to 8.4 and 8.5.1, and RFC 6120, sections 10.3 to 10.5: what
// comes of each stanza to who is no account here, heard by its sender alone.
func TestSection8OtherAddresses(t *testing.T) {
	const me = "to=juliet@example.com/balcony"
	unavailable := me + " <error type='cancel'><service-unavailable "
	remote := me + " <error type='cancel'><remote-server-not-found "
	messages := []string{"", "unheard-of", "normal", "chat", "groupchat", "headline", "error"}
	presences := []string{"", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"}
	for _, c := range []struct {
		name, to              string
		message, presence, iq string            // what is answered; empty: nothing
		but                   map[string]string // by kind and type, where it differs
	}{
		{
			"8.4 the domain", "example.com", unavailable, "", unavailable, map[string]string{
				"presence subscribe": "presence type=error id=x from=example.com " + unavailable,
			},
		}, {
			"8.4 the domain with a resource", "example.com/x", unavailable, "", unavailable, map[string]string{
				"presence subscribe": "presence type=error id=x from=example.com/x " + unavailable,
			},
		}, {
			"8.3 another domain", "example.net", remote, remote, remote, map[string]string{"presence probe": "", "presence error": ""},
		}, {
			"8.3 a bare JID elsewhere", "a@example.net", remote, remote, remote, map[string]string{"presence probe": "", "presence error": ""},
		}, {
			"8.3 a full JID elsewhere", "a@example.net/b", remote, remote, remote, map[string]string{"presence probe": "", "presence error": ""},
		}, {
			"8.5.1 a bare JID of no account", "nobody@example.com", unavailable, "", unavailable, map[string]string{
				"message headline": "",
				// The RFC has silence here and an error in 3.1.2: a denial ends the
				// request, and says no more than a deleted account or an unwilling one.
				"presence subscribe": "presence type=unsubscribed from=nobody@example.com",
				"presence probe":     "presence type=unsubscribed id=x from=nobody@example.com",
			},
		}, {
			"8.5.1 a full JID of no account", "nobody@example.com/x", unavailable, "", unavailable, map[string]string{
				"message headline": "", "presence subscribe": "presence type=unsubscribed from=nobody@example.com",
				"presence probe": "presence type=unsubscribed id=x from=nobody@example.com",
			},
		},
	} {
		ask := func(kind, xml, answer string) {
			t.Run(c.name+", "+kind, func(t *testing.T) {
				p := newPlay(t, edge.Options{})
				p.online("juliet/balcony")
				p.send("juliet/balcony", xml)
				if other, ok := c.but[kind]; ok {
					answer = other
				} else if answer != "" {
					answer = fmt.Sprintf("%s type=error id=x from=%s %s", strings.Fields(kind)[0], c.to, answer)
				}
				var heard []string
				edgetest.WaitFor(t, "what is read first is answered", func() bool {
					for _, h := range p.heard("juliet/balcony") {
						if !strings.Contains(h, "jabber:iq:roster") { // pushes are section 3's
							heard = append(heard, h)
						}
					}
					return answer == "" || len(heard) > 0
				})
				if answer == "" && len(heard) > 0 || answer != "" && (len(heard) != 1 || !strings.HasPrefix(heard[0], answer)) {
					t.Errorf("heard %q, want %q", heard, answer)
				}
			})
		}
		for _, kind := range messages {
			answer := c.message
			if kind == "error" {
				answer = ""
			}
			ask("message "+kind, "<message id='x' to='"+c.to+"' type='"+kind+"'><body>b</body></message>", answer)
		}
		for _, kind := range presences {
			ask("presence "+kind, "<presence id='x' to='"+c.to+"' type='"+kind+"'/>", c.presence)
		}
		for _, kind := range []string{"get", "set", "result", "error"} {
			answer := c.iq
			if kind == "result" || kind == "error" {
				answer = ""
			}
			ask("iq "+kind, "<iq id='x' to='"+c.to+"' type='"+kind+"'><q xmlns='urn:x'/></iq>", answer)
		}
	}
}

// Section 8.2 and RFC 6120, section 10.3: without a to a stanza is for oneself.
func TestSection8_2NoTo(t *testing.T) {
	for _, c := range []struct {
		name, xml string
		want      map[string]string // of balcony, which sends, of chamber (available), of attic (negative)
	}{
		{"message", "<message id='x'><body>b</body></message>", map[string]string{
			"balcony": "message id=x from=juliet@example.com/balcony to=juliet@example.com <body>", "chamber": "message id=x from=juliet@example.com/balcony to=juliet@example.com <body>"}},
		{"message chat", "<message id='x' type='chat'><body>b</body></message>", map[string]string{
			"balcony": "message type=chat id=x from=juliet@example.com/balcony to=juliet@example.com <body>", "chamber": "message type=chat id=x from=juliet@example.com/balcony to=juliet@example.com <body>"}},
		{"message headline", "<message id='x' type='headline'><body>b</body></message>", map[string]string{
			"balcony": "message type=headline id=x from=juliet@example.com/balcony to=juliet@example.com <body>", "chamber": "message type=headline id=x from=juliet@example.com/balcony to=juliet@example.com <body>"}},
		{"message groupchat", "<message id='x' type='groupchat'><body>b</body></message>", map[string]string{
			"balcony": "message type=error id=x from=juliet@example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable "}},
		{"message error", "<message id='x' type='error'><body>b</body></message>", nil},
		{"presence", "<presence id='x'/>", map[string]string{
			"balcony": "presence id=x from=juliet@example.com/balcony", "chamber": "presence id=x from=juliet@example.com/balcony", "attic": "presence id=x from=juliet@example.com/balcony"}},
		{"presence unavailable", "<presence id='x' type='unavailable'/>", map[string]string{
			"balcony": "presence type=unavailable id=x from=juliet@example.com/balcony",
			"chamber": "presence type=unavailable id=x from=juliet@example.com/balcony", "attic": "presence type=unavailable id=x from=juliet@example.com/balcony"}},
		{"presence subscribe", "<presence id='x' type='subscribe'/>", nil},
		{"presence error", "<presence id='x' type='error'/>", nil},
		{"iq get, known", "<iq id='x' type='get'><ping xmlns='urn:xmpp:ping'/></iq>", map[string]string{"balcony": "iq type=result id=x to=juliet@example.com/balcony"}},
		{"iq get, unknown", "<iq id='x' type='get'><q xmlns='urn:x'/></iq>", map[string]string{"balcony": "iq type=error id=x to=juliet@example.com/balcony <error type='cancel'><service-unavailable "}},
		{"iq set, unknown", "<iq id='x' type='set'><q xmlns='urn:x'/></iq>", map[string]string{"balcony": "iq type=error id=x to=juliet@example.com/balcony <error type='cancel'><service-unavailable "}},
		{"iq result", "<iq id='x' type='result'/>", nil},
		{"iq error", "<iq id='x' type='error'/>", nil},
	} {
		t.Run("8.2 "+c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			for _, who := range []string{"juliet/balcony", "juliet/chamber", "juliet/attic"} {
				p.online(who)
			}
			p.send("juliet/attic", "<presence><priority>-1</priority></presence>")
			for _, who := range []string{"juliet/attic", "juliet/balcony", "juliet/chamber"} {
				p.heard(who)
			}
			p.send("juliet/balcony", c.xml)
			for _, resource := range []string{"balcony", "chamber", "attic"} {
				if want := c.want[resource]; want != "" {
					p.expect("juliet/"+resource, want)
				} else {
					p.expect("juliet/" + resource)
				}
			}
		})
	}
}

// Sections 8.5.1, 8.5.2.1.3 and 8.5.2.2.3: the answer to an iq for a bare JID
// does not tell whether there is such an account.
func TestSection8_5IQTellsNothingOfAccounts(t *testing.T) {
	for _, payload := range []string{"<q xmlns='urn:x'/>", "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='jabber:iq:roster'/>", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "<vCard xmlns='vcard-temp'/>", "<query xmlns='jabber:iq:last'/>"} {
		for _, kind := range []string{"get", "set"} {
			p := newPlay(t, edge.Options{})
			p.online("romeo/orchard")
			p.create("paris")
			p.dial("juliet/balcony")
			var answers []string
			for _, who := range []string{"romeo", "paris", "nobody"} {
				p.send("juliet/balcony", "<iq id='x' type='"+kind+"' to='"+who+"@example.com'>"+payload+"</iq>")
				st := p.until("juliet/balcony", "iq ")
				answers = append(answers, strings.Replace(edgetest.Text(st), who, "WHO", 1))
				p.expect("juliet/balcony")
			}
			p.expect("romeo/orchard")
			if answers[0] != answers[1] || answers[0] != answers[2] {
				t.Errorf("%s %s: %q", kind, payload, answers)
			}
		}
	}
}
