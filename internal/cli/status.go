package cli

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/app"
)

func newStatus(p *program) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the health of a directory",
		Long: "Status shows one screen on the health of a directory: of the running server, or of the store when it is stopped. " +
			"What somebody should look at stands at the end. Warnings do not change the exit code.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.withVerbs(cmd.Context(), func(v app.Verbs) error {
				s, err := v.Status(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return p.printJSON(s)
				}
				return printStatus(p.stdout, s, time.Now())
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, with figures that the screen has no room for")
	return c
}

// printStatus writes the screen.
func printStatus(to io.Writer, s *app.Status, now time.Time) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", label, fmt.Sprintf(format, args...)) // the error comes with Flush
	}
	if s.Running {
		row("Server", "Portolan %s, process %d, up %s", s.Version, s.PID, lasting(time.Duration(s.Uptime)*time.Second))
	} else {
		row("Server", "not running (store read by Portolan %s)", s.Version)
	}
	row("Configuration", "%s", s.Config)
	for i, l := range s.Listeners {
		row(first(i, "Listeners"), "%s", l)
	}
	if c := s.Certificate; c != nil {
		row("Certificate", "%s, until %s", c.Subject, c.NotAfter.Format(time.DateOnly))
	}
	if c := s.Connections; c != nil {
		row("Connections", "%d open, %d accepted, %d refused", c.Open, c.Accepted, c.Refused)
	}
	if len(s.Operations) > 0 {
		row("Operations", "%d searches, %d binds, %d writes, %d others since the start",
			s.Operations["search"], s.Operations["bind"], writes(s.Operations), others(s.Operations))
	}
	for i, line := range guarded(&s.Guard, s.Running) {
		row(first(i, "Guard"), "%s", line)
	}
	for i, x := range s.Suffixes {
		note := ""
		if !x.Present {
			note = " (empty)"
		}
		row(first(i, "Suffixes"), "%s%s", x.DN, note)
	}
	row("Entries", "%d", s.Entries)
	row("Journal", "records %d to %d, %s", s.Journal.First, s.Journal.Last, octets(s.Journal.Octets))
	if s.Journal.NewestCSN != "" {
		row("", "newest change %s", s.Journal.NewestCSN)
	}
	for i := range s.Replicas {
		x := &s.Replicas[i]
		row(first(i, "Copies"), "%s of %s: %s, %s", x.Base, x.Provider, x.State, behind(x.Behind))
		if x.CSN != "" {
			row("", "has %s", x.CSN)
		}
	}
	row("Indexes", "%d ready, %d not", s.Indexes.Ready, len(s.Indexes.NotReady))
	row("Store", "%s in %s, %s free", octets(s.Disk.Used), s.DataDir, octets(s.Disk.Free))
	caches := fmt.Sprintf("%d entries in %s, blocks in %s", s.Caches.Entries, octets(s.Caches.EntryOctets), octets(s.Caches.BlockOctets))
	if s.Caches.BlockHitRate >= 0 {
		caches += fmt.Sprintf(" (%.1f %% found)", 100*s.Caches.BlockHitRate)
	}
	row("Caches", "%s", caches)
	if s.Running {
		row("Memory", "%s in use, %s from the system", octets(s.Memory.Heap), octets(s.Memory.System))
	}
	for i, line := range s.Overlays {
		row(first(i, "Overlays"), "%s", line)
	}
	if b := s.LastBackup; b != nil {
		row("Last backup", "%s ago, in %s", lasting(now.Sub(b.Time)), b.Dir)
	}
	if len(s.Warnings) == 0 {
		row("Warnings", "none")
	}
	for i, text := range s.Warnings {
		row(first(i, "Warnings"), "%s", text)
	}
	return w.Flush()
}

// guarded says whom the guard holds back.
func guarded(g *app.GuardStatus, running bool) (lines []string) {
	if !g.Enabled {
		lines = append(lines, "off")
	} else {
		lines = append(lines, fmt.Sprintf("held back are %s, %s, %s, %s", plural(g.Accounts, "account", "accounts"), plural(g.Sources, "address", "addresses"),
			plural(g.Networks, "network", "networks"), plural(g.Passwords, "password", "passwords")))
	}
	if !running {
		return lines
	}
	if g.Enabled {
		lines[0] += fmt.Sprintf("; %s now, %d refused since the start", plural(g.Waiting, "login waits", "logins wait"), g.Refused)
	}
	if g.Exposed > 0 {
		lines = append(lines, fmt.Sprintf("%s sent in clear text, %d of them right", plural(g.Exposed, "password was", "passwords were"), g.ExposedRight))
	}
	if g.OverRate > 0 || g.RateRefused > 0 {
		lines = append(lines, fmt.Sprintf("%s over a rate now, %s refused for it", plural(g.OverRate, "client is", "clients are"), plural(g.RateRefused, "request", "requests")))
	}
	return lines
}

// behind says how old a copy may be.
func behind(seconds int64) string {
	switch {
	case seconds < 0:
		return "not complete yet"
	case seconds == 0:
		return "nothing behind"
	}
	return lasting(time.Duration(seconds)*time.Second) + " behind"
}

func first(i int, label string) string {
	if i > 0 {
		return ""
	}
	return label
}

var writeOperations = []string{"add", "delete", "modify", "modifydn"}

func writes(ops map[string]uint64) (n uint64) {
	for _, name := range writeOperations {
		n += ops[name]
	}
	return n
}

func others(ops map[string]uint64) (n uint64) {
	for name, count := range ops {
		if name != "search" && name != "bind" && !slices.Contains(writeOperations, name) {
			n += count
		}
	}
	return n
}

// lasting writes a duration in its two largest units.
func lasting(d time.Duration) string {
	day := 24 * time.Hour
	switch {
	case d < 0:
		return "no time"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d d %d h", d/day, d%day/time.Hour)
}
