package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

type devCommand struct {
	Data     string `help:"Directory of all data; a second start on it finds everything (default: .rollcall/dev, in the working directory)." default:".rollcall/dev" type:"path" placeholder:"DIR"`
	Domain   string `help:"The XMPP domain that is served." default:"localhost"`
	Edges    int    `help:"Edge servers; edge i listens on 127.0.0.i." default:"2"`
	Workers  int    `help:"Fan-out workers." default:"2"`
	PortBase int    `help:"Edges listen on this port with STARTTLS, on the next one with direct TLS, 221 above with HTTPS for WebSockets, 58 above without TLS with --insecure-auth, and 125 above for components; the HTTP door on 59 above." default:"5222"`
	Kafka    string `help:"auto, embedded or apache: auto is Apache Kafka where Java 17 is, else the broker in this binary." enum:"auto,embedded,apache" default:"auto"`

	Projectors int `help:"Projectors." default:"1"`

	Fresh bool `help:"Begin anew: all that an earlier start left in the data directory is removed."`

	Register     bool `help:"Clients may register accounts (XEP-0077)." default:"true" negatable:""`
	InsecureAuth bool `help:"Allow SASL without TLS, for tests and load."`

	ComponentsFile string `help:"Components that may connect (XEP-0114), 125 above the edges' first port: a line DOMAIN=SECRET for each." type:"path" placeholder:"FILE"`

	KafkaBrokers   []string `help:"Use this Kafka instead of an own one." placeholder:"HOST:PORT"`
	PostgresURL    string   `name:"postgres-url" help:"Use this Postgres instead of an own one." placeholder:"URL"`
	ClickhouseAddr string   `help:"Use this ClickHouse instead of an own one." placeholder:"HOST:PORT"`
	Engines        string   `help:"Where the engines' binaries are installed." type:"path" placeholder:"DIR"`
}

// dev is everything that one `rollcall dev` runs.
type dev struct {
	devCommand
	out io.Writer
	run *runFile
	sup *supervisor

	print sync.Mutex // one line at a time
}

func (c *devCommand) Run(ctx context.Context, out io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	d := &dev{devCommand: *c, out: out}
	if err := c.portsFree(); err != nil {
		return err
	}
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Data, 0o755); err != nil {
		return err
	}
	if c.Fresh {
		if err := d.removeData(); err != nil {
			return err
		}
	}
	d.run = &runFile{path: filepath.Join(c.Data, "run.json"), Pid: os.Getpid(), Domain: c.Domain, Version: version}
	defer d.run.remove()
	d.sup = newSupervisor(binary, d.say, func() { d.run.save() })

	engines, err := d.startEngines(ctx, binary)
	if err != nil {
		return err
	}
	defer engines.stop()
	claim, err := claimPostgres(ctx, d.run.PostgresURL, func(line string) { d.say("dev", line) })
	if err != nil {
		return err
	}
	defer claim.release()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	return d.serve(ctx)
}

func (c *devCommand) check() error {
	switch {
	case c.Edges < 1 || c.Edges > 254:
		return fmt.Errorf("--edges %d: say 1 to 254", c.Edges)
	case c.Workers < 1 || c.Projectors < 1:
		return errors.New("--workers and --projectors: at least 1")
	case c.PortBase < 1 || c.PortBase > 65535-httpsAbove:
		return fmt.Errorf("--port-base %d: say 1 to %d", c.PortBase, 65535-httpsAbove)
	case c.Kafka != "auto" && len(c.KafkaBrokers) > 0:
		return fmt.Errorf("--kafka %s and --kafka-brokers (%s): say one of them, or unset ROLLCALL_KAFKA_BROKERS", c.Kafka, strings.Join(c.KafkaBrokers, ","))
	}
	if c.ComponentsFile != "" {
		if _, err := readComponents(c.ComponentsFile, c.Domain); err != nil {
			return err
		}
	}
	return checkDomain(c.Domain)
}

