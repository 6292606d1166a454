package local

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// unprivileged is the user that Postgres runs as when we are root, whom it
// refuses to serve: nobody.
const unprivileged = 65534

// serverUser is the user that an engine which refuses root runs as; 0 means as we are.
func serverUser() int {
	if os.Geteuid() == 0 {
		return unprivileged
	}
	return 0
}

// Reachable gives a folder that the engines' user can work in, and creates it:
// dir itself, unless we are root and the way to dir is closed to user 65534 (a
// home with mode 0700, say). Then it is a folder of ours that stands for dir,
// always the same one: /var/lib/rollcall/HASH, or one in the folder for temporary
// files where that cannot be. moved says so; the caller should print it.
func Reachable(dir string) (usable string, moved bool, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", false, err
	}
	if os.Geteuid() != 0 {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", false, fmt.Errorf("create %s: %w", dir, err)
		}
		return dir, false, nil
	}
	open, err := openWay(dir, unprivileged)
	if err != nil {
		return "", false, err
	}
	if open {
		return dir, false, makeOpen(dir)
	}
	sum := sha256.Sum256([]byte(dir))
	name := hex.EncodeToString(sum[:6])
	for _, instead := range []string{
		filepath.Join("/var/lib/rollcall", name),
		filepath.Join(os.TempDir(), "rollcall-"+name),
	} {
		open, wayErr := openWay(instead, unprivileged)
		if wayErr != nil || !open {
			err = errors.Join(err, wayErr)
			continue
		}
		if makeErr := makeOpen(instead); makeErr != nil {
			err = errors.Join(err, makeErr)
			continue
		}
		if ownErr := ownedByUs(instead); ownErr != nil {
			err = errors.Join(err, ownErr)
			continue
		}
		return instead, true, nil
	}
	return "", false, errors.Join(fmt.Errorf("user %d cannot reach %s, nor any folder that could stand for it", unprivileged, dir), err)
}

// openWay says whether user uid may pass through dir and every folder above it,
// as far as they exist. It looks at the permission bits alone.
func openWay(dir string, uid uint32) (bool, error) {
	real, err := realPath(dir)
	if err != nil {
		return false, err
	}
	for at := real; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return false, err
		case !info.IsDir():
			return false, fmt.Errorf("%s is not a folder", at)
		default:
			if !mayPass(info, uid) {
				return false, nil
			}
		}
		if at == filepath.Dir(at) {
			return true, nil
		}
	}
}

// mayPass says whether the bits of a folder let user uid (and the group of that
// number) pass through it. Of owner, group and others only the first that fits counts.
func mayPass(info os.FileInfo, uid uint32) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return false
	case owner.Uid == uid:
		return info.Mode().Perm()&0o100 != 0
	case owner.Gid == uid:
		return info.Mode().Perm()&0o010 != 0
	}
	return info.Mode().Perm()&0o001 != 0
}

// realPath follows the links of the part of the path that exists.
func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real, nil
	}
	if !errors.Is(err, os.ErrNotExist) || path == filepath.Dir(path) {
		return "", err
	}
	parent, err := realPath(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}

// makeOpen creates the folder and those above it that are missing, passable for
// everybody whatever the umask; folders that exist stay as they are.
func makeOpen(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrNotExist) {
		if err := makeOpen(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o755)
	}
	switch {
	case err == nil:
		return os.Chmod(dir, 0o755)
	case errors.Is(err, os.ErrExist):
		return nil
	}
	return fmt.Errorf("create %s: %w", dir, err)
}

// ownedByUs refuses a folder that somebody else laid at a name that can be guessed.
func ownedByUs(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a folder of ours", dir)
	}
	return nil
}
