package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"portolan/internal/app"
	"portolan/internal/config"
)

// administer runs f with the administrative verbs: those of the running server, or those on its store when it is stopped.
func (p *program) administer(ctx context.Context, c *config.Config, f func(v app.Verbs) error) (err error) {
	v, err := app.Administer(ctx, c, app.AdministerOptions{Version: p.version, OnFatal: func(err error) {
		// The storage engine cannot go on after this, not even to close.
		fmt.Fprintf(p.stderr, "portolan: the storage of %s failed; check the disk, then try again: %v\n", c.DataDir, err)
		os.Exit(exitFailed)
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	return f(v)
}

// withVerbs loads the configuration and runs f with the administrative verbs.
func (p *program) withVerbs(ctx context.Context, f func(v app.Verbs) error) error {
	cfg, err := p.loadConfig()
	if err != nil {
		return err
	}
	return p.administer(ctx, cfg, f)
}

// watched returns a bar that appears when the first progress is told, and what removes it.
func (p *program) watched(label string) (tell app.Progress, end func()) {
	var bar progress
	begun := false
	tell = func(done, total int64) {
		if !begun && total > 0 {
			bar, begun = newProgress(p.stderr, label, total), true
		}
		if begun {
			bar.Set(done)
		}
	}
	return tell, func() {
		if begun {
			bar.Done()
		}
	}
}

// printJSON writes a result for programs.
func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// octets writes a size for people.
func octets[N int64 | uint64](n N) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, names := float64(n)/unit, "KMGTPE"
	for f >= unit && len(names) > 1 {
		f, names = f/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %ciB", f, names[0])
}

func plural[N int | int64 | uint64](n N, one, many string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, one)
	}
	return fmt.Sprintf("%d %s", n, many)
}
