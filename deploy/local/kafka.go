package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go"
)

// Kinds of Kafka.
const (
	KafkaAuto     = "auto"     // Apache where it can run, else embedded
	KafkaApache   = "apache"   // Apache Kafka on the JVM
	KafkaEmbedded = "embedded" // the broker in our own binary
)

// oldestJava is what Apache Kafka 4 needs.
const oldestJava = 17

// KafkaChoice is the kind of Kafka to run, and what it needs.
type KafkaChoice struct {
	Kind string // KafkaApache or KafkaEmbedded
	Java string // Apache: path of the java command
	Libs string // Apache: folder of its jars
	Why  string // a line for a person
}

// ChooseKafka settles which Kafka runs. kind is KafkaApache or KafkaEmbedded, to
// have that one or an error, or KafkaAuto (or ""): Apache where Java 17 is and its
// jars are or can be installed, embedded elsewhere. It installs the jars.
func ChooseKafka(ctx context.Context, kind string, o InstallOptions) (KafkaChoice, error) {
	switch kind {
	case KafkaEmbedded:
		return KafkaChoice{Kind: KafkaEmbedded, Why: "kafka: embedded broker, as asked for"}, nil
	case KafkaApache, KafkaAuto, "":
	default:
		return KafkaChoice{}, fmt.Errorf("kafka %q: say %s, %s or %s", kind, KafkaAuto, KafkaApache, KafkaEmbedded)
	}
	choice, err := chooseApache(ctx, o)
	if err == nil || kind == KafkaApache || ctx.Err() != nil {
		return choice, err
	}
	reason, _, _ := strings.Cut(err.Error(), "\n")
	return KafkaChoice{Kind: KafkaEmbedded, Why: "kafka: embedded broker, because Apache Kafka cannot run here: " + reason}, nil
}

func chooseApache(ctx context.Context, o InstallOptions) (KafkaChoice, error) {
	java, version, err := findJava(ctx)
	if err != nil {
		return KafkaChoice{}, err
	}
	o.Kafka = true
	installed, err := Install(ctx, o)
	if err != nil {
		return KafkaChoice{}, err
	}
	return KafkaChoice{
		Kind: KafkaApache, Java: java, Libs: installed.Kafka,
		Why: fmt.Sprintf("kafka: Apache Kafka 4.3.1 on Java %d", version),
	}, nil
}

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// findJava gives the java command, of JAVA_HOME or on the PATH, and its version,
// or an error that says why there is none that will do.
func findJava(ctx context.Context) (path string, version int, err error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		path = filepath.Join(home, "bin", "java")
	} else if path, err = exec.LookPath("java"); err != nil {
		return "", 0, errors.New("no Java found")
	}
	said, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", 0, fmt.Errorf("%s -version: %w", path, err)
	}
	match := javaVersion.FindSubmatch(said)
	if match == nil {
		return "", 0, fmt.Errorf("%s -version: no version in %q", path, said)
	}
	version, err = strconv.Atoi(string(match[1]))
	if err != nil || version < oldestJava {
		return "", 0, fmt.Errorf("java is version %s, Kafka needs %d", match[1], oldestJava)
	}
	return path, version, nil
}

// kafkaAnswers asks the broker at addr for metadata, and whether it belongs to
// the cluster and knows a controller: an accepted connection proves nothing.
func kafkaAnswers(ctx context.Context, addr, clusterID string) error {
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := kafka.Client{Addr: kafka.TCP(addr), Transport: transport}
	metadata, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}})
	switch {
	case err != nil:
		return err
	case metadata.ClusterID != clusterID:
		return fmt.Errorf("the broker at %s is of cluster %q", addr, metadata.ClusterID)
	case len(metadata.Brokers) == 0 || metadata.Controller.Host == "":
		return fmt.Errorf("the broker at %s knows no controller yet", addr)
	}
	return nil
}
