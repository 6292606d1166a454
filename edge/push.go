package edge

import (
	"context"
	"errors"
	"time"

	"github.com/rollcall/rollcall/schema/push"
)

// PushOptions say how push services are told that messages wait (XEP-0357).
// They are components: what is for one is sent by the edge that it is
// connected to.
type PushOptions struct {
	// Jobs is what is to be told. nil: nobody can register a push service.
	Jobs Pushes

	Body        bool          // a service is told what the last message says, not only who sent it
	MaxServices int           // registrations of an account; 20
	MaxOptions  int           // bytes of the publish options of one; 8 KiB
	MaxFlying   int           // requests that wait for an answer at the same time; 256
	Every       time.Duration // between two looks for what is to be told; 250ms
	AnswerIn    time.Duration // longest time that an answer is waited for; 30s
	FirstRetry  time.Duration // pause after the first failure, doubled after each; 5s
	LastRetry   time.Duration // longest pause; 10m
	Doubt       time.Duration // how long a message that went to a broken connection has to be taken elsewhere; 2s
	For         time.Duration // how long it is tried at all; 24h
}

func (o *PushOptions) fill() {
	for _, d := range []struct {
		n   *int
		def int
	}{{&o.MaxServices, 20}, {&o.MaxOptions, 8 << 10}, {&o.MaxFlying, 256}} {
		if *d.n == 0 {
			*d.n = d.def
		}
	}
	for _, d := range []struct {
		t   *time.Duration
		def time.Duration
	}{
		{&o.Every, 250 * time.Millisecond}, {&o.AnswerIn, 30 * time.Second}, {&o.FirstRetry, 5 * time.Second},
		{&o.LastRetry, 10 * time.Minute}, {&o.For, 24 * time.Hour}, {&o.Doubt, 2 * time.Second},
	} {
		if *d.t == 0 {
			*d.t = d.def
		}
	}
}

func (o *PushOptions) check() error {
	if o.LastRetry < o.FirstRetry {
		return errors.New("edge: Push.LastRetry is shorter than FirstRetry")
	}
	return nil
}

// Pushes keeps what push services are to be told, from when the message was
// folded until they know it.
type Pushes interface {
	// Take claims for so long what is due for services of these domains, all
	// that waits for one node of one account together: nobody else is given it
	// meanwhile, and after it anybody. There are at most so many.
	Take(ctx context.Context, domains []string, most int, claim time.Duration) ([]Push, error)
	// Settle ends, or puts off, what was taken.
	Settle(ctx context.Context, settled []SettledPush) error
	// Add has the push services of accounts told, after a while, of messages that
	// wait still, as if no resource had taken them. It gives those back that are
	// not projected yet.
	Add(ctx context.Context, asleep []Asleep, after time.Duration) (early []Asleep, err error)
	// Expire ends what is older, and tells how much there was.
	Expire(ctx context.Context, older time.Duration) (int, error)
	// Waiting tells how much there is.
	Waiting(ctx context.Context) (int, error)
}

// Push is what a push service is to be told of an account.
type Push struct {
	Account string // bare JID
	push.Key
	Newest  int64 // offset of the newest message that it is about
	Attempt int   // counted from 1

	Moot    bool   // the service is not registered any more, or nothing of it waits any more
	Options []byte // the form with publish options, as self-contained XML
	Waiting int    // messages that wait for the account
	Sender  string // of the newest of them that it is about
	Body    string // of the same
}

// SettledPush is what became of a Push.
type SettledPush struct {
	Push
	Again bool
	After time.Duration // from now until it is tried again
}
