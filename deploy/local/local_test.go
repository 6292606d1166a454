package local

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
)

// As root, a folder behind a closed one is replaced, always by the same folder,
// and a reachable one is taken as it is; anybody else uses what was asked for.
func TestReachable(t *testing.T) {
	base := dataDir(t)
	closed := filepath.Join(base, "home")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	asked := filepath.Join(closed, "rollcall", "dir")
	got, moved, err := Reachable(asked)
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		defer os.Remove(got)
		if !moved || strings.HasPrefix(got, closed) {
			t.Fatalf("behind a folder with mode 0700: %s, moved %v", got, moved)
		}
		if open, err := openWay(got, unprivileged); err != nil || !open {
			t.Fatalf("%s is not reachable either (%v)", got, err)
		}
		if again, _, _ := Reachable(asked); again != got {
			t.Errorf("second call: %s, first %s", again, got)
		}
		if _, err := os.Stat(filepath.Dir(asked)); err == nil {
			t.Errorf("%s was created, though nothing goes there", asked)
		}
	} else if moved || got != asked {
		t.Fatalf("not root: %s, moved %v, want %s", got, moved, asked)
	}
	open := filepath.Join(base, "a", "b")
	if got, moved, err := Reachable(open); err != nil || moved || got != open {
		t.Errorf("open folder: %s, %v, %v", got, moved, err)
	}
	if info, err := os.Stat(open); err != nil || info.Mode().Perm()&0o001 == 0 {
		t.Errorf("open folder: %v, %v", info, err)
	}
}

// A link that leads into a closed folder is a closed way.
func TestOpenWayFollowsLinks(t *testing.T) {
	base := dataDir(t)
	closed, link := filepath.Join(base, "closed"), filepath.Join(base, "link")
	if err := errors.Join(os.Mkdir(closed, 0o700), os.Symlink(closed, link)); err != nil {
		t.Fatal(err)
	}
	if open, err := openWay(filepath.Join(link, "below"), 12345); err != nil || open {
		t.Errorf("through a link into a closed folder: open %v, %v", open, err)
	}
}

func TestKeptPort(t *testing.T) {
	dir := t.TempDir()
	first, err := keptPort(dir, "port", 0)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := keptPort(dir, "port", 0); err != nil || again != first {
		t.Errorf("second time %d, %v; first %d", again, err, first)
	}
	if given, err := keptPort(dir, "port", 4242); err != nil || given != 4242 {
		t.Errorf("given 4242: %d, %v", given, err)
	}
	if kept, err := keptPort(dir, "port", 0); err != nil || kept != 4242 {
		t.Errorf("after 4242 was given: %d, %v", kept, err)
	}
	listener, err := net.Listen("tcp", address(first))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if _, err := takePort(dir, "port", first); err == nil || !strings.Contains(err.Error(), strconv.Itoa(first)) {
		t.Errorf("a port that is taken: %v", err)
	}
}

// A pid file that names a process which is no Postgres of this directory goes.
// Kafka's tools take an id that begins with a dash for an option; one in 64
// random ones would.
func TestClusterIDsAreNoOptions(t *testing.T) {
	for range 2000 {
		if id := newClusterID(); len(id) != 22 || id[0] == '-' {
			t.Fatalf("got %q", id)
		}
	}
}

