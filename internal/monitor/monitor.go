package monitor

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"portolan/internal/op"
	"portolan/ldap"
)

// Suffix is the name of the topmost entry.
const Suffix = "cn=Monitor"

// Tree returns the subtree. look is called once for each search.
func Tree(look func() Snapshot) op.Tree {
	return op.Tree{
		Name: "monitor", DN: Suffix,
		RootDSE: func() []op.TreeAttr { return []op.TreeAttr{op.Text("monitorContext", Suffix)} },
		Each: func(_ context.Context, q *op.TreeQuery, f func(*op.TreeEntry) error) error {
			s := look()
			w := writer{q: q, f: f, begun: generalized(s.Begun), now: generalized(s.Now)}
			w.all(&s)
			return w.err
		},
	}
}

func generalized(t time.Time) string { return t.UTC().Format("20060102150405Z") }

// writer gives the entries in the scope of a query, parents before children.
type writer struct {
	q          *op.TreeQuery
	f          func(*op.TreeEntry) error
	begun, now string
	err        error
}

// kind is the object class of an entry.
type kind string

const (
	server    kind = "monitorServer"
	container kind = "monitorContainer"
	counter   kind = "monitorCounterObject"
	operation kind = "monitorOperation"
	link      kind = "monitorConnection"
	object    kind = "monitoredObject"
	managed   kind = "managedObject"
)

// put gives one entry. path are the values of cn from the entry up to beneath the suffix; they need no escapes.
func (w *writer) put(path []string, k kind, children bool, attrs ...op.TreeAttr) {
	if w.err != nil {
		return
	}
	dn, norm := Suffix, strings.ToLower(Suffix)
	cn := "Monitor"
	if len(path) > 0 {
		dn = "cn=" + strings.Join(path, ",cn=") + "," + dn
		norm = strings.ToLower(dn)
		cn = path[0]
	}
	if !inScope(w.q, norm) {
		return
	}
	e := &op.TreeEntry{DN: dn, HasChildren: children, Attrs: append([]op.TreeAttr{
		op.Text("objectClass", string(k)), op.Text("structuralObjectClass", string(k)), op.Text("cn", cn),
		op.Text("creatorsName"), op.Text("createTimestamp", w.begun), op.Text("modifyTimestamp", w.now),
	}, attrs...)}
	w.err = w.f(e)
}

// inScope compares canonical names. Those of this tree are their own text in lower case.
func inScope(q *op.TreeQuery, norm string) bool {
	rest, beneath := strings.CutSuffix(norm, ","+q.Base)
	switch q.Scope {
	case ldap.ScopeBase:
		return norm == q.Base
	case ldap.ScopeOne:
		return beneath && !strings.Contains(rest, ",")
	case ldap.ScopeSubordinate:
		return beneath
	}
	return beneath || norm == q.Base
}

func number[N uint64 | int64 | int](n N) string { return strconv.FormatUint(uint64(n), 10) }

func text(name, value string) op.TreeAttr { return op.Text(name, value) }

// count is an entry with a counter.
func (w *writer) count(value uint64, path ...string) {
	w.put(path, counter, false, text("monitorCounter", number(value)))
}

// info is an entry with words, none where there are none.
func (w *writer) info(path []string, words ...string) {
	attrs := []op.TreeAttr{}
	if len(words) > 0 {
		attrs = append(attrs, op.Text("monitoredInfo", words...))
	}
	w.put(path, object, false, attrs...)
}

func (w *writer) all(s *Snapshot) {
	w.put(nil, server, true, text("monitoredInfo", s.Version), text("description", "This subtree is what the server says of itself."))
	w.connections(s)
	w.databases(s)
	w.listeners(s)
	w.put([]string{"Log"}, managed, false, text("monitoredInfo", s.LogLevel))
	w.operations(s)
	w.list("Overlays", "Overlay", s.Overlays)
	w.list("SASL", "Mechanism", s.Mechanisms)
	w.put([]string{"Statistics"}, container, true)
	w.count(s.OctetsOut, "Bytes", "Statistics")
	w.count(s.PDUs, "PDU", "Statistics")
	w.count(s.Entries, "Entries", "Statistics")
	w.count(s.Referrals, "Referrals", "Statistics")
	if d := s.Datagrams; d != nil {
		w.count(d.Received, "Datagrams", "Statistics")
		w.count(d.Ignored+d.Refused+d.Beyond, "Datagrams Dropped", "Statistics")
	}
	w.threads(s)
	w.put([]string{"Time"}, container, true)
	w.put([]string{"Start", "Time"}, object, false, text("monitorTimestamp", w.begun))
	w.put([]string{"Current", "Time"}, object, false, text("monitorTimestamp", w.now))
	w.info([]string{"Uptime", "Time"}, strconv.FormatInt(int64(s.Now.Sub(s.Begun)/time.Second), 10))
	w.tls(s)
	w.put([]string{"Trouble"}, container, len(s.Trouble) > 0)
	for _, c := range s.Trouble {
		w.count(c.Value, c.Name, "Trouble")
	}
	w.put([]string{"Waiters"}, container, true)
	// A connection that has no operation in progress waits to be read from. Writing never waits for its turn.
	w.count(s.Open-min(s.Open, s.Outstanding), "Read", "Waiters")
	w.count(0, "Write", "Waiters")
}

