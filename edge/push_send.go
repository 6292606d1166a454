package edge

import (
	"context"
	"crypto/sha256"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/push"
	"github.com/rollcall/rollcall/schema/topic"
)

// pusher tells the push services that are connected here. One goroutine runs
// it; answers come from those that read the components.
type pusher struct {
	server  *Server
	opts    *PushOptions
	metrics pushMetrics
	hurry   chan struct{} // holds one token while there is a reason not to wait

	mu       sync.Mutex
	flying   map[string]flying // by the id of the request
	full     bool              // more may be due than what was taken
	settled  []SettledPush     // not written yet
	sleeping []Asleep          // not noted yet
	expired  time.Time         // when what is too old was ended
	counted  time.Time         // when what waits was counted
}

// flying is a request that is not answered.
type flying struct {
	Push
	until time.Time
}

type pushMetrics struct {
	requests *prometheus.CounterVec
	waiting  prometheus.Gauge
}

func newPushMetrics(r prometheus.Registerer) pushMetrics {
	m := pushMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "rollcall", Subsystem: "push", Name: "requests_total",
			Help: "Publish requests to push services: sent, acknowledged, retried (no answer, or a passing error), failed (given up), disabled (the service does not want it), moot (the message was delivered, or the service disabled, before).",
		}, []string{"outcome"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "rollcall", Subsystem: "push", Name: "waiting",
			Help: "Messages that push services are to be told of, in the whole system.",
		}),
	}
	for _, outcome := range []string{"sent", "acknowledged", "retried", "failed", "disabled", "moot"} {
		m.requests.WithLabelValues(outcome)
	}
	if r != nil {
		r.MustRegister(m.requests, m.waiting)
	}
	return m
}

func (m *pushMetrics) count(outcome string, n int) {
	m.requests.WithLabelValues(outcome).Add(float64(n))
}

func newPusher(s *Server) *pusher {
	return &pusher{server: s, opts: &s.opts.Push, metrics: newPushMetrics(s.opts.Registry), flying: make(map[string]flying), hurry: make(chan struct{}, 1)}
}

// How often what is too old is ended, and what waits is counted.
const (
	expireEvery = time.Minute
	countEvery  = 5 * time.Second
)

// run tells push services until ctx ends. A crash leaves what was taken claimed
// for a while: whoever holds the component then sends the same request again.
func (p *pusher) run(ctx context.Context) {
	t := time.NewTicker(p.opts.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			p.write(context.WithoutCancel(ctx)) // what is answered need not be sent again
			return
		case <-p.hurry:
		case <-t.C:
		}
		now := time.Now()
		p.late(now)
		p.note(ctx, now)
		if p.write(ctx) {
			p.send(ctx, now)
		}
		p.housekeep(ctx, now)
	}
}

// soon has run look at once what is to be done.
func (p *pusher) soon() {
	select {
	case p.hurry <- struct{}{}:
	default:
	}
}

// pushTime bounds one exchange with where the jobs are.
const pushTime = 5 * time.Second

// send takes what is due and sends it.
func (p *pusher) send(ctx context.Context, now time.Time) {
	s := p.server
	s.components.mu.Lock()
	domains := slices.Sorted(maps.Keys(s.components.held))
	s.components.mu.Unlock()
	p.mu.Lock()
	room := p.opts.MaxFlying - len(p.flying)
	p.mu.Unlock()
	if len(domains) == 0 || room <= 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	due, err := p.opts.Jobs.Take(bounded, domains, room, p.opts.AnswerIn+2*pushTime)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("pushes not taken", "err", err)
		}
		return
	}
	p.mu.Lock()
	p.full = len(due) == room
	p.mu.Unlock()
	for i := range due {
		p.publish(&due[i], now)
	}
}

// publish sends a request (XEP-0357, section 7).
func (p *pusher) publish(job *Push, now time.Time) {
	if job.Moot {
		p.metrics.count("moot", 1)
		p.settle(SettledPush{Push: *job})
		return
	}
	id := pushID(job)
	p.mu.Lock()
	p.flying[id] = flying{*job, now.Add(p.opts.AnswerIn)}
	p.mu.Unlock()
	c := p.server.component(jid.FromCanonical(job.Service).Domain())
	h := stanza.Header{Type: "set", ID: id, From: p.server.opts.Domain, To: job.Service}
	payload := publishRequest(job, p.opts.Body)
	if c == nil || !c.send(func(dst []byte) []byte { return stanza.AppendIQ(dst, h, payload) }) {
		// It has just gone: nothing was tried.
		p.mu.Lock()
		delete(p.flying, id)
		p.mu.Unlock()
		p.settle(SettledPush{Push: *job, Again: true, After: p.opts.FirstRetry})
		return
	}
	p.metrics.count("sent", 1)
}

// pushID gives the id of a request: the same whenever the same is told again,
// by whatever edge.
func pushID(job *Push) string {
	h := sha256.New()
	for _, part := range []string{job.Account, job.Service, job.Node, strconv.FormatInt(job.Newest, 10)} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return "push-" + resourceNames.EncodeToString(h.Sum(nil)[:15])
}

