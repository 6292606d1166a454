package local

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The engine exits with status 0 when it cannot serve; that is a failure all the same.
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
	// A data directory that is a file: the engine finds out, not we.
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
