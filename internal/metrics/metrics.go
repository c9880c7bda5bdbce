// Package metrics writes what a server counts in the text format of Prometheus (exposition format 0.0.4), from the same snapshot
// as cn=Monitor. No name of an entry, a client or an address is in it: it says how the server is, not who uses it.
package metrics

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"portolan/internal/monitor"
)

// ContentType is what the text is served as.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Handler serves the text at /metrics, and nothing else.
func Handler(look func() monitor.Snapshot) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", ContentType)
		w.Header().Set("Cache-Control", "no-store")
		s := look()
		_ = Write(w, &s) // who has hung up is told nothing
	})
	return mux
}

// Kinds of a metric.
const (
	counter = "counter"
	gauge   = "gauge"
)

// metric is one family with its values.
type metric struct {
	name, kind, help string
	values           []value
}

type value struct {
	label, of string // one label, or none
	v         float64
}

// Describe calls f for every family that Write can write: name, kind and what it says.
func Describe(f func(name, kind, help string)) {
	s := monitor.Snapshot{Begun: time.Unix(0, 0), Now: time.Unix(0, 0), TLSEnds: time.Unix(1, 0), Datagrams: new(monitor.Datagrams)}
	for _, m := range families(&s) {
		f(m.name, m.kind, m.help)
	}
}

func families(s *monitor.Snapshot) []metric {
	one := func(name, kind, help string, v float64) metric {
		return metric{name: name, kind: kind, help: help, values: []value{{v: v}}}
	}
	count := func(name, help string, v uint64) metric { return one(name, counter, help, float64(v)) }
	level := func(name, help string, v float64) metric { return one(name, gauge, help, v) }
	begun := metric{name: "portolan_operations_started_total", kind: counter, help: "Requests received, by kind of operation."}
	ended := metric{name: "portolan_operations_completed_total", kind: counter, help: "Operations that have ended, by kind."}
	for _, o := range s.Operations {
		name := strings.ToLower(o.Name)
		begun.values = append(begun.values, value{"operation", name, float64(o.Initiated)})
		ended.values = append(ended.values, value{"operation", name, float64(o.Completed)})
	}
	trouble := metric{name: "portolan_trouble_total", kind: counter, help: "What should not happen often, by kind."}
	for _, c := range s.Trouble {
		trouble.values = append(trouble.values, value{"kind", c.Name, float64(c.Value)})
	}
	out := []metric{
		{name: "portolan_info", kind: gauge, help: "The program; always 1.", values: []value{{"version", s.Version, 1}}},
		level("portolan_start_time_seconds", "When the server started, in seconds since 1970.", float64(s.Begun.Unix())),
		level("portolan_connections", "Open connections.", float64(s.Open)),
		count("portolan_connections_accepted_total", "Connections accepted.", s.Accepted),
		count("portolan_connections_refused_total", "Connections not let in, by network or limit.", s.Refused),
		level("portolan_max_open_files", "How many files the process may have open; 0 unknown.", float64(s.MaxFiles)),
		begun, ended,
		level("portolan_operations_outstanding", "Operations in progress.", float64(s.Outstanding)),
		count("portolan_received_bytes_total", "Octets of LDAP received.", s.OctetsIn),
		count("portolan_sent_bytes_total", "Octets of LDAP sent.", s.OctetsOut),
		count("portolan_sent_messages_total", "LDAP messages sent.", s.PDUs),
		count("portolan_sent_entries_total", "Search result entries sent.", s.Entries),
		count("portolan_sent_references_total", "Search result references sent.", s.Referrals),
		trouble,
		level("portolan_hashing_workers", "Passwords that can be hashed at one time.", float64(s.Workers.HashWorkers)),
		level("portolan_hashing_running", "Passwords being hashed.", float64(s.Workers.Hashing)),
		level("portolan_hashing_waiting", "Passwords that wait to be hashed.", float64(s.Workers.HashesWaiting)),
		count("portolan_hashing_done_total", "Passwords hashed.", s.Workers.HashesDone),
		count("portolan_hashing_refused_total", "Passwords not hashed because too many were waiting.", s.Workers.HashesTurnedOff),
		level("portolan_goroutines", "Goroutines of the process.", float64(s.Workers.Goroutines)),
		level("portolan_entries", "Entries in the directory.", float64(s.Entity.Entries)),
		level("portolan_journal_sequence", "Sequence of the newest journal record.", float64(s.Entity.JournalSeq)),
		level("portolan_journal_bytes", "Size of the journal in octets.", float64(s.Entity.JournalOctets)),
		level("portolan_entry_cache_entries", "Entries in the entry cache.", float64(s.Entity.CacheEntries)),
		level("portolan_entry_cache_bytes", "Size of the entry cache in octets.", float64(s.Entity.CacheOctets)),
		level("portolan_store_bytes", "Size of the store on disk in octets.", float64(s.Entity.DiskUsed)),
		level("portolan_disk_free_bytes", "Free space of the file system of data_dir in octets.", float64(s.Entity.DiskFree)),
	}
	if !s.TLSEnds.IsZero() {
		out = append(out, level("portolan_certificate_end_time_seconds", "When the server's certificate ends, in seconds since 1970.", float64(s.TLSEnds.Unix())))
	}
	if d := s.Datagrams; d != nil {
		out = append(out, count("portolan_datagrams_total", "Requests over UDP that were looked at.", d.Received),
			metric{name: "portolan_datagrams_dropped_total", kind: counter, help: "Datagrams without an answer, by reason.", values: []value{
				{"reason", "ignored", float64(d.Ignored)}, {"reason", "network", float64(d.Refused)},
				{"reason", "rate", float64(d.Beyond)}, {"reason", "unsent", float64(d.Unsent)},
			}},
			count("portolan_datagrams_too_large_total", "Requests over UDP that had fewer octets than their answer.", d.TooLarge))
	}
	return out
}

// Write writes all metrics of a snapshot.
func Write(w io.Writer, s *monitor.Snapshot) error {
	b := bufio.NewWriter(w)
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	for _, m := range families(s) {
		b.WriteString("# HELP " + m.name + " " + m.help + "\n# TYPE " + m.name + " " + m.kind + "\n")
		for _, v := range m.values {
			b.WriteString(m.name)
			if v.label != "" {
				b.WriteString("{" + v.label + `="` + escape.Replace(v.of) + `"}`)
			}
			b.WriteString(" " + strconv.FormatFloat(v.v, 'f', -1, 64) + "\n")
		}
	}
	return b.Flush()
}
