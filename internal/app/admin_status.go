package app

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	"portolan/internal/audit"
	"portolan/internal/config"
	"portolan/internal/guard"
	"portolan/internal/replica"
	"portolan/internal/session"
	"portolan/internal/store"
)

// Live is what a running server knows beyond its directory.
type Live struct {
	Begun       time.Time
	Listeners   []string
	Open        uint64 // connections, now
	Accepted    uint64
	Refused     uint64 // by network or limit
	Operations  map[string]uint64
	Busy        uint64
	Rates       guard.RateStats
	Panics      uint64
	Certificate *x509.Certificate
}

// state returns what is known of the running server.
func (s *Server) state() Live {
	l := Live{Begun: s.begun, Operations: make(map[string]uint64)}
	if s.listen != nil {
		addrs := s.listen.Addrs()
		l.Listeners = append(l.Listeners, "control socket "+ControlSocket(s.Config))
		for i := range s.Config.Listen {
			text := s.Config.Listen[i].URL
			if i+1 < len(addrs) {
				text += " at " + addrs[i+1].String()
			}
			l.Listeners = append(l.Listeners, text)
		}
		c := s.listen.Read()
		l.Open, l.Accepted, l.Refused = c.Open, c.Accepted, c.RefusedNetwork+c.RefusedTotal+c.RefusedAddress
	}
	stats := s.stats.Read()
	l.Busy, l.Panics, l.Rates = stats.Busy, stats.Panics, s.rates.Stats(s.o.Now())
	for o := range session.Operations {
		l.Operations[o.String()] = stats.Completed[o]
	}
	if s.certs != nil {
		l.Certificate = s.certs.Leaf()
	}
	return l
}

// Status is the health of a directory. Sizes are octets.
type Status struct {
	Version string    `json:"version"`
	Running bool      `json:"running"`
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started,omitzero"`
	// Uptime is in seconds.
	Uptime  int64  `json:"uptime,omitempty"`
	Config  string `json:"config"`
	DataDir string `json:"data_dir"`

	Listeners   []string           `json:"listeners"`
	Connections *ConnectionStatus  `json:"connections,omitempty"`
	Operations  map[string]uint64  `json:"operations,omitempty"` // completed since the start
	Certificate *CertificateStatus `json:"certificate,omitempty"`

	Suffixes   []SuffixStatus   `json:"suffixes"`
	Entries    int64            `json:"entries"`
	Journal    JournalStatus    `json:"journal"`
	Indexes    IndexStatus      `json:"indexes"`
	Disk       DiskStatus       `json:"disk"`
	Caches     CacheStatus      `json:"caches"`
	Memory     MemoryStatus     `json:"memory"`
	Store      map[string]int64 `json:"store"` // figures of the store and its engine
	LastBackup *LastBackup      `json:"last_backup,omitempty"`
	Audit      *audit.Stats     `json:"audit,omitempty"` // of a running server's audit log
	Guard      GuardStatus      `json:"guard"`
	// Replicas are the suffixes that are copies, of a running server.
	Replicas []replica.Status `json:"replicas,omitempty"`
	// Overlays is what overlays say of what they do by and by.
	Overlays []string `json:"overlays,omitempty"`
	// Warnings are what somebody should look at, one sentence each.
	Warnings []string `json:"warnings"`
}

// GuardStatus is whom the guard holds back. What is counted since the start is 0 where the server does not run.
type GuardStatus struct {
	Enabled bool `json:"enabled"`
	// These have to wait before their next password is checked.
	Accounts  int `json:"accounts"`
	Sources   int `json:"sources"` // addresses, and accounts from an address
	Networks  int `json:"networks"`
	Passwords int `json:"passwords"` // that were tried on many accounts
	// Waiting are logins that wait now; Refused those that were answered busy, since the start.
	Waiting int    `json:"waiting"`
	Refused uint64 `json:"refused"`
	// Strained says that so much is guessed that less is free.
	Strained bool `json:"strained"`
	// Exposed are passwords that were sent in clear text since the start, ExposedRight those that were right.
	Exposed      uint64 `json:"exposed"`
	ExposedRight uint64 `json:"exposed_right"`
	// OverRate are identities and addresses that have asked for more than a rate and are answered busy now; RateRefused are
	// requests that were, since the start.
	OverRate    int    `json:"over_rate"`
	RateRefused uint64 `json:"rate_refused"`
}

// ConnectionStatus counts connections. Refused and Accepted are since the start.
type ConnectionStatus struct {
	Open     uint64 `json:"open"`
	Accepted uint64 `json:"accepted"`
	Refused  uint64 `json:"refused"`
}

