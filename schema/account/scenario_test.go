package account

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the answers into the scenarios")

// A scenario is a file of lines as world understands them, each followed by its
// recorded answers, which are indented. Lines after "#" are for the reader.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			recorded, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld()
			var out strings.Builder
			for line := range strings.Lines(string(recorded)) {
				line = strings.TrimRight(line, "\n")
				if strings.HasPrefix(line, "\t") {
					continue
				}
				out.WriteString(line + "\n")
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				for _, answer := range w.run(t, line) {
					out.WriteString("\t" + answer + "\n")
				}
			}
			if out.String() == string(recorded) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("the answers differ; -update shows how in the diff of %s:\n%s", file, out.String())
		})
	}
}
