// Package fault plants known bugs, so that a test which looks for bugs can
// show that it finds them. Each is behind a build tag of its own,
// rollcall_fault_1 and so on; without one there is none, and the compiler
// drops what depends on it.
package fault

// A Fault is a known bug.
type Fault int

// The faults.
const (
	None Fault = iota
	// Unrevoked: who may see an account no more is not told that it is gone.
	Unrevoked
	// Undirected: the end of an edge does not end directed presence.
	Undirected
	// Forgetful: who is blocked sees one resource go, and not the next.
	Forgetful
)
