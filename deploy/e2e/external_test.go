package e2e

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// With the addresses of services that run elsewhere `rollcall dev` starts no
// engine, and all else is the same.
func TestExternalEngines(t *testing.T) {
	s := newStack(t, local.KafkaAuto)
	brokers, postgres := localtest.Kafka(t), localtest.Postgres(t)
	clickhouse, err := url.Parse(localtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	s.flags = []string{"--kafka-brokers", brokers[0], "--postgres-url", postgres, "--clickhouse-addr", clickhouse.Host}
	s.start(t)
	run := s.run(t)
	if len(run.Engines) != 0 || run.KafkaKind != "external" || run.KafkaBrokers[0] != brokers[0] || run.ClickhouseAddr != clickhouse.Host {
		t.Errorf("run.json tells of engines: %+v", run)
	}

	trust := s.trust(t)
	at := func(edge, user string) login {
		return login{address: run.part(edge).Listen["starttls"], domain: run.Domain, tls: trust, user: user, resource: "pc"}
	}
	if err := register(at("edge-1", ""), []string{"juliet", "romeo"}); err != nil {
		t.Fatal(err)
	}
	juliet, err := connect(at("edge-1", "juliet"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer juliet.cut()
	romeo, err := connect(at("edge-2", "romeo"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer romeo.cut()
	if err := romeo.send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	if err := juliet.send("<message to='romeo@localhost' type='chat' id='m1'><body>art thou?</body></message>"); err != nil {
		t.Fatal(err)
	}
	romeo.expect(t, "juliet's message", func(st *stanza.Stanza) bool { return st.ID == "m1" })
	if said, err := s.rollcall(t, "replay", "verify"); err != nil {
		t.Errorf("verify: %v\n%s", err, said)
	}
	// Another one would have parts of the same names.
	said, err := s.rollcall(t, "dev", "--data", s.dir, "--port-base", strconv.Itoa(freePortBase(t)))
	if err == nil || !strings.Contains(said, "another `rollcall dev` runs on this Postgres database") {
		t.Errorf("a second dev ends with %v: %s", err, said)
	}
	if again, err := s.readRun(); err != nil || len(again.Parts) != len(run.Parts) {
		t.Errorf("a second dev leaves run.json as %+v, %v", again, err)
	}
	s.stop(t)

	// Stopped in order, each process has given its lease back by itself, an
	// edge after it said in the log that its epoch is over.
	connection, err := pgx.Connect(t.Context(), postgres)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(context.Background())
	var left []string
	if err := connection.QueryRow(t.Context(), "SELECT coalesce(array_agg(kind || ' ' || id), '{}') FROM run.lease").Scan(&left); err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("leases left behind: %q", left)
	}
}