// checkDomain refuses what is no domainpart in its canonical form (RFC 7622,
// section 3.2).
func checkDomain(domain string) error {
	d, err := jid.ParseBare(domain)
	if err == nil && (d.Local() != "" || d.String() != domain) {
		err = fmt.Errorf("it would be %q", d.Domain())
	}
	if err != nil {
		return fmt.Errorf("--domain %s: say a domain, like example.com (%w)", domain, err)
	}
	return nil
}

// The other ports of an edge lie above its first as 5443 and 5280 above 5222.
const (
	directAbove = 1
	httpsAbove  = 221
	httpAbove   = 58
	doorAbove   = 59

	componentsAbove = 125 // 5347, which components know
)

// listen gives where an edge listens, by what is spoken there.
func (c *devCommand) listen(i int) map[string]string {
	host := fmt.Sprintf("127.0.0.%d", i+1)
	at := func(above int) string { return net.JoinHostPort(host, strconv.Itoa(c.PortBase+above)) }
	listen := map[string]string{"starttls": at(0), "tls": at(directAbove), "https": at(httpsAbove)}
	if c.InsecureAuth {
		listen["http"] = at(httpAbove)
	}
	if c.ComponentsFile != "" {
		listen["components"] = at(componentsAbove)
	}
	return listen
}

// door gives where the HTTP door listens.
func (c *devCommand) door() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.PortBase+doorAbove))
}

// portsFree refuses to start where an edge, or the HTTP door, could never listen.
func (c *devCommand) portsFree() error {
	for i := range c.Edges {
		for _, address := range c.listen(i) {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return fmt.Errorf("edge-%d has no port (%w); stop what listens there, or say another --port-base", i+1, err)
			}
			l.Close()
		}
	}
	l, err := net.Listen("tcp", c.door())
	if err != nil {
		return fmt.Errorf("the HTTP door has no port (%w); stop what listens there, or say another --port-base", err)
	}
	l.Close()
	return nil
}

// prepare makes what every part expects: tables and topics.
func (d *dev) prepare(ctx context.Context) error {
	d.say("dev", "bringing tables and topics up to date")
	if err := migrate(ctx, d.run.PostgresURL, clickhouseFlags{ClickhouseAddr: d.run.ClickhouseAddr, ClickhouseDatabase: "rollcall"}); err != nil {
		return err
	}
	// Made here, for edges that start side by side would each make one.
	if _, err := stream.LoadOrMakeCertificate(d.run.Certificates, d.Domain); err != nil {
		return err
	}
	topics := topicsCommand{kafkaFlags: kafkaFlags{d.run.KafkaBrokers}, Partitions: topic.DevPartitions, Replication: 1, KeepForever: true}
	return topics.ensure(ctx)
}

