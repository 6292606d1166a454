package edge_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// The random commands find each bug that is planted (package fault), within
// what one run of them does.
func TestTheModelFindsPlantedFaults(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`after (\d+) commands: .*`)
	for n, name := range []string{"unrevoked", "undirected", "forgetful"} {
		t.Run(name, func(t *testing.T) {
			faulty := fmt.Sprintf("%s-fault-%d", self, n+1)
			defer os.Remove(faulty)
			build := exec.Command("go", "test", "-c", "-tags", fmt.Sprintf("rollcall_fault_%d", n+1), "-o", faulty, ".")
			if said, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			said, err := exec.Command(faulty, "-test.run", "^TestRandomCommandsAgainstTheModel$", "-model.shrink", "0s",
				"-model.commands", fmt.Sprint(*modelCommands), "-model.seed", fmt.Sprint(*modelSeed)).CombinedOutput()
			if err == nil {
				t.Fatalf("not found:\n%s", said)
			}
			line := found.Find(said)
			if line == nil {
				t.Fatalf("failed otherwise:\n%s", said)
			}
			t.Logf("found %s", line)
		})
	}
}
