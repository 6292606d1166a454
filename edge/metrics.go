package edge

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics answer a person on call.
type metrics struct {
	sessions      prometheus.Gauge
	refused       prometheus.Counter
	appends       prometheus.Counter
	appendsFailed prometheus.Counter
	held          prometheus.Counter
	encoded       prometheus.Counter
	deliveries    prometheus.Counter
	latency       prometheus.Histogram
	detached      prometheus.Counter
	resumed       prometheus.Counter
	conflated     prometheus.Counter
	overflowed    prometheus.Counter
	bytes         prometheus.Counter
	writes        prometheus.Counter
	limited       *prometheus.CounterVec
	archiveAway   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "rollcall", Subsystem: "edge", Name: name, Help: help})
	}
	m := &metrics{
		sessions:      prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "rollcall", Subsystem: "edge", Name: "sessions", Help: "Bound sessions."}),
		refused:       counter("connections_refused_total", "Connections refused because too many negotiate."),
		appends:       counter("appends_total", "Events given to the log."),
		appendsFailed: counter("appends_failed_total", "Events that the log did not take."),
		held:          counter("acknowledgements_held_total", "Acknowledgements that waited for a valid lease."),
		encoded:       counter("presence_encoded_total", "Presence stanzas encoded, each for all its receivers."),
		deliveries:    counter("deliveries_total", "Stanzas given to sessions by fan-out."),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "rollcall", Subsystem: "edge", Name: "delivery_seconds",
			Help:    "From when a presence was said or a message accepted until it was queued for its sessions.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		detached:   counter("detached_total", "Sessions whose connection broke and that waited for their client."),
		resumed:    counter("resumed_total", "Sessions that went on over another connection (XEP-0198)."),
		conflated:  counter("conflated_total", "Presence replaced by newer presence before a slow client got it."),
		overflowed: counter("overflowed_total", "Sessions ended because their client was too slow."),
		bytes:      counter("written_bytes_total", "Bytes written to clients."),
		writes:     counter("writes_total", "Writes to clients."),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "rollcall", Subsystem: "edge", Name: "limited_total",
			Help: "What a limit held up or refused: rate (reads that waited), patience and resources (sessions that were ended), asking (requests), archive (queries of archives), account (what a full roster, too many requests to subscribe or too many targets refused).",
		}, []string{"limit"}),
		archiveAway: counter("archive_away_total", "Queries of archives that were not answered: clients were told to ask later."),
	}
	for _, limit := range []string{"rate", "patience", "resources", "asking", "account", "archive"} {
		m.limited.WithLabelValues(limit) // there before the first, so that a rate sees it
	}
	if r != nil {
		r.MustRegister(m.sessions, m.refused, m.appends, m.appendsFailed, m.held, m.encoded, m.deliveries, m.latency,
			m.detached, m.resumed, m.conflated, m.overflowed, m.bytes, m.writes, m.limited, m.archiveAway)
	}
	return m
}

func (m *metrics) written(n int) {
	m.writes.Inc()
	m.bytes.Add(float64(n))
}

// deliveredSince notes n deliveries of what was said at (µs since 1970).
func (m *metrics) deliveredSince(at int64, n int) {
	if n == 0 {
		return
	}
	m.deliveries.Add(float64(n))
	if at > 0 {
		m.latency.Observe(time.Since(time.UnixMicro(at)).Seconds())
	}
}
