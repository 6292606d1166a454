package edge

import (
	"context"
	"sync"
)

// Of an account's queries of archives so many are at work at a time.
const archiveAtOnce = 2

// archiveQueue holds an account's queries of archives that are not answered
// yet. Those of one session are answered one after the other.
type archiveQueue struct {
	mu      sync.Mutex
	waiting []archiveJob
	running []*session // each at most once
}

type archiveJob struct {
	s  *session
	do func(done func()) // calls done once it is answered
}

// add has the job done in its turn, unless there are too many already.
func (q *archiveQueue) add(most int, j archiveJob) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if most >= 0 && len(q.waiting)+len(q.running) >= most {
		return false
	}
	q.waiting = append(q.waiting, j)
	q.next()
	return true
}

// next starts what may start. q.mu is held.
func (q *archiveQueue) next() {
	kept := q.waiting[:0]
	for _, j := range q.waiting {
		if len(q.running) >= archiveAtOnce || q.runs(j.s) {
			kept = append(kept, j)
			continue
		}
		q.running = append(q.running, j.s)
		go j.do(sync.OnceFunc(func() { q.done(j.s) }))
	}
	clear(q.waiting[len(kept):])
	if q.waiting = kept; len(kept) == 0 {
		q.waiting = nil
	}
}

func (q *archiveQueue) runs(s *session) bool {
	for _, r := range q.running {
		if r == s {
			return true
		}
	}
	return false
}

func (q *archiveQueue) done(s *session) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, r := range q.running {
		if r == s {
			q.running = append(q.running[:i], q.running[i+1:]...)
			break
		}
	}
	q.next()
}

// atArchive reads from the archive for one client, when it may: once all that
// the client sent before is settled, the queries before it are answered, and
// the client has taken what waits for it, as far as presence would not be
// conflated. Of all queries on this edge so many read at a time as the archive
// takes. Then answer is called in the mailbox.
//
// What is not answered in its time is told so, and holds nothing else up.
func atArchive[A any](s *session, q query, read func(context.Context, ArchiveOwner) (A, error), answer func(A)) {
	s.order.then(func() {
		owner := ArchiveOwner{Owner: q.to, Partition: s.server.partitionOf(q.to), Wrote: make(map[int32]int64, len(s.positions))}
		for p, offset := range s.positions {
			owner.Wrote[p] = offset
		}
		ok := s.local.archive.add(s.server.opts.Limits.Archive, archiveJob{s, func(done func()) {
			a, err := readArchive(s, owner, read)
			s.post(func() {
				defer done()
				switch {
				case err != nil:
					s.fail(q.Stanza, s.server.archiveError(s.local.bare, err))
				default:
					answer(a)
				}
			})
		}})
		if !ok {
			s.server.metrics.limited.WithLabelValues("archive").Inc()
			s.fail(q.Stanza, tooManyRequests())
		}
	})
}

func readArchive[A any](s *session, owner ArchiveOwner, read func(context.Context, ArchiveOwner) (A, error)) (none A, err error) {
	wait, cancel := s.server.context(s.server.opts.AnswerIn)
	defer cancel()
	select {
	case <-s.out.room():
	case <-wait.Done():
		return none, errSlowClient
	}
	ctx, cancel := context.WithTimeout(wait, s.server.opts.ReadIn)
	defer cancel()
	select {
	case s.server.archiving <- struct{}{}:
		defer func() { <-s.server.archiving }()
	case <-ctx.Done():
		return none, ctx.Err()
	}
	return read(ctx, owner)
}
