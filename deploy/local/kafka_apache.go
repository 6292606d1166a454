package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ApacheKafka is one node of Apache Kafka, broker and controller in one process.
type ApacheKafka struct{ broker }

// NewApacheKafka gives a broker that is not started yet.
func NewApacheKafka(o KafkaOptions) *ApacheKafka {
	return &ApacheKafka{broker{child: child{name: "apache kafka", log: o.Log}, options: o}}
}

// Start writes the configuration, formats the data directory if it is new, and
// starts the broker.
func (k *ApacheKafka) Start(ctx context.Context) error {
	dir, clusterID, lock, err := k.lay(ctx)
	if err != nil {
		return err
	}
	controller, err := takePort(dir, "controller-port", 0)
	if err == nil {
		err = k.configure(ctx, dir, clusterID, controller)
	}
	if err != nil {
		lock.Close()
		return fmt.Errorf("start %s: %w", k.name, err)
	}
	return k.spawn(ctx, launch{
		path: k.options.Java, dir: dir,
		args:        append(k.jvm(dir), "kafka.Kafka", filepath.Join(dir, "server.properties")),
		deathSignal: syscall.SIGTERM, stopSignal: syscall.SIGTERM,
		ready: func(ctx context.Context) error { return kafkaAnswers(ctx, k.Addr(), clusterID) },
	}, lock)
}

// jvm gives the options of the java command up to the main class.
func (k *ApacheKafka) jvm(dir string) []string {
	heap := k.options.HeapMB
	if heap == 0 {
		heap = 512
	}
	return []string{
		"-Xmx" + strconv.Itoa(heap) + "m", "-Djava.awt.headless=true",
		"-Djava.io.tmpdir=" + filepath.Join(dir, "tmp"),
		"-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.xml"),
		"-cp", filepath.Join(k.options.Libs, "*"),
	}
}

// configure writes what the broker reads, and formats the data directory if it
// is new. A format that was cut short is done again.
func (k *ApacheKafka) configure(ctx context.Context, dir, clusterID string, controller int) error {
	// Programs that the JVM unpacks there last as long as it runs.
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "tmp")), os.Mkdir(filepath.Join(dir, "tmp"), 0o755)); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "log4j2.xml"), log4j, 0o644); err != nil {
		return err
	}
	properties := filepath.Join(dir, "server.properties")
	if err := writeFile(properties, k.properties(dir, controller), 0o644); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "formatted")); err == nil {
		return nil
	}
	command := exec.CommandContext(ctx, k.options.Java, append(k.jvm(dir),
		"kafka.tools.StorageTool", "format", "--cluster-id="+clusterID, "-c", properties, "--standalone", "--ignore-formatted")...)
	command.Dir = dir
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("format the data directory: %w; it said:\n%s", err, said)
	}
	return writeFile(filepath.Join(dir, "formatted"), clusterID+"\n", 0o644)
}

// properties gives the configuration of a lone node on a small machine. A broker
// that was killed is let in again when its old session has ended, hence the short
// one; segments are small because unflushed ones are read again after a kill.
func (k *ApacheKafka) properties(dir string, controller int) string {
	settings := map[string]string{
		"process.roles":                       "broker,controller",
		"node.id":                             "1",
		"controller.quorum.bootstrap.servers": address(controller),
		"controller.listener.names":           "CONTROLLER",
		"listeners":                           "PLAINTEXT://" + k.Addr() + ",CONTROLLER://" + address(controller),
		"advertised.listeners":                "PLAINTEXT://" + k.Addr() + ",CONTROLLER://" + address(controller),
		"listener.security.protocol.map":      "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"log.dirs":                            filepath.Join(dir, "data"),

		"auto.create.topics.enable":                        "false",
		"offsets.topic.num.partitions":                     "4",
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.num.partitions":             "4",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.num.partitions":     "4",
		"share.coordinator.state.topic.replication.factor": "1",
		"share.coordinator.state.topic.min.isr":            "1",

		"broker.session.timeout.ms":        "2000",
		"broker.heartbeat.interval.ms":     "500",
		"group.initial.rebalance.delay.ms": "0",
		"group.min.session.timeout.ms":     "1000",

		"log.segment.bytes":              strconv.Itoa(64 << 20),
		"log.cleaner.dedupe.buffer.size": strconv.Itoa(16 << 20),
		"log.cleaner.threads":            "1",
		"message.max.bytes":              strconv.Itoa(maxMessageBytes),
		"num.network.threads":            "2",
		"num.io.threads":                 "4",
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s=%s\n", name, strings.ReplaceAll(settings[name], `\`, `\\`))
	}
	return text.String()
}

// log4j sends warnings, and the line that tells of a start, to standard output.
const log4j = `<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%level %msg (%c{1})%n%throwable"/></Console>
  </Appenders>
  <Loggers>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
`
