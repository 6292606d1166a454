package edgetest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/node"
)

// viewed gives the account that is asked about, and how it stands to the
// viewer. stateMu is held.
func (h *House) viewed(q edge.Asked) (*account.State, edge.Viewed) {
	s := h.state(q.Account)
	return s, edge.Viewed{Exists: s.Exists, Admitted: q.Account == q.Viewer || sees(s, q.Viewer), Policy: s.Policy().Policy()}
}

// Stored implements edge.Published.
func (h *House) Stored(_ context.Context, q edge.Asked, space event.StorageSet_Space, name string) (*edge.Stored, error) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	s, v := h.viewed(q)
	return &edge.Stored{Viewed: v, Payload: s.Storage[account.StorageKey{Space: space, Name: name}].Payload, Entries: len(s.Storage)}, nil
}

// Node implements edge.Published.
func (h *House) Node(_ context.Context, q edge.Asked, name string, ids []string, most, bytes int) (*edge.Node, error) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	s, v := h.viewed(q)
	n, there := s.Nodes[name]
	found := &edge.Node{Viewed: v, There: there, Node: n, Kept: len(n.Items), Nodes: len(s.Nodes)}
	found.Items = nil
	if most == 0 {
		for _, other := range s.Nodes {
			for _, i := range other.Items {
				found.Bytes += len(i.Payload)
			}
		}
	}
	for _, i := range slices.Backward(n.Items) {
		if len(ids) > 0 && !slices.Contains(ids, i.ID) {
			continue
		}
		if len(found.Items) == most || bytes <= 0 {
			break
		}
		bytes -= len(i.Payload)
		found.Items = append([]node.Item{i}, found.Items...)
	}
	return found, nil
}

// Nodes implements edge.Published.
func (h *House) Nodes(_ context.Context, q edge.Asked) (*edge.Nodes, error) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	s, v := h.viewed(q)
	found := &edge.Nodes{Viewed: v}
	for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
		found.All = append(found.All, edge.NamedNode{Name: name, Access: s.Nodes[name].Access})
	}
	return found, nil
}

// LastItems implements edge.Published.
func (h *House) LastItems(_ context.Context, viewer jid.Bare, accounts, nodes []string, _ map[int32]int64) ([]edge.LastItem, error) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	var all []edge.LastItem
	for _, name := range accounts {
		s, v := h.viewed(edge.Asked{Account: jid.BareFromCanonical(name), Viewer: viewer})
		for _, wanted := range nodes {
			n, there := s.Nodes[wanted]
			if !there || n.NoLastItem || len(n.Items) == 0 || s.Account != viewer && (n.Access == node.Owner || !v.Admitted) {
				continue
			}
			all = append(all, edge.LastItem{Account: name, Node: wanted, Policy: v.Policy, Item: n.Items[len(n.Items)-1]})
		}
	}
	return all, nil
}

// Missed implements edge.Published.
func (h *House) Missed(_ context.Context, _ int32, gaps []edge.NewsGap, _ int64) ([]edge.LastItem, error) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	var all []edge.LastItem
	for _, g := range gaps {
		for name, n := range h.state(jid.BareFromCanonical(g.Account)).Nodes {
			for _, i := range n.Items {
				if i.Version >= g.From {
					all = append(all, edge.LastItem{Account: g.Account, Node: name, Access: n.Access, Item: i})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b edge.LastItem) int { return int(a.Item.Version - b.Item.Version) })
	return all, nil
}

// LastActivity implements edge.Published.
func (h *House) LastActivity(_ context.Context, q edge.Asked) (*edge.Activity, error) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	s, v := h.viewed(q)
	a := &edge.Activity{Viewed: v, Since: s.CreatedAt, Status: s.Departed.Status}
	if s.Departed.At != 0 {
		a.Since = time.UnixMicro(s.Departed.At)
	}
	for name, r := range s.Resources {
		if r.Available {
			a.Online = append(a.Online, name)
		}
	}
	return a, nil
}

// Features implements edge.Published.
func (h *House) Features(_ context.Context, hash, ver string) ([]string, bool, error) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	features, known := h.learned[hash+" "+ver]
	return features, known, nil
}

// Learn implements edge.Published.
func (h *House) Learn(_ context.Context, hash, ver string, features []string) error {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	if h.learned == nil {
		h.learned = make(map[string][]string)
	}
	h.learned[hash+" "+ver] = features
	return nil
}
