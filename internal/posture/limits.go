package posture

import (
	"fmt"
	"time"

	"portolan/internal/config"
)

// bound is one key of [limits] of which 0 means no limit.
type bound struct {
	name  string
	value func(l *config.Limits) int64
	means string
}

func offs() []bound {
	return []bound{
		{"size_limit", func(l *config.Limits) int64 { return int64(l.SizeLimit) }, "one search takes the whole directory away"},
		{"time_limit", func(l *config.Limits) int64 { return int64(l.TimeLimit) }, "one search may keep the server busy without end"},
		{"max_examined", func(l *config.Limits) int64 { return int64(l.MaxExamined) }, "a search that no index helps reads the whole directory"},
		{"rate_unauthenticated", func(l *config.Limits) int64 { return int64(l.RateUnauthenticated) }, "one stranger keeps the server busy by asking without a pause"},
		{"max_connections", func(l *config.Limits) int64 { return int64(l.MaxConnections) }, "connections are taken until the system has no more descriptors"},
		{"max_connections_per_address", func(l *config.Limits) int64 { return int64(l.MaxConnectionsPerAddress) }, "one host can take every connection that there is"},
		{"idle_timeout", func(l *config.Limits) int64 { return int64(l.IdleTimeout) }, "connections that nobody uses any more are kept for ever"},
		{"bind_timeout", func(l *config.Limits) int64 { return int64(l.BindTimeout) }, "strangers keep connections open for ever without a login"},
		{"max_persistent", func(l *config.Limits) int64 { return int64(l.MaxPersistent) }, "clients can leave searches behind that cost something at every change, without end"},
		{"write_timeout", func(l *config.Limits) int64 { return int64(l.WriteTimeout) }, "a client that does not read its answers holds them in memory for ever"},
	}
}

func offKeys() []string {
	var out []string
	for _, b := range offs() {
		out = append(out, "limits."+b.name)
	}
	return out
}

func limitsOff(r *review) {
	for _, b := range offs() {
		if b.value(&r.Config.Limits) == 0 {
			r.oneOf("limits."+b.name, Finding{Severity: Warn, Seen: b.name + " is off", Means: b.means})
		}
	}
}

// limitsOffFor looks at exceptions for everybody; those for names and groups are what the table is for.
func limitsOffFor(r *review) {
	for i := range r.Config.Limits.For {
		f := &r.Config.Limits.For[i]
		wide, severity := "", Warn
		for _, who := range f.Who {
			switch who {
			case "anonymous":
				wide, severity = who, Fail
			case "users":
				if wide == "" {
					wide = who
				}
			}
		}
		if wide == "" {
			continue
		}
		for _, x := range []struct {
			name string
			off  bool
		}{
			{"size_limit", f.SizeLimit != nil && *f.SizeLimit == 0}, {"time_limit", f.TimeLimit != nil && *f.TimeLimit == 0},
			{"max_examined", f.MaxExamined != nil && *f.MaxExamined == 0}, {"idle_timeout", f.IdleTimeout != nil && *f.IdleTimeout == 0},
		} {
			if x.off {
				section, k := findKey("limits." + x.name)
				section.Table, section.Array = "limits.for", true
				r.add(f.At(x.name), Finding{
					Severity: severity, Subject: wide + "." + x.name, Key: fmt.Sprintf("limits.for[%d].%s", i, x.name),
					Seen:  x.name + " is off for " + wide,
					Means: "the exception is for all of them, so that the limit protects nobody",
					Fix:   under(section), Write: k.Name + " = " + k.Default,
				})
			}
		}
		if wide == "anonymous" && f.Rate != nil && *f.Rate == 0 {
			section, k := findKey("limits.rate_unauthenticated")
			section.Table, section.Array = "limits.for", true
			r.add(f.At("rate"), Finding{
				Severity: Warn, Subject: "anonymous.rate", Key: fmt.Sprintf("limits.for[%d].rate", i),
				Seen:  "rate is off for anonymous",
				Means: "one stranger keeps the server busy by asking without a pause",
				Fix:   under(section), Write: "rate = " + k.Default,
			})
		}
	}
}