// serve runs the parts until ctx ends; those who write stop before those who
// read, and the engines last.
func (d *dev) serve(ctx context.Context) error {
	secret, err := d.secret()
	if err != nil {
		return err
	}
	common := []string{
		"ROLLCALL_KAFKA_BROKERS=" + strings.Join(d.run.KafkaBrokers, ","),
		"ROLLCALL_POSTGRES_URL=" + d.run.PostgresURL,
		"ROLLCALL_CLICKHOUSE_ADDR=" + d.run.ClickhouseAddr,
		"ROLLCALL_DOMAIN=" + d.Domain,
		"ROLLCALL_AUTH_SECRET=" + secret,
	}
	var readers, writers []*part
	add := func(to *[]*part, role, name string, listen map[string]string, args ...string) {
		*to = append(*to, &part{Name: name, Role: role, Listen: listen, env: common, args: args})
	}
	for i := range d.Projectors {
		add(&readers, "projector", numbered("projector", i), nil)
	}
	add(&readers, "history", "history-1", nil)
	for i := range d.Workers {
		add(&readers, "fanout", numbered("worker", i), nil)
	}
	for i := range d.Edges {
		listen := d.listen(i)
		args := []string{"--listen", listen["starttls"], "--listen-tls", listen["tls"], "--certificates", d.run.Certificates,
			"--listen-https", listen["https"], "--listen-http", listen["http"],
			"--register=" + strconv.FormatBool(d.Register), "--insecure-auth=" + strconv.FormatBool(d.InsecureAuth)}
		if d.ComponentsFile != "" {
			args = append(args, "--listen-components", listen["components"], "--components-file", d.ComponentsFile)
		}
		add(&writers, "edge", numbered("edge", i), listen, args...)
	}
	add(&writers, "http", "http-1", map[string]string{"http": d.door()}, "--listen", d.door())
	d.run.setParts(append(append([]*part(nil), readers...), writers...))

	readersCtx, stopReaders := context.WithCancel(context.WithoutCancel(ctx))
	defer stopReaders()
	writersCtx, stopWriters := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWriters()
	edges := newSupervisor(d.sup.binary, d.say, d.sup.changed)
	for _, p := range readers {
		d.sup.keep(readersCtx, p)
	}
	for _, p := range writers {
		edges.keep(writersCtx, p)
	}
	err = d.awaitReady(ctx, append(append([]*part(nil), readers...), writers...))
	if err == nil {
		d.run.Ready = true
		d.run.save()
		d.say("http-1", "services connect to http://"+d.door()+"/v1/openapi.json, with a key of rollcall apikey add")
		for _, p := range writers {
			if p.Role != "edge" {
				continue
			}
			d.say(p.Name, "clients of the web connect to wss://"+p.Listen["https"]+edge.WebSocketPath)
			if at := p.Listen["components"]; at != "" {
				d.say(p.Name, "components connect to "+at)
			}
		}
		d.print.Lock()
		fmt.Fprintln(d.out, "ready")
		d.print.Unlock()
		<-ctx.Done()
	}
	d.say("dev", "stopping")
	stopWriters()
	edges.wait()
	stopReaders()
	d.sup.wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (d *dev) awaitReady(ctx context.Context, parts []*part) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range parts {
		g.Go(func() error { return d.sup.awaitReady(ctx, p) })
	}
	return g.Wait()
}

// say prints a line of a part under its name.
func (d *dev) say(name, line string) {
	d.print.Lock()
	defer d.print.Unlock()
	fmt.Fprintf(d.out, "%-12s | %s\n", name, strings.TrimRight(line, "\n"))
}

// removeData removes what `rollcall dev` and its engines keep, and nothing else.
func (d *dev) removeData() error {
	if pid := runningPid(filepath.Join(d.Data, "run.json")); pid != 0 {
		return fmt.Errorf("--fresh: process %d runs on %s; stop it first (kill %d)", pid, d.Data, pid)
	}
	dir, _, err := local.Reachable(d.Data)
	if err != nil {
		return err
	}
	for _, place := range []string{d.Data, dir} {
		for _, name := range []string{"kafka-apache", "kafka-embedded", "kafka-kind", "postgres", "clickhouse", "certificates", "auth-secret", "run.json"} {
			if err := os.RemoveAll(filepath.Join(place, name)); err != nil {
				return fmt.Errorf("--fresh: %w", err)
			}
		}
	}
	return nil
}

// secret gives what makes the salts of accounts that do not exist, the same
// on every edge and after every start.
func (d *dev) secret() (string, error) {
	path := filepath.Join(d.Data, "auth-secret")
	kept, err := os.ReadFile(path)
	if err == nil {
		return string(kept), nil
	}
	random := make([]byte, 32)
	rand.Read(random)
	text := hex.EncodeToString(random)
	return text, os.WriteFile(path, []byte(text), 0o600)
}

func numbered(name string, i int) string { return name + "-" + strconv.Itoa(i+1) }

// freeAddress gives a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
