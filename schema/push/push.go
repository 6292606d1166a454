// Package push says when a push service is told that messages wait, and what
// becomes of its answer (XEP-0357). Its rules are pure.
package push

import "time"

// A Key names a push service of an account, and a node there (XEP-0357,
// section 5); the node may be empty.
type Key struct{ Service, Node string }

// A Registration is what an account has registered under a Key.
type Registration struct {
	Version int64  // offset of the event that made it
	Options []byte // the form with publish options, as self-contained XML; may be empty
}

// Wakes tells whether a message from a domain is pushed to a service of
// another: what a service says itself wakes nobody through it, or each of its
// messages would cause one to it.
func Wakes(service, from string) bool { return service != from }

// A Verdict is what becomes of a publish request after an answer.
type Verdict uint8

// The verdicts.
const (
	Done    Verdict = iota // the service has it
	Again                  // it is tried later
	Disable                // the service does not want it: the registration ends
)

// String gives the verdict's name.
func (v Verdict) String() string { return [...]string{"done", "again", "disable"}[v] }

// maxErrors is how many errors in a row, that may pass by themselves, a
// registration survives.
const maxErrors = 10

// Answered gives the verdict on the error, by its type and condition (RFC 6120,
// section 8.3), that answers the attempt, counted from 1. XEP-0357, section 7.1:
// an error disables, unless it is deemed transient, until there are enough of
// them in a row.
func Answered(errorType, condition string, attempt int) Verdict {
	switch {
	case attempt >= maxErrors:
		return Disable
	case errorType == "wait":
		return Again
	}
	switch condition {
	case "internal-server-error", "resource-constraint", "service-unavailable", "remote-server-timeout",
		"remote-server-not-found", "recipient-unavailable", "undefined-condition":
		return Again
	}
	return Disable
}

// Backoff gives how long to wait after a failed attempt, counted from 1: twice
// as long after each, from first up to most, and by the jitter, in [0, 1), up to
// half of that shorter.
func Backoff(attempt int, first, most time.Duration, jitter float64) time.Duration {
	d := first
	for i := 1; i < attempt && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return d - time.Duration(jitter*float64(d)/2)
}
