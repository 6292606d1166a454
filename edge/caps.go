package edge

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/rollcall/rollcall/edge/stanza"
)

// capsNode names the software in its capabilities (XEP-0115, section 4).
const capsNode = "https://github.com/rollcall/rollcall"

const (
	maxKnownCaps = 4096     // announcements that an edge remembers
	maxWanted    = 128      // nodes that a client is notified of
	maxCapsPart  = 512      // bytes of a hash's name, of a ver or a node
	maxCapsInfo  = 16 << 10 // bytes of what is kept of one announcement
	maxCapsAsked = 16       // times that a session's client is asked what it can do
)

// announced is by what a client tells what it can do (XEP-0115).
type announced struct{ hash, ver string }

// capabilities are the server's own, and those of clients that it has learned.
type capabilities struct {
	ver string // of the server's own, by sha-1

	mu    sync.Mutex
	known map[announced][]string // nodes that are wanted, sorted
}

// node gives by what the server's own capabilities are asked for.
func (c *capabilities) node() string { return capsNode + "#" + c.ver }

// feature gives the stream feature that announces them (XEP-0115, section 6.3).
func (c *capabilities) feature() []byte {
	return stanza.New(stanza.NSCaps, "c", "hash", "sha-1", "node", capsNode, "ver", c.ver).Bytes()
}

func (c *capabilities) find(a announced) (wanted []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted, ok = c.known[a]
	return wanted, ok
}

func (c *capabilities) learn(a announced, features []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[announced][]string)
	}
	if len(c.known) >= maxKnownCaps {
		for old := range c.known { // any: it can be read again
			delete(c.known, old)
			break
		}
	}
	c.known[a] = wantedBy(features)
	return c.known[a]
}

// wantedBy gives the nodes of whose news a client with these features wants to
// hear (XEP-0060, section 9.2), sorted.
func wantedBy(features []string) []string {
	var nodes []string
	for _, f := range features {
		if n, ok := strings.CutSuffix(f, "+notify"); ok && n != "" && len(n) <= maxNodeName && len(nodes) < maxWanted {
			nodes = append(nodes, n)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// clientCaps is what a session knows of its client's capabilities. The mailbox
// owns it.
type clientCaps struct {
	announced
	node  string
	query string // id of the iq by which the client is asked
	asked int    // how often it was
}

// hearCaps takes note of what the client's presence announces. One that
// announces nothing changes nothing (XEP-0115, section 8.4).
func (s *session) hearCaps(payload []byte) {
	c, ok := stanza.Find(payload, stanza.NSCaps, "c")
	if !ok || s.server.opts.Published == nil {
		return
	}
	heard := clientCaps{announced: announced{c.Attr("hash"), c.Attr("ver")}, node: c.Attr("node")}
	if s.caps != nil && s.caps.announced == heard.announced || heard.ver == "" || max(len(heard.hash), len(heard.ver), len(heard.node)) > maxCapsPart {
		return
	}
	if s.caps != nil {
		heard.asked = s.caps.asked
	}
	s.caps = &heard
	if capsHashes[heard.hash] == nil {
		s.askCaps()
		return
	}
	if wanted, ok := s.server.caps.find(heard.announced); ok {
		s.wants(wanted)
		return
	}
	go func() {
		ctx, cancel := s.server.context(s.server.opts.ReadIn)
		defer cancel()
		features, known, err := s.server.opts.Published.Features(ctx, heard.hash, heard.ver)
		if err != nil {
			s.server.log.Warn("capabilities not read", "account", s.local.bare, "err", err)
		}
		var wanted []string
		if known {
			wanted = s.server.caps.learn(heard.announced, features)
		}
		s.post(func() {
			switch {
			case s.ended || s.caps == nil || s.caps.announced != heard.announced:
			case known:
				s.wants(wanted)
			default:
				s.askCaps()
			}
		})
	}()
}

// askCaps asks the client what it can do, unless it has changed its mind too
// often.
func (s *session) askCaps() {
	if s.caps.asked++; s.caps.asked > maxCapsAsked {
		return
	}
	s.caps.query = "caps-" + s.nextPush()
	h := stanza.Header{Type: "get", ID: s.caps.query, From: s.server.opts.Domain, To: s.full}
	payload := stanza.New(stanza.NSDiscoInfo, "query", "node", s.caps.node+"#"+s.caps.ver).Bytes()
	s.send(func(dst []byte) []byte { return stanza.AppendIQ(dst, h, payload) })
}

// takeCaps takes the client's answer. What fits its hash is kept for all
// clients that announce it; anything else counts for this session alone
// (XEP-0115, section 5.4).
func (s *session) takeCaps(st *stanza.Stanza, payload stanza.Child) {
	if s.caps == nil || s.caps.query == "" || st.ID != s.caps.query {
		return
	}
	s.caps.query = ""
	if st.Type != "result" || !payload.Is(stanza.NSDiscoInfo, "query") {
		return
	}
	info, err := payload.Element()
	if err != nil {
		return
	}
	var features []string
	for _, f := range info.Children {
		if f.Is(stanza.NSDiscoInfo, "feature") {
			features = append(features, f.Attr("var"))
		}
	}
	a := s.caps.announced
	if hash := capsHashes[a.hash]; hash != nil && len(payload.Raw) <= maxCapsInfo {
		if ver, err := capsVer(info, hash); err == nil && ver == a.ver {
			s.wants(s.server.caps.learn(a, features))
			go func() {
				ctx, cancel := s.server.context(s.server.opts.ReadIn)
				defer cancel()
				if err := s.server.opts.Published.Learn(ctx, a.hash, a.ver, features); err != nil && ctx.Err() != context.Canceled {
					s.server.log.Warn("capabilities not kept", "err", err)
				}
			}()
			return
		}
	}
	s.wants(wantedBy(features))
}
