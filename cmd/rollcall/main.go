// Command rollcall is an event-sourced presence backend for XMPP: one binary,
// a subcommand for each role, and `rollcall dev`, which runs them all on one
// machine. This package reads flags, wires the parts and maps errors to exit
// codes; what the parts do is in their own packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set when the binary is built.
var version = "unknown"

// Exit codes.
const (
	exitFailed = 1 // it did not work; one line says why
	exitUsage  = 2 // the command line, the environment or the file is wrong
)

type cli struct {
	Config  kong.ConfigFlag  `help:"YAML file with flags: at the top for every command, under a command's first word (edge, replay, user) for that one." placeholder:"FILE"`
	Version kong.VersionFlag `help:"Print the version." env:"-"`
	logFlags

	Dev        devCommand       `cmd:"" help:"Run everything on this machine: Kafka, Postgres, ClickHouse, and a process for each role."`
	Edge       edgeCommand      `cmd:"" help:"Serve XMPP clients."`
	Projector  projectorCommand `cmd:"" help:"Fold the log into Postgres."`
	History    historyCommand   `cmd:"" help:"Copy the log into ClickHouse."`
	Fanout     fanoutCommand    `cmd:"" help:"Tell the edges what their clients must hear."`
	HTTP       httpCommand      `cmd:"" name:"http" help:"Serve services that speak HTTP."`
	Migrate    migrateCommand   `cmd:"" help:"Bring the tables of Postgres and ClickHouse up to date."`
	Topics     topicsCommand    `cmd:"" help:"Create the topics in Kafka."`
	User       userCommand      `cmd:"" help:"Add, list and delete accounts, change passwords."`
	Apikey     apikeyCommand    `cmd:"" help:"Make, list and revoke API keys for the HTTP door."`
	Replay     replayCommand    `cmd:"" help:"Verify or rebuild the views from the log; show an account's history."`
	Generate   generateCommand  `cmd:"" help:"Make up a history: accounts, friendships, days of presence and chat."`
	Kafka      kafkaCommand     `cmd:"" help:"Serve the embedded Kafka broker, for one machine only."`
	VersionCmd versionCommand   `cmd:"" name:"version" help:"Print the version."`
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run parses args and runs the command until it ends or a signal comes. It
// gives the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	exited := -1
	bare := len(args) == 0
	if bare { // how it is used is what an error would have to say
		args, stdout = []string{"--help"}, stderr
	}
	parser, err := kong.New(&c,
		kong.Name("rollcall"),
		kong.Description("Event-sourced presence for XMPP. Every flag is also an environment variable (--kafka-brokers is ROLLCALL_KAFKA_BROKERS) and a key of the --config file; the command line wins over the environment, the environment over the file."),
		kong.DefaultEnvars("ROLLCALL"),
		kong.Configuration(loadConfig),
		kong.Writers(stdout, stderr),
		kong.Vars{"version": "rollcall " + version},
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)
	if err != nil {
		fmt.Fprintln(stderr, "rollcall:", err)
		return exitUsage
	}
	parsed, err := parser.Parse(args)
	if bare {
		return exitUsage
	}
	if exited >= 0 { // --help or --version was answered
		return exited
	}
	if err != nil {
		fmt.Fprintf(stderr, "rollcall: %v (try --help)\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := c.logFlags.setUp(stderr); err != nil {
		fmt.Fprintln(stderr, "rollcall:", err)
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(); err != nil && !(errors.Is(err, context.Canceled) && ctx.Err() != nil) {
		// One line, whatever a library's error holds.
		fmt.Fprintf(stderr, "rollcall %s: %s\n", parsed.Command(), strings.Join(strings.Fields(err.Error()), " "))
		return exitFailed
	}
	return 0
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, "rollcall", version)
	return err
}
