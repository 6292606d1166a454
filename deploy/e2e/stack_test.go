package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
)

// stack is one `rollcall dev`.
type stack struct {
	dir, kafka string
	flags      []string // further ones
	env        []string // settings of what it starts
	base       int
	cmd        *exec.Cmd
	ended      chan struct{} // closed when the process is gone

	mu  sync.Mutex
	log *os.File
}

// runFile is what DIR/run.json says.
type runFile struct {
	Domain         string   `json:"domain"`
	PostgresURL    string   `json:"postgres_url"`
	ClickhouseAddr string   `json:"clickhouse_addr"`
	ClickhouseHTTP string   `json:"clickhouse_http"`
	KafkaBrokers   []string `json:"kafka_brokers"`
	KafkaKind      string   `json:"kafka_kind"`
	Certificates   string   `json:"certificates"`
	Engines        []struct {
		Name, Addr string
		Pid        int
	} `json:"engines"`
	Parts []part `json:"parts"`
}

type part struct {
	Name, Role, Admin string
	Pid               int
	Listen            map[string]string
}

// newStack gives a directory for a stack that is not started yet. The
// directory goes when the test has passed.
func newStack(t testing.TB, kafka string) *stack {
	t.Helper()
	wanted, err := os.MkdirTemp("", "rollcall-e2e-"+kafka)
	if err != nil {
		t.Fatal(err)
	}
	dir, _, err := local.Reachable(wanted)
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{dir: dir, kafka: kafka}
	if s.log, err = os.Create(filepath.Join(wanted, "dev.log")); err != nil {
		t.Fatal(err)
	}
	s.base = freePortBase(t)
	t.Cleanup(func() {
		s.kill()
		s.log.Close()
		if t.Failed() {
			t.Logf("data are in %s, the log is %s; it ends with:\n%s", dir, s.log.Name(), s.lastLines())
			return
		}
		os.RemoveAll(dir)
		os.RemoveAll(wanted)
	})
	return s
}

// basesTaken are those of other stacks of this run, which may not listen yet.
var basesTaken sync.Map

// freePortBase gives a port that is free on both edges' addresses, as are the
// others that an edge takes: direct TLS, HTTP and HTTPS. Bases lie apart by
// more than these do, and below the ports that engines choose from.
func freePortBase(t testing.TB) int {
	t.Helper()
	for range 1000 {
		base := 10000 + 300*rand.IntN(32)
		if _, taken := basesTaken.LoadOrStore(base, true); taken {
			continue
		}
		free := true
		for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
			for _, above := range []int{0, 1, 58, 59, 125, 221} {
				l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(base+above)))
				if err != nil {
					free = false
					continue
				}
				l.Close()
			}
		}
		if free {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

// start runs `rollcall dev` and returns when it says that it is ready.
func (s *stack) start(t testing.TB) {
	t.Helper()
	began := time.Now()
	args := []string{"dev", "--data", s.dir, "--port-base", strconv.Itoa(s.base),
		"--edges", "2", "--workers", "2", "--projectors", "2", "--kafka", s.kafka, "--insecure-auth",
		"--engines", local.DefaultEngines()}
	s.cmd = exec.Command(binary, append(args, s.flags...)...)
	s.cmd.Env = append(withoutOurs(), s.env...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = s.cmd.Stdout
	ready, started := make(chan struct{}), make(chan error)
	s.ended = make(chan struct{})
	go func() {
		// The death signal comes when the thread that forked ends: this
		// goroutine keeps it until the process is gone.
		runtime.LockOSThread()
		defer close(s.ended)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.copy(out, ready)
			s.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	select {
	case <-ready:
	case <-s.ended:
		t.Fatalf("rollcall dev ended: %v; its last lines:\n%s", s.cmd.ProcessState, s.lastLines())
	case <-time.After(3 * time.Minute):
		t.Fatalf("rollcall dev is not ready; its last lines:\n%s", s.lastLines())
	}
	t.Logf("rollcall dev on %s Kafka is ready after %.1f s", s.kafka, time.Since(began).Seconds())
}

// copy writes the output of the process to the log.
func (s *stack) copy(out io.Reader, ready chan<- struct{}) {
	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadString('\n')
		if line == "ready\n" && ready != nil {
			close(ready)
			ready = nil
		}
		s.mu.Lock()
		fmt.Fprintf(s.log, "%s %s", time.Now().Format("15:04:05.000"), line)
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// stackFrame is a line of ClickHouse's that tells a person nothing.
var stackFrame = regexp.MustCompile(`clickhouse +\| \d+\. \? `)

func (s *stack) lastLines() string {
	text, _ := os.ReadFile(s.log.Name())
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), stackFrame.MatchString)
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// withoutOurs is the environment without settings of Rollcall.
func withoutOurs() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ROLLCALL_") {
			env = append(env, v)
		}
	}
	return env
}

