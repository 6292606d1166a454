//go:build linux

package main

import (
	"math"
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("42 (a name) with) S 7 42 42 0 -1 4194304 1 2 3 4 150 50 25 75 20 0 9 0 100 0 0"))
	if err != nil || s.parent != 7 || math.Abs(s.seconds-3) > 1e-9 {
		t.Fatalf("%+v %v", s, err)
	}
	for _, bad := range []string{"", "42 (name", "42 (name) S 7"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestMeasureThisProcess(t *testing.T) {
	r := &run{}
	a, err := r.measure()
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.measure()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.roles["load"]; !ok || b.busy < a.busy {
		t.Fatalf("%+v", b)
	}
	if n, err := residentBytes(os.Getpid()); err != nil || n < 1<<20 {
		t.Fatal(n, err)
	}
}
