package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
)

// A metric's name in an expression of Prometheus; of a histogram, of its parts.
var metricName = regexp.MustCompile(`\b(?:rollcall|process|go)_[a-z0-9_]+\b`)

// Every metric that the dashboard shows is one that a role of a running system
// has, of the type that the expression takes it for.
func TestDashboardMetrics(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "grafana", "rollcall.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	s := newStack(t, local.KafkaEmbedded)
	s.start(t)
	// Partitions are in the metrics from their first record on.
	befriended(t, s, "edge-1", "juliet", "romeo").cut()
	r := s.run(t)
	answer, err := http.Get("http://" + r.part("http-1").Listen["http"] + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "every metric of the dashboard", 30*time.Second, func() error {
		types, err := s.metricTypes(t)
		if err != nil {
			return err
		}
		var missing []string
		asked := 0
		for _, p := range dashboard.Panels {
			for _, target := range p.Targets {
				for _, name := range metricName.FindAllString(target.Expr, -1) {
					asked++
					want := ""
					if base, ok := strings.CutSuffix(name, "_bucket"); ok {
						name, want = base, "histogram"
					} else if strings.Contains(target.Expr, "rate("+name+"[") {
						want = "counter"
					}
					if got := types[name]; got == "" || want != "" && got != want {
						missing = append(missing, fmt.Sprintf("%s: %s is %q in all roles, want %q", p.Title, name, got, want))
					}
				}
			}
		}
		if asked < 30 {
			t.Fatalf("the dashboard asks for %d metrics", asked)
		}
		if len(missing) > 0 {
			return errors.New(strings.Join(missing, "\n"))
		}
		return nil
	})
	s.stop(t)
}

// metricTypes gives the metrics that the roles have, and their types.
func (s *stack) metricTypes(t *testing.T) (map[string]string, error) {
	types, roles := make(map[string]string), make(map[string]bool)
	r := s.run(t)
	for _, p := range r.Parts {
		roles[p.Role] = true
		text, err := get(p.Admin, "/metrics")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "# TYPE "); ok {
				name, kind, _ := strings.Cut(rest, " ")
				types[name] = kind
			}
		}
	}
	if len(roles) < 5 {
		return nil, fmt.Errorf("roles %q", slices.Sorted(maps.Keys(roles)))
	}
	return types, nil
}
