package main

import (
	"encoding/json"
	"os"
	"sync"
	"syscall"

	"github.com/rollcall/rollcall/deploy/local"
)

// runFile is DIR/run.json: what a script needs to know of a running `rollcall
// dev`. It is readable by its owner alone, for it holds a password.
type runFile struct {
	path string
	mu   sync.Mutex // guards all below once parts run

	Version        string       `json:"version"`
	Pid            int          `json:"pid"`
	Domain         string       `json:"domain"`
	Ready          bool         `json:"ready"`
	PostgresURL    string       `json:"postgres_url"`
	ClickhouseAddr string       `json:"clickhouse_addr"`
	ClickhouseHTTP string       `json:"clickhouse_http,omitempty"`
	KafkaBrokers   []string     `json:"kafka_brokers"`
	KafkaKind      string       `json:"kafka_kind"`   // apache, embedded or external
	Certificates   string       `json:"certificates"` // folder with DOMAIN.crt
	Engines        []engineLine `json:"engines"`
	Parts          []*part      `json:"parts"`

	engines []local.Engine
}

// engineLine tells of one engine that we run.
type engineLine struct {
	Name string `json:"name"`
	Pid  int    `json:"pid"`
	Addr string `json:"addr"`
}

func (r *runFile) setParts(parts []*part) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Parts = parts
}

// save writes the file anew; a reader sees the old one or the new one. Until
// everything serves there is none.
func (r *runFile) save() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.Ready {
		return
	}
	r.Engines = r.Engines[:0]
	for _, e := range r.engines {
		r.Engines = append(r.Engines, engineLine{e.Name(), e.Pid(), e.Addr()})
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		panic(err) // it holds only strings and numbers
	}
	fresh := r.path + ".new"
	if os.WriteFile(fresh, append(text, '\n'), 0o600) == nil {
		os.Rename(fresh, r.path)
	}
}

// remove removes the file if it is this process's: not that of another on the
// same data, for which this one did not start.
func (r *runFile) remove() {
	if runningPid(r.path) == r.Pid {
		os.Remove(r.path)
	}
}

// runningPid gives the process that wrote a run.json and still lives, 0 if
// there is none.
func runningPid(path string) int {
	var r struct{ Pid int }
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &r) != nil || r.Pid <= 0 || syscall.Kill(r.Pid, 0) != nil {
		return 0
	}
	return r.Pid
}
