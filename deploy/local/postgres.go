package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// database is the name of the database in Postgres and in ClickHouse, and of the
// superuser in Postgres.
const database = "rollcall"

// PostgresOptions say where a Postgres keeps its data and how it runs.
type PostgresOptions struct {
	Dir      string            // its directory: data, password, port; created
	Native   string            // Installed.Postgres: the folder with bin/ and lib/
	Port     int               // 0: the one kept in Dir, at first a free one
	Settings map[string]string // beside ours or instead of them, as in postgresql.conf
	Log      func(line string) // every line that it says; may be nil
}

// Postgres is a Postgres server on the loopback interface. Its superuser rollcall
// has a random password, which stays in the file "password" of its directory.
type Postgres struct {
	child
	options PostgresOptions

	known    sync.Mutex // guards the two below
	port     int
	password string
}

// NewPostgres gives a server that is not started yet.
func NewPostgres(o PostgresOptions) *Postgres {
	return &Postgres{child: child{name: "postgres", log: o.Log}, options: o}
}

// Addr is host:port of the server; the port is 0 before the first Start.
func (p *Postgres) Addr() string {
	p.known.Lock()
	defer p.known.Unlock()
	return address(p.port)
}

// URL is the connection string of database rollcall, with the password.
func (p *Postgres) URL() string { return p.databaseURL(database) }

func (p *Postgres) databaseURL(name string) string {
	p.known.Lock()
	defer p.known.Unlock()
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword(database, p.password),
		Host: address(p.port), Path: "/" + name, RawQuery: "sslmode=disable",
	}).String()
}

// Start lays the data directory if there is none, starts the server and creates
// the database rollcall.
func (p *Postgres) Start(ctx context.Context) error {
	if p.Pid() != 0 {
		return ErrRunning
	}
	dir, err := p.prepare()
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	lock, err := lockDir(ctx, dir)
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	port, err := takePort(dir, "port", p.options.Port)
	if err == nil {
		p.known.Lock()
		p.port = port
		p.known.Unlock()
		err = p.initialise(ctx, dir)
	}
	if err == nil {
		err = removeStalePid(filepath.Join(dir, "data"))
	}
	if err != nil {
		lock.Close()
		return fmt.Errorf("start postgres: %w", err)
	}
	return p.spawn(ctx, launch{
		path: filepath.Join(p.options.Native, "bin", "postgres"),
		args: p.arguments(dir, port),
		env:  postgresEnv(), dir: "/", uid: serverUser(),
		// SIGINT is its fast shutdown: sessions end, what is committed is kept.
		deathSignal: syscall.SIGINT, stopSignal: syscall.SIGINT,
		ready: p.ready,
	}, lock)
}

// prepare makes the directory and its password.
func (p *Postgres) prepare() (string, error) {
	dir, err := filepath.Abs(p.options.Dir)
	if err != nil {
		return "", err
	}
	if err := makeOpen(dir); err != nil {
		return "", err
	}
	if uid := serverUser(); uid != 0 {
		for _, needed := range []string{dir, p.options.Native} {
			if open, err := openWay(needed, uint32(uid)); err != nil || !open {
				return "", errors.Join(fmt.Errorf("user %d, which Postgres runs as, cannot reach %s (see Reachable)", uid, needed), err)
			}
		}
	}
	path := filepath.Join(dir, "password")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		text = []byte(rand.Text())
		err = writeFile(path, string(text), 0o600)
	}
	if err != nil {
		return "", err
	}
	p.known.Lock()
	p.password = strings.TrimSpace(string(text))
	p.known.Unlock()
	return dir, nil
}

// initialise lays the data directory if it is not there. It is made under another
// name, so that one cut short is never taken for a whole one.
func (p *Postgres) initialise(ctx context.Context, dir string) error {
	data, unfinished := filepath.Join(dir, "data"), filepath.Join(dir, "data.new")
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := os.Mkdir(unfinished, 0o700); err != nil {
		return err
	}
	passwords := filepath.Join(unfinished, "..", "password.new")
	if err := writeFile(passwords, p.password+"\n", 0o600); err != nil {
		return err
	}
	defer os.Remove(passwords)
	command := exec.CommandContext(ctx, filepath.Join(p.options.Native, "bin", "initdb"),
		"--pgdata="+unfinished, "--username="+database, "--pwfile="+passwords, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions")
	command.Env, command.Dir = postgresEnv(), "/"
	command.SysProcAttr = &syscall.SysProcAttr{}
	if uid := serverUser(); uid != 0 {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
		for _, path := range []string{unfinished, passwords} {
			if err := os.Chown(path, uid, uid); err != nil {
				return err
			}
		}
	}
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w; it said:\n%s", err, said)
	}
	return os.Rename(unfinished, data)
}

// arguments gives the command line. The settings stand there and not in the data
// directory, so that a newer Rollcall brings its own to an old directory.
func (p *Postgres) arguments(dir string, port int) []string {
	settings := map[string]string{
		"listen_addresses":        loopback,
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": "",
		"max_connections":         "200",
		"shared_buffers":          "256MB",
		"max_wal_size":            "2GB",
		"checkpoint_timeout":      "15min",
		"wal_compression":         "pglz",
		"log_min_messages":        "warning",
		"log_line_prefix":         "",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
		"jit":                     "off",
	}
	maps.Copy(settings, p.options.Settings)
	args := []string{"-D", filepath.Join(dir, "data")}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// postgresEnv leaves out every PG variable of ours, which would redirect it.
func postgresEnv() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
}

// ready connects with our password, which no other server has, and sees to the database.
func (p *Postgres) ready(ctx context.Context) error {
	connection, err := pgx.Connect(ctx, p.databaseURL("postgres"))
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	var there bool
	err = connection.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = connection.Exec(ctx, "CREATE DATABASE "+database)
	return err
}

// removeStalePid removes the pid file that a killed server left. The server
// itself takes one for valid when any process of its user has that number now,
// so this looks at what that process is.
func removeStalePid(data string) error {
	path := filepath.Join(data, "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err == nil && pid > 0 {
		command, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		for _, argument := range strings.Split(string(command), "\x00") {
			if argument == data {
				return fmt.Errorf("%w: postgres runs on %s with pid %d", ErrInUse, data, pid)
			}
		}
	}
	return os.Remove(path)
}
