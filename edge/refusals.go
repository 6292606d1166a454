package edge

import (
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rollcall/rollcall/edge/stream"
)

// Failed logins that are told in the log: so many at once, and so many a
// second. Of the others their number is told.
const (
	refusalsAtOnce   = 50
	refusalsASecond  = 5
	longestMechanism = 20 // of those that can exist (RFC 4422, section 3.1)
)

// refusals tells failed logins in the log, without letting whoever causes them
// fill it.
type refusals struct {
	mu    sync.Mutex
	lines *rate.Limiter
	more  int // that were not told since the last line
}

// told tells whether the log takes one more line now, and how many had none
// before it.
func (r *refusals) told(now time.Time) (ok bool, more int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lines == nil {
		r.lines = rate.NewLimiter(refusalsASecond, refusalsAtOnce)
	}
	if !r.lines.AllowN(now, 1) {
		r.more++
		return false, 0
	}
	more, r.more = r.more, 0
	return true, more
}

// loginRefused tells that somebody could not log in: who, how, from where and
// why, and no secret.
func (s *Server) loginRefused(from net.Addr, r stream.Refusal) {
	ok, more := s.refusals.told(time.Now())
	if !ok {
		return
	}
	line := []any{"account", r.Account.String(), "mechanism", r.Mechanism, "address", from.String(), "reason", r.Reason}
	if len(r.Mechanism) > longestMechanism {
		line[3] = ""
	}
	if more > 0 {
		line = append(line, slog.Int("untold", more))
	}
	s.log.Warn("login refused", line...)
}
