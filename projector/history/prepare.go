package history

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
)

// A preparer makes the block that comes next from what the intake has. It goes
// on making it until the one before is in, so that blocks are large when
// ClickHouse is slow and its processor is used while it is not. From its start
// on, it alone uses the judges, and takes records out of the intake.
type preparer struct {
	*serving
	want  chan struct{} // the block is to be handed over
	block chan *block
	last  time.Time // when a block was handed over
	ended chan struct{}
	err   error // why it ended; to be read once ended is closed
}

// next gives a block that has records.
func (p *preparer) next(ctx context.Context) (*block, error) {
	select {
	case p.want <- struct{}{}:
	case <-p.ended:
		return nil, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case b := <-p.block:
		return b, nil
	case <-p.ended:
		return nil, p.err
	}
}

func (p *preparer) run(ctx context.Context) {
	defer close(p.ended)
	for p.err == nil {
		p.err = p.prepare(ctx)
	}
}

// prepare makes a block and hands it over.
func (p *preparer) prepare(ctx context.Context) error {
	b := &block{plan: plan{id: uuid.New()}}
	since, bytes := time.Time{}, 0
	for {
		waiting, _, came, more := p.intake.size()
		if b.rows == 0 {
			since = came
		}
		full := b.rows >= p.options.MaxRows || bytes >= p.options.MaxBytes
		if waiting > 0 && !full {
			took, err := p.take(b, p.options.MaxRows-b.rows, p.options.MaxBytes-bytes)
			if err != nil {
				return err
			}
			if bytes += took; took > 0 {
				continue
			}
		}
		// What lingers is handed over when it is wanted, and only then: until
		// then it grows.
		var want chan struct{}
		linger := time.NewTimer(time.Hour)
		if wait := p.wait(b, since); b.rows > 0 && (full || wait <= 0) {
			want = p.want
		} else if b.rows > 0 {
			linger.Reset(wait)
		}
		if full {
			more = nil
		}
		wanted := false
		select {
		case <-ctx.Done():
		case <-p.changed:
			linger.Stop()
			return errChanged
		case <-more:
		case <-linger.C:
		case <-want:
			wanted = true
		}
		linger.Stop()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !wanted:
			continue
		}
		if err := b.seal(); err != nil {
			return err
		}
		select {
		case p.block <- b:
			p.last = time.Now()
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait gives how long b lingers, whose first record came at some time.
func (p *preparer) wait(b *block, since time.Time) time.Duration {
	wait := p.options.Linger - time.Since(since)
	if p.awaited(b) {
		wait = min(wait, p.options.Spacing-time.Since(p.last))
	}
	return wait
}

// awaited tells that somebody waits for records of b, and that no more are to
// come for whoever does.
func (p *preparer) awaited(b *block) bool {
	for partition, s := range b.shares {
		if until := p.intake.awaited(partition); until > s.first && (until <= s.judge.next || s.cut) {
			return true
		}
	}
	return false
}

// take adds to b what is there, at most so many rows and about so many bytes,
// with a fair share for each partition. It tells how many bytes it took.
func (p *preparer) take(b *block, rows, bytes int) (took int, err error) {
	present := make(map[int32]int)
	var order []int32
	for partition := range p.judges {
		if s := b.shares[partition]; s != nil && s.cut {
			continue
		}
		if records, _ := p.intake.peek(partition, rows, bytes); len(records) > 0 {
			present[partition] = len(records)
			order = append(order, partition)
		}
	}
	// The smallest first: what they leave of their share is for the others.
	slices.SortFunc(order, func(x, y int32) int { return present[x] - present[y] })
	for i, partition := range order {
		if rows <= 0 {
			break
		}
		parts, j := len(order)-i, p.judges[partition]
		records, _ := p.intake.peek(partition, max(rows/parts, 1), max((bytes-took)/parts, 1))
		n, err := b.add(j, records)
		for r := range records[:n] {
			took += cost(&records[r])
		}
		rows -= n
		p.intake.drop(partition, j.next)
		switch {
		case errors.Is(err, event.ErrNewer):
			p.stop(partition, err)
		case err != nil:
			return took, err
		}
	}
	return took, nil
}

// stop closes a partition at a record of a newer kind; the others go on.
func (p *preparer) stop(partition int32, err error) {
	p.log.Error("partition stopped: run a newer version", "partition", partition, "err", err)
	p.intake.close(partition)
	p.options.Tail.Unassign(partition)
	p.opened = slices.DeleteFunc(p.opened, func(o int32) bool { return o == partition })
	delete(p.judges, partition)
	p.mu.Lock()
	p.newer, p.trouble = err, err
	p.mu.Unlock()
	p.stopped++
	p.metrics.stopped.Set(float64(p.stopped))
}
