//go:build rollcall_fault_1

package fault

// Planted is the fault of this build.
const Planted = Unrevoked
