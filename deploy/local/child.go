package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// StartTimeout bounds Engine.Start when its context has no deadline. It is long:
// after kill -9 Kafka scans its last segments before it answers.
const StartTimeout = 2 * time.Minute

// probePause is the time between two questions whether a starting engine answers.
const probePause = 25 * time.Millisecond

// launch says how to start the process of an engine.
type launch struct {
	path        string
	args        []string
	env         []string       // nil: ours
	dir         string         // working directory
	uid         int            // run as this user and group; 0: as we are
	deathSignal syscall.Signal // what it gets when we end; 0: nothing, its standard input ends
	stopSignal  syscall.Signal // what asks it to end; 0: its standard input is closed
	holdStdin   bool           // keep its standard input open as long as we live
	// ready asks the engine something and returns nil when it answers as itself.
	ready func(ctx context.Context) error
}

// child is the process of an engine, restarted at will. Engines embed it for the
// methods that all of them share.
type child struct {
	name string
	log  func(line string) // every line that it says; may be nil

	mu   sync.Mutex    // guards all below
	pid  int           // 0 while none runs
	done chan struct{} // closed when the process has ended; nil before the first start
	err  error         // why it ended
	stop launch        // of the running process
	in   io.Closer     // its standard input, if held
	ours bool          // Stop was called: its end is no error
	tail tail          // the last that it said
}

// closed is what Done gives before the first start.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Name says what engine it is.
func (c *child) Name() string { return c.name }

// Pid is the id of the running process, 0 while none runs.
func (c *child) Pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// Done gives a channel that is closed when the last started process has ended.
func (c *child) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		return closed
	}
	return c.done
}

// Err says why the process ended, with the last lines that it said. It is nil
// while it runs and after Stop.
func (c *child) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// spawn starts the process and waits until it answers. lock is the locked file of
// its directory: the process inherits it, so that the directory stays locked
// until the last process that uses it is gone, whatever happens to us. spawn
// closes our copy.
func (c *child) spawn(ctx context.Context, l launch, lock *os.File) error {
	defer lock.Close()
	cmd := exec.Command(l.path, l.args...)
	cmd.Env, cmd.Dir, cmd.ExtraFiles = l.env, l.dir, []*os.File{lock}
	out := &lines{to: c.said}
	cmd.Stdout, cmd.Stderr = out, out
	// A process group of its own: Ctrl-C at a terminal comes to us alone, and we
	// end the engines in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: l.deathSignal}
	if l.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(l.uid), Gid: uint32(l.uid)}
	}
	// Grandchildren may hold the output open a little longer than the child lives.
	cmd.WaitDelay = 2 * time.Second
	var in io.Closer
	if l.holdStdin {
		pipe, err := cmd.StdinPipe()
		if err != nil {
			return fmt.Errorf("start %s: %w", c.name, err)
		}
		in = pipe
	}

	started := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		// The death signal is sent when the *thread* that forked ends, so this
		// goroutine keeps its thread to itself until the child is gone.
		runtime.LockOSThread()
		c.mu.Lock()
		c.tail = tail{} // before it starts: it may speak at once
		c.mu.Unlock()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		c.mu.Lock()
		c.pid, c.done, c.err, c.stop, c.in, c.ours = cmd.Process.Pid, done, nil, l, in, false
		c.mu.Unlock()
		started <- nil
		err := cmd.Wait()
		if errors.Is(err, exec.ErrWaitDelay) {
			err = nil
		}
		out.flush()
		c.ended(err)
		close(done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	return c.await(ctx, l, done)
}

// await returns when the started engine answers, or with an error when its
// process ends or ctx does; in that case it is gone.
func (c *child) await(ctx context.Context, l launch, done <-chan struct{}) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, StartTimeout)
		defer cancel()
	}
	for {
		answer := make(chan error, 1)
		go func() {
			probe, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			answer <- l.ready(probe)
		}()
		var unready error
		select {
		case unready = <-answer:
		case <-done:
			<-answer
		}
		select {
		case <-done:
			return fmt.Errorf("start %s: %w", c.name, c.Err())
		default:
		}
		if unready == nil {
			return nil
		}
		select {
		case <-done:
		case <-time.After(probePause):
		case <-ctx.Done():
			said := c.lastLines()
			_ = c.Kill()
			return fmt.Errorf("start %s: no answer: %w (%w); it said:\n%s", c.name, ctx.Err(), unready, said)
		}
	}
}

// ended notes that the process is gone, and why.
func (c *child) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pid = 0
	if c.in != nil {
		c.in.Close()
	}
	if c.ours {
		return
	}
	how := "exit status 0"
	if err != nil {
		how = err.Error()
	}
	c.err = fmt.Errorf("%s ended: %s; it said:\n%s", c.name, how, c.tail.text())
}

// Stop asks the process to end and waits until it has; when ctx ends first, it is
// killed and the error says so.
func (c *child) Stop(ctx context.Context) error {
	c.mu.Lock()
	pid, done, l, in := c.pid, c.done, c.stop, c.in
	c.ours = pid != 0
	c.mu.Unlock()
	if pid == 0 {
		return nil
	}
	if l.stopSignal == 0 {
		in.Close()
	} else if err := syscall.Kill(pid, l.stopSignal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		_ = c.Kill()
		return fmt.Errorf("stop %s: killed: %w", c.name, ctx.Err())
	}
}

// Kill ends the process at once and waits until it is gone. Err then says that it
// was killed.
func (c *child) Kill() error {
	c.mu.Lock()
	pid, done := c.pid, c.done
	c.mu.Unlock()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s: %w", c.name, err)
	}
	<-done
	return nil
}

// said takes one line of output.
func (c *child) said(line string) {
	c.mu.Lock()
	c.tail.add(line)
	c.mu.Unlock()
	if c.log != nil {
		c.log(line)
	}
}

// lastLines gives the end of what the process said.
func (c *child) lastLines() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tail.text()
}

// tailLines is how many lines of output an error shows.
const tailLines = 20

// tail keeps the last lines, for errors.
type tail struct{ lines []string }

func (t *tail) add(line string) {
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

func (t *tail) text() string { return strings.Join(t.lines, "\n") }

// maxLine bounds one line of output, in bytes; a longer one is cut into several.
const maxLine = 16 << 10

// lines cuts what is written into lines. os/exec writes to it from one goroutine.
type lines struct {
	to   func(line string)
	rest []byte // the line not yet ended; shorter than maxLine
}

// Write hands on every line that p ends. It never fails.
func (l *lines) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' || len(l.rest) == maxLine {
			l.flush()
		}
		if b != '\n' {
			l.rest = append(l.rest, b)
		}
	}
	return len(p), nil
}

// flush hands on the line not yet ended, if there is one.
func (l *lines) flush() {
	if line := strings.TrimRight(string(l.rest), "\r"); line != "" {
		l.to(line)
	}
	l.rest = l.rest[:0]
}