// farther is how many times its default a limit may be before it is taken for none.
const farther = 10

// fars are the limits of [limits] that cannot be turned off.
func fars() []bound {
	return []bound{
		{"max_pdu_unauthenticated", func(l *config.Limits) int64 { return l.MaxPDUUnauthenticated }, "strangers make the server hold that much memory for each of their connections"},
		{"max_pdu", func(l *config.Limits) int64 { return l.MaxPDU }, "each connection can make the server hold that much memory"},
		{"max_outstanding", func(l *config.Limits) int64 { return int64(l.MaxOutstanding) }, "one connection can have that many operations under way, ahead of everybody else's"},
		{"max_cursors", func(l *config.Limits) int64 { return int64(l.MaxCursors) }, "one connection can keep that many searches in memory"},
		{"max_filter_nodes", func(l *config.Limits) int64 { return int64(l.MaxFilterNodes) }, "one filter can cost that many comparisons for each entry"},
		{"max_controls", func(l *config.Limits) int64 { return int64(l.MaxControls) }, "one request can carry that many controls"},
		{"max_attributes", func(l *config.Limits) int64 { return int64(l.MaxAttributes) }, "one request can list that many attributes"},
		{"max_sorted", func(l *config.Limits) int64 { return int64(l.MaxSorted) }, "one search can make the server sort that many entries"},
		{"kept_memory", func(l *config.Limits) int64 { return l.KeptMemory }, "clients can make the server hold that much memory between their requests"},
		{"transaction_operations", func(l *config.Limits) int64 { return int64(l.TransactionOperations) }, "one request can hold up all other writers with that many updates"},
		{"transaction_bytes", func(l *config.Limits) int64 { return l.TransactionBytes }, "one connection can have that much queued"},
		{"transaction_changes", func(l *config.Limits) int64 { return int64(l.TransactionChanges) }, "one request can hold up all other writers while it changes that many entries"},
	}
}

func farKeys() []string {
	var out []string
	for _, b := range fars() {
		out = append(out, "limits."+b.name)
	}
	return out
}

func limitsFar(r *review) {
	usual := config.Default()
	for _, b := range fars() {
		have, def := b.value(&r.Config.Limits), b.value(&usual.Limits)
		if have > farther*def {
			r.oneOf("limits."+b.name, Finding{Severity: Warn, Seen: fmt.Sprintf("%s is %d times its default", b.name, have/def), Means: b.means})
		}
	}
}

// The least journal that covers a night in which nobody looks.
const (
	leastJournalAge   = 24 * time.Hour
	leastJournalBytes = 64 << 20
)

func shortJournal(r *review) {
	const means = "what happened before cannot be seen in the log views or replayed, and a replica that was away begins anew"
	j := &r.Config.Journal
	if j.MaxAge > 0 && j.MaxAge < leastJournalAge {
		r.oneOf("journal.max_age", Finding{Severity: Warn, Seen: "the journal is kept for less than a day", Means: means})
	}
	if j.MaxBytes < leastJournalBytes {
		r.oneOf("journal.max_bytes", Finding{Severity: Warn, Seen: "the journal is kept up to " + config.FormatSize(j.MaxBytes) + " only", Means: means})
	}
}

// enoughForOnePass is the memory with which one pass of Argon2id is about as strong as the default.
const enoughForOnePass = 46 << 20

func argon2Parameters(r *review) {
	a, usual := &r.Config.Password.Argon2, config.Default().Password.Argon2
	const means = "whoever gets hold of the hashes guesses passwords faster than with the default"
	if a.Memory < usual.Memory {
		r.oneOf("password.argon2.memory", Finding{Severity: Warn, Seen: "new hashes take less memory than by default (" + config.FormatSize(a.Memory) + ")", Means: means})
	}
	if a.Time < usual.Time && a.Memory < enoughForOnePass {
		r.oneOf("password.argon2.time", Finding{Severity: Warn, Seen: fmt.Sprintf("new hashes take fewer passes than by default (%d)", a.Time), Means: means})
	}
}
