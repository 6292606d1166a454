//go:build rollcall_fault_2

package fault

// Planted is the fault of this build.
const Planted = Undirected
