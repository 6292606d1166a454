// Package local runs the servers that Rollcall needs, Kafka, Postgres and
// ClickHouse, on one machine: real engines, each a child process with its own
// data directory, without containers and without an administrator.
//
// Install obtains the binaries; a Stack starts all three under one directory and
// is what `rollcall dev` uses; NewPostgres, NewClickHouse, NewApacheKafka and
// NewEmbeddedKafka give single engines, which tests start, kill and start again.
// Tests of other packages use deploy/local/localtest.
//
// What an engine acknowledged survives kill -9 of it, and of us: a child ends when
// its parent does, however that ends, and leaves nothing behind but its data. An
// engine keeps its port in its directory, so that it answers at the same address
// after a restart.
package local

import (
	"context"
	"errors"
)

// An Engine is one server as a child process. Start and Stop may be called again
// and again, in turn, by one goroutine; the other methods by any.
type Engine interface {
	// Name says what it is, in a word or two: "postgres", "apache kafka".
	Name() string
	// Start starts the process and returns once the engine answers queries, or
	// with an error that holds the last lines of what it said. ctx bounds the
	// start (StartTimeout does if ctx has no deadline), not the life. It returns
	// ErrRunning if it runs already and ErrInUse if another process has its
	// directory.
	Start(ctx context.Context) error
	// Pid is the process's id, 0 while none runs.
	Pid() int
	// Addr is host:port of the protocol that Rollcall speaks to it. It stays the
	// same over restarts, and is known once Start was called.
	Addr() string
	// Done gives a channel that is closed when the process of the last Start has
	// ended; it is closed before the first Start.
	Done() <-chan struct{}
	// Err says why the process ended: nil while it runs and after Stop.
	Err() error
	// Stop asks the process to end and waits until it has; when ctx ends first,
	// it is killed. It returns nil if none runs.
	Stop(ctx context.Context) error
	// Kill ends the process at once (SIGKILL) and waits until it is gone.
	Kill() error
}

var (
	// ErrRunning means that Start was called on an engine that runs.
	ErrRunning = errors.New("local: already running")
	// ErrInUse means that a living process holds the engine's directory.
	ErrInUse = errors.New("local: directory is in use by another process")
)
