package main

import (
	"context"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rollcall/rollcall/deploy/local"
)

// devEngines are the engines that run as our children.
type devEngines struct {
	dev     *dev
	stack   *local.Stack
	cancel  context.CancelFunc
	running sync.WaitGroup // the supervision
}

// startEngines starts what is not external, and keeps it running until stop.
func (d *dev) startEngines(ctx context.Context, binary string) (*devEngines, error) {
	say := func(line string) { d.say("dev", line) }
	if len(d.KafkaBrokers) > 0 {
		say("Kafka runs elsewhere, at " + strings.Join(d.KafkaBrokers, ",") + " (--kafka-brokers)")
	}
	if d.PostgresURL != "" {
		say("Postgres runs elsewhere (--postgres-url)")
	}
	if d.ClickhouseAddr != "" {
		say("ClickHouse runs elsewhere, at " + d.ClickhouseAddr + " (--clickhouse-addr)")
	}
	stack, err := local.StartStack(ctx, local.Options{
		Dir: d.Data, Engines: d.Engines, Kafka: d.Kafka, Rollcall: binary, Progress: say, Log: d.say,
		SkipKafka: len(d.KafkaBrokers) > 0, SkipPostgres: d.PostgresURL != "", SkipClickHouse: d.ClickhouseAddr != "",
	})
	if err != nil {
		return nil, err
	}
	r := d.run
	r.KafkaBrokers, r.PostgresURL, r.ClickhouseAddr, r.ClickhouseHTTP = d.KafkaBrokers, d.PostgresURL, d.ClickhouseAddr, stack.ClickHouseHTTP
	r.Certificates, r.KafkaKind = filepath.Join(d.Data, "certificates"), "external"
	if stack.Kafka != nil {
		r.KafkaBrokers, r.KafkaKind = stack.KafkaBrokers, kindOf(stack.Kafka)
	}
	if stack.Postgres != nil {
		r.PostgresURL = stack.PostgresURL
	}
	if stack.ClickHouse != nil {
		r.ClickhouseAddr = stack.ClickHouseAddr
	}
	keep, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e := &devEngines{dev: d, stack: stack, cancel: cancel}
	r.engines = stack.Engines()
	e.running.Go(func() {
		stack.Supervise(keep, func(line string) {
			say(line)
			r.save()
		})
	})
	return e, nil
}

func kindOf(kafka local.Engine) string {
	if _, ok := kafka.(*local.ApacheKafka); ok {
		return local.KafkaApache
	}
	return local.KafkaEmbedded
}

// stop ends the engines.
func (e *devEngines) stop() {
	e.cancel()
	e.running.Wait()
	if err := e.stack.Close(); err != nil {
		e.dev.say("dev", err.Error())
	}
}
