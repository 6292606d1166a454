package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say what a Stack runs and where. The zero value of each field but Dir
// is a good choice.
type Options struct {
	Dir     string // everything that the engines keep; created
	Engines string // folder of the installed engines; DefaultEngines

	Kafka string // KafkaAuto, KafkaApache or KafkaEmbedded; a directory keeps its kind

	SkipKafka, SkipPostgres, SkipClickHouse bool // served elsewhere

	// Ports; 0: the one kept in Dir, at first a free one.
	KafkaPort, PostgresPort, ClickHousePort, ClickHouseHTTPPort int

	Rollcall string // path of the rollcall binary, for the embedded Kafka; our own executable
	Launcher string // path of rollcall-clickhouse; FindLauncher

	Progress func(line string)         // what is going on, for a person; may be nil
	Log      func(engine, line string) // every line that an engine says; may be nil, called from several goroutines
}

// Stack is the engines of one directory. Fields of skipped engines are empty.
type Stack struct {
	KafkaBrokers   []string // host:port
	PostgresURL    string   // of database rollcall, with user and password
	ClickHouseAddr string   // host:port of the native protocol; database rollcall, user default, no password
	ClickHouseHTTP string   // host:port of the HTTP protocol
	ClickHouseURL  string   // clickhouse://host:port/rollcall

	Kafka      Engine // *ApacheKafka or *EmbeddedKafka; nil if skipped
	Postgres   Engine // *Postgres; nil if skipped
	ClickHouse Engine // *ClickHouse; nil if skipped
}

// stopTime bounds how long an engine may take to end in order before it is killed.
const stopTime = 20 * time.Second

