package cli

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"
)

// profiles are files that serve and import write for those who make them faster; docs/performance.md tells how they are read.
// There is no way to ask a running server for them: who may start it names the files, which nobody else can read, and which
// hold names of functions and no data.
type profiles struct {
	cpu, allocs string
	// after is when the CPU profile begins: what a server does at first, with nothing in its caches, is another question.
	after time.Duration
}

// flags gives a command the flags, which its help leaves out.
func (f *profiles) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.cpu, "cpu-profile", "", "write a CPU profile to this `file` at the end")
	c.Flags().StringVar(&f.allocs, "allocs-profile", "", "write where memory was allocated to this `file` at the end")
	c.Flags().DurationVar(&f.after, "cpu-profile-after", 0, "begin the CPU profile when this `time` has passed")
	for _, name := range []string{"cpu-profile", "allocs-profile", "cpu-profile-after"} {
		if err := c.Flags().MarkHidden(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
}

// begin starts what is asked for. done writes the files.
func (f *profiles) begin() (done func() error, err error) {
	cpu, err := profileFile(f.cpu)
	if err != nil {
		return nil, err
	}
	allocs, err := profileFile(f.allocs)
	if err != nil {
		return nil, errors.Join(err, cpu.close())
	}
	begun := make(chan error, 1)
	var timer *time.Timer
	if cpu.File != nil {
		timer = time.AfterFunc(f.after, func() { begun <- pprof.StartCPUProfile(cpu) })
	}
	if allocs.File != nil {
		const everyOctets = 64 << 10
		runtime.MemProfileRate = everyOctets
	}
	return func() error {
		var errs []error
		switch {
		case timer == nil:
		case timer.Stop():
			errs = append(errs, fmt.Errorf("there is no CPU profile: the command ended before --cpu-profile-after %v", f.after))
		default:
			errs = append(errs, <-begun)
			pprof.StopCPUProfile()
		}
		if allocs.File != nil {
			errs = append(errs, pprof.Lookup("allocs").WriteTo(allocs, 0))
		}
		return errors.Join(append(errs, cpu.close(), allocs.close())...)
	}, nil
}

// output is a file that may not be wanted.
type output struct{ *os.File }

func profileFile(name string) (output, error) {
	if name == "" {
		return output{}, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return output{}, fmt.Errorf("the profile cannot be written: %w", err)
	}
	return output{f}, nil
}

func (o output) close() error {
	if o.File == nil {
		return nil
	}
	return o.Close()
}
