// Package localtest gives tests real engines: Postgres, ClickHouse and Kafka.
//
// Postgres and ClickHouse start once a test process, when a test first asks, and
// each call gives an empty database that is dropped when the test ends. The
// embedded Kafka is a fresh cluster in memory for each call; Apache Kafka starts
// once a test process, so its callers choose topic names of their own. Engines end
// with the test process, also when it panics or is killed; directories that such
// processes leave are removed by the next one.
//
// A test that looks for leaked goroutines asks for its engines first and then
// takes goleak.IgnoreCurrent().
package localtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rollcall/rollcall/deploy/local"
)

// startTime bounds what a test waits for an engine, its installation included.
const startTime = 5 * time.Minute

// Postgres gives the URL of an empty database, whose user may do everything.
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := postgres()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	name := "test_" + strings.ToLower(rand.Text()[:12])
	execute := func(statement string) {
		t.Helper()
		connection, err := pgx.Connect(ctx, server.URL())
		if err != nil {
			t.Fatalf("%v%s", err, lastWords(server))
		}
		defer connection.Close(ctx)
		if _, err := connection.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v%s", statement, err, lastWords(server))
		}
	}
	execute("CREATE DATABASE " + name)
	t.Cleanup(func() { execute("DROP DATABASE " + name + " WITH (FORCE)") })
	return withDatabase(t, server.URL(), name)
}

