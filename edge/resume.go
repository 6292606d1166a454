package edge

import (
	"context"
	"errors"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/topic"
)

// resume goes on with the stream that st.Resume asks for (XEP-0198, section
// 5). failed is the <failed/> that tells why it cannot: the client may bind.
func (s *Server) resume(ctx context.Context, st *stream.Stream) (x *session, failed []byte, err error) {
	asked, bare := st.Resume(), st.Account().String()
	resource, began, ok := s.tokens.read(bare, asked.Previd)
	if !ok {
		return nil, appendFailedSM(nil, stanza.ItemNotFound), nil
	}
	sh := s.shards[topic.Partition(st.Account(), s.opts.Partitions)]
	if l := sh.find(bare); l != nil {
		if x = l.find(resource); x != nil && x.began == began {
			err = s.resumeHere(st, x)
			var bad *stanza.StreamError
			switch {
			case err == nil:
				return x, nil, nil
			case errors.As(err, &bad):
				_ = st.CloseWith(bad)
				return nil, nil, err
			}
		}
	}
	return nil, appendFailedSM(nil, stanza.ItemNotFound), nil
}

// resumeHere gives a session of this edge the connection of st.
func (s *Server) resumeHere(st *stream.Stream, x *session) error {
	done := make(chan error, 1)
	c := &comeback{
		reader: st, conn: st.Conn(), h: st.Resume().H, previd: st.Resume().Previd, done: done,
		answer: func(dst, resumed []byte) []byte { return st.AppendResumed(dst, x.full, resumed) },
	}
	x.post(func() { x.comesBack(c) })
	// A session settles what it has, or ends, within the log's own bound.
	return <-done
}
