//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticks is how many clock ticks a second has in /proc, on every Linux that
// Go runs on.
const ticks = 100

// usage is processor time at one moment.
type usage struct {
	at    time.Time
	roles map[string]float64 // CPU seconds by role; "load" is this process
	busy  float64            // CPU seconds of the whole machine
}

// stat is what one line of /proc/PID/stat tells.
type stat struct {
	parent  int
	seconds float64 // user and system time, of ended children too
}

// parseStat reads a /proc/PID/stat. The name of the program, which may hold
// anything, ends with the last bracket.
func parseStat(text []byte) (stat, error) {
	i := bytes.LastIndexByte(text, ')')
	if i < 0 {
		return stat{}, fmt.Errorf("not a process: %q", text)
	}
	fields := strings.Fields(string(text[i+1:]))
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("not a process: %q", text)
	}
	var s stat
	var err error
	if s.parent, err = strconv.Atoi(fields[1]); err != nil {
		return s, err
	}
	for _, f := range fields[11:15] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return s, err
		}
		s.seconds += float64(n) / ticks
	}
	return s, nil
}

// measure reads what each role has used so far. The processes that a role
// started count as its own, as those of Postgres do.
func (r *run) measure() (usage, error) {
	role := map[int]string{r.Pid: "dev", os.Getpid(): "load"}
	for _, p := range r.Parts {
		role[p.Pid] = p.Role
	}
	for _, e := range r.Engines {
		role[e.Pid] = e.Name
	}
	u := usage{at: time.Now(), roles: make(map[string]float64)}
	all := make(map[int]stat)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return u, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		if all[pid], err = parseStat(text); err != nil {
			return u, err
		}
	}
	for pid, s := range all {
		for at := pid; at > 1; at = all[at].parent {
			if name, ok := role[at]; ok {
				u.roles[name] += s.seconds
				break
			}
		}
	}
	u.busy, err = machineBusy()
	return u, err
}

// machineBusy gives what all processes together used since the start.
func machineBusy() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var busy float64
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, waiting; guests are in user already
			continue
		}
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		busy += n / ticks
	}
	return busy, nil
}

// since gives what was used from a on: by role, and by all else on the
// machine under "others".
func (u usage) since(a usage) map[string]float64 {
	spent := make(map[string]float64)
	rest := u.busy - a.busy
	for name, s := range u.roles {
		if d := s - a.roles[name]; d > 0 {
			spent[name] = d
			rest -= d
		}
	}
	spent["others"] = max(rest, 0)
	return spent
}

// residentBytes gives the resident memory of a process.
func residentBytes(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no resident memory", pid)
}
