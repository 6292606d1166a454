// Command rollcall-clickhouse serves ClickHouse from the engine's shared
// library: the native protocol and HTTP, until its standard input ends.
//
// It is a program of its own for two reasons: loading a shared library makes a
// binary dynamically linked, which rollcall is not, and the engine replaces the
// Go runtime's signal handlers, so nothing else may live in its process.
// deploy/local starts it; a person only needs it to serve a data directory by hand:
//
//	rollcall-clickhouse -lib libchdb.so -path data -port 9000 -http-port 8123 < /dev/tty
//
// The engine's exit status says nothing: it is 0 also when a port or the data
// directory is taken. So whoever starts this holds its standard input open, takes
// any exit before closing it as a failure, and asks the server whether it is there.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/ebitengine/purego"
)

// options say what to serve and where.
type options struct {
	lib         string // path of libchdb.so
	path        string // data directory
	host        string // address to listen on; user "default" has no password: loopback only
	port        int    // native protocol
	httpPort    int
	database    string // created when it is not there
	maxThreads  int    // of one query
	memoryBytes int64  // the server's limit
	logLevel    string // of the engine's log on standard error
}

func main() {
	var o options
	flag.StringVar(&o.lib, "lib", "", "path of libchdb.so")
	flag.StringVar(&o.path, "path", "", "data directory")
	flag.StringVar(&o.host, "host", "127.0.0.1", "address to listen on (there is no password: keep it a loopback one)")
	flag.IntVar(&o.port, "port", 0, "port of the native protocol")
	flag.IntVar(&o.httpPort, "http-port", 0, "port of the HTTP protocol")
	flag.StringVar(&o.database, "database", "rollcall", "database to create")
	flag.IntVar(&o.maxThreads, "max-threads", 2, "threads of one query")
	flag.Int64Var(&o.memoryBytes, "memory", 2<<30, "memory limit of the server, in bytes")
	flag.StringVar(&o.logLevel, "log-level", "error", "level of the log on standard error")
	flag.Parse()
	if err := serve(o); err != nil {
		fmt.Fprintln(os.Stderr, "rollcall-clickhouse:", err)
		os.Exit(1)
	}
}

// check names what is missing or cannot be.
func (o options) check() error {
	switch {
	case o.lib == "":
		return fmt.Errorf("-lib is missing: the path of libchdb.so")
	case o.path == "":
		return fmt.Errorf("-path is missing: the data directory")
	case o.port <= 0 || o.httpPort <= 0:
		return fmt.Errorf("-port and -http-port must both be given")
	case strings.ContainsAny(o.database, "`\\"):
		return fmt.Errorf("-database %q: not a plain name", o.database)
	}
	return nil
}

// arguments gives the engine's command line. Settings of queries come as plain
// options and reach every session; settings of the server stand after "--".
func (o options) arguments() []string {
	query := "CREATE DATABASE IF NOT EXISTS `" + o.database + "` ENGINE=Atomic;" +
		"SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP;" +
		// What keeps it alive: this reads standard input until it ends.
		"SELECT count() FROM file('-', 'LineAsString', 'l String') FORMAT Null"
	return []string{
		"clickhouse",
		"--path=" + o.path,
		"--listen_host=" + o.host,
		"--tcp_port=" + strconv.Itoa(o.port),
		"--http_port=" + strconv.Itoa(o.httpPort),
		"--async_insert=0",
		"--max_threads=" + strconv.Itoa(o.maxThreads),
		"--logger.console", "--log-level=" + o.logLevel,
		"--multiquery", "--query", query,
		"--",
		"--max_server_memory_usage=" + strconv.FormatInt(o.memoryBytes, 10),
		"--mark_cache_size=67108864",
		"--uncompressed_cache_size=67108864",
	}
}

// serve loads the engine and returns when standard input has ended, or when the
// engine gave up; which of the two, it cannot tell.
func serve(o options) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := os.MkdirAll(o.path, 0o755); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	runtime.LockOSThread()
	lib, err := purego.Dlopen(o.lib, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load the engine: %w", err)
	}
	var run func(argc int32, argv **byte) uintptr
	purego.RegisterLibFunc(&run, lib, "chdb_query_cmdline")

	arguments := o.arguments()
	var pinner runtime.Pinner
	defer pinner.Unpin()
	argv := make([]*byte, len(arguments)+1)
	for i, argument := range arguments {
		text := append([]byte(argument), 0)
		pinner.Pin(&text[0])
		argv[i] = &text[0]
	}
	pinner.Pin(&argv[0])
	run(int32(len(arguments)), &argv[0])
	return nil
}
