package local

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"
)

// KafkaOptions say where a Kafka keeps its data and how it runs.
type KafkaOptions struct {
	Dir      string            // its directory: data, port, cluster id; created
	Port     int               // 0: the one kept in Dir, at first a free one
	Rollcall string            // embedded: path of the rollcall binary; our own executable by default
	Java     string            // Apache: KafkaChoice.Java
	Libs     string            // Apache: KafkaChoice.Libs
	HeapMB   int               // Apache: limit of the heap, in MiB; 512
	Log      func(line string) // every line that it says; may be nil
}

// broker is what both Kafkas share.
type broker struct {
	child
	options KafkaOptions
	known   sync.Mutex // guards port
	port    int
}

// Addr is host:port of the broker, to bootstrap from; the port is 0 before the
// first Start.
func (b *broker) Addr() string {
	b.known.Lock()
	defer b.known.Unlock()
	return address(b.port)
}

// lay makes the directory, locks it and settles port and cluster id. The caller
// closes the lock or hands it to spawn.
func (b *broker) lay(ctx context.Context) (dir, clusterID string, lock *os.File, err error) {
	if b.Pid() != 0 {
		return "", "", nil, ErrRunning
	}
	if dir, err = filepath.Abs(b.options.Dir); err == nil {
		err = makeOpen(dir)
	}
	if err != nil {
		return "", "", nil, fmt.Errorf("start %s: %w", b.name, err)
	}
	if lock, err = lockDir(ctx, dir); err != nil {
		return "", "", nil, fmt.Errorf("start %s: %w", b.name, err)
	}
	port, err := takePort(dir, "port", b.options.Port)
	if err == nil {
		clusterID, err = keptClusterID(dir)
	}
	if err != nil {
		lock.Close()
		return "", "", nil, fmt.Errorf("start %s: %w", b.name, err)
	}
	b.known.Lock()
	b.port = port
	b.known.Unlock()
	return dir, clusterID, lock, nil
}

// keptClusterID gives the id that the directory's cluster has, 22 characters of
// base64 as Kafka wants it; by it a probe tells our broker from another.
func keptClusterID(dir string) (string, error) {
	path := filepath.Join(dir, "cluster-id")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		text = []byte(newClusterID())
		err = writeFile(path, string(text), 0o644)
	}
	return string(text), err
}

// newClusterID gives a random id as Kafka prints it. Like Kafka's own it never
// begins with a dash, which its tools would take for an option.
func newClusterID() string {
	for {
		id := uuid.New()
		if text := base64.RawURLEncoding.EncodeToString(id[:]); text[0] != '-' {
			return text
		}
	}
}
