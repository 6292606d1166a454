package push

import (
	"testing"
	"time"
)

func TestXEP0357_7_1_Answered(t *testing.T) {
	for _, c := range []struct {
		kind, condition string
		attempt         int
		want            Verdict
	}{
		{"cancel", "item-not-found", 1, Disable},
		{"cancel", "gone", 1, Disable},
		{"cancel", "not-allowed", 1, Disable},
		{"cancel", "conflict", 1, Disable},
		{"auth", "forbidden", 1, Disable},
		{"auth", "not-authorized", 1, Disable},
		{"modify", "bad-request", 1, Disable},
		{"cancel", "feature-not-implemented", 1, Disable},
		{"wait", "item-not-found", 1, Again},
		{"wait", "resource-constraint", 9, Again},
		{"wait", "resource-constraint", 10, Disable},
		{"cancel", "service-unavailable", 1, Again},
		{"cancel", "internal-server-error", 1, Again},
		{"cancel", "undefined-condition", 3, Again},
		{"cancel", "service-unavailable", 11, Disable},
	} {
		if got := Answered(c.kind, c.condition, c.attempt); got != c.want {
			t.Errorf("%s %s after %d: %s, want %s", c.kind, c.condition, c.attempt, got, c.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for _, c := range []struct {
		attempt int
		jitter  float64
		want    time.Duration
	}{
		{1, 0, time.Second}, {2, 0, 2 * time.Second}, {4, 0, 8 * time.Second}, {5, 0, 10 * time.Second},
		{1000, 0, 10 * time.Second}, {2, 0.5, 1500 * time.Millisecond}, {1, 0.999, 500500 * time.Microsecond},
	} {
		if got := Backoff(c.attempt, time.Second, 10*time.Second, c.jitter); got != c.want {
			t.Errorf("%d with jitter %v: %v, want %v", c.attempt, c.jitter, got, c.want)
		}
	}
}

func TestWakes(t *testing.T) {
	if !Wakes("push.example.com", "example.com") || Wakes("push.example.com", "push.example.com") {
		t.Error("who wakes whom")
	}
}