// run reads run.json.
func (s *stack) run(t testing.TB) runFile {
	t.Helper()
	r, err := s.readRun()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *stack) readRun() (r runFile, err error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "run.json"))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

func (r *runFile) part(name string) part {
	for _, p := range r.Parts {
		if p.Name == name {
			return p
		}
	}
	return part{}
}

// trust is the TLS configuration of a client.
func (s *stack) trust(t testing.TB) *tls.Config {
	t.Helper()
	r := s.run(t)
	pem, err := os.ReadFile(filepath.Join(r.Certificates, r.Domain+".crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: r.Domain}
}

// pids gives every process that run.json names.
func (r *runFile) pids() map[string]int {
	pids := make(map[string]int)
	for _, e := range r.Engines {
		pids[e.Name] = e.Pid
	}
	for _, p := range r.Parts {
		pids[p.Name] = p.Pid
	}
	return pids
}

// stop sends SIGTERM and waits until the process has ended.
func (s *stack) stop(t testing.TB) {
	t.Helper()
	began := time.Now()
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		t.Fatalf("rollcall dev does not stop; its last lines:\n%s", s.lastLines())
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("rollcall dev ended with %s; its last lines:\n%s", s.cmd.ProcessState, s.lastLines())
	}
	t.Logf("rollcall dev stopped within %.1f s", time.Since(began).Seconds())
}

// kill ends what is left of the stack, for a test that failed.
func (s *stack) kill() {
	if s.cmd == nil {
		return
	}
	select {
	case <-s.ended:
		return
	default:
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		s.cmd.Process.Kill() // its children end with it
		<-s.ended
	}
}

// rollcall runs another command of the binary against the stack's engines.
func (s *stack) rollcall(t testing.TB, args ...string) (string, error) {
	t.Helper()
	r := s.run(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(withoutOurs(),
		"ROLLCALL_KAFKA_BROKERS="+strings.Join(r.KafkaBrokers, ","),
		"ROLLCALL_POSTGRES_URL="+r.PostgresURL,
		"ROLLCALL_CLICKHOUSE_ADDR="+r.ClickhouseAddr,
		"ROLLCALL_LOG_LEVEL=warn")
	said, err := cmd.CombinedOutput()
	return string(said), err
}

// awaitReady waits until every part says that it is ready.
func (s *stack) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, "every part is ready", 60*time.Second, func() error {
		r, err := s.readRun()
		if err != nil {
			return err
		}
		for _, p := range r.Parts {
			if p.Pid == 0 {
				return fmt.Errorf("%s does not run", p.Name)
			}
			if _, err := get(p.Admin, "/readyz"); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
		return nil
	})
}

// killParts sends SIGKILL to parts and waits until their successors are ready.
func (s *stack) killParts(t *testing.T, names ...string) {
	t.Helper()
	before := s.run(t)
	for _, name := range names {
		s.signal(t, name, syscall.SIGKILL)
	}
	for _, name := range names {
		s.awaitAnother(t, name, before.part(name).Pid)
	}
}

// signal sends a signal to a part.
func (s *stack) signal(t *testing.T, name string, signal syscall.Signal) {
	t.Helper()
	r := s.run(t)
	pid := r.part(name).Pid
	if pid == 0 {
		t.Fatalf("%s does not run", name)
	}
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatalf("%s to %s: %v", signal, name, err)
	}
}

// awaitAnother waits until another process than before is a part, and ready.
func (s *stack) awaitAnother(t *testing.T, name string, before int) {
	t.Helper()
	eventually(t, name+" runs again", 30*time.Second, func() error {
		r, err := s.readRun()
		if err != nil {
			return err
		}
		p := r.part(name)
		if p.Pid == 0 || p.Pid == before {
			return errors.New("not started yet")
		}
		_, err = get(p.Admin, "/readyz")
		return err
	})
}

// eventually waits until cond gives no error.
func eventually(t testing.TB, what string, within time.Duration, cond func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", within, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
