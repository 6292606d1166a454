package history

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	lag       *prometheus.GaugeVec
	retention *prometheus.GaugeVec
	stopped   prometheus.Gauge
	rows      prometheus.Counter
	ignored   prometheus.Counter
	garbage   prometheus.Counter
	blocks    prometheus.Counter
	retries   prometheus.Counter
	again     prometheus.Counter
	deleted   prometheus.Counter
	swept     prometheus.Counter
	restarts  *prometheus.CounterVec
	insert    prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauges := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "rollcall_history_" + name, Help: help}, []string{"partition"})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_history_" + name, Help: help})
	}
	m := &metrics{
		lag:       gauges("lag_records", "Records of a partition that are in the log and not yet in ClickHouse."),
		retention: gauges("retention_distance_records", "Records between the first that Kafka still has and the first that is not in ClickHouse. At 0 the next one to expire is lost to the archive."),
		stopped:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "rollcall_history_stopped_partitions", Help: "Partitions that wait for a newer version, because a record in them is of a kind that this one does not know."}),
		rows:      counter("rows_total", "Rows inserted into events."),
		ignored:   counter("ignored_rows_total", "Of them, copies, late records and garbage."),
		garbage:   counter("garbage_rows_total", "Of them, records that nobody can decode."),
		blocks:    counter("blocks_total", "Blocks inserted."),
		retries:   counter("retries_total", "Tries to insert that failed or whose answer was lost."),
		again:     counter("blocks_again_total", "Blocks that were found planned and inserted again."),
		deleted:   counter("accounts_deleted_total", "Accounts whose rows were deleted."),
		swept:     counter("messages_swept_total", "Withheld messages whose contents were taken out."),
		restarts:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rollcall_history_restarts_total", Help: "Times that everything in memory was dropped and loaded again: another assignment, fenced by another writer, or Postgres failed, or ClickHouse at the start."}, []string{"cause"}),
		insert:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rollcall_history_insert_seconds", Help: "Time of a try to insert a block.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 14)}),
	}
	for _, cause := range []string{"postgres", "clickhouse", "fenced", "assignment"} {
		m.restarts.WithLabelValues(cause) // there before the first, so that a rate sees it
	}
	if r != nil {
		r.MustRegister(m.lag, m.retention, m.stopped, m.rows, m.ignored, m.garbage, m.blocks, m.retries, m.again, m.deleted, m.swept, m.restarts, m.insert)
	}
	return m
}

func set(g *prometheus.GaugeVec, partition int32, records int64) {
	g.WithLabelValues(strconv.Itoa(int(partition))).Set(float64(max(records, 0)))
}

// inserted counts a block that is in.
func (m *metrics) inserted(b *block) {
	m.blocks.Inc()
	m.rows.Add(float64(b.rows))
	m.ignored.Add(float64(b.ignored))
	m.garbage.Add(float64(b.garbage))
}
