package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A part is a process of our own binary that is kept running.
type part struct {
	Name string
	Role string
	life
	Listen map[string]string // what it serves -> host:port

	mu   sync.Mutex // guards life
	args []string
	env  []string
}

// life is what is another each time that a part is started. Its admin port is,
// for another program may have taken the last one meanwhile.
type life struct {
	Pid   int
	Admin string
}

func (p *part) now() life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life
}

// MarshalJSON gives the part as run.json has it.
func (p *part) MarshalJSON() ([]byte, error) {
	now := p.now()
	return json.Marshal(struct {
		Name   string            `json:"name"`
		Role   string            `json:"role"`
		Pid    int               `json:"pid"`
		Admin  string            `json:"admin"`
		Listen map[string]string `json:"listen,omitempty"`
	}{p.Name, p.Role, now.Pid, now.Admin, p.Listen})
}

// supervisor starts parts, starts them again when they die, and stops them.
type supervisor struct {
	binary  string
	say     func(name, line string)
	changed func() // a part lives anew, or has ended
	starter chan func()
	running sync.WaitGroup
}

// Pauses before a part that died is started again; a life of steadyLife makes
// the pause short again.
const (
	shortPause = 100 * time.Millisecond
	longPause  = 5 * time.Second
	steadyLife = 10 * time.Second
	stopIn     = 20 * time.Second // a part that does not end by then is killed
)

func newSupervisor(binary string, say func(name, line string), changed func()) *supervisor {
	s := &supervisor{binary: binary, say: say, changed: changed, starter: make(chan func())}
	// A child gets its parent-death signal when the thread that started it
	// ends, so one thread that never ends starts them all.
	go func() {
		runtime.LockOSThread()
		for start := range s.starter {
			start()
		}
	}()
	return s
}

// keep runs p until ctx ends, then stops it with SIGTERM.
func (s *supervisor) keep(ctx context.Context, p *part) {
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		pause := shortPause
		for ctx.Err() == nil {
			began := time.Now()
			err := s.live(ctx, p)
			if ctx.Err() != nil {
				return
			}
			if time.Since(began) > steadyLife {
				pause = shortPause
			}
			s.say("dev", fmt.Sprintf("%s ended (%v), starting it again in %s", p.Name, err, pause))
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, longPause)
		}
	}()
}

// wait returns when every part that was kept has ended.
func (s *supervisor) wait() { s.running.Wait() }

// live runs p's process once, from start to end.
func (s *supervisor) live(ctx context.Context, p *part) error {
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	cmd := exec.Command(s.binary, append([]string{p.Role, "--id", p.Name, "--admin", admin}, p.args...)...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	started := make(chan error)
	s.starter <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return err
	}
	s.set(p, life{cmd.Process.Pid, admin})
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	kill := make(chan struct{})
	defer close(kill)
	go func() {
		select {
		case <-ctx.Done():
		case <-kill:
			return
		}
		select {
		case <-time.After(stopIn):
			cmd.Process.Kill()
		case <-kill:
		}
	}()
	s.copyLines(p.Name, output)
	err = cmd.Wait()
	s.set(p, life{Admin: admin})
	if err == nil {
		err = errors.New("exit status 0")
	}
	return err
}

func (s *supervisor) copyLines(name string, r io.Reader) {
	reader := bufio.NewReader(r)
	for {
		line, err := reader.ReadString('\n')
		if line != "" {
			s.say(name, line)
		}
		if err != nil {
			return
		}
	}
}

func (s *supervisor) set(p *part, l life) {
	p.mu.Lock()
	p.life = l
	p.mu.Unlock()
	s.changed()
}

// awaitReady returns when p's readiness port says so.
func (s *supervisor) awaitReady(ctx context.Context, p *part) error {
	client := http.Client{Timeout: 3 * time.Second}
	last := "no answer yet"
	for {
		response, err := client.Get("http://" + p.now().Admin + "/readyz")
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			last = string(body)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %s", p.Name, last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
