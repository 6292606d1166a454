package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// loopback is where engines listen: ClickHouse's default user has no password.
const loopback = "127.0.0.1"

// lockWait is how long a start waits for the directory's lock: processes of a
// parent that was killed may need a moment to end.
const lockWait = 15 * time.Second

// lockDir takes the lock of an engine's directory. A process that inherits the
// file holds the lock too. It returns ErrInUse after lockWait, or when ctx ends.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
		case <-time.After(probePause):
		}
	}
}

// Ports that we choose ourselves are taken from below the range that the kernel
// gives to outgoing connections (32768-60999), so that none of these sits on an
// engine's port while it is down.
const (
	firstPort = 20000
	lastPort  = 32000
)

// freePort gives a port that nobody listens on.
func freePort() (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if portFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
}

// portFree says whether a server could listen on the loopback port now.
func portFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	listener.Close()
	return true
}

// keptPort gives the port that dir keeps under name: the given one if it is not 0,
// else the one of the last start, else a free one, which it keeps from now on.
func keptPort(dir, name string, given int) (int, error) {
	path := filepath.Join(dir, name)
	if given == 0 {
		text, err := os.ReadFile(path)
		if err == nil {
			if given, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil || given <= 0 || given > 65535 {
				return 0, fmt.Errorf("%s does not hold a port: %q", path, text)
			}
			return given, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		if given, err = freePort(); err != nil {
			return 0, err
		}
	}
	return given, writeFile(path, strconv.Itoa(given)+"\n", 0o644)
}

// writeFile replaces a file as a whole: a reader sees the old text or the new.
func writeFile(path, text string, mode os.FileMode) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.WriteString(text)
	err = errors.Join(err, temporary.Chmod(mode), temporary.Sync(), temporary.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(temporary.Name(), path)
}

// address is host:port on the loopback interface.
func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// takePort is keptPort and sees that nobody listens there. It is called under the
// directory's lock, so whoever does is no process of this directory. A port that
// was chosen just now, and that somebody was quicker to take, is chosen again.
func takePort(dir, name string, given int) (int, error) {
	path := filepath.Join(dir, name)
	_, err := os.Stat(path)
	chosen := given == 0 && errors.Is(err, os.ErrNotExist)
	for try := 1; ; try++ {
		port, err := keptPort(dir, name, given)
		if err != nil || portFree(port) {
			return port, err
		}
		if !chosen || try == maxChoices {
			return 0, fmt.Errorf("port %d is taken by another program; end that, or remove %s to get another port", port, path)
		}
		if err := os.Remove(path); err != nil {
			return 0, err
		}
	}
}

// maxChoices is how many ports are tried in vain.
const maxChoices = 10

// portAnswers says whether a server accepts connections at addr.
func portAnswers(ctx context.Context, addr string) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return connection.Close()
}
