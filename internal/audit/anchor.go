package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Anchor fixes a log up to a line: whoever keeps it can tell later whether any line up to there was changed, even by
// somebody who has the key.
type Anchor struct {
	N   uint64
	MAC mac
	// Time is when it was taken; zero where it is not known.
	Time time.Time
}

// anchorPrefix begins the text of an anchor.
const anchorPrefix = "portolan-audit-1"

// String is one word without blanks: the form in which anchors are kept elsewhere. Without a line it is empty.
func (a Anchor) String() string {
	if a.N == 0 {
		return ""
	}
	s := anchorPrefix + ":" + strconv.FormatUint(a.N, 10) + ":" + a.MAC.String()
	if !a.Time.IsZero() {
		s += ":" + a.Time.UTC().Format("20060102T150405Z")
	}
	return s
}

// ParseAnchor reads what String wrote.
func ParseAnchor(s string) (Anchor, error) {
	var a Anchor
	bad := fmt.Errorf("%q is not an anchor: write what \"portolan audit anchor\" printed, such as %s:17:...", s[:min(len(s), 80)], anchorPrefix)
	parts := strings.Split(s, ":")
	if len(parts) < 3 || len(parts) > 4 || parts[0] != anchorPrefix {
		return a, bad
	}
	var err error
	if a.N, err = strconv.ParseUint(parts[1], 10, 64); err != nil || a.N == 0 {
		return a, bad
	}
	var ok bool
	if a.MAC, ok = parseMAC([]byte(parts[2])); !ok {
		return a, bad
	}
	if len(parts) == 4 {
		if a.Time, err = time.Parse("20060102T150405Z", parts[3]); err != nil {
			return a, bad
		}
	}
	return a, nil
}

// ParseAnchors reads a file of anchors, one a line; blank lines and lines that begin with # are passed over.
func ParseAnchors(text []byte) ([]Anchor, error) {
	var list []Anchor
	for i, l := range bytes.Split(text, []byte("\n")) {
		s := strings.TrimSpace(string(l))
		if s == "" || s[0] == '#' {
			continue
		}
		a, err := ParseAnchor(s)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		list = append(list, a)
	}
	return list, nil
}

// Seal is what is kept of a log outside of it, in the store: the log as far as it was on disk for certain.
type Seal struct {
	Anchor
	Chain string // identifies the log
	Key   string // identifies its key
}

// sealText is the stored form of a Seal.
type sealText struct {
	N     uint64    `json:"n"`
	MAC   string    `json:"mac"`
	Time  time.Time `json:"time"`
	Chain string    `json:"chain"`
	Key   string    `json:"key"`
}

// Encode returns the stored form of a seal.
func (s *Seal) Encode() []byte {
	return fmt.Appendf(nil, `{"n":%d,"mac":"%s","time":"%s","chain":"%s","key":"%s"}`,
		s.N, s.MAC, s.Time.UTC().Format(time.RFC3339Nano), s.Chain, s.Key)
}

// DecodeSeal reads what Encode wrote; nil for nothing.
func DecodeSeal(b []byte) (*Seal, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var t sealText
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, fmt.Errorf("the seal of the audit log in the store cannot be read: %w", err)
	}
	m, ok := parseMAC([]byte(t.MAC))
	if !ok || t.N == 0 {
		return nil, fmt.Errorf("the seal of the audit log in the store cannot be read")
	}
	return &Seal{Anchor: Anchor{t.N, m, t.Time}, Chain: t.Chain, Key: t.Key}, nil
}
