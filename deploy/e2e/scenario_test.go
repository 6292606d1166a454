package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/edgetest/play"
)

// The edge's scenarios on real engines, each by people of its own.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../edge/testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	s := newStack(t, local.KafkaEmbedded)
	s.env = []string{"ROLLCALL_GRACE=0"} // who breaks off is gone
	s.start(t)
	domain := s.run(t).Domain
	var names []string
	var all []play.Scenario
	for n, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, play.Scenario{Text: string(text), Domain: domain, Suffix: fmt.Sprintf("-%d", n), Within: 20 * time.Second})
		names = append(names, all[n].Accounts()...)
	}
	server := newEngines(t, s, names)
	for n, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			all[n].Server = server
			if err := all[n].Play(); err != nil {
				t.Error(err)
			}
		})
	}
	s.stop(t)
}
