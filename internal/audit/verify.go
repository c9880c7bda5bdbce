package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// Kind is what a finding is about.
type Kind string

// Kinds of findings.
const (
	Altered   Kind = "altered"    // a line is not what was written
	Missing   Kind = "missing"    // lines are not there
	Stray     Kind = "stray"      // a line stands where it does not belong: inserted, repeated or out of order
	CutOff    Kind = "cut off"    // lines are missing at the end
	Unsealed  Kind = "unsealed"   // the log is not the one that was sealed or anchored
	NewChain  Kind = "new chain"  // the log begins anew in the middle
	Damage    Kind = "damage"     // a file cannot be read
	Witnessed Kind = "witnessed"  // the server itself found the log damaged when it started
	Torn      Kind = "torn"       // a note: the server ended while it wrote
	Lost      Kind = "lost"       // a note: lines could not be written and were given up
	Retired   Kind = "retired"    // a note: lines are gone because of the configured retention
	Unknown   Kind = "unverified" // a note: something could not be held against what is known of it
)

// Finding is one thing that a verification found.
type Finding struct {
	Kind Kind   `json:"kind"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"` // in the file, from 1
	// From and To are the numbers of the lines that it is about, 0 where they are not known.
	From uint64 `json:"from,omitempty"`
	To   uint64 `json:"to,omitempty"`
	Text string `json:"text"`
	// Note marks what does not put the log in doubt.
	Note bool `json:"note,omitempty"`
}

