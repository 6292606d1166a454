package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// engine gives the address and the process of an engine whose name has the
// given ending: "kafka", "postgres" or "clickhouse".
func (r *runFile) engine(kind string) (name, addr string, pid int) {
	for _, e := range r.Engines {
		if strings.Contains(strings.ToLower(e.Name), kind) {
			return e.Name, e.Addr, e.Pid
		}
	}
	return "", "", 0
}

// shut kills an engine and takes its port, so that it cannot start again and
// whoever connects is cut off, until open is called.
func (s *stack) shut(t *testing.T, kind string) (open func()) {
	t.Helper()
	r := s.run(t)
	name, addr, pid := r.engine(kind)
	if pid == 0 {
		t.Fatalf("no %s runs: %+v", kind, r.Engines)
	}
	killed := make(map[int]bool)
	var l net.Listener
	eventually(t, "the port of "+name+" is free", 20*time.Second, func() error {
		if now, err := s.readRun(); err == nil {
			if _, _, pid := now.engine(kind); pid != 0 && !killed[pid] {
				killed[pid] = true
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					return err
				}
			}
		}
		var err error
		for range 100 { // sooner than it is started again
			if l, err = net.Listen("tcp", addr); err == nil {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
		return err
	})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return func() {
		l.Close()
		<-gone
		eventually(t, name+" runs again", time.Minute, func() error {
			now, err := s.readRun()
			if err != nil {
				return err
			}
			if _, _, pid := now.engine(kind); pid == 0 || killed[pid] {
				return fmt.Errorf("%s was not started again", name)
			}
			return nil
		})
	}
}

// freeze stops an engine with all its processes, as they are, until thaw is
// called: connections stay, and nobody answers.
func (s *stack) freeze(t *testing.T, kind string) (thaw func()) {
	t.Helper()
	r := s.run(t)
	name, _, pid := r.engine(kind)
	if pid == 0 {
		t.Fatalf("no %s runs: %+v", kind, r.Engines)
	}
	stopped := append([]int{pid}, children(t, pid)...)
	for _, p := range stopped {
		if err := syscall.Kill(p, syscall.SIGSTOP); err != nil && p == pid {
			t.Fatalf("stop %s: %v", name, err)
		}
	}
	return func() {
		for _, p := range stopped {
			syscall.Kill(p, syscall.SIGCONT) // one of a child that has ended meanwhile fails
		}
	}
}

// children gives the processes whose parent is pid.
func children(t *testing.T, pid int) []int {
	t.Helper()
	var found []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err == nil {
				found = append(found, child)
			}
		}
	}
	return found
}