// publishRequest gives the payload of a request: how many messages wait, whose
// the last one is and, with body, what it says.
func publishRequest(job *Push, body bool) []byte {
	form := stanza.New(stanza.NSData, "x", "type", "submit")
	add := func(name, value string) {
		form.Add(stanza.New(stanza.NSData, "field", "var", name).AddText("value", value))
	}
	add("FORM_TYPE", stanza.NSPushSummary)
	add("message-count", strconv.Itoa(job.Waiting))
	add("last-message-sender", job.Sender)
	if body && job.Body != "" {
		add("last-message-body", job.Body)
	}
	publish := stanza.New(stanza.NSPubSub, "publish", "node", job.Node).
		Add(stanza.New(stanza.NSPubSub, "item").Add(stanza.New(stanza.NSPush, "notification").Add(form)))
	out := []byte("<pubsub xmlns='" + stanza.NSPubSub + "'>")
	out = publish.AppendIn(out, stanza.NSPubSub)
	if len(job.Options) > 0 {
		out = append(out, "<publish-options>"...)
		out = append(out, job.Options...)
		out = append(out, "</publish-options>"...)
	}
	return append(out, "</pubsub>"...)
}

// answered takes a component's answer to an iq of the server's own.
func (p *pusher) answered(st *stanza.Stanza) {
	p.mu.Lock()
	job, ok := p.flying[st.ID]
	ok = ok && job.Service == st.From
	if ok {
		delete(p.flying, st.ID)
	}
	next := ok && p.full && len(p.flying) <= p.opts.MaxFlying/2
	p.mu.Unlock()
	if !ok {
		return
	}
	if next {
		defer p.soon()
	}
	if st.Type == "result" {
		p.metrics.count("acknowledged", 1)
		p.settle(SettledPush{Push: job.Push})
		return
	}
	bad, ok := stanza.ParseError(st.Inner)
	if !ok {
		bad = &stanza.Error{Condition: stanza.UndefinedCondition}
	}
	switch push.Answered(string(bad.Type), string(bad.Condition), job.Attempt) {
	case push.Disable:
		p.disable(job.Push, bad)
	default:
		p.again(job.Push)
	}
}

// again puts a job off.
func (p *pusher) again(job Push) {
	p.metrics.count("retried", 1)
	p.settle(SettledPush{Push: job, Again: true, After: push.Backoff(job.Attempt, p.opts.FirstRetry, p.opts.LastRetry, rand.Float64())})
}

// disable ends the registration, and tells the account as a service does that
// takes nothing any more (XEP-0357, sections 7.1 and 8).
func (p *pusher) disable(job Push, bad *stanza.Error) {
	s, account := p.server, jid.BareFromCanonical(job.Account)
	s.log.Info("push service disabled", "account", job.Account, "service", job.Service, "condition", bad.Condition)
	off := &event.Event{Kind: &event.Event_PushDisabled{PushDisabled: &event.PushDisabled{Service: job.Service, Node: job.Node}}}
	told := &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: job.Service, Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_NORMAL, Payload: affiliationNone(job), Storable: true},
	}}}
	s.append(account, off, func(_ topic.Position, err error) {
		if err != nil {
			p.again(job)
			return
		}
		p.metrics.count("disabled", 1)
		p.settle(SettledPush{Push: job})
		s.append(account, told, func(_ topic.Position, err error) {
			if err != nil {
				s.log.Warn("account not told that a push service is disabled", "account", job.Account, "err", err)
			}
		})
	})
}

func affiliationNone(job Push) []byte {
	return stanza.New(stanza.NSPubSub, "pubsub", "node", job.Node).
		Add(stanza.New(stanza.NSPubSub, "affiliation", "jid", job.Account, "affiliation", "none")).Bytes()
}

// revoked tells whether a message of a service says that it takes nothing any
// more for an account, and of which node (XEP-0357, section 8).
func revoked(inner []byte, account string) (node string, ok bool) {
	pubsub, ok := stanza.Find(inner, stanza.NSPubSub, "pubsub")
	if !ok {
		return "", false
	}
	a, ok := pubsub.First(stanza.NSPubSub, "affiliation")
	return pubsub.Attr("node"), ok && a.Attr("affiliation") == "none" && a.Attr("jid") == account && pubsub.Attr("node") != ""
}

func (p *pusher) settle(s SettledPush) {
	p.mu.Lock()
	p.settled = append(p.settled, s)
	p.mu.Unlock()
}

// late gives up waiting for answers.
func (p *pusher) late(now time.Time) {
	p.mu.Lock()
	var late []Push
	for id, f := range p.flying {
		if now.After(f.until) {
			delete(p.flying, id)
			late = append(late, f.Push)
		}
	}
	p.mu.Unlock()
	for _, job := range late {
		p.again(job)
	}
}

// write writes what is settled; what cannot be is kept. It tells whether there
// is nothing left.
func (p *pusher) write(ctx context.Context) bool {
	p.mu.Lock()
	settled := p.settled
	p.settled = nil
	p.mu.Unlock()
	if len(settled) == 0 {
		return true
	}
	bounded, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	if err := p.opts.Jobs.Settle(bounded, settled); err != nil {
		p.server.log.Warn("pushes not settled, will be tried again", "err", err)
		p.mu.Lock()
		p.settled = append(settled, p.settled...)
		p.mu.Unlock()
		return false
	}
	return true
}

// housekeep ends what is too old, whoever is to be told, and counts what waits.
func (p *pusher) housekeep(ctx context.Context, now time.Time) {
	bounded, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	if now.Sub(p.expired) >= min(expireEvery, p.opts.For) {
		p.expired = now
		if n, err := p.opts.Jobs.Expire(bounded, p.opts.For); err == nil {
			p.metrics.count("failed", n)
		}
	}
	if now.Sub(p.counted) >= countEvery {
		p.counted = now
		if n, err := p.opts.Jobs.Waiting(bounded); err == nil {
			p.metrics.waiting.Set(float64(n))
		}
	}
}
