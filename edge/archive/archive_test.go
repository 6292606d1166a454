package archive_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/archive"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
)

const partition = 3

// stage is real engines with a reader, and the model that it must agree with.
type stage struct {
	t      testing.TB
	conn   driver.Conn
	pool   *pgxpool.Pool
	reader *archive.Reader
	model  *edgetest.Archive
	log    ends
}

// ends of a log.
type ends map[int32]int64

func (e ends) Ends(context.Context, string) (map[int32]int64, error) { return e, nil }

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{t: t, model: new(edgetest.Archive), log: ends{partition: 0}}
	url := localtest.Postgres(t)
	err := postgres.Migrate(t.Context(), url)
	if err == nil {
		s.pool, err = pgxpool.New(t.Context(), url)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.pool.Close)
	s.conn = localtest.Tables(t, localtest.ClickHouse(t))
	s.reader = archive.New(archive.Options{ClickHouse: s.conn, Postgres: s.pool, Offsets: s.log})
	return s
}

// at makes the end of the log, the fold and the copy stand there.
func (s *stage) at(p int32, end, folded, copied int64) {
	s.t.Helper()
	s.log[p] = end
	s.exec(`INSERT INTO views.projected VALUES ($1, $2, '', 2, now()) ON CONFLICT (partition) DO UPDATE SET next_offset = EXCLUDED.next_offset`, p, folded)
	s.exec(`INSERT INTO run.history (partition, next_offset) VALUES ($1, $2) ON CONFLICT (partition) DO UPDATE SET next_offset = EXCLUDED.next_offset`, p, copied)
}

func (s *stage) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.pool.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatal(err)
	}
}

// A line is a record of a history.
type line struct {
	owner  jid.Bare
	offset int64
	e      *event.Event
}

