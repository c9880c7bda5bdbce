// Command stepped is "portolan serve --config FILE" with a clock that steps: with --behind it is behind that of the machine, and
// SIGUSR1 puts it back by an hour while the server runs. Nothing outside of a Go program can give it another time (it asks the
// kernel, so that libfaketime is not asked; time namespaces leave the time of day alone), and the clock of the machine is not a
// test's to change. The server is the one that portolan serve runs, with another value in the place of its clock.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"portolan/internal/app"
	"portolan/internal/config"
)

func main() {
	flags := flag.NewFlagSet("stepped serve", flag.ExitOnError)
	file := flags.String("config", "", "the configuration `file`")
	behind := flags.Duration("behind", 0, "by how much the clock is behind that of the machine")
	if len(os.Args) < 2 || os.Args[1] != "serve" || flags.Parse(os.Args[2:]) != nil {
		fmt.Fprintln(os.Stderr, "write: stepped serve --config FILE [--behind TIME]")
		os.Exit(2)
	}
	if err := serve(*file, *behind); err != nil {
		fmt.Fprintln(os.Stderr, "stepped:", err)
		os.Exit(1)
	}
}

func serve(file string, behind time.Duration) error {
	c, err := config.Load(file, os.ReadFile)
	if err != nil {
		return err
	}
	var back atomic.Int64
	back.Store(int64(behind))
	step := make(chan os.Signal, 1)
	signal.Notify(step, syscall.SIGUSR1)
	go func() {
		for range step {
			back.Add(int64(time.Hour))
			fmt.Fprintln(os.Stderr, "stepped: the clock went back by an hour")
		}
	}()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	now := func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
	return app.Serve(ctx, c, app.ServeOptions{Version: "stepped", Stderr: os.Stderr, Now: now}, reload)
}
