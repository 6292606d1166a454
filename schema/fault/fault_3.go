//go:build rollcall_fault_3

package fault

// Planted is the fault of this build.
const Planted = Forgetful
