package fanout

import (
	"context"
	"errors"
	"strconv"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/wire"
)

// outbox is a partition's part of the topic outbox: what the projector says
// that accounts must hear.
type outbox struct {
	next    int64    // all below is sent or held for an edge
	held    []output // ahead of the partition's tail, in order
	room    []chan struct{}
	untaken map[edgeKey]*untaken
}

// output is a decoded record of the outbox.
type output struct {
	offset int64
	key    string
	output *event.Output
}

// untaken is what an edge has not taken yet. It is sent again when the edge
// attaches anew.
type untaken struct {
	items []item
	at    []int64 // their offsets
	bytes int
}

// outboxBatch decodes a batch and hands it to its partition. It waits while
// too much of the partition is held.
func (w *Worker) outboxBatch(ctx context.Context, b Batch) error {
	p := w.partition(b.Partition)
	if p == nil || len(b.Records) == 0 {
		return nil
	}
	outputs := make([]output, 0, len(b.Records))
	last := b.Records[len(b.Records)-1].Offset
	var newer error
	for i := range b.Records {
		r := &b.Records[i]
		o, err := event.DecodeOutput(r.Value)
		var garbage *event.GarbageError
		if errors.As(err, &garbage) {
			w.options.Logger.Error("output skipped", "partition", b.Partition, "offset", r.Offset, "err", err)
			continue
		}
		if err != nil {
			newer, last = err, r.Offset
			break
		}
		outputs = append(outputs, output{r.Offset, string(r.Key), o})
	}
	room := make(chan struct{})
	if !p.post(func() {
		p.outputs(outputs, room)
		if newer != nil {
			p.stop(last, newer)
		} else if len(p.outbox.held) == 0 {
			p.outbox.next = last + 1
			p.settleOutbox()
		}
	}) {
		return nil
	}
	select {
	case <-room:
	case <-p.ctx.Done():
	case <-ctx.Done():
	}
	return nil
}

// outputs sends outputs, or holds them until the tail has passed what caused
// them: a session that was there then must be known here.
func (p *partition) outputs(list []output, room chan struct{}) {
	for i := range list {
		o := &list[i]
		if p.stopped || o.offset < p.outbox.next {
			continue
		}
		if len(p.outbox.held) > 0 || p.ahead(o.output) {
			p.outbox.held = append(p.outbox.held, *o)
			continue
		}
		p.output(o)
	}
	p.settleOutbox()
	if p.stopped || len(p.outbox.held) < p.worker.options.MaxHeldOutputs {
		close(room)
		return
	}
	p.outbox.room = append(p.outbox.room, room)
}

// source gives the offset in this partition of what caused the output, -1 if
// it was in another partition.
func (p *partition) source(o *event.Output) int64 {
	if o.GetOrigin() != "p/"+strconv.Itoa(int(p.number)) {
		return -1
	}
	return int64(o.GetSequence())
}

func (p *partition) ahead(o *event.Output) bool { return p.source(o) >= p.next }

// releaseOutputs sends what the tail has reached.
func (p *partition) releaseOutputs() {
	b := &p.outbox
	if len(b.held) == 0 {
		return
	}
	n := 0
	for n < len(b.held) && !p.ahead(b.held[n].output) {
		p.output(&b.held[n])
		n++
	}
	if n == 0 {
		return
	}
	if b.held = b.held[n:]; len(b.held) == 0 {
		b.held = nil
	}
	p.settleOutbox()
	if len(b.held) < p.worker.options.MaxHeldOutputs {
		for _, room := range b.room {
			close(room)
		}
		b.room = nil
	}
}

// output sends an output to the edges that hold the account's sessions. Who
// was bound later has read what it tells.
func (p *partition) output(o *output) {
	p.outbox.next = o.offset + 1
	if push := o.output.GetRosterPush(); push != nil {
		if i := push.GetItem(); i.GetFrom() && !i.GetRemoved() {
			p.admit(&wire.Admission{Account: o.key, Follower: i.GetContact(), Offset: push.GetVersion(), Admitted: true})
		}
	}
	if c := o.output.GetPolicyChanged(); c != nil {
		p.policyChanged(o.key, c)
		return
	}
	a := p.accounts[o.key]
	if a == nil {
		p.outcomeToComponent(o)
		return
	}
	edges := p.edgesOf(a, "", p.source(o.output))
	if len(edges) == 0 {
		return
	}
	i := item{kind: kindOutput, at: p.measured(o.output.GetAt()), bytes: frame(&wire.Frame{What: &wire.Frame_Output{Output: &wire.Output{
		Account: o.key, Offset: o.offset, Output: o.output,
	}}})}
	for _, key := range edges {
		u := p.outbox.untaken[key]
		if u == nil {
			u = new(untaken)
			p.outbox.untaken[key] = u
		}
		u.items, u.at, u.bytes = append(u.items, i), append(u.at, o.offset), u.bytes+len(i.bytes)
		for u.bytes > p.worker.options.MaxUntakenBytes {
			u.first()
			p.worker.metrics.untaken.Inc()
		}
		if e := p.peers[key]; e != nil {
			p.send(e, i)
		}
	}
}

// first drops the oldest.
func (u *untaken) first() {
	u.bytes -= len(u.items[0].bytes)
	u.items[0] = item{}
	u.items, u.at = u.items[1:], u.at[1:]
}

// resendOutputs sends an edge that attached anew what it has not taken.
func (p *partition) resendOutputs(e *peer) {
	if u := p.outbox.untaken[e.edgeKey]; u != nil {
		for _, i := range u.items {
			i.at, i.free = 0, true
			p.send(e, i)
		}
	}
}

// taken notes how far the edge has taken the outbox.
func (p *partition) taken(e *peer, t *wire.Taken) {
	u := p.outbox.untaken[e.edgeKey]
	if u == nil || t.GetClaim() != p.claim || p.peers[e.edgeKey] != e {
		return
	}
	for len(u.at) > 0 && u.at[0] < t.GetNextOffset() {
		u.first()
	}
	if len(u.at) == 0 {
		delete(p.outbox.untaken, e.edgeKey)
	}
	p.settleOutbox()
}

// settleOutbox computes what may be committed: everything below the oldest
// output that an edge with a session of its account has not taken. A worker
// that starts there sends nothing too few; edges drop copies by offset.
func (p *partition) settleOutbox() {
	at := p.outbox.next
	for _, u := range p.outbox.untaken {
		at = min(at, u.at[0])
	}
	p.committable.Store(at)
}
