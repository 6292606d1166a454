package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
)

// kafkaKinds gives the kinds that this machine runs, and holds auto to its word.
func kafkaKinds(t *testing.T) []string {
	t.Helper()
	choice := chosenKafka(t)
	if choice.Kind == KafkaApache {
		return []string{KafkaEmbedded, KafkaApache}
	}
	if !strings.Contains(choice.Why, "because") {
		t.Fatalf("auto took the embedded broker and does not say why: %q", choice.Why)
	}
	t.Log(choice.Why)
	return []string{KafkaEmbedded}
}

// Everything acknowledged survives kill -9 of each engine, a stop of all, and
// kill -9 of the parent; addresses stay; nothing is left running.
func TestStackKeepsItsDataThroughKills(t *testing.T) {
	for _, kind := range kafkaKinds(t) {
		t.Run(kind, func(t *testing.T) {
			ctx := t.Context()
			options := Options{Dir: dataDir(t), Kafka: kind}
			stack, err := StartStack(ctx, options)
			if err != nil {
				t.Fatal(err)
			}
			first := *stack
			n := 0
			write := func() { n++; writeEverywhere(t, stack, n) }
			createTables(t, stack)
			write()
			for _, engine := range stack.Engines() {
				pid := engine.Pid()
				if err := engine.Kill(); err != nil {
					t.Fatal(err)
				}
				if engine.Err() == nil || engine.Pid() != 0 {
					t.Fatalf("%s: killed, yet Err %v, Pid %d", engine.Name(), engine.Err(), engine.Pid())
				}
				if err := engine.Start(ctx); err != nil {
					t.Fatal(err)
				}
				if engine.Pid() == pid {
					t.Fatalf("%s: same process after a restart", engine.Name())
				}
			}
			write()
			readEverywhere(t, stack, n)
			if err := stack.Close(); err != nil {
				t.Fatal(err)
			}
			for _, engine := range stack.Engines() {
				if err := engine.Err(); err != nil {
					t.Errorf("%s: stopped in order, yet Err says %v", engine.Name(), err)
				}
			}

			killParent(t, options)

			options.Kafka = KafkaAuto // the directory keeps its kind
			stack, err = StartStack(ctx, options)
			if err != nil {
				t.Fatal(err)
			}
			defer stack.Close()
			if stack.KafkaBrokers[0] != first.KafkaBrokers[0] || stack.PostgresURL != first.PostgresURL || stack.ClickHouseURL != first.ClickHouseURL {
				t.Errorf("addresses changed: %v, before %v", *stack, first)
			}
			readEverywhere(t, stack, n)
			write()
			readEverywhere(t, stack, n)
		})
	}
}

// killParent runs the stack in a process of its own, kills that, and waits until
// its engines are gone.
func killParent(t *testing.T, options Options) {
	t.Helper()
	parent := exec.Command(os.Args[0], "stack", options.Dir, options.Kafka)
	in, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	parent.Stderr = os.Stderr
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	scanner := bufio.NewScanner(out)
	for scanner.Scan() && scanner.Text() != "ready" {
		if pid, err := strconv.Atoi(scanner.Text()); err == nil {
			pids = append(pids, pid)
		}
	}
	if len(pids) != 3 {
		t.Fatalf("the parent started %d engines, want 3", len(pids))
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("end of engine %d, whose parent was killed", pid), func() bool { return gone(pid) })
	}
}

// gone says whether no process, or only a dead one nobody has waited for, has the id.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(state, "Z")
}

// eventually waits until a condition holds, for a minute at most.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 1200 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s: did not come", what)
}

func createTables(t *testing.T, stack *Stack) {
	t.Helper()
	inPostgres(t, stack, func(connection *pgx.Conn) error {
		_, err := connection.Exec(t.Context(), "CREATE TABLE kept (n int)")
		return err
	})
	inClickHouse(t, stack, "CREATE TABLE rollcall.kept (n Int32) ENGINE=MergeTree ORDER BY n")
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := kafka.Client{Addr: kafka.TCP(stack.KafkaBrokers...), Transport: transport}
	answer, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: "kept", NumPartitions: 1, ReplicationFactor: 1}},
	})
	if err != nil || answer.Errors["kept"] != nil {
		t.Fatal(err, answer)
	}
}

