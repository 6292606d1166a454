package eventlog

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// registered is what a component has put into a registry.
type registered struct {
	in         prometheus.Registerer
	collectors []prometheus.Collector
}

func (r *registered) register(in prometheus.Registerer, collectors ...prometheus.Collector) {
	in.MustRegister(collectors...)
	r.in, r.collectors = in, collectors
}

// unregister takes it out again.
func (r *registered) unregister() {
	for _, c := range r.collectors {
		r.in.Unregister(c)
	}
}

// appendMetrics tell how appends go; nil tells nothing.
type appendMetrics struct {
	registered
	latency  prometheus.Histogram
	failures *prometheus.CounterVec
}

func newAppendMetrics(r prometheus.Registerer, queuedBytes func() float64) *appendMetrics {
	if r == nil {
		return nil
	}
	m := &appendMetrics{
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "rollcall_eventlog_append_seconds",
			Help:    "Time from the append of a record until all in-sync replicas have it.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_eventlog_append_failures_total",
			Help: "Records that were not stored, by reason: unavailable, full, refused, broken (behind one that failed), closed.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{"unavailable", "full", "refused", "broken", "closed"} {
		m.failures.WithLabelValues(reason) // there before the first, so that a rate sees it
	}
	m.register(r, m.latency, m.failures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rollcall_eventlog_queued_bytes",
		Help: "Bytes of records accepted and not yet settled.",
	}, queuedBytes))
	return m
}

func (m *appendMetrics) close() {
	if m != nil {
		m.unregister()
	}
}

func (m *appendMetrics) settled(queued time.Time, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.failed(err)
	default:
		m.latency.Observe(time.Since(queued).Seconds())
	}
}

func (m *appendMetrics) failed(err error) {
	if m == nil {
		return
	}
	reason := "refused"
	switch {
	case errors.Is(err, ErrUnavailable):
		reason = "unavailable"
	case errors.Is(err, ErrFull):
		reason = "full"
	case errors.Is(err, ErrClosed):
		reason = "closed"
	case errors.Is(err, ErrBroken):
		reason = "broken"
	}
	m.failures.WithLabelValues(reason).Inc()
}

// tailMetrics tell how far a Tail is behind; nil tells nothing.
type tailMetrics struct {
	registered
	lag     *prometheus.GaugeVec
	records prometheus.Counter
	healthy prometheus.Gauge
}

func newTailMetrics(r prometheus.Registerer, topic string) *tailMetrics {
	if r == nil {
		return nil
	}
	labels := prometheus.Labels{"topic": topic}
	m := &tailMetrics{
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name:        "rollcall_eventlog_tail_lag_records",
			Help:        "Records that the partition has and the tail has not delivered yet.",
			ConstLabels: labels,
		}, []string{"partition"}),
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name:        "rollcall_eventlog_tail_records_total",
			Help:        "Records delivered.",
			ConstLabels: labels,
		}),
		healthy: prometheus.NewGauge(prometheus.GaugeOpts{
			Name:        "rollcall_eventlog_tail_healthy",
			Help:        "1 while every broker that leads an assigned partition answers.",
			ConstLabels: labels,
		}),
	}
	m.healthy.Set(1)
	m.register(r, m.lag, m.records, m.healthy)
	return m
}

func (m *tailMetrics) close() {
	if m != nil {
		m.unregister()
	}
}

func (m *tailMetrics) delivered(partition int32, records int, lag int64) {
	if m == nil {
		return
	}
	m.records.Add(float64(records))
	m.lag.WithLabelValues(strconv.Itoa(int(partition))).Set(float64(lag))
}

func (m *tailMetrics) unassigned(partition int32) {
	if m != nil {
		m.lag.DeleteLabelValues(strconv.Itoa(int(partition)))
	}
}

func (m *tailMetrics) health(ok bool) {
	switch {
	case m == nil:
	case ok:
		m.healthy.Set(1)
	default:
		m.healthy.Set(0)
	}
}
