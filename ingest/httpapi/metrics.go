package httpapi

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a person on call looks at.
type metrics struct {
	requests   *prometheus.CounterVec
	took       *prometheus.HistogramVec
	messages   *prometheus.CounterVec
	recipients prometheus.Counter
	running    prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_http_requests_total", Help: "Requests answered, by route, method and status."}, []string{"route", "method", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rollcall_http_request_seconds", Help: "How long an answer took, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}, []string{"route"}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_http_messages_total", Help: "Messages by recipient: accepted, or the code of what was wrong."}, []string{"result"}),
		recipients: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_http_broadcast_recipients_total", Help: "Recipients of broadcasts whose message is in the log."}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_http_broadcasts", Help: "Broadcasts that this process works on."}),
	}
	if registry != nil {
		registry.MustRegister(m.requests, m.took, m.messages, m.recipients, m.running)
	}
	return m
}

// methods are those that get a label; others are called "other".
var methods = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true}

func (m *metrics) answered(route, method string, status int, took time.Duration) {
	if !methods[method] {
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(route).Observe(took.Seconds())
}