// ClickHouse gives the connection string (clickhouse://host:port/database, as
// clickhouse.ParseDSN takes it) of an empty database. There is no password.
func ClickHouse(t testing.TB) string {
	t.Helper()
	server, err := clickHouse()
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + strings.ToLower(rand.Text()[:12])
	execute := func(statement string) {
		t.Helper()
		options, err := clickhouse.ParseDSN(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		connection, err := clickhouse.Open(options)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		if err := connection.Exec(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v%s", statement, err, lastWords(server))
		}
	}
	execute("CREATE DATABASE " + name + " ENGINE=Atomic")
	t.Cleanup(func() { execute("DROP DATABASE " + name + " SYNC") })
	return withDatabase(t, server.URL(), name)
}

// lastWords tells of an engine that does not do what it should whether it died,
// and what it said. Who crashes takes a while to say why.
func lastWords(engine local.Engine) string {
	select {
	case <-engine.Done():
		return fmt.Sprintf("\n%v", engine.Err())
	case <-time.After(5 * time.Second):
		return ""
	}
}

// Kafka gives the address of an empty embedded cluster of one broker, in memory,
// which ends with the test. Close clients before the test ends.
func Kafka(t testing.TB) []string {
	t.Helper()
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.GroupMinSessionTimeout(100*time.Millisecond),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

// ApacheKafka gives the address of an Apache Kafka that all tests of the process
// share, and true; or why this machine has none, and false.
func ApacheKafka(t testing.TB) (brokers []string, why string, ok bool) {
	t.Helper()
	server, err := apacheKafka()
	if err != nil {
		t.Fatal(err)
	}
	if server.engine == nil {
		return nil, server.why, false
	}
	return []string{server.engine.Addr()}, server.why, true
}

// Kafkas runs test on the embedded Kafka and, where this machine has Java, on
// Apache Kafka; where it has not, the log says so.
func Kafkas(t *testing.T, test func(t *testing.T, brokers []string)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { test(t, Kafka(t)) })
	brokers, why, ok := ApacheKafka(t)
	if !ok {
		t.Log("on the embedded broker only; " + why)
		return
	}
	t.Run("apache", func(t *testing.T) { test(t, brokers) })
}

// Launcher gives the path of the binary rollcall-clickhouse.
func Launcher(t testing.TB) string {
	t.Helper()
	path, err := local.FindLauncher(context.Background(), local.DefaultEngines())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Engines gives the installed engines.
func Engines(t testing.TB) local.Installed {
	t.Helper()
	installed, err := install()
	if err != nil {
		t.Fatal(err)
	}
	return installed
}

func withDatabase(t testing.TB, text, name string) string {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// say prints what a person waits for.
func say(line string) { fmt.Fprintln(os.Stderr, line) }

var install = sync.OnceValues(func() (local.Installed, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	return local.Install(ctx, local.InstallOptions{Progress: say})
})

var postgres = sync.OnceValues(func() (*local.Postgres, error) {
	installed, err := install()
	if err != nil {
		return nil, err
	}
	dir, err := processDir()
	if err != nil {
		return nil, err
	}
	server := local.NewPostgres(local.PostgresOptions{
		Dir: filepath.Join(dir, "postgres"), Native: installed.Postgres,
		// Tests kill processes, not the machine's power.
		Settings: map[string]string{"fsync": "off", "shared_buffers": "64MB"},
	})
	return server, start(server)
})

var clickHouse = sync.OnceValues(func() (*local.ClickHouse, error) {
	installed, err := install()
	if err != nil {
		return nil, err
	}
	dir, err := processDir()
	if err != nil {
		return nil, err
	}
	launcher, err := local.FindLauncher(context.Background(), local.DefaultEngines())
	if err != nil {
		return nil, err
	}
	server := local.NewClickHouse(local.ClickHouseOptions{
		Dir: filepath.Join(dir, "clickhouse"), Launcher: launcher, Library: installed.ClickHouse, MemoryBytes: 1 << 30,
	})
	return server, start(server)
})

// chosen is the process's Apache Kafka, or why there is none.
type chosen struct {
	engine local.Engine
	why    string
}

var apacheKafka = sync.OnceValues(func() (chosen, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	choice, err := local.ChooseKafka(ctx, local.KafkaAuto, local.InstallOptions{Progress: say})
	if err != nil || choice.Kind != local.KafkaApache {
		return chosen{why: choice.Why}, err
	}
	dir, err := processDir()
	if err != nil {
		return chosen{}, err
	}
	server := local.NewApacheKafka(local.KafkaOptions{
		Dir: filepath.Join(dir, "kafka"), Java: choice.Java, Libs: choice.Libs, HeapMB: 256,
	})
	return chosen{engine: server, why: choice.Why}, start(server)
})

// start starts an engine of the process. An error is kept as every caller's answer.
func start(engine local.Engine) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	return engine.Start(ctx)
}

// space is the directory of this process's engines, locked until the process ends.
type space struct {
	dir  string
	lock *os.File
}

// processDir gives the directory of this process's engines.
func processDir() (string, error) {
	own, err := processSpace()
	return own.dir, err
}

// processSpace makes the process's directory, and removes those of processes that
// are gone: every process holds a lock on its own.
var processSpace = sync.OnceValues(func() (space, error) {
	base, _, err := local.Reachable(filepath.Join(os.TempDir(), "rollcall-tests-"+strconv.Itoa(os.Geteuid())))
	if err != nil {
		return space{}, err
	}
	// Under the base's lock nobody is between making a directory and locking it.
	baseLock, err := lock(filepath.Join(base, "lock"), syscall.LOCK_EX)
	if err != nil {
		return space{}, err
	}
	defer baseLock.Close()
	old, err := filepath.Glob(filepath.Join(base, "process-*"))
	if err != nil {
		return space{}, err
	}
	for _, dir := range old {
		removeIfFree(dir)
	}
	dir, _, err := local.Reachable(filepath.Join(base, fmt.Sprintf("process-%d-%s", os.Getpid(), rand.Text()[:6])))
	if err != nil {
		return space{}, err
	}
	own, err := lock(filepath.Join(dir, "lock"), syscall.LOCK_EX)
	return space{dir, own}, err
})

// removeIfFree removes a directory that neither a test process nor one of its
// engines, which hold locks of their own, uses any more.
func removeIfFree(dir string) {
	locks, _ := filepath.Glob(filepath.Join(dir, "*", "lock"))
	for _, path := range append(locks, filepath.Join(dir, "lock")) {
		file, err := lock(path, syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			return
		}
		defer file.Close()
	}
	_ = os.RemoveAll(dir)
}

// lock takes the lock of a file, which it creates.
func lock(path string, how int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), how); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return file, nil
}
