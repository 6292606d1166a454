//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A report is the figures of one scenario, in order.
type report struct {
	Scenario string    `json:"scenario"`
	Version  string    `json:"version"`
	Kafka    string    `json:"kafka"`
	At       time.Time `json:"at"`
	Figures  []figure  `json:"figures"`
}

type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func newReport(r *run, scenario string) *report {
	return &report{Scenario: scenario, Version: r.Version, Kafka: r.Kafka, At: time.Now().UTC().Truncate(time.Second)}
}

func (r *report) add(name string, value float64, unit string) {
	r.Figures = append(r.Figures, figure{name, value, unit})
}

// cpu adds what each role used, for each of n things that were done.
func (r *report) cpu(from, to usage, n int64, thing string) {
	spent := to.since(from)
	wall := to.at.Sub(from.at).Seconds()
	ours := 0.0
	for _, name := range slices.Sorted(maps.Keys(spent)) {
		if name != "others" && name != "load" {
			ours += spent[name]
		}
		if name != "others" && n > 0 {
			r.add("cpu "+name, spent[name]*1e6/float64(n), "µs a "+thing)
		}
	}
	if n > 0 {
		r.add("cpu of the system", ours*1e6/float64(n), "µs a "+thing)
	}
	r.add("cpu of the system", ours/wall, "cores")
	r.add("cpu of the load", spent["load"]/wall, "cores")
	r.add("cpu of others on the machine", spent["others"]/wall, "cores")
}

// print writes a table.
func (r *report) print(w io.Writer) error {
	fmt.Fprintf(w, "%s, rollcall %s, Kafka %s, %s\n", r.Scenario, r.Version, r.Kafka, r.At.Format(time.DateTime))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.Figures {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", f.Name, strings.TrimSuffix(fmt.Sprintf("%.2f", f.Value), ".00"), f.Unit)
	}
	return t.Flush()
}

// appendTo adds the report to a file as one line of JSON.
func (r *report) appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(f).Encode(r); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// note tells how far a scenario is.
func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
