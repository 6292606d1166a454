// Command install obtains the engines that Rollcall runs on one machine, and says
// how far it is. A second run finds them and returns at once.
//
//	go run ./deploy/local/install          # all that this machine can run
//	go run ./deploy/local/install -dir DIR # into another folder than .rollcall/engines
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/rollcall/rollcall/deploy/local"
)

func main() {
	dir := flag.String("dir", local.DefaultEngines(), "folder to install into")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := install(ctx, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		os.Exit(1)
	}
}

// install obtains the engines, Apache Kafka only where Java can run it, and the
// launcher of ClickHouse.
func install(ctx context.Context, dir string) error {
	say := func(line string) { fmt.Println(line) }
	options := local.InstallOptions{Dir: dir, Progress: say}
	if _, err := local.Install(ctx, options); err != nil {
		return err
	}
	choice, err := local.ChooseKafka(ctx, local.KafkaAuto, options)
	if err != nil {
		return err
	}
	say(choice.Why)
	if _, err := local.FindLauncher(ctx, dir); err != nil {
		return err
	}
	say("engines are ready")
	return nil
}
