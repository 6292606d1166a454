package localtest_test

import (
	"context"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"

	"github.com/rollcall/rollcall/deploy/local/localtest"
)

func TestPostgresGivesEmptyDatabases(t *testing.T) {
	ctx := context.Background()
	for range 2 {
		connection, err := pgx.Connect(ctx, localtest.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := connection.Exec(ctx, "CREATE TABLE one (n int)"); err != nil {
			t.Fatal(err)
		}
		connection.Close(ctx)
	}
}

func TestClickHouseGivesEmptyDatabases(t *testing.T) {
	ctx := context.Background()
	for range 2 {
		options, err := clickhouse.ParseDSN(localtest.ClickHouse(t))
		if err != nil {
			t.Fatal(err)
		}
		connection, err := clickhouse.Open(options)
		if err != nil {
			t.Fatal(err)
		}
		if err := connection.Exec(ctx, "CREATE TABLE one (n Int32) ENGINE=MergeTree ORDER BY n"); err != nil {
			t.Fatal(err)
		}
		connection.Close()
	}
}

func TestKafkasRunsOnEach(t *testing.T) {
	runs := 0
	localtest.Kafkas(t, func(t *testing.T, brokers []string) {
		runs++
		transport := &kafka.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		client := kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport}
		answer, err := client.CreateTopics(context.Background(), &kafka.CreateTopicsRequest{
			Topics: []kafka.TopicConfig{{Topic: "localtest", NumPartitions: 2, ReplicationFactor: 1}},
		})
		if err != nil || answer.Errors["localtest"] != nil {
			t.Fatal(err, answer)
		}
	})
	want := 1
	if _, _, ok := localtest.ApacheKafka(t); ok {
		want = 2
	}
	if runs != want {
		t.Fatalf("ran %d times, want %d", runs, want)
	}
}
