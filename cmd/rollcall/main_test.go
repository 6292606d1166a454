package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/rollcall/rollcall/edge/accounts"
	"github.com/rollcall/rollcall/schema/jid"
)

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		name, args string
		code       int
		says       string // in either output
	}{
		{"version", "version", 0, "rollcall unknown"},
		{"help lists every role", "--help", 0, "projector"},
		{"help of a command", "edge --help", 0, "--listen-tls"},
		{"help names the environment", "edge --help", 0, "$ROLLCALL_KAFKA_BROKERS"},
		{"version as a flag", "--version", 0, "rollcall unknown\n"},
		{"no command: how it is used", "", exitUsage, "Usage: rollcall <command>"},
		{"unknown command", "fly", exitUsage, "unexpected argument fly"},
		{"unknown flag", "version --high", exitUsage, "unknown flag --high"},
		{"missing flag", "migrate", exitUsage, "--postgres-url"},
		{"bad Kafka", "dev --kafka rabbit", exitUsage, "must be one of"},
		{"bad number of edges", "dev --edges 0", exitFailed, "--edges 0: say 1 to 254"},
		{"two Kafkas", "dev --kafka embedded --kafka-brokers k:9092", exitFailed, "--kafka embedded and --kafka-brokers (k:9092)"},
		{"a domain is no JID", "dev --domain a@b", exitFailed, "--domain a@b: say a domain"},
		{"an edge's domain is no JID", "edge --id e --domain a@b --kafka-brokers k:9092 --postgres-url x", exitFailed, "--domain a@b: say a domain"},
		{"a domain in lower case", "dev --domain Example.com", exitFailed, `"example.com"`},
		{"bad port", "dev --port-base 70000", exitFailed, "--port-base 70000"},
		{"bad JID", "user delete a@b@c --postgres-url x --kafka-brokers y", exitFailed, "b@c"},
		{"a domain is no account", "user delete localhost --postgres-url x --kafka-brokers y", exitFailed, "not an account"},
		{"empty URL", "user list --postgres-url=", exitFailed, "--postgres-url is empty"},
		{"keys in the clear", "http --clickhouse-addr z:1 --id h --domain localhost --kafka-brokers k:9092 --postgres-url x --listen 0.0.0.0:5281", exitFailed, "--plain behind a proxy"},
		{"no port", "http --clickhouse-addr z:1 --id h --domain localhost --kafka-brokers k:9092 --postgres-url x --listen localhost", exitFailed, "--listen localhost"},
		{"keys over TLS", "http --clickhouse-addr z:1 --id h --domain localhost --kafka-brokers k:9092 --postgres-url= --listen 0.0.0.0:5281 --certificates x --admin=", exitFailed, "--postgres-url is empty"},
		{"keys on loopback", "http --clickhouse-addr z:1 --id h --domain localhost --kafka-brokers k:9092 --postgres-url= --listen [::1]:5281 --admin=", exitFailed, "--postgres-url is empty"},
		{"keys behind a proxy", "http --clickhouse-addr z:1 --id h --domain localhost --kafka-brokers k:9092 --postgres-url= --listen 0.0.0.0:5281 --plain --admin=", exitFailed, "--postgres-url is empty"},
		{"an HTTP door's domain is no JID", "http --clickhouse-addr z:1 --id h --domain a@b --kafka-brokers k:9092 --postgres-url x", exitFailed, "--domain a@b: say a domain"},
		{"no waiting at all", "edge --id e --domain localhost --kafka-brokers k:9092 --postgres-url x --max-waiting 0", exitFailed, "--max-waiting 0: say more"},
		{"no time to answer", "edge --id e --domain localhost --kafka-brokers k:9092 --postgres-url x --push-answer 0s", exitFailed, "--push-answer 0: say more"},
		{"no rate", "http --clickhouse-addr z:1 --id h --domain localhost --kafka-brokers k:9092 --postgres-url x --rate 0", exitFailed, "--rate 0: say more"},
		{"expired at once", "projector --id p --kafka-brokers k:9092 --postgres-url x --message-expiry 0", exitFailed, "--message-expiry 0: say more"},
		{"a key without a scope", "apikey add --postgres-url x", exitUsage, "scope"},
		{"help tells what is listened on", "edge --help", 0, "0.0.0.0:5223"},
		{"generate where to", "generate", exitUsage, "kafka"},
		{"generate says how", "generate clickhouse --help", 0, "--friends"},
		{"generate with too many friends", "generate clickhouse --accounts 5 --friends 5 --clickhouse-addr x:1", exitFailed, "5 friends: say 0 to 4"},
		{"generate from no day", "generate clickhouse --start monday --clickhouse-addr x:1", exitFailed, "--start monday"},
		{"generate with logins nowhere", "generate kafka --logins --kafka-brokers x:1", exitFailed, "--logins needs --postgres-url"},
		{"generate either way", "generate kafka --add --resume --kafka-brokers x:1", exitUsage, "can't be used together"},
		{"bad URL", "user list --postgres-url postgres://:bad:port:", exitFailed, "postgres-url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(strings.Fields(c.args), &out, &errs)
			if text := out.String() + errs.String(); code != c.code || !strings.Contains(text, c.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", code, c.code, c.says, text)
			}
			if c.code != 0 && c.args != "" && strings.Count(errs.String(), "\n") != 1 {
				t.Errorf("an error is one line, not:\n%s", errs.String())
			}
		})
	}
}

