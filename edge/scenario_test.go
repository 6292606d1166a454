package edge_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	played "github.com/rollcall/rollcall/edge/edgetest/play"
)

// The scenarios of testdata/scenarios, in memory; deploy/e2e plays the same
// ones on real engines.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h, err := played.NewHouse("example.com", 4, edge.Options{ID: "e0"}, edge.Options{ID: "e1"})
			if err != nil {
				t.Fatal(err)
			}
			s := played.Scenario{Text: string(text), Server: h, Domain: "example.com", Within: 2 * time.Second}
			h.Create(s.Accounts()...)
			if err := errors.Join(s.Play(), h.End()); err != nil {
				t.Error(err)
			}
		})
	}
}
