package local

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"
)

// EmbeddedKafkaOptions say what the embedded broker serves and where.
type EmbeddedKafkaOptions struct {
	Listen    string // host:port; clients are told this address
	Dir       string // its data; created
	ClusterID string // "rollcall" by default
	// SyncWrites waits for the disk at each write: records then survive a power
	// failure too, not only the end of the process.
	SyncWrites bool
}

// ServeEmbeddedKafka runs the embedded broker, one node for one machine, until
// ctx ends. It is what `rollcall kafka` calls; NewEmbeddedKafka starts that as a
// child. Topics, records and the offsets of groups are in Dir and survive its
// sudden end. Retention and compaction run every 30 s.
func ServeEmbeddedKafka(ctx context.Context, o EmbeddedKafkaOptions) error {
	host, portText, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return fmt.Errorf("embedded kafka: listen: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return fmt.Errorf("embedded kafka: listen %s: %w", o.Listen, err)
	}
	if o.Dir == "" {
		return errors.New("embedded kafka: no data directory given")
	}
	if o.ClusterID == "" {
		o.ClusterID = "rollcall"
	}
	options := []kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID(o.ClusterID), kfake.DataDir(o.Dir),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) {
			return net.Listen(network, net.JoinHostPort(host, portText))
		}),
		kfake.GroupMinSessionTimeout(time.Second),
		kfake.BrokerConfigs(map[string]string{
			"log.cleaner.backoff.ms": "30000",
			"message.max.bytes":      strconv.Itoa(maxMessageBytes),
		}),
	}
	if o.SyncWrites {
		options = append(options, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return fmt.Errorf("embedded kafka: %w", err)
	}
	defer cluster.Close()
	<-ctx.Done()
	return nil
}

// maxMessageBytes bounds one produced batch, on both brokers.
const maxMessageBytes = 8 << 20

// EmbeddedKafkaFlags declares on set the flags that NewEmbeddedKafka passes after
// the subcommand "kafka": -listen, -dir, -cluster-id and -sync-writes. A caller
// with another flag library declares the same ones.
func EmbeddedKafkaFlags(set *flag.FlagSet) *EmbeddedKafkaOptions {
	o := &EmbeddedKafkaOptions{}
	set.StringVar(&o.Listen, "listen", "127.0.0.1:9092", "host:port to listen on, told to clients")
	set.StringVar(&o.Dir, "dir", "", "data directory")
	set.StringVar(&o.ClusterID, "cluster-id", "rollcall", "id of the cluster, told to clients")
	set.BoolVar(&o.SyncWrites, "sync-writes", false, "wait for the disk at each write")
	return o
}

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
		id, idErr := uuid.NewRandom()
		if idErr != nil {
			return "", idErr
		}
		text = []byte(kafkaUUID(id))
		err = writeFile(path, string(text), 0o644)
	}
	return string(text), err
}

// EmbeddedKafka is the broker in our own binary, as a child process.
type EmbeddedKafka struct{ broker }

// NewEmbeddedKafka gives a broker that is not started yet.
func NewEmbeddedKafka(o KafkaOptions) *EmbeddedKafka {
	return &EmbeddedKafka{broker{child: child{name: "embedded kafka", log: o.Log}, options: o}}
}

// Start starts the broker: `rollcall kafka -listen … -dir …`.
func (k *EmbeddedKafka) Start(ctx context.Context) error {
	binary := k.options.Rollcall
	if binary == "" {
		own, err := os.Executable()
		if err != nil {
			return fmt.Errorf("start %s: %w", k.name, err)
		}
		binary = own
	}
	dir, clusterID, lock, err := k.lay(ctx)
	if err != nil {
		return err
	}
	return k.spawn(ctx, launch{
		path: binary, dir: dir,
		args: []string{
			"kafka", "--listen=" + k.Addr(), "--dir=" + filepath.Join(dir, "data"), "--cluster-id=" + clusterID,
		},
		deathSignal: syscall.SIGKILL, stopSignal: syscall.SIGTERM,
		ready: func(ctx context.Context) error { return kafkaAnswers(ctx, k.Addr(), clusterID) },
	}, lock)
}
