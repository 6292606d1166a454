//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// run is what the file run.json of a running `rollcall dev` tells.
type run struct {
	path string

	Version string `json:"version"`
	Pid     int    `json:"pid"`
	Domain  string `json:"domain"`
	Kafka   string `json:"kafka_kind"`
	Engines []struct {
		Name string `json:"name"`
		Pid  int    `json:"pid"`
	} `json:"engines"`
	Parts []part `json:"parts"`
}

// part is one process of our binary.
type part struct {
	Name   string            `json:"name"`
	Role   string            `json:"role"`
	Pid    int               `json:"pid"`
	Admin  string            `json:"admin"`
	Listen map[string]string `json:"listen"`
}

func readRun(path string) (*run, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("is `rollcall dev` running on this directory, and ready? %w", err)
	}
	r := &run{path: path}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.edges() == 0 {
		return nil, fmt.Errorf("%s: no edge runs", path)
	}
	return r, nil
}

func (r *run) dir() string { return filepath.Dir(r.path) }

func (r *run) edges() int {
	n := 0
	for _, p := range r.Parts {
		if p.Role == "edge" {
			n++
		}
	}
	return n
}

// edge gives the i-th edge.
func (r *run) edge(i int) part {
	for _, p := range r.Parts {
		if p.Role == "edge" {
			if i == 0 {
				return p
			}
			i--
		}
	}
	panic("no such edge")
}

// plain gives where the i-th edge takes connections without TLS.
func (r *run) plain(i int) string { return r.edge(i).Listen["starttls"] }

// freshEdge has the first edge start anew, so that its memory holds nothing
// of what it did before, and gives it.
func (r *run) freshEdge() (part, error) {
	old := r.edge(0)
	if err := syscall.Kill(old.Pid, syscall.SIGTERM); err != nil {
		return part{}, fmt.Errorf("stop %s: %w", old.Name, err)
	}
	for late := time.Now().Add(time.Minute); time.Now().Before(late); time.Sleep(100 * time.Millisecond) {
		fresh, err := readRun(r.path)
		if err != nil {
			return part{}, err
		}
		now := fresh.edge(0)
		if now.Pid == 0 || now.Pid == old.Pid {
			continue
		}
		answer, err := http.Get("http://" + now.Admin + "/readyz")
		if err != nil {
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			*r = *fresh
			return now, nil
		}
	}
	return part{}, errors.New("the edge did not come back within a minute")
}