// StartStack installs what is missing, starts the engines side by side and
// returns when all answer; if one does not, none is left running. A later start
// on the same Dir finds the data and serves it at the same addresses. ctx bounds
// the start alone: Close ends the engines.
func StartStack(ctx context.Context, o Options) (*Stack, error) {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Dir == "" {
		return nil, errors.New("start the engines: no data directory given")
	}
	dir, moved, err := Reachable(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start the engines: %w", err)
	}
	if moved {
		o.Progress(fmt.Sprintf("data is in %s, because user %d cannot reach %s", dir, unprivileged, o.Dir))
	}
	o.Dir = dir
	stack, err := newStack(ctx, o)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	for _, engine := range stack.Engines() {
		group.Go(func() error {
			if err := engine.Start(groupCtx); err != nil {
				return err
			}
			o.Progress(fmt.Sprintf("%s answers at %s, %.1f s", engine.Name(), engine.Addr(), time.Since(begin).Seconds()))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, stack.Close())
	}
	if stack.Kafka != nil {
		stack.KafkaBrokers = []string{stack.Kafka.Addr()}
	}
	if server, ok := stack.Postgres.(*Postgres); ok {
		stack.PostgresURL = server.URL()
	}
	if server, ok := stack.ClickHouse.(*ClickHouse); ok {
		stack.ClickHouseAddr, stack.ClickHouseHTTP, stack.ClickHouseURL = server.Addr(), server.HTTPAddr(), server.URL()
	}
	return stack, nil
}

// newStack installs what the engines need and gives them, not started yet.
func newStack(ctx context.Context, o Options) (*Stack, error) {
	logOf := func(engine string) func(string) {
		if o.Log == nil {
			return nil
		}
		return func(line string) { o.Log(engine, line) }
	}
	install := InstallOptions{Dir: o.Engines, Progress: o.Progress}
	if install.Dir == "" {
		install.Dir = DefaultEngines()
	}
	var installed Installed
	if !o.SkipPostgres || !o.SkipClickHouse {
		var err error
		if installed, err = Install(ctx, install); err != nil {
			return nil, err
		}
	}
	stack := &Stack{}
	if !o.SkipKafka {
		choice, err := chooseKept(ctx, o, install)
		if err != nil {
			return nil, err
		}
		o.Progress(choice.Why)
		options := KafkaOptions{
			Dir: filepath.Join(o.Dir, "kafka-"+choice.Kind), Port: o.KafkaPort,
			Rollcall: o.Rollcall, Java: choice.Java, Libs: choice.Libs, Log: logOf("kafka"),
		}
		if choice.Kind == KafkaApache {
			stack.Kafka = NewApacheKafka(options)
		} else {
			stack.Kafka = NewEmbeddedKafka(options)
		}
	}
	if !o.SkipPostgres {
		stack.Postgres = NewPostgres(PostgresOptions{
			Dir: filepath.Join(o.Dir, "postgres"), Native: installed.Postgres, Port: o.PostgresPort, Log: logOf("postgres"),
		})
	}
	if !o.SkipClickHouse {
		launcher := o.Launcher
		if launcher == "" {
			var err error
			if launcher, err = FindLauncher(ctx, install.Dir); err != nil {
				return nil, err
			}
		}
		stack.ClickHouse = NewClickHouse(ClickHouseOptions{
			Dir: filepath.Join(o.Dir, "clickhouse"), Launcher: launcher, Library: installed.ClickHouse,
			Port: o.ClickHousePort, HTTPPort: o.ClickHouseHTTPPort, Log: logOf("clickhouse"),
		})
	}
	return stack, nil
}

// chooseKept is ChooseKafka for a directory that may hold a log already: what the
// other engines keep is about that log, so its kind of Kafka stays.
func chooseKept(ctx context.Context, o Options, install InstallOptions) (KafkaChoice, error) {
	path := filepath.Join(o.Dir, "kafka-kind")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return KafkaChoice{}, err
	}
	kept, kind := strings.TrimSpace(string(text)), o.Kafka
	if kept != "" {
		if kind != "" && kind != KafkaAuto && kind != kept {
			return KafkaChoice{}, fmt.Errorf("%s holds a log of the %s Kafka: go on with that, or take another directory for the %s one", o.Dir, kept, kind)
		}
		kind = kept
	}
	choice, err := ChooseKafka(ctx, kind, install)
	if err != nil {
		return KafkaChoice{}, err
	}
	if kept != "" {
		choice.Why += ", as before in " + o.Dir
		return choice, nil
	}
	return choice, writeFile(path, choice.Kind+"\n", 0o644)
}

// Engines gives those that are not skipped.
func (s *Stack) Engines() []Engine {
	var engines []Engine
	for _, engine := range []Engine{s.Kafka, s.Postgres, s.ClickHouse} {
		if engine != nil {
			engines = append(engines, engine)
		}
	}
	return engines
}

// Longest and first pause before an engine that ended is started again.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// Supervise starts again each engine that ends without Stop, until ctx ends, and
// tells what it does. It returns once no start is under way: Close after that.
func (s *Stack) Supervise(ctx context.Context, say func(line string)) {
	var group sync.WaitGroup
	for _, engine := range s.Engines() {
		group.Go(func() { keepAlive(ctx, engine, say) })
	}
	group.Wait()
}

// keepAlive is Supervise for one engine.
func keepAlive(ctx context.Context, engine Engine, say func(line string)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-engine.Done():
		}
		why := engine.Err()
		if why == nil {
			return // somebody stopped it
		}
		say(why.Error())
		for pause := firstPause; ; pause = min(2*pause, longestPause) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			err := engine.Start(ctx)
			if err == nil {
				say(engine.Name() + " answers again at " + engine.Addr())
				break
			}
			if ctx.Err() != nil {
				return
			}
			say(err.Error())
		}
	}
}

// Close stops the engines, side by side, and returns when all have ended. One
// that takes longer than 20 s is killed, which loses nothing acknowledged.
func (s *Stack) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	var group errgroup.Group
	for _, engine := range s.Engines() {
		group.Go(func() error { return engine.Stop(ctx) })
	}
	return group.Wait()
}
