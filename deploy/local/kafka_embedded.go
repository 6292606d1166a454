package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

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

// EmbeddedKafka is the broker in our own binary, as a child process.
type EmbeddedKafka struct{ broker }

// NewEmbeddedKafka gives a broker that is not started yet.
func NewEmbeddedKafka(o KafkaOptions) *EmbeddedKafka {
	return &EmbeddedKafka{broker{child: child{name: "embedded kafka", log: o.Log}, options: o}}
}

// Start starts the broker: `rollcall kafka --listen=HOST:PORT --dir=DIR --cluster-id=ID`.
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