func TestASecretIsNotInAnError(t *testing.T) {
	var out, errs bytes.Buffer
	run([]string{"user", "list", "--postgres-url", "postgres://rollcall:sesame@:port/x"}, &out, &errs)
	if strings.Contains(errs.String(), "sesame") {
		t.Errorf("it has the password: %s", errs.String())
	}
}

// parse gives the edge's flags as a configuration file, the environment and
// args set them.
func parse(t *testing.T, file string, args ...string) (edgeCommand, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rollcall.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	var c cli
	parser, err := kong.New(&c, kong.DefaultEnvars("ROLLCALL"), kong.Configuration(loadConfig))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"--config", path, "edge"}, args...))
	return c.Edge, err
}

func TestConfigurationFile(t *testing.T) {
	const file = `
kafka-brokers: [one:9092, two:9092]
postgres-url: postgres://top
max-stanza: 1000
edge:
  id: edge-7
  domain: example.com
  max-stanza: 2000
  max-resources: 3
`
	t.Setenv("ROLLCALL_MAX_RESOURCES", "4")
	e, err := parse(t, file, "--domain", "example.net")
	if err != nil {
		t.Fatal(err)
	}
	if len(e.KafkaBrokers) != 2 || e.KafkaBrokers[1] != "two:9092" || e.PostgresURL != "postgres://top" {
		t.Errorf("from the top: %v, %q", e.KafkaBrokers, e.PostgresURL)
	}
	if e.ID != "edge-7" || e.MaxStanza != 2000 {
		t.Errorf("from the command's section: %q, %d", e.ID, e.MaxStanza)
	}
	if e.MaxResources != 4 {
		t.Errorf("the environment wins over the file: got %d", e.MaxResources)
	}
	if e.Domain != "example.net" {
		t.Errorf("the command line wins over the file: got %q", e.Domain)
	}
}

func TestBadConfigurationFiles(t *testing.T) {
	for _, c := range []struct{ file, says string }{
		{"max-stanzas: 1", `no flag is named "max-stanzas"`},
		{"edges:\n  id: x", `no command is named "edges"`},
		{"edge:\n  workers: 2", `edge has no flag "workers"`},
		{"a: [", "configuration file"},
		{"max-stanza: many", "many"},
	} {
		if _, err := parse(t, c.file); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got %v, want %q in it", c.file, err, c.says)
		}
	}
}

func TestAdminPort(t *testing.T) {
	a := newAdmin()
	var trouble error
	a.want("log", func(context.Context) error { return trouble })
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		a.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	for path, says := range map[string]string{"/healthz": "alive", "/readyz": "ready", "/metrics": "go_goroutines", "/debug/pprof/": "goroutine"} {
		if code, text := get(path); code != http.StatusOK || !strings.Contains(text, says) {
			t.Errorf("%s: %d, %.200s", path, code, text)
		}
	}
	trouble = errors.New("no broker answers")
	if code, text := get("/readyz"); code != http.StatusServiceUnavailable || text != "log: no broker answers\n" {
		t.Errorf("not ready: %d, %q", code, text)
	}
	if code, _ := get("/healthz"); code != http.StatusOK {
		t.Errorf("not ready is not dead: %d", code)
	}
}

// Whoever waits for /readyz finds the ports open: a role that has connected,
// but not told all that it needs, is not ready.
func TestARoleIsReadyOnceItHasStarted(t *testing.T) {
	r := &role{admin: newAdmin()}
	r.admin.want("start", r.start)
	get := func() int {
		w := httptest.NewRecorder()
		r.admin.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w.Code
	}
	if code := get(); code != http.StatusServiceUnavailable {
		t.Errorf("before: %d", code)
	}
	r.started()
	if code := get(); code != http.StatusOK {
		t.Errorf("after: %d", code)
	}
}

