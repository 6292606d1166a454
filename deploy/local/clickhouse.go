package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ClickHouseOptions say where a ClickHouse keeps its data and how it runs.
type ClickHouseOptions struct {
	Dir         string            // its directory: data, ports; created
	Launcher    string            // path of the binary rollcall-clickhouse
	Library     string            // Installed.ClickHouse: path of libchdb.so
	Port        int               // of the native protocol; 0: the one kept in Dir, at first a free one
	HTTPPort    int               // likewise
	MemoryBytes int64             // limit of the server; 2 GiB
	Log         func(line string) // every line that it says; may be nil
}

// ClickHouse is a ClickHouse server on the loopback interface, for user default
// without a password.
type ClickHouse struct {
	child
	options ClickHouseOptions

	known          sync.Mutex // guards the two below
	port, httpPort int
}

// NewClickHouse gives a server that is not started yet.
func NewClickHouse(o ClickHouseOptions) *ClickHouse {
	return &ClickHouse{child: child{name: "clickhouse", log: o.Log}, options: o}
}

// Addr is host:port of the native protocol; the port is 0 before the first Start.
func (c *ClickHouse) Addr() string {
	c.known.Lock()
	defer c.known.Unlock()
	return address(c.port)
}

// HTTPAddr is host:port of the HTTP protocol.
func (c *ClickHouse) HTTPAddr() string {
	c.known.Lock()
	defer c.known.Unlock()
	return address(c.httpPort)
}

// URL is the connection string of database rollcall, for clickhouse-go.
func (c *ClickHouse) URL() string { return c.databaseURL(database) }

func (c *ClickHouse) databaseURL(name string) string {
	return (&url.URL{Scheme: "clickhouse", Host: c.Addr(), Path: "/" + name}).String()
}

// Start starts the server and creates the database rollcall.
func (c *ClickHouse) Start(ctx context.Context) error {
	if c.Pid() != 0 {
		return ErrRunning
	}
	dir, err := filepath.Abs(c.options.Dir)
	if err == nil {
		err = makeOpen(dir)
	}
	if err != nil {
		return fmt.Errorf("start clickhouse: %w", err)
	}
	lock, err := lockDir(ctx, dir)
	if err != nil {
		return fmt.Errorf("start clickhouse: %w", err)
	}
	port, err := takePort(dir, "port", c.options.Port)
	httpPort, httpErr := takePort(dir, "http-port", c.options.HTTPPort)
	if err = errors.Join(err, httpErr); err != nil {
		lock.Close()
		return fmt.Errorf("start clickhouse: %w", err)
	}
	c.known.Lock()
	c.port, c.httpPort = port, httpPort
	c.known.Unlock()

	data := filepath.Join(dir, "data")
	args := []string{
		"-lib", c.options.Library, "-path", data, "-host", loopback, "-database", database,
		"-port", strconv.Itoa(port), "-http-port", strconv.Itoa(httpPort),
	}
	if c.options.MemoryBytes > 0 {
		args = append(args, "-memory", strconv.FormatInt(c.options.MemoryBytes, 10))
	}
	return c.spawn(ctx, launch{
		path: c.options.Launcher, args: args, dir: dir,
		// It ends when its standard input does: by Stop, or because we ended.
		holdStdin: true,
		ready:     func(ctx context.Context) error { return c.ready(ctx, data) },
	}, lock)
}

// ready asks the server for its data directory, and whether the database is
// there: another program's server on our port gives other answers.
func (c *ClickHouse) ready(ctx context.Context, data string) error {
	query := "SELECT (SELECT value FROM system.server_settings WHERE name = 'path'), " +
		"(SELECT count() FROM system.databases WHERE name = '" + database + "') FORMAT TSV"
	answer, err := c.query(ctx, query)
	if err != nil {
		return err
	}
	path, databases, _ := strings.Cut(strings.TrimSpace(answer), "\t")
	if filepath.Clean(path) != data || databases != "1" {
		return fmt.Errorf("the server at %s answers for %q", c.HTTPAddr(), path)
	}
	return portAnswers(ctx, c.Addr())
}

// query gives the answer of one statement over HTTP.
func (c *ClickHouse) query(ctx context.Context, statement string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.HTTPAddr()+"/", strings.NewReader(statement))
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil}, Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("clickhouse: %s: %s", response.Status, body)
	}
	return string(body), err
}