// Report is the outcome of a verification.
type Report struct {
	Files int `json:"files"`
	// Lines counts those that are authentic and in their place; First and Last are their numbers.
	Lines uint64 `json:"lines"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Begin and End are the times of the first and the last of them.
	Begin    time.Time `json:"begin,omitzero"`
	End      time.Time `json:"end,omitzero"`
	Findings []Finding `json:"findings"`
	// More counts findings beyond maxFindings.
	More int `json:"more,omitempty"`
}

// maxFindings bounds a report.
const maxFindings = 1000

// Bad reports whether anything was found that puts the log in doubt.
func (r *Report) Bad() bool {
	if r.More > 0 {
		return true
	}
	for i := range r.Findings {
		if !r.Findings[i].Note {
			return true
		}
	}
	return false
}

// VerifyOptions say what a log is held against.
type VerifyOptions struct {
	File string
	Key  []byte
	// Seal is what the store knows of the log; Anchors are what was kept elsewhere.
	Seal    *Seal
	Anchors []Anchor
	// Live says that a server may be writing: a last line without its end is on its way.
	Live bool
}

// errMoved says that the files were rotated while they were being read.
var errMoved = errors.New("the log was rotated meanwhile")

// Verify reads a whole log and says whether any line was removed, altered, reordered, inserted or cut off the end.
// Errors are about reading; what is wrong with the log is in the report.
func Verify(ctx context.Context, o VerifyOptions) (*Report, error) {
	for attempt := 0; ; attempt++ {
		r, err := verifyOnce(ctx, o)
		if !errors.Is(err, errMoved) || attempt == 10 {
			return r, err
		}
	}
}

func verifyOnce(ctx context.Context, o VerifyOptions) (*Report, error) {
	files, err := listFiles(o.File)
	if err != nil {
		return nil, err
	}
	v := newVerifier(o.Key)
	for _, a := range o.Anchors {
		v.hold(a, "an anchor")
	}
	if s := o.Seal; s != nil {
		if id := keyID(o.Key); s.Key != id {
			v.find(Finding{Kind: Unsealed, File: o.File, Text: fmt.Sprintf("the store knows a log under the key %s, this is the key %s", s.Key, id)})
		} else {
			v.hold(s.Anchor, "the seal in the store")
		}
	}
	for i, f := range files {
		if err := v.readFile(ctx, f, o.Live, i == len(files)-1); err != nil {
			return nil, err
		}
	}
	return v.end(o.File), nil
}

// held is what is known of a line from elsewhere.
type held struct {
	mac  mac
	from string
}

// verifier goes through the lines of a log in their order.
type verifier struct {
	sealer
	report Report
	anchor map[uint64][]held
	latest uint64 // the highest number in anchor

	file string
	at   int // line in the file

	// The last line that is authentic and in its place; n is 0 before the first.
	chain   string
	n       uint64
	mac     mac
	started bool
	cut     bool   // the end of that line is missing
	retired uint64 // lines up to here were removed on purpose

	region region

	// each, where set, is told of every authentic line in its place.
	each func(l *line)
}

// region are the lines since the last one that was in its place.
type region struct {
	lines  []suspect
	octets int64 // with line ends
	more   int   // suspects that are not in lines
	first  place
	// What the next line may follow, although no line here is in its place: the stored MAC of the last line, those of
	// the lines by their numbers, and what the MAC of the first should be.
	prev     mac
	hasPrev  bool
	byNumber map[uint64]mac
	repaired mac
}

// suspect is a line that could not be put behind the one before it.
type suspect struct {
	place
	n      uint64 // 0: not a line of a log
	proved bool   // it is authentic, but not here
	whole  bool   // it had its end
}

type place struct {
	file string
	line int
}

// maxSuspects bounds what is remembered of a region.
const maxSuspects = 4096

func newVerifier(key []byte) *verifier {
	return &verifier{sealer: newSealer(key), anchor: make(map[uint64][]held)}
}

// hold notes what a line must be.
func (v *verifier) hold(a Anchor, from string) {
	v.anchor[a.N] = append(v.anchor[a.N], held{a.MAC, from})
	v.latest = max(v.latest, a.N)
}

// readFile goes through one file.
func (v *verifier) readFile(ctx context.Context, f logFile, live, last bool) error {
	v.file, v.at = f.path, 0
	v.report.Files++
	r, err := openFile(f.path)
	if live && missing(err) {
		return errMoved
	}
	if err != nil {
		v.unreadable(err)
		return nil
	}
	defer r.Close()
	in := newLineReader(r)
	for {
		if v.at%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		raw, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		v.at++
		if err != nil {
			v.unreadable(err)
			return nil
		}
		if live && v.at == 1 {
			if l, ok := parseLine(raw.text); ok && l.n != f.first {
				return errMoved
			}
		}
		if live && last && !raw.whole {
			return nil // on its way
		}
		v.line(raw)
	}
}

func (v *verifier) unreadable(err error) {
	v.find(Finding{Kind: Damage, File: v.file, Line: v.at, Text: fmt.Sprintf("the file cannot be read: %v", err)})
}

// line takes the next line.
func (v *verifier) line(raw rawLine) {
	l, ok := parseLine(raw.text)
	if !ok {
		v.suspect(suspect{whole: raw.whole}, nil, raw)
		return
	}
	behind := v.authentic(v.mac, &l) // it follows the last one that is in its place
	proved := behind || v.follows(&l)
	switch {
	case proved && (l.n > v.n || !v.started):
		v.accept(&l, behind && l.n == v.n+1, raw)
	case proved && l.n == 1 && string(l.field("event")) == eventFile && string(l.field("chain")) != v.chain:
		v.settle(v.n+1, false, 0)
		v.find(Finding{Kind: NewChain, File: v.file, Line: v.at, Text: fmt.Sprintf("another log begins here: nothing binds it to the lines before, which end with line %d", v.n)})
		v.n, v.started = 0, false
		v.accept(&l, false, raw)
	default:
		v.suspect(suspect{n: l.n, proved: proved, whole: raw.whole}, &l, raw)
	}
}

// follows reports whether a line is authentic although it does not follow the last one that is in its place: its MAC is
// right behind something that only the server can have made.
func (v *verifier) follows(l *line) bool {
	g := &v.region
	if g.hasPrev && (v.authentic(g.prev, l) || l.n == v.n+2 && v.authentic(g.repaired, l)) {
		return true
	}
	if m, ok := g.byNumber[l.n-1]; ok && m != g.prev && v.authentic(m, l) {
		return true
	}
	// The first line of a file, and the first after a start, say themselves what they follow.
	prev, ok := parseMAC(l.field("prev"))
	return ok && v.authentic(prev, l)
}

// suspect adds a line to the region; l is nil where it is none.
func (v *verifier) suspect(s suspect, l *line, raw rawLine) {
	g := &v.region
	s.place = place{v.file, v.at}
	if g.octets == 0 {
		g.first = s.place
	}
	g.octets += raw.octets
	if len(g.lines) == maxSuspects {
		g.more++
		if l != nil {
			g.prev, g.hasPrev = l.mac, true
		}
		return
	}
	g.lines = append(g.lines, s)
	if l == nil {
		return
	}
	if g.byNumber == nil {
		g.byNumber = make(map[uint64]mac)
	}
	if l.n == v.n+1 && v.started {
		g.repaired = v.sealer.mac(v.mac, l.sealed)
	}
	g.prev, g.hasPrev = l.mac, true
	g.byNumber[l.n] = l.mac
}

// accept takes an authentic line as the next one. contiguous says that nothing is missing before it.
func (v *verifier) accept(l *line, contiguous bool, raw rawLine) {
	event := string(l.field("event"))
	torn := int64(0)
	if (event == eventResume || event == eventFile) && contiguous {
		torn = int64(l.number("torn"))
	}
	if !v.started {
		v.begin(l)
	} else {
		v.settle(l.n, contiguous, torn)
	}
	v.n, v.mac, v.started, v.cut = l.n, l.mac, true, !raw.whole
	r := &v.report
	r.Lines++
	r.Last = l.n
	if at, err := time.Parse(timeLayout, string(l.field("time"))); err == nil {
		if r.Begin.IsZero() {
			r.Begin = at
		}
		r.End = at
	}
	if len(v.anchor) > 0 {
		for _, h := range v.anchor[l.n] {
			if h.mac != l.mac {
				v.find(Finding{Kind: Unsealed, File: v.file, Line: v.at, From: l.n, To: l.n,
					Text: fmt.Sprintf("line %d is not the one that %s knows: the log was written anew", l.n, h.from)})
			}
		}
		delete(v.anchor, l.n)
	}
	v.interpret(event, l)
	if !raw.whole {
		v.note(Torn, l.n, "the server ended while it wrote: the end of the line is missing")
	}
	if v.each != nil {
		v.each(l)
	}
}

// begin takes the first line that is authentic.
func (v *verifier) begin(l *line) {
	g := v.region
	v.region = region{}
	v.report.First = l.n
	if g.octets == 0 && string(l.field("event")) == eventFile {
		return
	}
	// What was before the first line that can be proved.
	v.report.More += g.more
	altered := false
	for _, s := range g.lines {
		switch {
		case s.n == 1 && l.n == 2:
			v.find(Finding{Kind: Altered, File: s.file, Line: s.line, From: 1, To: 1, Text: "is not what was written"})
			altered = true
		case s.n == 0 || s.n+1 != l.n:
			v.stray(s)
		}
	}
	if altered {
		v.report.First = 1
		return
	}
	v.find(Finding{Kind: Missing, File: v.file, Line: v.at,
		Text: fmt.Sprintf("line %d is the first that can be verified: the beginning of the log is not as it was written", l.n)})
}

// interpret looks at the lines that tell about the log itself.
func (v *verifier) interpret(event string, l *line) {
	switch event {
	case eventFile:
		v.chain = string(l.field("chain"))
		if before := l.number("before"); before > 0 {
			v.note(Unknown, l.n, fmt.Sprintf("the log begins anew here; the one before, under the key %s, had %d lines", l.field("beforekey"), before))
		}
	case eventResume:
		if text := l.text("problem"); text != "" {
			v.find(Finding{Kind: Witnessed, File: v.file, Line: v.at, From: l.n, To: l.n, Text: "when the server started it found: " + text})
		}
	case eventRetired:
		v.retired = max(v.retired, l.number("through"))
	case eventFailure:
		v.note(Lost, l.n, fmt.Sprintf("the log could not be written since %s; %d lines were given up", l.field("since"), l.number("lost")))
	}
}

func (v *verifier) note(kind Kind, n uint64, text string) {
	v.find(Finding{Kind: kind, File: v.file, Line: v.at, From: n, To: n, Text: text, Note: true})
}

// settle says what the lines since the last one in its place are, now that the next one in its place is known: its
// number is next. torn are the octets that the server found there when it started after a crash.
func (v *verifier) settle(next uint64, contiguous bool, torn int64) {
	g := v.region
	if g.octets == 0 && contiguous {
		return
	}
	v.region = region{}
	here := map[uint64]*suspect{}
	for i := range g.lines {
		if s := &g.lines[i]; s.n > v.n && s.n < next && here[s.n] == nil {
			here[s.n] = s
		}
	}
	// All there is was there when the server started; it has ended the last line.
	crash := torn > 0 && (g.octets == torn+1 || g.octets == torn)
	fakes := g.more
	for i := range g.lines {
		s := &g.lines[i]
		switch {
		case s.n == 0 && crash:
		case s.n == 0 || here[s.n] != s:
			v.stray(*s)
			fakes++
		case s.n == v.n+1 || here[s.n-1] != nil:
			v.find(Finding{Kind: Altered, File: s.file, Line: s.line, From: s.n, To: s.n, Text: "is not what was written"})
			fakes++
		}
		// Else the line before it is missing, and nobody can tell.
	}
	v.report.More += g.more
	switch {
	case crash && fakes == 0:
		v.find(Finding{Kind: Torn, File: g.first.file, Line: g.first.line, Note: true,
			Text: fmt.Sprintf("the server ended while it wrote; %d octets are of no use", torn)})
	case torn > 0 && !crash:
		v.find(Finding{Kind: Altered, File: v.file, Line: v.at, Text: "what a crash left before this line was changed later"})
	}
	if !contiguous {
		v.gaps(here, next)
	}
}

// gaps reports the numbers up to next that are not here.
func (v *verifier) gaps(here map[uint64]*suspect, next uint64) {
	numbers := slices.Sorted(maps.Keys(here))
	from := v.n + 1
	for _, n := range append(numbers, next) {
		if n > from {
			f := Finding{Kind: Missing, File: v.file, Line: v.at, From: from, To: n - 1, Text: "missing before this line"}
			if s := here[n]; s != nil {
				f.File, f.Line = s.file, s.line
				f.Text += ", which cannot be verified without"
			}
			v.find(f)
		}
		from = n + 1
	}
}

// stray reports a line that does not belong where it stands.
func (v *verifier) stray(s suspect) {
	f := Finding{Kind: Stray, File: s.file, Line: s.line, From: s.n, To: s.n}
	switch {
	case s.n == 0 && s.whole:
		f.Text = "is no line of the log: it was inserted, or altered beyond recognition"
	case s.n == 0:
		f.Text = "is the beginning of a line, or something else"
	case s.proved:
		f.Text = "was written by the server, but not here: it was moved or repeated"
	default:
		f.Text = "does not belong here: it was inserted, moved or repeated"
	}
	v.find(f)
}

// find adds a finding. Consecutive lines of which the same is to be said become one.
func (v *verifier) find(f Finding) {
	r := &v.report
	if n := len(r.Findings); n > 0 && f.From != 0 && f.From == f.To {
		last := &r.Findings[n-1]
		if last.Kind == f.Kind && last.File == f.File && last.Text == f.Text && !f.Note && last.From != 0 && last.To+1 == f.From {
			last.To = f.To
			return
		}
	}
	if len(r.Findings) >= maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, f)
}

// end says what can be said only when all lines were seen.
func (v *verifier) end(file string) *Report {
	r := &v.report
	g := v.region
	last := place{v.file, v.at}
	if last.file == "" {
		last.file = file
	}
	if g.octets > 0 {
		unfinished := len(g.lines) == 1 && g.more == 0 && g.lines[0].n == 0 && !g.lines[0].whole
		if unfinished {
			v.region = region{}
			v.find(Finding{Kind: Torn, File: g.first.file, Line: g.first.line, Note: true,
				Text: fmt.Sprintf("the server ended while it wrote; %d octets are of no use", g.octets)})
		} else {
			next := v.n + 1
			for _, s := range g.lines {
				if s.n > v.n && s.n-v.n < 1<<32 {
					next = max(next, s.n+1)
				}
			}
			v.settle(next, false, 0)
		}
	}
	if r.First > 1 && r.First > v.retired+1 {
		v.find(Finding{Kind: Missing, File: file, From: v.retired + 1, To: r.First - 1, Text: "missing: the log does not begin here, and nothing says that they were retired"})
	} else if r.First > 1 {
		v.find(Finding{Kind: Retired, File: file, From: 1, To: r.First - 1, Text: "were retired as configured", Note: true})
	}
	if v.latest > r.Last {
		v.find(Finding{Kind: CutOff, File: last.file, Line: last.line, From: r.Last + 1, To: v.latest, Text: "were cut off the end: they are known from elsewhere"})
	}
	for _, n := range slices.Sorted(maps.Keys(v.anchor)) {
		if n < r.First {
			for _, h := range v.anchor[n] {
				v.find(Finding{Kind: Unknown, File: file, From: n, To: n, Text: "cannot be held against " + h.from + ": it is not there any more", Note: true})
			}
		}
	}
	return r
}