func TestStalePidFileIsRemoved(t *testing.T) {
	data := t.TempDir()
	path := filepath.Join(data, "postmaster.pid")
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"+data+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeStalePid(data); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

// A server that cannot start says why, in its own words.
func TestFailedStartTellsWhatTheServerSaid(t *testing.T) {
	installed, err := Install(t.Context(), InstallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := NewPostgres(PostgresOptions{
		Dir: dataDir(t), Native: installed.Postgres, Settings: map[string]string{"no_such_setting": "1"},
	})
	err = server.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("got %v, want the server's words", err)
	}
	server.options.Settings = nil
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer server.Stop(context.Background())
	connection, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	var committing, locale string
	err = connection.QueryRow(t.Context(), "SELECT current_setting('synchronous_commit'), datlocale FROM pg_database WHERE datname = 'rollcall'").Scan(&committing, &locale)
	if err != nil || committing != "on" || locale != "C.UTF-8" {
		t.Errorf("synchronous_commit %q, locale %q, %v", committing, locale, err)
	}
}

// Without Java auto takes the embedded broker and says why; asked for by name,
// Apache Kafka is an error.
func TestChooseKafkaWithoutJava(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("JAVA_HOME", "")
	choice, err := ChooseKafka(t.Context(), KafkaAuto, InstallOptions{Dir: dataDir(t)})
	if err != nil || choice.Kind != KafkaEmbedded || !strings.Contains(choice.Why, "no Java found") {
		t.Errorf("auto: %+v, %v", choice, err)
	}
	if _, err := ChooseKafka(t.Context(), KafkaApache, InstallOptions{Dir: dataDir(t)}); err == nil {
		t.Error("apache: no error")
	}
	if _, err := ChooseKafka(t.Context(), "other", InstallOptions{}); err == nil {
		t.Error("unknown kind: no error")
	}
}

func TestChooseKafkaRefusesOldJava(t *testing.T) {
	java := filepath.Join(t.TempDir(), "bin", "java")
	script := "#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n"
	if err := errors.Join(os.Mkdir(filepath.Dir(java), 0o755), os.WriteFile(java, []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JAVA_HOME", filepath.Dir(filepath.Dir(java)))
	choice, err := ChooseKafka(t.Context(), KafkaAuto, InstallOptions{Dir: dataDir(t)})
	if err != nil || choice.Kind != KafkaEmbedded || !strings.Contains(choice.Why, "java is version 11") {
		t.Errorf("auto: %+v, %v", choice, err)
	}
}

// Many installations at once fill the folder once, and one that fails leaves nothing.
func TestInstalledFillsOnce(t *testing.T) {
	dir := dataDir(t)
	var fills int // guarded by the installation's lock
	thing := part{
		name: "thing", what: "a thing", files: fstest.MapFS{"list": {Data: []byte("1")}},
		fill: func(_ context.Context, dir string) error {
			fills++
			return os.WriteFile(filepath.Join(dir, "came"), nil, 0o600)
		},
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			folder, err := installed(t.Context(), dir, thing, func(string) {})
			if err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(filepath.Join(folder, "came")); err != nil || info.Mode().Perm() != 0o644 {
				t.Error(info, err)
			}
		})
	}
	group.Wait()
	if fills != 1 {
		t.Errorf("filled %d times, want once", fills)
	}
	failing := thing
	failing.name, failing.fill = "failing", func(context.Context, string) error { return errors.New("no network") }
	if _, err := installed(t.Context(), dir, failing, func(string) {}); err == nil {
		t.Error("failing installation: no error")
	}
	if failing.present(dir) {
		t.Error("failing installation: its folder is there")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".failing-*")); len(left) != 0 {
		t.Errorf("failing installation left %v", left)
	}
}

func TestCheckJars(t *testing.T) {
	const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.jar"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, sums, want string }{
		{"all there", emptySum + "  a.jar\n", ""},
		{"other bytes", strings.Repeat("0", 64) + "  a.jar\n", "has SHA-256"},
		{"one more came", "", "does not list it"},
		{"one did not come", emptySum + "  a.jar\n" + emptySum + "  b.jar\n", "b.jar did not come"},
		{"broken list", "a.jar\n", "cannot read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := checkJars(dir, c.sums)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestLines(t *testing.T) {
	var got []string
	out := &lines{to: func(line string) { got = append(got, line) }}
	for _, text := range []string{"a\nb", "c\r\n\n", strings.Repeat("x", maxLine+1), "\nlast"} {
		_, _ = out.Write([]byte(text))
	}
	out.flush()
	want := []string{"a", "bc", strings.Repeat("x", maxLine), "x", "last"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %d lines, want %d", len(got), len(want))
	}
}