// store copies records, as the history writer does, and tells the model.
func (s *stage) store(lines ...line) {
	s.t.Helper()
	batch, err := s.conn.PrepareBatch(s.t.Context(), `INSERT INTO events (account, partition, offset, kind, at, id, accepted, archived,
resource, peer, message_type, stanza_id, body, reference, reason, raw)`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer batch.Close()
	for _, l := range lines {
		s.model.Add(l.owner, l.offset, l.e)
		raw, err := event.Marshal(l.e)
		if err != nil {
			s.t.Fatal(err)
		}
		var resource, peer, reason string
		var m *event.Message
		reference := uint64(0)
		switch k := l.e.GetKind().(type) {
		case *event.Event_MessageAccepted:
			resource, peer, m = k.MessageAccepted.GetResource(), k.MessageAccepted.GetFrom(), k.MessageAccepted.GetMessage()
		case *event.Event_MessageSent:
			resource, peer, m = k.MessageSent.GetResource(), k.MessageSent.GetTo(), k.MessageSent.GetMessage()
		case *event.Event_MessageWithheld:
			reference, reason = uint64(k.MessageWithheld.GetOffset()), "refused"
		}
		kind := strings.ToLower(strings.TrimPrefix(m.GetType().String(), "MESSAGE_TYPE_"))
		if err := batch.Append(l.owner.String(), int32(partition), uint64(l.offset), event.KindOf(l.e).String(), event.Time(l.e), event.ID(l.e), uuid.UUID{}, true,
			resource, peer, kind, m.GetId(), m.GetBody(), reference, reason, string(raw)); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		s.t.Fatal(err)
	}
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func body(text string) *event.Message {
	return &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Id: "m", Body: text, Payload: []byte("<body>" + text + "</body>"), Storable: true}
}

func received(owner, from string, offset int64, at time.Time, m *event.Message) line {
	o := jid.FromCanonical(owner)
	return line{o.Bare(), offset, &event.Event{Id: id(), Origin: "edge/e1/1", At: at.UnixMicro(), Kind: &event.Event_MessageAccepted{
		MessageAccepted: &event.MessageAccepted{From: from, Resource: o.Resource(), Message: m}}}}
}

func sent(owner, to string, offset int64, at time.Time, m *event.Message) line {
	o := jid.FromCanonical(owner)
	return line{o.Bare(), offset, &event.Event{Id: id(), Origin: "edge/e1/1", At: at.UnixMicro(), Kind: &event.Event_MessageSent{
		MessageSent: &event.MessageSent{Resource: o.Resource(), To: to, Message: m, Accepted: id()}}}}
}

func withheld(owner string, offset, gone int64) line {
	return line{jid.BareFromCanonical(owner), offset, &event.Event{Id: id(), Origin: "edge/e1/1", At: noon.UnixMicro(), Kind: &event.Event_MessageWithheld{
		MessageWithheld: &event.MessageWithheld{Offset: gone, Reason: event.MessageWithheld_REASON_REFUSED, MessageAt: noon.UnixMicro()}}}}
}

func id() []byte {
	u := uuid.Must(uuid.NewV7())
	return u[:]
}

// all is a query for everything of an owner.
func all(owner string) edge.ArchiveQuery {
	return edge.ArchiveQuery{
		ArchiveOwner: edge.ArchiveOwner{Owner: jid.BareFromCanonical(owner), Partition: partition},
		Above:        -1, Below: edge.NoBound, After: -1, Before: edge.NoBound, Max: 50, Bytes: 1 << 20,
	}
}

func (s *stage) page(q edge.ArchiveQuery) (*edge.ArchivePage, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	return s.reader.Page(ctx, q)
}

// agrees compares a page with the model's.
func (s *stage) agrees(name string, q edge.ArchiveQuery) *edge.ArchivePage {
	s.t.Helper()
	got, err := s.page(q)
	want, wantErr := s.model.Page(s.t.Context(), q)
	if wantErr != nil || err != nil {
		if !errors.Is(err, wantErr) || wantErr == nil {
			s.t.Fatalf("%s: error %v, want %v", name, err, wantErr)
		}
		return nil
	}
	if g, w := tell(got), tell(want); g != w {
		s.t.Fatalf("%s: %+v\ngot  %s\nwant %s", name, q, g, w)
	}
	return got
}

func tell(p *edge.ArchivePage) string {
	var b strings.Builder
	for _, m := range p.Messages {
		fmt.Fprintf(&b, "%d %s %s>%s %s; ", m.ID, m.At.Format("15:04:05.000000"), m.From, m.To, m.Message.GetBody())
	}
	fmt.Fprintf(&b, "complete %t of %d", p.Complete, p.Count)
	if len(p.Messages) > 0 {
		fmt.Fprintf(&b, " at %d", p.Index)
	}
	return b.String()
}

var (
	seed    = flag.Uint64("archive.seed", 0, "of the random queries; 0: another each time")
	queries = flag.Int("archive.queries", 150, "random queries")
)

// TestRandomQueries asks the reader and the model the same.
func TestRandomQueries(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-archive.seed=%d", *seed)
	r := rand.New(rand.NewPCG(*seed, 1))
	s := newStage(t)
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	people := []string{"b@x", "b@x/p", "b@x/q", "c@x", "c@x/p", "a@x", "a@x/r", "a@x/s"}
	said := []string{"hello there", "Straße", "STRASSE", "schön", "scho\u0308n", "今天天气很好", "天气", "こんにちは世界", "コンニチハ", "👍🏽 great", "a%b_c\\d 'quoted'", "ﬁne", ""}
	var lines []line
	offset, messages := int64(0), []int64{}
	for range 200 {
		offset += 1 + r.Int64N(3)
		owner, peer := pick("a@x", "a@x/r", "z@x"), pick(people...)
		at := noon.Add(time.Duration(offset)*700*time.Microsecond + time.Duration(r.IntN(40))*24*time.Hour)
		m := body(pick(said...) + pick("", " ", " again ") + pick(said...))
		if r.IntN(12) == 0 {
			m = body(pick(said...) + strings.Repeat(" and so on", 500))
		}
		if r.IntN(10) == 0 {
			m.Type = event.MessageType_MESSAGE_TYPE_GROUPCHAT
		}
		switch n := r.IntN(20); {
		case n == 0 && len(messages) > 0:
			lines = append(lines, withheld("a@x", offset, messages[r.IntN(len(messages))]))
		case n < 10:
			lines = append(lines, received(owner, jid.FromCanonical(peer).Bare().String()+"/p", offset, at, m))
			messages = append(messages, offset)
		default:
			lines = append(lines, sent(owner+"", peer, offset, at, m))
			messages = append(messages, offset)
		}
	}
	for chunk := range slices.Chunk(lines, 40) {
		s.store(chunk...)
	}
	s.at(partition, offset+1, offset+1, offset+1)
	some := func() int64 { return messages[r.IntN(len(messages))] }
	over := func() (n uint64) {
		if err := s.conn.QueryRow(t.Context(), "SELECT sum(value) FROM system.errors WHERE name = 'TOO_MANY_ROWS_OR_BYTES'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := over()
	for i := range *queries {
		q := all(pick("a@x", "a@x", "a@x", "z@x", "nobody@x"))
		for range r.IntN(3) {
			switch r.IntN(8) {
			case 0:
				q.With = jid.FromCanonical(pick(people...))
			case 1:
				q.Start = noon.Add(time.Duration(r.Int64N(int64(40 * 24 * time.Hour))))
			case 2:
				q.End = noon.Add(time.Duration(r.Int64N(int64(40 * 24 * time.Hour))))
			case 3:
				q.Above = some()
			case 4:
				q.Below = some()
			case 5:
				q.IDs = []int64{some(), some(), some(), some()}
			case 6:
				q.Text = pick("strasse", "SCHÖN", "schön again", "天气", "气", "世界", "👍", "👍🏽", "%", "_c", "\\d", "'quoted'", "fine", "l", "hello again")
			case 7:
				q.NoGroupchat = true
			}
		}
		q.Max = r.IntN(12)
		q.Bytes = r.IntN([]int{300, 20_000}[r.IntN(2)])
		q.Each = r.IntN(20)
		switch r.IntN(5) {
		case 0:
			q.After = some()
		case 1:
			q.Before, q.Last = some(), true
		case 2:
			q.Last = true
		case 3:
			q.Skip = r.IntN(20)
		}
		if r.IntN(4) == 0 {
			q.Known = []int64{some()}
		}
		s.agrees(fmt.Sprint("query ", i), q)
	}
	if n := over() - before; n == 0 || n > uint64(*queries)/2 {
		t.Errorf("%d of %d pages were more than a page may have: some should be", n, *queries)
	}
	for _, owner := range []string{"a@x", "z@x", "nobody@x"} {
		o := all(owner).ArchiveOwner
		first, last, err := s.reader.Ends(t.Context(), o)
		wantFirst, wantLast, _ := s.model.Ends(t.Context(), o)
		if err != nil || !sameEnd(first, wantFirst) || !sameEnd(last, wantLast) {
			t.Errorf("ends of %s: %+v %+v %v, want %+v %+v", owner, first, last, err, wantFirst, wantLast)
		}
	}
}

func sameEnd(a, b *edge.Archived) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ID == b.ID && a.At.Equal(b.At)
}

// TestSearch looks for words in many languages.
func TestSearch(t *testing.T) {
	s := newStage(t)
	texts := []string{
		"Wherefore art thou Romeo?", "Größe und Maßstab, Übermut", "das Mädchen läuft", "我喜欢在图书馆看书", "明天北京的天气怎么样", "図書館で本を読みます",
		"カタカナと漢字", "see you at 図書館 tomorrow 👋", "🎉🎉 congratulations", "😀", "ПРИВЕТ мир", "مرحبا بالعالم", "ｆｕｌｌ ｗｉｄｔｈ", "Ἀθῆναι",
	}
	var lines []line
	for i, text := range texts {
		lines = append(lines, received("a@x", "b@x/p", int64(i), noon, body(text)))
	}
	// What is in another's archive is not found.
	s.store(append(lines, received("b@x", "a@x/p", 100, noon, body("Romeo 图书馆 Größe")))...)
	s.at(partition, 101, 101, 101)
	for _, c := range []struct {
		search string
		want   []int64
	}{
		{"romeo", []int64{0}}, {"ROMEO wherefore", []int64{0}}, {"romeo juliet", nil}, {"art", []int64{0}},
		{"größe", []int64{1}}, {"GRÖSSE", []int64{1}}, {"gro\u0308ße", []int64{1}}, {"masstab", nil}, {"massstab", []int64{1}}, {"mädchen", []int64{2}},
		{"图书馆", []int64{3}}, {"书", []int64{3}}, {"北京 天气", []int64{4}}, {"天气 北京", []int64{4}}, {"天津", nil},
		{"図書館", []int64{5, 7}}, {"本を", []int64{5}}, {"カタカナ", []int64{6}}, {"ｶﾀｶﾅ", []int64{6}}, {"漢字", []int64{6}},
		{"tomorrow 図書館 👋", []int64{7}}, {"🎉", []int64{8}}, {"😀", []int64{9}}, {"😁", nil},
		{"привет", []int64{10}}, {"العالم", []int64{11}}, {"full width", []int64{12}}, {"ἀθῆναι", []int64{13}},
		{"a", []int64{0, 1, 2, 7, 8}},
	} {
		q := all("a@x")
		q.Text = c.search
		p := s.agrees(c.search, q)
		var got []int64
		for _, m := range p.Messages {
			got = append(got, m.ID)
		}
		if !slices.Equal(got, c.want) || p.Count != len(c.want) {
			t.Errorf("%s: got %v of %d, want %v", c.search, got, p.Count, c.want)
		}
	}
	// A page of what was found, both ways.
	q := all("a@x")
	q.Text, q.Max, q.Last = "図書館", 1, true
	if p := s.agrees("the last", q); len(p.Messages) != 1 || p.Messages[0].ID != 7 || p.Complete || p.Index != 1 {
		t.Error(tell(p))
	}
	q.Before = 7
	if p := s.agrees("the one before", q); len(p.Messages) != 1 || p.Messages[0].ID != 5 || !p.Complete || p.Index != 0 {
		t.Error(tell(p))
	}
}
