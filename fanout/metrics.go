package fanout

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// kind is a kind of frame, for metrics.
type kind uint8

const (
	kindPresence kind = iota
	kindAdmission
	kindDirected
	kindMessage
	kindCarbon
	kindOutput
	kindSuperseded
	kindAnswer
	kindIq
	kindNews
	kindAudience
	kindCount
)

var kindNames = [kindCount]string{"presence", "admission", "directed", "message", "carbon", "output", "superseded", "answer", "iq", "news", "audience"}

// metrics answer: is it sent, how late, and what waits?
type metrics struct {
	sent       [kindCount]prometheus.Counter
	conflated  prometheus.Counter
	overflowed prometheus.Counter
	untaken    prometheus.Counter
	copies     prometheus.Counter
	partitions prometheus.Gauge
	stopped    prometheus.Gauge
	edges      prometheus.Gauge
	lag        prometheus.Histogram
	behind     *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer, depth func() float64) *metrics {
	sent := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rollcall_fanout_frames_total", Help: "Frames sent to edges, by kind."}, []string{"kind"})
	m := &metrics{
		conflated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_fanout_conflated_total", Help: "Presence frames replaced by newer ones before they were sent."}),
		overflowed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_fanout_overflowed_total", Help: "Streams closed because an edge took too little."}),
		untaken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_fanout_untaken_dropped_total", Help: "Outputs dropped because an edge did not take them for too long."}),
		copies: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_fanout_message_copies_total", Help: "Messages dropped because the sender's client had sent them before, by their origin id."}),
		partitions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_fanout_partitions", Help: "Partitions held."}),
		stopped: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_fanout_partitions_stopped", Help: "Partitions held but stopped by a record that only a newer version knows."}),
		edges: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_fanout_edges", Help: "Edges that are attached."}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rollcall_fanout_delivery_lag_seconds", Help: "From an event's time to its frame being sent.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}),
		behind: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "rollcall_fanout_lag_records", Help: "Records of a partition that are not applied yet."}, []string{"partition"}),
	}
	for k, name := range kindNames {
		m.sent[k] = sent.WithLabelValues(name)
	}
	if r != nil {
		r.MustRegister(sent, m.conflated, m.overflowed, m.untaken, m.copies, m.partitions, m.stopped, m.edges, m.lag, m.behind,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "rollcall_fanout_queued", Help: "Frames that wait for edges."}, depth))
	}
	return m
}

// behindOf gives the lag gauge of a partition.
func (m *metrics) behindOf(n int32) prometheus.Gauge {
	return m.behind.WithLabelValues(strconv.Itoa(int(n)))
}

func (m *metrics) lost(n int32) { m.behind.DeleteLabelValues(strconv.Itoa(int(n))) }
