package account

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/push"
)

// A Push tells that a push service is to hear that messages wait.
type Push struct {
	push.Key
	Offset int64 // of the MessageAccepted
	At     int64 // of the event that caused it, microseconds since 1970 UTC
}

// pushEnabled registers a push service, or changes what it is told (XEP-0357,
// section 5).
func (f *folding) pushEnabled(e *event.PushEnabled) {
	key := push.Key{Service: e.GetService(), Node: e.GetNode()}
	if _, there := f.Push[key]; !there && e.GetMaxServices() > 0 && len(f.Push) >= int(e.GetMaxServices()) {
		f.answer(e.GetResource(), e.GetRequestId(), overLimit)
		return
	}
	put(&f.Push, key, push.Registration{Version: f.offset, Options: e.GetOptions()})
	note(&f.Changes.Push, key)
	f.answer(e.GetResource(), e.GetRequestId(), "")
}

// pushDisabled ends a registration, without a node all of the service (XEP-0357,
// section 6). What is not there is ended all the same.
func (f *folding) pushDisabled(e *event.PushDisabled) {
	for key := range f.Push {
		if key.Service == e.GetService() && (e.GetNode() == "" || key.Node == e.GetNode()) {
			delete(f.Push, key)
			note(&f.Changes.Push, key)
		}
	}
	f.answer(e.GetResource(), e.GetRequestId(), "")
}

// wake has the push services told of a message that waits.
func (f *folding) wake(offset int64) {
	if len(f.Push) == 0 {
		return
	}
	from := jid.FromCanonical(f.Inbox[offset].Accepted.GetFrom()).Domain()
	for key := range f.Push {
		if push.Wakes(jid.FromCanonical(key.Service).Domain(), from) {
			f.Changes.Pushes = append(f.Changes.Pushes, Push{key, offset, f.e.GetAt()})
		}
	}
}

// awake tells that a resource takes messages.
func (s *State) awake() bool {
	for _, r := range s.Resources {
		if r.Takes() {
			return true
		}
	}
	return false
}

// asleep is called when the last resource that took messages does so no more:
// what it was given and did not take waits, and the push services are told.
func (f *folding) asleep() {
	newest := int64(-1)
	for offset := range f.Inbox {
		newest = max(newest, offset)
	}
	if newest >= 0 {
		f.wake(newest)
	}
}

// dropPush forgets all registrations.
func (f *folding) dropPush() {
	for key := range f.Push {
		note(&f.Changes.Push, key)
	}
}