func (w *writer) connections(s *Snapshot) {
	const top = "Connections"
	w.put([]string{top}, container, true)
	w.count(s.MaxFiles, "Max File Descriptors", top)
	w.count(s.Accepted, "Total", top)
	w.count(s.Open, "Current", top)
	if s.Connections == nil {
		return
	}
	s.Connections(func(c Connection) bool {
		attrs := []op.TreeAttr{
			text("monitorConnectionNumber", number(c.ID)), text("monitorConnectionProtocol", "3"),
			text("monitorConnectionOpsReceived", number(c.Received)), text("monitorConnectionOpsExecuting", number(c.Executing)),
			text("monitorConnectionOpsPending", "0"), text("monitorConnectionOpsCompleted", number(c.Completed)),
			text("monitorConnectionAuthzDN", c.AuthzDN), text("monitorConnectionListener", c.Listener),
			text("monitorConnectionStartTime", generalized(c.Begun)),
		}
		if c.Peer != "" {
			attrs = append(attrs, text("monitorConnectionPeerAddress", c.Peer))
		}
		if c.Local != "" {
			attrs = append(attrs, text("monitorConnectionLocalAddress", c.Local))
		}
		w.put([]string{fmt.Sprintf("Connection %d", c.ID), top}, link, false, attrs...)
		return w.err == nil
	})
}

func (w *writer) databases(s *Snapshot) {
	const top = "Databases"
	readOnly := "FALSE"
	if s.ReadOnly {
		readOnly = "TRUE"
	}
	w.put([]string{top}, container, true)
	for i, suffix := range s.Suffixes {
		w.put([]string{"Database " + strconv.Itoa(i+1), top}, object, false,
			text("monitoredInfo", "portolan"), text("namingContexts", suffix), text("readOnly", readOnly), text("monitorIsShadow", "FALSE"))
	}
}

func (w *writer) listeners(s *Snapshot) {
	const top = "Listeners"
	w.put([]string{top}, container, len(s.Listeners) > 0)
	for i, l := range s.Listeners {
		w.put([]string{"Listener " + strconv.Itoa(i), top}, object, false, text("labeledURI", l), text("monitorConnectionLocalAddress", l))
	}
}

func (w *writer) operations(s *Snapshot) {
	const top = "Operations"
	var initiated, completed uint64
	for _, o := range s.Operations {
		initiated += o.Initiated
		completed += o.Completed
	}
	w.put([]string{top}, operation, true, text("monitorOpInitiated", number(initiated)), text("monitorOpCompleted", number(completed)))
	for _, o := range s.Operations {
		w.put([]string{o.Name, top}, operation, false, text("monitorOpInitiated", number(o.Initiated)), text("monitorOpCompleted", number(o.Completed)))
	}
}

// list is a container with an entry for each name.
func (w *writer) list(top, one string, names []string) {
	attrs := []op.TreeAttr{}
	if len(names) > 0 {
		attrs = append(attrs, op.Text("monitoredInfo", names...))
	}
	w.put([]string{top}, container, len(names) > 0, attrs...)
	for i, name := range names {
		w.info([]string{one + " " + strconv.Itoa(i), top}, name)
	}
}

// threads answers in slapd's words. There are no threads that work is given to: an operation that takes long has a goroutine
// of its own, and what waits are passwords to be hashed.
func (w *writer) threads(s *Snapshot) {
	const top = "Threads"
	w.put([]string{top}, container, true)
	one := func(name, value string) { w.info([]string{name, top}, value) }
	one("Max", number(s.Workers.Processors))
	one("Max Pending", "0")
	one("Open", number(s.Workers.Goroutines))
	one("Starting", "0")
	one("Active", number(s.Outstanding))
	one("Pending", number(s.Workers.HashesWaiting))
	one("Backload", number(s.Outstanding+uint64(s.Workers.HashesWaiting)))
	one("State", "running")
}

func (w *writer) tls(s *Snapshot) {
	if s.TLS == "" {
		w.put([]string{"TLS"}, container, false)
		return
	}
	w.put([]string{"TLS"}, container, false, text("monitoredInfo", s.TLS))
}
