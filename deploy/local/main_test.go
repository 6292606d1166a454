package local

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"testing"

	"syscall"
)

// The test binary is also two other programs: `kafka`, the embedded broker as the
// rollcall binary serves it, and `stack`, a parent of engines that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "kafka":
			exit(serveKafka(os.Args[2:]))
		case "stack":
			exit(serveStack(os.Args[2], os.Args[3]))
		}
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serveKafka(args []string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var o EmbeddedKafkaOptions
	set := flag.NewFlagSet("kafka", flag.ExitOnError)
	set.StringVar(&o.Listen, "listen", "", "")
	set.StringVar(&o.Dir, "dir", "", "")
	set.StringVar(&o.ClusterID, "cluster-id", "", "")
	_ = set.Parse(args)
	return ServeEmbeddedKafka(ctx, o)
}

// serveStack starts the engines, prints their pids and waits for its input's end.
func serveStack(dir, kafka string) error {
	stack, err := StartStack(context.Background(), Options{Dir: dir, Kafka: kafka})
	if err != nil {
		return err
	}
	for _, engine := range stack.Engines() {
		fmt.Println(engine.Pid())
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return stack.Close()
}

// chosenKafka says which Kafka this machine can run beside the embedded one.
func chosenKafka(t *testing.T) KafkaChoice {
	t.Helper()
	choice, err := ChooseKafka(t.Context(), KafkaAuto, InstallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return choice
}

// dataDir is a folder that user 65534 reaches, also where TMPDIR is closed to it.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, moved, err := Reachable(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	if moved {
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	return dir
}
