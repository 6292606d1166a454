package httpapi

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/schema/jid"
)

const sends = `{"to":"juliet@localhost","body":"x"}`

func TestWhoIsLetIn(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	var lines bytes.Buffer
	d := h.door(func(o *Options) {
		o.Limits.KeyTTL = time.Nanosecond
		o.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	})
	good, reader := h.key(SendMessages), h.key(ReadPresence)
	revoked := h.key(SendMessages)
	if err := RevokeKey(t.Context(), h.pool, strings.Split(revoked, "_")[1]); err != nil {
		t.Fatal(err)
	}
	if err := RevokeKey(t.Context(), h.pool, "nobody"); !errors.Is(err, ErrNoKey) {
		t.Errorf("of nobody: %v", err)
	}
	for _, x := range []struct {
		name, key string
		status    int
		code      Code
		says      string // in WWW-Authenticate
	}{
		{"no key", "", 401, NoKey, `Bearer realm="rollcall"`},
		{"not ours", "Bearer sesame", 401, BadKey, "invalid_token"},
		{"another scheme", "Basic " + good, 401, BadKey, ""},
		{"an unknown one", "Bearer rk_aaaaaaaaaaaa_" + strings.SplitN(good, "_", 3)[2], 401, BadKey, "invalid_token"},
		{"another's secret", "Bearer rk_" + strings.Split(good, "_")[1] + "_" + strings.SplitN(reader, "_", 3)[2], 401, BadKey, "invalid_token"},
		{"half a secret", "Bearer " + good[:len(good)-3], 401, BadKey, "invalid_token"},
		{"revoked", "Bearer " + revoked, 401, RevokedKey, "invalid_token"},
		{"another scope", "Bearer " + reader, 403, MissingScope, `scope="messages:send"`},
		{"admin may all", "Bearer " + h.key(AdminScope), 200, "", ""},
		{"good", "bearer " + good, 200, "", ""},
	} {
		got := d.do(t, "POST", "/v1/messages", sends, false, "Authorization", x.key)
		if got.status != x.status || got.problem() != x.code || !strings.Contains(got.header.Get("WWW-Authenticate"), x.says) {
			t.Errorf("%s: %d %s, %s", x.name, got.status, got.body, got.header.Get("WWW-Authenticate"))
		}
	}
	if n := len(h.log()); n != 2 {
		t.Errorf("%d messages are in the log", n)
	}
	d.key = good
	if got := d.do(t, "POST", "/v1/messages", sends, false); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if err := RevokeKey(t.Context(), h.pool, strings.Split(good, "_")[1]); err != nil {
		t.Fatal(err)
	}
	if got := d.do(t, "POST", "/v1/messages", sends, false); got.problem() != RevokedKey {
		t.Errorf("after it was revoked: %d %s", got.status, got.body)
	}
	keys, err := Keys(t.Context(), h.pool)
	if err != nil || len(keys) != 4 || keys[0].Revoked.IsZero() || !keys[1].Revoked.IsZero() || keys[0].Scopes[0] != SendMessages {
		t.Errorf("%+v, %v", keys, err)
	}
	d.web.Close() // waits for the last line
	for _, key := range []string{good, reader, revoked} {
		if strings.Contains(lines.String(), strings.SplitN(key, "_", 3)[2]) {
			t.Error("the log has a secret")
		}
	}
	if n := strings.Count(lines.String(), "msg=request"); n != 12 {
		t.Errorf("%d access lines", n)
	}
	var hashes [][]byte
	if err := h.pool.QueryRow(t.Context(), `SELECT array_agg(hash) FROM run.api_key`).Scan(&hashes); err != nil {
		t.Fatal(err)
	}
	for _, hash := range hashes {
		if len(hash) != 32 || strings.Contains(good+reader+revoked, string(hash)) {
			t.Errorf("it is kept as %x", hash)
		}
	}
}

func TestAKeyHasAPace(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	d := h.door(func(o *Options) { o.Limits.Rate, o.Limits.Burst = 0.1, 2 })
	d.key = h.key(SendMessages)
	for range 2 {
		if got := d.do(t, "POST", "/v1/messages", sends, false); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	got := d.do(t, "POST", "/v1/messages", sends, false)
	if wait := got.header.Get("Retry-After"); got.status != 429 || got.problem() != RateLimited || wait != "10" && wait != "9" {
		t.Errorf("%d %s, Retry-After %s", got.status, got.body, wait)
	}
	d.key = h.key(SendMessages)
	if got := d.do(t, "POST", "/v1/messages", sends, false); got.status != 200 {
		t.Errorf("another key: %d %s", got.status, got.body)
	}
	if n := len(h.log()); n != 3 {
		t.Errorf("%d messages are in the log", n)
	}
}

func TestPathsAndMethods(t *testing.T) {
	h := newHouse(t)
	d := h.door()
	if got := d.do(t, "GET", "/v1/nothing", "", true); got.status != 404 || got.problem() != NotFound || got.header.Get("X-Request-Id") == "" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := d.do(t, "PATCH", "/v1/messages", "", true); got.status != 405 || got.problem() != MethodNotAllowed || got.header.Get("Allow") != "POST" {
		t.Errorf("%d %s, Allow %q", got.status, got.body, got.header.Get("Allow"))
	}
	if got := d.do(t, "GET", "/v1/openapi.json", "", false, "X-Request-Id", "mine-7"); got.header.Get("X-Request-Id") != "mine-7" {
		t.Errorf("it is called %q", got.header.Get("X-Request-Id"))
	}
	if got := d.do(t, "GET", "/v1/openapi.json", "", false, "X-Request-Id", "not mine"); got.header.Get("X-Request-Id") == "not mine" {
		t.Error("whatever a client sends is in the log")
	}
}

func TestKeysThatCannotBe(t *testing.T) {
	for name, k := range map[string]Key{
		"no scope":                 {Domain: "localhost"},
		"an unknown scope":         {Domain: "localhost", Scopes: []string{"fly"}},
		"no domain":                {Scopes: []string{AdminScope}},
		"an account as the domain": {Domain: "a@b", Scopes: []string{AdminScope}},
		"a sender elsewhere":       {Domain: "localhost", Scopes: []string{AdminScope}, Senders: []string{"a@b"}},
		"a sender that is no JID":  {Domain: "localhost", Scopes: []string{AdminScope}, Senders: []string{"@"}},
		"a full JID":               {Domain: "localhost", Scopes: []string{AdminScope}, Senders: []string{"a@localhost/x"}},
		"a name of two lines":      {Domain: "localhost", Scopes: []string{AdminScope}, Name: "a\nb"},
	} {
		if err := k.check(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestWhomAKeyMaySendAs(t *testing.T) {
	for _, x := range []struct {
		senders []string
		from    string
		may     bool
	}{
		{nil, "localhost", true},
		{nil, "localhost/news", true},
		{nil, "bot@localhost", false},
		{nil, "example.com", false},
		{[]string{"bot@localhost"}, "bot@localhost", true},
		{[]string{"bot@localhost"}, "bot@localhost/1", true},
		{[]string{"bot@localhost"}, "romeo@localhost", false},
		{[]string{AnySender}, "romeo@localhost", true},
		{[]string{AnySender}, "romeo@example.com", false},
	} {
		from, err := jid.Parse(x.from)
		if err != nil {
			t.Fatal(err)
		}
		k := Key{Domain: "localhost", Senders: x.senders}
		if k.maySendAs(from) != x.may {
			t.Errorf("%v as %s: %v", x.senders, x.from, !x.may)
		}
	}
}
