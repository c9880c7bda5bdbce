package cli

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a long task is, on a terminal; elsewhere it shows nothing.
type progress struct{ bar *progressbar.ProgressBar }

// newProgress begins a progress bar on w. total is in the unit of Set; -1 is not known, which gives a counter.
func newProgress(w io.Writer, label string, total int64) progress {
	if !isTerminal(w) {
		return progress{}
	}
	return progress{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(label),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(total > 0),
	)}
}

// Set says how far the task is.
func (p progress) Set(n int64) {
	if p.bar != nil {
		// The bar only reports that the terminal is gone, which is no reason to stop the task.
		_ = p.bar.Set64(n)
	}
}

// Done removes the bar.
func (p progress) Done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
