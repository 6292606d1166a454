package e2e

import (
	"os/exec"
	"testing"
)

// schemathesis sends what it makes up from the OpenAPI document, valid and not,
// and holds the answers against it. Left out are the stream of events, which does
// not end, and the check that what a schema allows is accepted: a schema cannot
// say which texts are JIDs, and which characters XML can hold.
func schemathesis(t *testing.T, s *stack) {
	t.Helper()
	python := pip(t, "schemathesis")
	door := newService(t, s, "read:presence", "read:history", "read:events", "messages:send", "broadcast:send")
	run := exec.CommandContext(t.Context(), python, "-m", "schemathesis.cli", "run", door.base+"/v1/openapi.json",
		"-H", "Authorization: Bearer "+door.key, "--exclude-operation-id", "getEvents", "--exclude-checks", "positive_data_acceptance",
		"--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--generation-deterministic",
		"--continue-on-failure", "--request-timeout", "30", "--warnings", "off", "--no-color")
	run.Dir = t.TempDir()
	run.Env = withoutOurs()
	said, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("schemathesis: %v\n%s", err, said)
	}
	tail := said[max(0, len(said)-600):]
	t.Logf("schemathesis says:\n%s", tail)
}
