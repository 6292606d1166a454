package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// launcherName is the binary of cmd/rollcall-clickhouse.
const launcherName = "rollcall-clickhouse"

// FindLauncher gives the path of the binary rollcall-clickhouse: the one beside
// our own executable or on the PATH, else one that it builds from the checkout
// with the Go tool into engines/bin.
func FindLauncher(ctx context.Context, engines string) (string, error) {
	if own, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(own), launcherName)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	if path, err := exec.LookPath(launcherName); err == nil {
		return filepath.Abs(path)
	}
	checkout, err := checkoutDir()
	if err != nil {
		return "", fmt.Errorf("%s is neither beside this binary nor on the PATH, and it cannot be built: %w", launcherName, err)
	}
	return buildCommand(ctx, checkout, launcherName, engines)
}

// buildCommand builds cmd/NAME of the checkout into engines/bin. The Go tool
// leaves a binary that is up to date as it is, and puts a new one in place whole.
func buildCommand(ctx context.Context, checkout, name, engines string) (string, error) {
	dir, _, err := Reachable(engines)
	if err != nil {
		return "", err
	}
	unlock, err := lockInstall(ctx, dir, func(string) {})
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(dir, "bin", name)
	if err := makeOpen(filepath.Dir(path)); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/"+name)
	command.Dir = checkout
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if said, err := command.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("build %s: %w", name, err), errors.New(string(said)))
	}
	return path, nil
}
