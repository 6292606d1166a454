package fanout

import (
	"log/slog"
	"testing"

	"github.com/rollcall/rollcall/schema/wire"
)

// TestGoneEdgeLeavesNothing attaches an edge, twice, and detaches it.
func TestGoneEdgeLeavesNothing(t *testing.T) {
	w := &Worker{options: Options{AnswerAccounts: 10, Logger: slog.New(slog.DiscardHandler)}, metrics: newMetrics(nil, nil)}
	p := newPartition(t.Context(), w, 3)
	p.claim, p.caughtUp = 9, true
	key := edgeKey{"e", 1}
	follow := &wire.Interest{Partition: 3, Claim: 9, Whole: true, Followed: []*wire.Followed{
		{Account: "a@x", Followers: []string{"a@x"}}, {Account: "b@x", Followers: []string{"b@x"}},
	}}
	var e *peer
	for range 2 {
		e = &peer{edgeKey: key, queue: testQueue(1<<20, 10)}
		p.attach(e)
		p.interest(e, follow)
	}
	if len(p.routes) != 2 || len(p.routes["a@x"]) != 1 || p.routes["a@x"][0] != e {
		t.Errorf("routes %v", p.routes)
	}
	p.interest(e, &wire.Interest{Partition: 3, Claim: 9, Dropped: []string{"a@x", "unknown@x"}})
	if len(p.routes) != 1 {
		t.Errorf("routes %v", p.routes)
	}
	p.interest(e, &wire.Interest{Partition: 3, Claim: 8, Followed: follow.Followed}) // not meant for this claim
	if len(p.routes) != 1 {
		t.Errorf("routes %v", p.routes)
	}
	p.flush()
	p.detach(e)
	p.flush()
	if len(p.routes)+len(p.peers)+len(p.pending) != 0 {
		t.Errorf("left: routes %v, peers %v, pending %v", p.routes, p.peers, p.pending)
	}
}
