package httpapi

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// body makes a request's body.
func body(members map[string]any) string {
	text, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestAMessageIsInTheLogWhenItIsAnswered(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost", "romeo@localhost")
	d := h.door(func(o *Options) { o.Limits.Waiting = 7 })
	d.key = h.keyOf(Key{Domain: "localhost", Scopes: []string{SendMessages}, Senders: []string{"bot@localhost"}})
	got := d.do(t, "POST", "/v1/messages", body(map[string]any{
		"to":   []string{"juliet@localhost", "Romeo@localhost/orchard", "nobody@localhost", "juliet@example.com", "a@@b", "localhost", "romeo@localhost/orchard"},
		"from": "bot@localhost/1", "type": "chat", "id": "m1", "lang": "en", "body": "1 < 2 & ]]>", "subject": "sums", "thread": "t",
		"hints": []string{"no-copy"}, "payload": `<x:x xmlns:x="urn:x"/>`,
	}), true)
	if got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	answer := read[messageAnswer](t, got)
	var said []string
	for _, r := range answer.Results {
		said = append(said, r.Status+" "+string(r.Code))
	}
	const want = "accepted , accepted , refused unknown-account, refused unknown-domain, refused bad-jid, refused unknown-account, refused repeated-recipient"
	if strings.Join(said, ", ") != want || answer.Accepted != 2 {
		t.Errorf("got  %s\nwant %s", strings.Join(said, ", "), want)
	}
	log := h.log()
	if len(log) != 2 {
		t.Fatalf("%d events", len(log))
	}
	for _, r := range log {
		place, resource := 0, ""
		if r.account == "romeo@localhost" {
			place, resource = 1, "orchard"
		}
		m := r.GetMessageAccepted()
		msg := m.GetMessage()
		if m.GetFrom() != "bot@localhost/1" || m.GetResource() != resource || m.GetMaxWaiting() != 7 ||
			msg.GetType() != event.MessageType_MESSAGE_TYPE_CHAT || msg.GetId() != "m1" || msg.GetLang() != "en" ||
			msg.GetBody() != "1 < 2 & ]]>" || !msg.GetStorable() || msg.GetCopies() != event.Copies_COPIES_UNSPECIFIED || msg.GetOriginId() == "" {
			t.Errorf("%v", r)
		}
		inner := "<subject>sums</subject><body>1 &lt; 2 &amp; ]]&gt;</body><thread>t</thread><no-copy xmlns='urn:xmpp:hints'/><x xmlns='urn:x'/><origin-id xmlns='urn:xmpp:sid:0' id='" + msg.GetOriginId() + "'/>"
		if string(msg.GetPayload()) != inner {
			t.Errorf("got  %s\nwant %s", msg.GetPayload(), inner)
		}
		if a := answer.Results[place]; a.Message != event.ID(r.Event).String() || a.ID != strconv.FormatInt(r.offset, 10) {
			t.Errorf("%+v of %v at %d", a, event.ID(r.Event), r.offset)
		}
		if id := event.ID(r.Event); id.Version() != 7 {
			t.Errorf("%v is of version %d", id, id.Version())
		}
		if !strings.HasPrefix(r.GetOrigin(), "http/door-1/") {
			t.Errorf("of %s", r.GetOrigin())
		}
	}
}

func TestMessagesThatCannotBe(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	d := h.door(func(o *Options) { o.Limits.Recipients, o.Limits.Body = 2, 100_000 })
	d.key = h.key(SendMessages)
	with := func(name string, value any) string {
		return body(map[string]any{"to": "juliet@localhost", "body": "x", name: value})
	}
	for _, x := range []struct {
		name, body string
		status     int
		code       Code
		header     []string
	}{
		{"no JSON", `{"to"`, 400, MalformedJSON, nil},
		{"half a body", `{"to":"juliet@localhost","body":"x"`, 400, MalformedJSON, nil},
		{"an unknown field", with("colour", "red"), 400, UnknownField, nil},
		{"a field in another case", with("Type", "chat"), 400, UnknownField, nil},
		{"to nobody", `{"body":"x"}`, 400, InvalidField, nil},
		{"to an empty list", with("to", []string{}), 400, InvalidField, nil},
		{"to a number", with("to", 5), 400, InvalidField, nil},
		{"to null", with("to", []any{nil}), 400, InvalidField, nil},
		{"a number as the body", with("body", 5), 400, InvalidField, nil},
		{"an unknown type", with("type", "groupchat"), 400, InvalidField, nil},
		{"no language", with("lang", "x y"), 400, InvalidField, nil},
		{"an unknown hint", with("hints", []string{"shout"}), 400, InvalidField, nil},
		{"a character that XML has not", with("body", "\x00"), 400, InvalidField, nil},
		{"a long id", with("id", strings.Repeat("x", 257)), 400, InvalidField, nil},
		{"another's address", with("from", "juliet@localhost"), 403, SenderNotAllowed, nil},
		{"another domain's", with("from", "example.com"), 403, SenderNotAllowed, nil},
		{"from no JID", with("from", "@"), 422, BadJID, nil},
		{"nothing to say", `{"to":"juliet@localhost"}`, 422, EmptyMessage, nil},
		{"an open element", with("payload", "<x>"), 422, BadPayload, nil},
		{"an end too many", with("payload", "</message><message>"), 422, BadPayload, nil},
		{"a prefix of nobody", with("payload", "<a:x/>"), 422, BadPayload, nil},
		{"an entity", with("payload", "<x>&me;</x>"), 422, BadPayload, nil},
		{"a document type", with("payload", "<!DOCTYPE x><x/>"), 422, BadPayload, nil},
		{"text alone", with("payload", "x"), 422, BadPayload, nil},
		{"a stanza id", with("payload", "<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='juliet@localhost'/>"), 422, BadPayload, nil},
		{"an origin id", with("payload", "<origin-id xmlns='urn:xmpp:sid:0' id='1'/>"), 422, BadPayload, nil},
		{"a copy", with("payload", "<sent xmlns='urn:xmpp:carbons:2'/>"), 422, BadPayload, nil},
		{"too much XML", with("payload", "<x>"+strings.Repeat("x", 70_000)+"</x>"), 422, BadPayload, nil},
		{"too deep", with("payload", strings.Repeat("<x>", 100)+strings.Repeat("</x>", 100)), 422, BadPayload, nil},
		{"a body too large", with("body", strings.Repeat("x", 100_001)), 413, BodyTooLarge, nil},
		{"too many", with("to", []string{"a@localhost", "b@localhost", "c@localhost"}), 422, TooManyRecipients, nil},
		{"an unknown account", with("to", "nobody@localhost"), 422, NoRecipient, nil},
		{"no JID", with("to", "a@@b"), 422, NoRecipient, nil},
		{"a domain elsewhere", with("to", "juliet@example.com"), 422, NoRecipient, nil},
		{"no JSON by its type", sends, 415, UnsupportedMediaType, []string{"Content-Type", "text/plain"}},
		{"no type", sends, 415, UnsupportedMediaType, []string{"Content-Type", ""}},
		{"packed", sends, 415, UnsupportedMediaType, []string{"Content-Encoding", "gzip"}},
		{"latin1", sends, 415, UnsupportedMediaType, []string{"Content-Type", "application/json; charset=latin1"}},
		{"an empty idempotency key", sends, 400, BadIdempotencyKey, []string{"Idempotency-Key", `""`}},
		{"half an idempotency key", sends, 400, BadIdempotencyKey, []string{"Idempotency-Key", `"x`}},
		{"a long idempotency key", sends, 400, BadIdempotencyKey, []string{"Idempotency-Key", strings.Repeat("x", 256)}},
	} {
		got := d.do(t, "POST", "/v1/messages", x.body, true, x.header...)
		if got.status != x.status || got.problem() != x.code {
			t.Errorf("%s: %d %s, want %d %s", x.name, got.status, got.body, x.status, x.code)
		}
	}
	if got := d.do(t, "POST", "/v1/messages?x=1", sends, true); got.problem() != UnknownParameter {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := d.do(t, "POST", "/v1/messages?%zz", sends, true); got.problem() != InvalidParameter {
		t.Errorf("%d %s", got.status, got.body)
	}
	if log := h.log(); len(log) != 0 {
		t.Errorf("%d of them are in the log: %v", len(log), log[0])
	}
	var kept int
	if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM run.idempotency`).Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d claims are left, %v", kept, err)
	}
}

// The log is away: whoever asks hears so, and may ask again.
func TestAMessageThatTheLogDoesNotTake(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	d := h.door()
	d.key = h.key(SendMessages)
	d.kill()
	got := d.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", "k")
	if got.status != 503 || got.problem() != LogUnavailable {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if p := read[Problem](t, got); len(p.Results) != 1 || p.Results[0].Status != statusFailed {
		t.Errorf("%s", got.body)
	}
	other := h.door()
	other.key = d.key
	if got := other.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", "k"); got.status != 200 {
		t.Errorf("when it is back: %d %s", got.status, got.body)
	}
	if n := len(h.log()); n != 1 {
		t.Errorf("%d messages are in the log", n)
	}
}

func TestDerivedIDs(t *testing.T) {
	request := mustV7()
	a, b := derivedID(request, "a@localhost"), derivedID(request, "b@localhost")
	if a == b || a != derivedID(request, "a@localhost") || a == derivedID(mustV7(), "a@localhost") || a.Version() != 7 || a.Variant() != request.Variant() || string(a[:6]) != string(request[:6]) {
		t.Errorf("%v, %v of %v", a, b, request)
	}
}

// Every example of the document does what it says.
func TestExamplesOfTheDocument(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost", "romeo@localhost")
	d := h.door()
	d.key = h.key(AdminScope)
	doc, err := described()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody == nil {
				continue
			}
			for name, example := range op.RequestBody.Value.Content["application/json"].Examples {
				text, err := json.Marshal(example.Value.Value)
				if err != nil {
					t.Fatal(err)
				}
				if got := d.do(t, method, path, string(text), false); got.status >= 300 {
					t.Errorf("%s %s, %s: %d %s", method, path, name, got.status, got.body)
				}
				n++
			}
		}
	}
	if n < 2 {
		t.Errorf("%d examples", n)
	}
}

func BenchmarkMessages(b *testing.B) {
	h := newHouse(b)
	h.accounts("juliet@localhost")
	d := h.door(func(o *Options) { o.Limits.Rate, o.Limits.Burst = 1e9, 1e9 })
	key := Key{Domain: "localhost", Scopes: []string{SendMessages}}
	for b.Loop() {
		accepted, err := d.accepted(&key, &content{Body: "x"}, mustV7())
		if err != nil {
			b.Fatal(err)
		}
		results := make([]result, 1)
		d.append([]recipient{{0, jid.MustBare("juliet@localhost").JID(), mustV7()}}, accepted, results)
		if results[0].Status != statusAccepted {
			b.Fatal(fmt.Sprint(results))
		}
	}
}
