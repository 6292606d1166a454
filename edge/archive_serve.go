package edge

import (
	"context"
	"errors"
	"slices"

	"github.com/rollcall/rollcall/edge/stanza"
)

// archiveFeatures is what disco#info tells of an account with an archive
// (XEP-0313, section 8; XEP-0431, section 2.1).
var archiveFeatures = []string{stanza.NSMAM, stanza.NSMAM + "#extended", stanza.NSMAM + "#groupchat-field", stanza.NSFullText, stanza.NSRSM}

// archiveServices are those of an account's archive.
func archiveServices() map[payloadName]service {
	archived := func(s *Server) bool { return s.opts.Archive != nil }
	return map[payloadName]service{
		{stanza.NSMAM, "query"}:    {get: (*session).archiveForm, set: (*session).queryArchive, at: atSelf | atOther, on: archived},
		{stanza.NSMAM, "prefs"}:    {get: (*session).getArchivePrefs, set: (*session).setArchivePrefs, at: atSelf | atOther, on: archived},
		{stanza.NSMAM, "metadata"}: {get: (*session).archiveMetadata, at: atSelf | atOther, on: archived},
	}
}

// errSlowClient tells that a client did not take what was there for it before.
var errSlowClient = &stanza.Error{
	Type: stanza.Wait, Condition: stanza.ResourceConstraint, Text: "what was sent before has not been taken",
}

// archiveError gives what a client hears of an archive that does not answer:
// to ask later, or that there is no such message.
func (s *Server) archiveError(account string, err error) error {
	var bad *stanza.Error
	switch {
	case errors.As(err, &bad):
		return bad
	case errors.Is(err, ErrNotArchived):
		return stanza.NewError(stanza.ItemNotFound, "no message has this id")
	}
	s.log.Warn("archive not read", "account", account, "err", err)
	s.metrics.archiveAway.Inc()
	return &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint, Text: "the archive does not answer now"}
}

// ownArchive tells whether the client asks for its own archive; another's is
// nobody's business, whether it is there or not (XEP-0313, section 9.1).
func (s *session) ownArchive(q query) bool {
	if q.at == atSelf {
		return true
	}
	s.fail(q.Stanza, stanza.NewError(stanza.Forbidden, "the archive is another's"))
	return false
}

// archiveForm answers what a query may say (XEP-0313, section 5.1.5).
func (s *session) archiveForm(q query) {
	if s.ownArchive(q) {
		s.answer(q.Stanza, stanza.New(stanza.NSMAM, "query").Add(archiveForm()).Bytes())
	}
}

// archiveMetadata tells of the ends of an archive (XEP-0313, section 6).
func (s *session) archiveMetadata(q query) {
	if !s.ownArchive(q) {
		return
	}
	type ends struct{ first, last *Archived }
	atArchive(s, q, func(ctx context.Context, o ArchiveOwner) (e ends, err error) {
		e.first, e.last, err = s.server.opts.Archive.Ends(ctx, o)
		return e, err
	}, func(e ends) {
		metadata := stanza.New(stanza.NSMAM, "metadata")
		end := func(name string, a *Archived) {
			if a != nil {
				metadata.Add(stanza.New(stanza.NSMAM, name, "id", archiveID(a.ID), "timestamp", string(stanza.AppendTime(nil, a.At))))
			}
		}
		end("start", e.first)
		end("end", e.last)
		s.answer(q.Stanza, metadata.Bytes())
	})
}

// resultOverhead is what a result has around its message, but for what depends
// on the client, in bytes.
const resultOverhead = 300

// queryArchive sends the messages of a page, and then which page it is
// (XEP-0313, section 5).
func (s *session) queryArchive(q query) {
	if !s.ownArchive(q) {
		return
	}
	sought, err := soughtIn(q.payload)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	sought.Bytes = s.server.opts.pageBytes()
	sought.Each = resultOverhead + len(s.full) + len(s.local.bare) + len(stanza.AppendAttr(nil, "queryid", sought.id))
	atArchive(s, q, func(ctx context.Context, o ArchiveOwner) (*ArchivePage, error) {
		sought.ArchiveOwner = o
		return s.server.opts.Archive.Page(ctx, sought.ArchiveQuery)
	}, func(p *ArchivePage) { s.sendPage(q, &sought, p) })
}

// pageBytes is how much of messages goes into a page: so much that a client
// which has taken what it was sent before has room for it.
func (o *Options) pageBytes() int { return min(256<<10, (o.HardOutbound-o.SoftOutbound)/2) }

func (s *session) sendPage(q query, sought *sought, p *ArchivePage) {
	fin := stanza.New(stanza.NSMAM, "fin")
	first, last := "", ""
	if n := len(p.Messages); n > 0 {
		first, last = archiveID(p.Messages[0].ID), archiveID(p.Messages[n-1].ID)
	}
	if p.Complete {
		fin.Set("complete", "true")
	}
	fin.Add(resultSet(first, last, p.Index, p.Count))
	if sought.flip {
		slices.Reverse(p.Messages)
	}
	var b batch
	outer := stanza.Header{From: q.to.String(), To: s.full}
	for _, a := range p.Messages {
		h := stanza.Header{Type: typeName(a.Message.GetType()), ID: a.Message.GetId(), From: a.From, To: a.To, Lang: a.Message.GetLang()}
		r := stanza.Result{QueryID: sought.id, ID: archiveID(a.ID), At: a.At}
		s.out.write(&b, func(dst []byte) []byte { return stanza.AppendResult(dst, outer, r, h, a.Message.GetPayload()) }, nil)
	}
	h := stanza.Header{Type: "result", ID: q.ID, To: s.full, From: q.Stanza.To}
	s.out.write(&b, func(dst []byte) []byte { return stanza.AppendIQ(dst, h, fin.Bytes()) }, nil)
	b.flush()
}
