package scan

import (
	"context"
	"fmt"
	"time"

	"portolan/ldap"
)

// amplifies is the factor from which a server is worth being misused.
const amplifies = 3

// datagrams asks over UDP what anybody can ask in somebody else's name, and weighs the answer against the question.
func (s *scanner) datagrams(ctx context.Context) {
	address := s.plain
	if address == "" {
		return
	}
	f := Finding{ID: "udp-amplification", Severity: OK, Seen: "nothing is answered over UDP",
		Means: "whoever writes another's address into his datagrams floods him with the server's answers",
		Do:    "do not serve CLDAP beyond the networks that need it, or answer with no more than was asked"}
	worst, sizes := 0.0, ""
	for _, q := range []*ldap.SearchRequest{
		{Scope: ldap.ScopeBase, Filter: ldap.Present("objectClass")},
		rootRequest(),
	} {
		sent := ldap.AppendMessage(nil, 1, q, nil)
		got, err := s.datagram(ctx, address, sent)
		if err != nil {
			s.add(Finding{ID: f.ID, Severity: Info, Seen: "cannot be told: " + why(err)})
			return
		}
		if got == 0 {
			break
		}
		if factor := float64(got) / float64(len(sent)); factor > worst {
			worst, sizes = factor, fmt.Sprintf("%d octets for %d", got, len(sent))
		}
	}
	switch {
	case worst > amplifies:
		f.Severity, f.Seen = Fail, fmt.Sprintf("over UDP the server answers with %.1f times what it is asked (%s)", worst, sizes)
	case worst > 1:
		f.Severity, f.Seen = Warn, fmt.Sprintf("over UDP the server answers with %.1f times what it is asked (%s)", worst, sizes)
	case worst > 0:
		f.Seen = fmt.Sprintf("over UDP the server answers with no more than it is asked (%s)", sizes)
	}
	s.add(f)
}

// patience is how long an answer may be on its way.
const patience = 2 * time.Second

// datagram sends one and counts the octets of what comes back in time. What is in it does not matter.
func (s *scanner) datagram(ctx context.Context, address string, b []byte) (octets int, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(s.o.Timeout, patience))
	defer cancel()
	nc, err := s.o.Dial(ctx, "udp", address)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	if err := s.bound(ctx, nc); err != nil {
		return 0, err
	}
	if _, err := nc.Write(b); err != nil {
		return 0, nil // the host says that nobody is there
	}
	buf := make([]byte, 64<<10)
	for range maxDatagrams {
		n, err := nc.Read(buf)
		if err != nil {
			break // nothing more in time, or the host says that nobody is there
		}
		octets += n
	}
	return octets, nil
}