// writeEverywhere adds the number n to each engine.
func writeEverywhere(t *testing.T, stack *Stack, n int) {
	t.Helper()
	inPostgres(t, stack, func(connection *pgx.Conn) error {
		_, err := connection.Exec(t.Context(), "INSERT INTO kept VALUES ($1)", n)
		return err
	})
	inClickHouse(t, stack, fmt.Sprintf("INSERT INTO rollcall.kept VALUES (%d)", n))
	transport := &kafka.Transport{MetadataTTL: time.Second}
	defer transport.CloseIdleConnections()
	client := kafka.Client{Addr: kafka.TCP(stack.KafkaBrokers...), Transport: transport}
	eventually(t, "a leader", func() bool {
		answer, err := client.Produce(t.Context(), &kafka.ProduceRequest{
			Topic: "kept", RequiredAcks: kafka.RequireAll,
			Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte(strconv.Itoa(n)))}),
		})
		return err == nil && answer.Error == nil
	})
}

// readEverywhere sees that each engine holds the numbers 1 to n.
func readEverywhere(t *testing.T, stack *Stack, n int) {
	t.Helper()
	inPostgres(t, stack, func(connection *pgx.Conn) error {
		var count int
		err := connection.QueryRow(t.Context(), "SELECT count(DISTINCT n) FROM kept").Scan(&count)
		if err == nil && count != n {
			t.Errorf("postgres holds %d rows, want %d", count, n)
		}
		return err
	})
	if got := inClickHouse(t, stack, "SELECT count() FROM rollcall.kept"); strings.TrimSpace(got) != strconv.Itoa(n) {
		t.Errorf("clickhouse holds %q rows, want %d", got, n)
	}
	transport := &kafka.Transport{MetadataTTL: time.Second}
	defer transport.CloseIdleConnections()
	client := kafka.Client{Addr: kafka.TCP(stack.KafkaBrokers...), Transport: transport}
	eventually(t, "a leader", func() bool {
		answer, err := client.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{
			Topics: map[string][]kafka.OffsetRequest{"kept": {kafka.LastOffsetOf(0)}},
		})
		if err != nil || len(answer.Topics["kept"]) != 1 || answer.Topics["kept"][0].Error != nil {
			return false
		}
		if last := answer.Topics["kept"][0].LastOffset; last < int64(n) {
			t.Errorf("kafka holds %d records, want %d", last, n)
		}
		return true
	})
}

func inPostgres(t *testing.T, stack *Stack, do func(*pgx.Conn) error) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), stack.PostgresURL)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	if err := do(connection); err != nil {
		t.Fatal(err)
	}
}

func inClickHouse(t *testing.T, stack *Stack, statement string) string {
	t.Helper()
	answer, err := stack.ClickHouse.(*ClickHouse).query(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// What dies is started again at the same address, until the context ends.
func TestSuperviseRestartsWhatDies(t *testing.T) {
	stack, err := StartStack(t.Context(), Options{Dir: dataDir(t), Kafka: KafkaEmbedded})
	if err != nil {
		t.Fatal(err)
	}
	defer stack.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var supervisor sync.WaitGroup
	supervisor.Go(func() { stack.Supervise(ctx, func(line string) { t.Log(line) }) })
	for _, engine := range stack.Engines() {
		pid, addr := engine.Pid(), engine.Addr()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, engine.Name()+" again", func() bool {
			now := engine.Pid()
			return now != 0 && now != pid && portAnswers(ctx, addr) == nil
		})
	}
	cancel()
	supervisor.Wait()
}

// A directory belongs to one stack at a time, and to one kind of Kafka for good.
func TestStackRefusesWhatCannotBe(t *testing.T) {
	options := Options{Dir: dataDir(t), Kafka: KafkaEmbedded, SkipPostgres: true, SkipClickHouse: true}
	stack, err := StartStack(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer stack.Close()
	if err := stack.Kafka.Start(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("second Start of an engine: %v, want ErrRunning", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockDir(ctx, options.Dir+"/kafka-embedded"); !errors.Is(err, ErrInUse) {
		t.Errorf("the lock of a running engine: %v, want ErrInUse", err)
	}
	options.Kafka = KafkaApache
	if _, err := StartStack(t.Context(), options); err == nil || !strings.Contains(err.Error(), "holds a log") {
		t.Errorf("the other Kafka on the same directory: %v", err)
	}
}
