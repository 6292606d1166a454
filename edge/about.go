package edge

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/privacy"
)

// lastActivity answers how long the server has been running, or since when an
// account has no available resource, to who may see its presence (XEP-0012,
// sections 4 and 6). A resource that is connected and not available does not
// count: nobody may hear that it is there.
func (s *session) lastActivity(q query) {
	last := func(seconds time.Duration, status string) {
		e := stanza.New(stanza.NSLast, "query", "seconds", strconv.FormatInt(max(0, int64(seconds/time.Second)), 10))
		s.answer(q.Stanza, e.WithText(status).Bytes())
	}
	if q.at == atServer {
		last(time.Since(s.server.started), "")
		return
	}
	ask(s, q.Stanza, func(ctx context.Context) (*Activity, error) {
		return s.server.opts.Published.LastActivity(ctx, s.asks(q))
	}, func(a *Activity) {
		shown := func(resource string) bool {
			return q.at == atSelf || !privacy.Hides(a.Policy, resource, s.jid())
		}
		online := slices.ContainsFunc(a.Online, shown)
		switch {
		case a.Exists && !s.answersIQ(&a.Viewed, q.to):
			s.fail(q.Stanza, stanza.NewError(stanza.ServiceUnavailable, ""))
		case !a.Exists || !a.Admitted || !shown("") || len(a.Online) > 0 && !online:
			s.fail(q.Stanza, stanza.NewError(stanza.Forbidden, ""))
		case online:
			last(0, "")
		default:
			last(time.Since(a.Since), a.Status)
		}
	})
}

// softwareVersion tells what serves the domain (XEP-0092).
func (s *session) softwareVersion(q query) {
	e := stanza.New(stanza.NSVersion, "query").AddText("name", "Rollcall").AddText("version", s.server.opts.Version)
	s.answer(q.Stanza, e.Bytes())
}

// entityTime tells what time it is (XEP-0202).
func (s *session) entityTime(q query) {
	now := string(stanza.AppendTime(nil, time.Now()))
	s.answer(q.Stanza, stanza.New(stanza.NSTime, "time").AddText("tzo", "+00:00").AddText("utc", now).Bytes())
}
