package local

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A server that ends before it answers has failed, whatever its exit status: that
// of ClickHouse is 0 also when it could not serve.
func TestEndBeforeTheFirstAnswerIsAFailedStart(t *testing.T) {
	lock, err := lockDir(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &child{name: "thing"}
	err = c.spawn(t.Context(), launch{
		path: "/bin/sh", args: []string{"-c", "echo port is taken"},
		ready: func(context.Context) error { return errors.New("no answer") },
	}, lock)
	if err == nil || !strings.Contains(err.Error(), "exit status 0") || !strings.Contains(err.Error(), "port is taken") {
		t.Errorf("got %v, want its exit status and its words", err)
	}
}

func TestClickHouseThatCannotServeIsAFailedStart(t *testing.T) {
	installed, err := Install(t.Context(), InstallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	launcher, err := FindLauncher(t.Context(), DefaultEngines())
	if err != nil {
		t.Fatal(err)
	}
	dir := dataDir(t)
	server := NewClickHouse(ClickHouseOptions{Dir: dir, Launcher: launcher, Library: installed.ClickHouse})
	// A data directory that is a file.
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("without a data directory: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "taken by another program") {
		t.Errorf("with its port taken: %v", err)
	}
	listener.Close()
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}