func TestATakenAdminPortEndsTheRole(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out, errs bytes.Buffer
	code := run([]string{"projector", "--id", "p", "--kafka-brokers", "x", "--postgres-url", "x", "--admin", l.Addr().String()}, &out, &errs)
	if code != exitFailed || !strings.Contains(errs.String(), "say another --admin") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

// Tokens that the next edge does not know would lock clients out that keep no
// password.
func TestTokensNeedASecretThatLasts(t *testing.T) {
	store := accounts.New(nil, "example.com", nil)
	for _, x := range []struct {
		secret string
		period time.Duration
		want   bool
	}{{"0123456789abcdef", time.Hour, true}, {"", time.Hour, false}, {"0123456789abcdef", 0, false}} {
		c := edgeCommand{Domain: "example.com", Certificates: t.TempDir(), AuthSecret: x.secret, TokenPeriod: x.period}
		o, err := c.negotiation(store)
		if err != nil || (o.Tokens != nil) != x.want || x.want && o.TokenPeriod != x.period || len(o.Secret) < 16 {
			t.Errorf("%q, %v: %v, %v", x.secret, x.period, o.Tokens != nil, err)
		}
	}
}

func TestReadPassword(t *testing.T) {
	for text, want := range map[string]string{"sesame\n": "sesame", "open sesame\r\n": "open sesame", "sesame": "sesame"} {
		if got, err := readPassword(strings.NewReader(text)); err != nil || got != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	if _, err := readPassword(strings.NewReader("\n")); err == nil {
		t.Error("an empty line is no password")
	}
}

func TestFreshSparesWhatRuns(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "auth-secret")
	if err := os.WriteFile(kept, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "mine")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := &dev{devCommand: devCommand{Data: dir}, run: &runFile{path: filepath.Join(dir, "run.json"), Pid: os.Getpid(), Ready: true}}
	d.run.save()
	if err := d.removeData(); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("while it runs: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	d.run.remove()
	if err := d.removeData(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(kept); err == nil {
		t.Error("it is still there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("what is not ours is gone: %v", err)
	}
}

func TestDevNamesABusyPort(t *testing.T) {
	for above, who := range map[int]string{0: "edge-1", doorAbove: "the HTTP door"} {
		said := ""
		for range 20 { // other programs have ports too
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c := devCommand{Edges: 1, PortBase: l.Addr().(*net.TCPAddr).Port - above}
			err = c.portsFree()
			l.Close()
			if err == nil {
				t.Fatal("it finds all free")
			}
			if said = err.Error(); strings.Contains(said, who) {
				break
			}
		}
		if !strings.Contains(said, who) || !strings.Contains(said, "--port-base") {
			t.Errorf("%d above: %s", above, said)
		}
	}
}

// What replay show prints as a record's time can be given to --until-time.
func TestMoment(t *testing.T) {
	at := time.Date(2026, 11, 24, 18, 30, 15, 250_000_000, time.FixedZone("x", 3600))
	back, err := time.Parse(time.RFC3339, moment(at))
	if err != nil || !back.Equal(at) || moment(at) != "2026-11-24T17:30:15.250Z" {
		t.Errorf("%s: %v", moment(at), err)
	}
	if moment(time.Time{}) != "" {
		t.Error("a dead letter has no time")
	}
}

// An account of a domain that nobody serves cannot log in.
func TestUserAddOfAnotherDomain(t *testing.T) {
	account := jid.MustBare("juliet@example.com")
	for _, served := range [][]string{nil, {"example.com"}, {"example.com", "example.net"}} {
		if err := checkServed(account, served); err != nil {
			t.Errorf("%v: %v", served, err)
		}
	}
	if err := checkServed(account, []string{"localhost", "example.net"}); err == nil || !strings.Contains(err.Error(), "no edge serves example.com, but localhost, example.net") {
		t.Error(err)
	}
}

// The bounds of nodes and of what is stored are flags, too.
func TestNodeLimits(t *testing.T) {
	e, err := parse(t, "kafka-brokers: [k:1]\npostgres-url: x\nedge:\n  id: e\n  domain: example.com\n  max-nodes: 7\n", "--max-items", "8", "--max-payload", "9")
	if err != nil {
		t.Fatal(err)
	}
	if e.MaxNodes != 7 || e.MaxItems != 8 || e.MaxPayload != 9 || e.MaxStored != 100 || e.MaxPublished != 32<<20 {
		t.Errorf("%+v", e.limitFlags)
	}
}