// CertificateStatus is about the server's certificate.
type CertificateStatus struct {
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"not_after"`
}

// SuffixStatus is one naming context.
type SuffixStatus struct {
	DN string `json:"dn"`
	// Present says that its topmost entry is there.
	Present bool `json:"present"`
}

// JournalStatus is the extent of the journal.
type JournalStatus struct {
	Epoch     string `json:"epoch"`
	First     uint64 `json:"first"`
	Last      uint64 `json:"last"`
	Octets    uint64 `json:"octets"`
	NewestCSN string `json:"newest_csn,omitempty"`
}

// IndexStatus counts indexes; those that are not ready are listed.
type IndexStatus struct {
	Ready    int     `json:"ready"`
	NotReady []Index `json:"not_ready"`
}

// DiskStatus is the file system of data_dir. Below Floor writes are refused.
type DiskStatus struct {
	Free  uint64 `json:"free"`
	Floor uint64 `json:"floor"`
	Used  int64  `json:"used"` // by the store
}

// CacheStatus is how well caches do. BlockHitRate is from 0 to 1, and -1 where nothing was asked yet.
type CacheStatus struct {
	Entries      int64   `json:"entries"`
	EntryOctets  int64   `json:"entry_octets"`
	BlockOctets  int64   `json:"block_octets"`
	BlockHitRate float64 `json:"block_hit_rate"`
}

// MemoryStatus is the memory of the process.
type MemoryStatus struct {
	Heap   uint64 `json:"heap"`
	System uint64 `json:"system"`
}

// Status implements Verbs.
func (a *Admin) Status(ctx context.Context) (*Status, error) {
	d := a.d
	s := &Status{
		Version: a.version, Running: a.Running(), Config: d.Config.File(), DataDir: d.Config.DataDir,
		Listeners: []string{}, Warnings: []string{}, Store: d.Store.Metrics(),
	}
	if a.Running() {
		a.addLive(s)
	} else {
		for i := range d.Config.Listen {
			s.Listeners = append(s.Listeners, d.Config.Listen[i].URL)
		}
		s.Certificate = certificateIn(d.Config)
	}
	a.addGuard(s)
	s.Entries = s.Store["store_entries"]
	if err := a.addSuffixes(s); err != nil {
		return nil, err
	}
	if err := a.addJournal(s); err != nil {
		return nil, err
	}
	all, err := a.Indexes(ctx, false)
	if err != nil {
		return nil, err
	}
	s.Indexes.NotReady = []Index{}
	for _, x := range all {
		if x.State == store.IndexReady.String() {
			s.Indexes.Ready++
		} else {
			s.Indexes.NotReady = append(s.Indexes.NotReady, x)
		}
	}
	s.Disk.Floor, s.Disk.Used = uint64(d.Config.Limits.MinFreeBytes), s.Store["disk_bytes"]
	if s.Disk.Free, err = freeSpace(d.Config.DataDir); err != nil {
		s.warn("the free space of %s cannot be read: %v", d.Config.DataDir, err)
	}
	s.Caches = CacheStatus{
		Entries: s.Store["store_cached_entries"], EntryOctets: s.Store["store_cached_octets"],
		BlockOctets: s.Store["cache_bytes"], BlockHitRate: -1,
	}
	if hits, misses := s.Store["cache_hits_total"], s.Store["cache_misses_total"]; hits+misses > 0 {
		s.Caches.BlockHitRate = float64(hits) / float64(hits+misses)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Memory = MemoryStatus{Heap: m.HeapAlloc, System: m.Sys}
	if s.LastBackup, err = a.lastBackup(); err != nil {
		return nil, err
	}
	if err := a.addOverlays(s); err != nil {
		return nil, err
	}
	a.addWarnings(s, time.Now())
	return s, nil
}

func (s *Status) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

func (a *Admin) addLive(s *Status) {
	l := a.live()
	s.PID, s.Started, s.Uptime = os.Getpid(), l.Begun, int64(time.Since(l.Begun)/time.Second)
	s.Listeners = append(s.Listeners, l.Listeners...)
	s.Connections = &ConnectionStatus{Open: l.Open, Accepted: l.Accepted, Refused: l.Refused}
	s.Operations = l.Operations
	if l.Certificate != nil {
		s.Certificate = &CertificateStatus{Subject: l.Certificate.Subject.String(), NotAfter: l.Certificate.NotAfter}
	}
	if a.trail != nil {
		x := a.trail.Stats()
		s.Audit = &x
		if x.Trouble != "" && x.StopsWrites {
			s.warn("writes are refused: the audit log %s cannot be written since %s: %s", x.File, x.Since.Format(time.RFC3339), x.Trouble)
		} else if x.Trouble != "" {
			s.warn("the audit log %s cannot be written since %s, and %d lines were lost: %s", x.File, x.Since.Format(time.RFC3339), x.Lost, x.Trouble)
		}
	}
	for _, c := range a.d.Replicas() {
		x := c.Status()
		s.Replicas = append(s.Replicas, x)
		s.replicaWarnings(&x)
	}
	if l.Panics > 0 {
		s.warn("%d operations ended with an internal error since the start: see the log", l.Panics)
	}
}

func (a *Admin) addGuard(s *Status) {
	g := &s.Guard
	g.Enabled = a.d.Config.Guard.Enabled
	now := a.d.now()
	for _, row := range a.d.guard.List() {
		if !row.Until.After(now) {
			continue
		}
		switch row.Axis {
		case guard.ByAccount.String():
			g.Accounts++
		case guard.BySource.String(), guard.ByFamiliar.String():
			g.Sources++
		case guard.ByNetwork.String():
			g.Networks++
		case guard.ByPassword.String():
			g.Passwords++
		}
	}
	if !g.Enabled {
		s.warn("the guard is off: nobody who guesses passwords is held back")
	}
	if !a.Running() {
		return
	}
	stats, rates := a.d.guard.Stats(), a.live().Rates
	g.Waiting, g.Refused, g.Strained = stats.Waiting, stats.Refused, stats.Strained
	g.Exposed, g.ExposedRight = stats.Exposed, stats.ExposedRight
	g.OverRate, g.RateRefused = rates.Over, rates.All()
	if g.Strained {
		s.warn("passwords are being guessed, on many accounts or from many addresses: see portolan guard list")
	}
	if g.ExposedRight > 0 {
		s.warn("the right passwords of accounts were sent in clear text %d times since the start: search (portolanExposedTime=*) for the accounts", g.ExposedRight)
	}
}

// replicaWarnings says what is wrong with a copy.
func (s *Status) replicaWarnings(x *replica.Status) {
	if x.Error != "" {
		s.warn("the copy of %s does not follow %s: %s", x.Base, x.Provider, x.Error)
	}
	if x.Refused > 0 {
		s.warn("%d entries of %s could not be stored in the copy of %s: see the log", x.Refused, x.Provider, x.Base)
	}
	if x.Unplaced > 0 {
		s.warn("%d entries are not in the copy of %s: %s does not show those above them", x.Unplaced, x.Base, x.Provider)
	}
	for _, what := range slices.Sorted(maps.Keys(x.Skipped)) {
		s.warn("the copy of %s is without %d values: %s", x.Base, x.Skipped[what], what)
	}
}

func (a *Admin) addOverlays(s *Status) error {
	view := a.d.Engine.Directory().View()
	defer view.Close()
	for i := range a.d.overlays {
		f := a.d.overlays[i].Status
		if f == nil {
			continue
		}
		lines, err := f(view)
		if err != nil {
			return err
		}
		s.Overlays = append(s.Overlays, lines...)
	}
	return nil
}

func (a *Admin) addSuffixes(s *Status) error {
	view := a.d.Store.View()
	defer view.Close()
	s.Suffixes = []SuffixStatus{}
	for _, dn := range a.d.Config.Directory.AllSuffixes() {
		norm, err := a.d.Schema().NormalizeDNString(nil, dn)
		if err != nil {
			return err
		}
		e, _, err := view.Lookup(string(norm))
		if err != nil {
			return err
		}
		s.Suffixes = append(s.Suffixes, SuffixStatus{DN: dn, Present: e != nil})
		if e == nil {
			s.warn("the suffix %s has no entry yet: import one, or add it", dn)
		}
	}
	return nil
}

func (a *Admin) addJournal(s *Status) error {
	var err error
	j := &s.Journal
	j.Epoch = a.d.Store.Epoch().String()
	j.First, j.Last = a.d.Store.JournalBounds()
	if csn := a.d.Store.LastCSN(); !csn.IsZero() {
		j.NewestCSN = csn.String()
	}
	j.Octets, err = a.d.Store.JournalOctets()
	return err
}

// How soon status warns.
const (
	certificateNotice = 30 * 24 * time.Hour
	backupNotice      = 7 * 24 * time.Hour
	spaceNotice       = 4 // times the floor
)

func (a *Admin) addWarnings(s *Status, now time.Time) {
	switch c := s.Certificate; {
	case c == nil:
		s.warn("there is no certificate: clients cannot use TLS")
	case now.After(c.NotAfter):
		s.warn("the certificate expired on %s", c.NotAfter.Format(time.DateOnly))
	case c.NotAfter.Sub(now) < certificateNotice:
		s.warn("the certificate expires on %s", c.NotAfter.Format(time.DateOnly))
	}
	switch free := s.Disk.Free; {
	case free == 0:
	case free < s.Disk.Floor:
		s.warn("writes are refused: there is too little free space in %s", s.DataDir)
	case free < spaceNotice*s.Disk.Floor:
		s.warn("there is little free space in %s: writes are refused below limits.min_free_bytes", s.DataDir)
	}
	for _, x := range s.Indexes.NotReady {
		s.warn("the %s index on %s is %s: searches do without it", x.Kind, x.Attribute, x.State)
	}
	switch b := s.LastBackup; {
	case b == nil && s.Entries > 0:
		s.warn("there was no backup yet: portolan backup DIR makes one")
	case b != nil && now.Sub(b.Time) > backupNotice:
		s.warn("the last backup was made on %s", b.Time.Format(time.DateOnly))
	}
	if file := a.d.Config.Directory.AdminPasswordFile; file != "" {
		if _, warning, err := config.ReadSecretFile(file); err != nil {
			s.warn("%v", err)
		} else if warning != "" {
			s.warn("%s", warning)
		}
	}
}

// certificateIn reads the certificate of a stopped server; nil where there is none to read.
func certificateIn(c *config.Config) *CertificateStatus {
	text, err := os.ReadFile(c.TLS.CertFile)
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return &CertificateStatus{Subject: leaf.Subject.String(), NotAfter: leaf.NotAfter}
}
