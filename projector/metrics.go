package projector

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/store"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
)

type metrics struct {
	lag       *prometheus.GaugeVec
	stopped   prometheus.Gauge
	events    prometheus.Counter
	copies    prometheus.Counter
	dead      prometheus.Counter
	refused   prometheus.Counter
	withheld  *prometheus.CounterVec
	expired   prometheus.Counter
	rows      prometheus.Counter
	commits   prometheus.Counter
	restarts  *prometheus.CounterVec
	commit    prometheus.Histogram
	fold      prometheus.Histogram
	pending   prometheus.Gauge
	cacheRows prometheus.Gauge
	loads     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 14)
	m := &metrics{
		lag:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "rollcall_projector_lag_records", Help: "Records of a partition that are in the log and not yet committed to Postgres."}, []string{"partition"}),
		stopped:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "rollcall_projector_stopped_partitions", Help: "Partitions that wait for a newer version, because a record in them is of a kind that this one does not know."}),
		events:    prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_projector_events_total", Help: "Records folded, copies and dead letters too."}),
		copies:    prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_projector_copies_total", Help: "Records dropped, because a mark says that they are copies or late."}),
		dead:      prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_projector_dead_letters_total", Help: "Records set aside."}),
		refused:   prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_projector_reactions_refused_total", Help: "Reactions that the log will never take, and that are lost."}),
		withheld:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rollcall_projector_messages_withheld_total", Help: "Messages that are in no archive: refused, refused as the inbox was full, a copy by its origin id, or by preferences."}, []string{"reason"}),
		expired:   prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_projector_messages_expired_total", Help: "Messages whose wait was ended because nobody took them for too long."}),
		rows:      prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_projector_rows_total", Help: "Rows written or deleted in Postgres."}),
		commits:   prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_projector_commits_total", Help: "Transactions committed."}),
		restarts:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rollcall_projector_restarts_total", Help: "Times that everything in memory was dropped and loaded again: fenced by another writer, or Postgres failed."}, []string{"cause"}),
		commit:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rollcall_projector_commit_seconds", Help: "Time of a transaction.", Buckets: seconds}),
		fold:      prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rollcall_projector_fold_seconds", Help: "Time to decode, load and fold a batch.", Buckets: seconds}),
		pending:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "rollcall_projector_reactions_pending", Help: "Reactions committed and not yet acknowledged by the log."}),
		cacheRows: prometheus.NewGauge(prometheus.GaugeOpts{Name: "rollcall_projector_cache_rows", Help: "Rows of the accounts in memory."}),
		loads:     prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_projector_accounts_loaded_total", Help: "Accounts loaded from Postgres."}),
	}
	for _, cause := range []string{"postgres", "fenced"} {
		m.restarts.WithLabelValues(cause) // there before the first, so that a rate sees it
	}
	if r != nil {
		r.MustRegister(m.lag, m.stopped, m.events, m.copies, m.dead, m.refused, m.withheld, m.expired, m.rows, m.commits, m.restarts, m.commit, m.fold, m.pending, m.cacheRows, m.loads)
	}
	return m
}

func (m *metrics) setLag(partition int32, records int64) {
	m.lag.WithLabelValues(strconv.Itoa(int(partition))).Set(float64(max(records, 0)))
}

func (m *metrics) forget(partition int32) {
	m.lag.DeleteLabelValues(strconv.Itoa(int(partition)))
}

var kindWithheld = event.KindOf(&event.Event{Kind: &event.Event_MessageWithheld{}}).String()

// withhold counts what the reactions to r withhold from archives.
func (m *metrics) withhold(r *fold.Record, states []*account.State, reactions []store.Reaction) {
	for i := range reactions {
		if reactions[i].Kind != kindWithheld {
			continue
		}
		e, err := event.Decode(reactions[i].Record)
		if err != nil {
			continue // what was just encoded
		}
		reason := e.GetMessageWithheld().GetReason()
		label := strings.ToLower(strings.TrimPrefix(reason.String(), "REASON_"))
		most := r.Event.GetMessageAccepted().GetMaxWaiting()
		if reason == event.MessageWithheld_REASON_REFUSED && most > 0 && len(states) == 1 && len(states[0].Inbox) >= int(most) {
			label = "full"
		}
		m.withheld.WithLabelValues(label).Inc()
	}
}
