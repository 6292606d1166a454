package main

import (
	"context"
	"errors"

	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/projector/history"
	"github.com/rollcall/rollcall/schema/topic"
)

// projectorTail is an eventlog.Tail with the types of the projector.
type projectorTail struct{ *eventlog.Tail }

// Run hands the batches over.
func (t projectorTail) Run(ctx context.Context, handle func(context.Context, projector.Batch) error) error {
	return t.Tail.Run(ctx, func(ctx context.Context, b eventlog.Batch) error {
		records := make([]projector.Fetched, len(b.Records))
		for i, r := range b.Records {
			records[i] = projector.Fetched{Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value}
		}
		return handle(ctx, projector.Batch{Partition: b.Partition, Records: records, HighWater: b.HighWater})
	})
}

// projectorAppender is an eventlog.Appender with the types of the projector.
type projectorAppender struct{ *eventlog.Appender }

// TryAppend hands the record over.
func (a projectorAppender) TryAppend(r projector.Record, keep bool, done func(topic.Position, error)) bool {
	headers := make([]eventlog.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = eventlog.Header{Key: h.Key, Value: h.Value}
	}
	return a.Appender.TryAppend(eventlog.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: headers}, keep, done)
}

// Refused tells that the brokers will never take the record.
func (projectorAppender) Refused(err error) bool { return errors.Is(err, eventlog.ErrRefused) }

// fanoutTail is an eventlog.Tail with the types of the fan-out worker.
type fanoutTail struct{ *eventlog.Tail }

// Run hands the batches over.
func (t fanoutTail) Run(ctx context.Context, handle func(context.Context, fanout.Batch) error) error {
	return t.Tail.Run(ctx, func(ctx context.Context, b eventlog.Batch) error {
		records := make([]fanout.Fetched, len(b.Records))
		for i, r := range b.Records {
			records[i] = fanout.Fetched{Offset: r.Offset, Key: r.Key, Value: r.Value}
		}
		return handle(ctx, fanout.Batch{Partition: b.Partition, Records: records, HighWater: b.HighWater})
	})
}

// historyTail is an eventlog.Tail with the types of the history writer.
type historyTail struct{ *eventlog.Tail }

// Run hands the batches over.
func (t historyTail) Run(ctx context.Context, handle func(context.Context, history.Batch) error) error {
	return t.Tail.Run(ctx, func(ctx context.Context, b eventlog.Batch) error {
		records := make([]history.Fetched, len(b.Records))
		for i, r := range b.Records {
			records[i] = history.Fetched{Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value}
		}
		return handle(ctx, history.Batch{Partition: b.Partition, Records: records, HighWater: b.HighWater})
	})
}
