package edge

import (
	"slices"

	"github.com/rollcall/rollcall/edge/stanza"
)

// features gives what disco#info tells of a place (XEP-0030), sorted.
func (s *Server) features(at place) []string {
	all := slices.Clone(furtherFeatures[at])
	for _, v := range services {
		if v.feature != "" && v.at&at != 0 && (v.on == nil || v.on(s)) {
			all = append(all, v.feature)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// discoInfo answers what the server or the account is (XEP-0030).
func (s *session) discoInfo(q query) {
	if q.payload.Attr("node") != "" {
		s.fail(q.Stanza, stanza.NewError(stanza.ItemNotFound, ""))
		return
	}
	info := stanza.New(stanza.NSDiscoInfo, "query")
	if q.at == atServer {
		info.Add(stanza.New(stanza.NSDiscoInfo, "identity", "category", "server", "type", "im", "name", "Rollcall"))
	} else {
		info.Add(stanza.New(stanza.NSDiscoInfo, "identity", "category", "account", "type", "registered"))
	}
	for _, f := range s.server.features(q.at) {
		info.Add(stanza.New(stanza.NSDiscoInfo, "feature", "var", f))
	}
	s.answer(q.Stanza, info.Bytes())
}

// discoItems answers that nothing is below.
func (s *session) discoItems(q query) {
	s.answer(q.Stanza, stanza.New(stanza.NSDiscoItem, "query", "node", q.payload.Attr("node")).Bytes())
}
