package scan

import (
	"context"
	"fmt"
	"strings"
	"time"

	"portolan/internal/client"
	"portolan/ldap"
)

// beside returns a name that nobody has, next to dn.
func (s *scanner) beside(dn string) string {
	name, err := ldap.ParseDN(dn)
	if err != nil || len(name) < 2 {
		return s.nobody()
	}
	kind := "cn"
	if len(name[0]) > 0 {
		kind = name[0][0].Type
	}
	return kind + "=portolan-scan-" + s.random(8) + "," + name.Parent().String()
}

// known returns a name that exists, and one like it that does not. Where no account was named it is a naming context.
func (s *scanner) known() (there, absent string, ok bool) {
	switch {
	case s.o.User != "":
		return s.o.User, s.beside(s.o.User), true
	case len(s.contexts) > 0:
		return s.contexts[0], s.nobody(), true
	}
	return "", "", false
}

// differ says in what two answers differ; empty where they do not.
func differ(a, b answer) string {
	switch {
	case a.Code != b.Code:
		return fmt.Sprintf("%s for one that exists, %s for one that does not", a.Code, b.Code)
	case (a.MatchedDN == "") != (b.MatchedDN == ""):
		return "matchedDN is there for one of them alone"
	case a.Diagnostic != b.Diagnostic:
		return fmt.Sprintf("%s for one that exists, %s for one that does not", quote(a.Diagnostic), quote(b.Diagnostic))
	}
	return ""
}

// enumerationBySearch looks for names as a stranger.
func (s *scanner) enumerationBySearch(ctx context.Context) {
	there, absent, ok := s.known()
	if !ok {
		return
	}
	s.stranger(ctx, "enumeration-search", func(c *client.Conn) error {
		search := func(base string) (seen, error) {
			return s.look(ctx, c, &ldap.SearchRequest{Base: []byte(base), Scope: ldap.ScopeBase, Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("1.1")}}, 2)
		}
		one, err := search(there)
		if err != nil {
			return err
		}
		other, err := search(absent)
		if err != nil {
			return err
		}
		f := Finding{ID: "enumeration-search", Severity: OK, Seen: "a search answers the same for a name that exists and for one that does not",
			Means: "strangers find out who is there by asking for names", Do: "answer strangers alike, whatever they ask for (slapd: no \"disclose\" for them)"}
		switch {
		case one.answer.Result == nil || other.answer.Result == nil:
			f.Severity, f.Seen = Warn, "a search for one entry gives several"
		case one.entries != other.entries:
			f.Severity, f.Seen = Warn, "strangers are given the entry of a name that exists"
		case other.answer.MatchedDN != "":
			f.Severity, f.Seen = Warn, "a search for a name that does not exist tells which entry above it does: "+quote(other.answer.MatchedDN)
		case differ(one.answer, other.answer) != "":
			f.Severity, f.Seen = Warn, "a search answers "+differ(one.answer, other.answer)
		}
		s.add(f)
		return nil
	})
}

// enumerationByBind compares the answers to wrong passwords.
func (s *scanner) enumerationByBind(ctx context.Context) {
	there, absent, ok := s.known()
	if !ok {
		return
	}
	s.stranger(ctx, "enumeration-answer", func(c *client.Conn) error {
		password := s.random(12)
		one, err := s.ask(ctx, c, bind(there, password), nil)
		if err != nil {
			return err
		}
		other, err := s.ask(ctx, c, bind(absent, password), nil)
		if err != nil {
			return err
		}
		whose := "a naming context"
		if s.o.User != "" {
			whose = "an account"
		}
		f := Finding{ID: "enumeration-answer", Severity: OK, Seen: fmt.Sprintf("a wrong password of %s and one of nobody are answered alike: %s", whose, one.text()),
			Means: "whoever can reach the server finds out which accounts there are, by trying to log in", Do: "answer invalidCredentials to all of them, with the same text"}
		if d := differ(one, other); d != "" {
			f.Severity, f.Seen = Fail, "a wrong password is answered "+d
		}
		s.add(f)
		return nil
	})
}

// significant is the p below which two samples are taken to differ; both rounds must say so, in the same direction.
const significant = 0.01

// enumerationByTime measures how long wrong passwords take, of the account that was named and of nobody.
func (s *scanner) enumerationByTime(ctx context.Context) {
	const id = "enumeration-time"
	if s.o.User == "" {
		s.add(Finding{ID: id, Severity: Info, Seen: "not asked: name an account with --user, best one made for this"})
		return
	}
	s.stranger(ctx, id, func(c *client.Conn) error {
		// One name and one password for all: a server that slows down those who try many does not look like one that tells.
		absent, password := s.beside(s.o.User), s.random(12)
		var rounds [2]struct{ there, absent []time.Duration }
		for n := -2; n < 2*s.o.Samples; n++ { // the first two find caches cold
			// Which of the two comes first is left to chance, so that neither always follows the other.
			order := []string{s.o.User, absent}
			if s.random(1) < "80" {
				order[0], order[1] = order[1], order[0]
			}
			for _, dn := range order {
				a, err := s.ask(ctx, c, bind(dn, password), nil)
				if err != nil {
					return fmt.Errorf("after %d binds: %w", 2*max(n, 0), err)
				}
				if n < 0 {
					continue
				}
				r := &rounds[n/s.o.Samples]
				if dn == absent {
					r.absent = append(r.absent, a.took)
				} else {
					r.there = append(r.there, a.took)
				}
			}
		}
		p1, slower1 := mannWhitney(rounds[0].there, rounds[0].absent)
		p2, slower2 := mannWhitney(rounds[1].there, rounds[1].absent)
		there, none := median(append(rounds[0].there, rounds[1].there...)), median(append(rounds[0].absent, rounds[1].absent...))
		f := Finding{ID: id, Severity: OK, Seen: "wrong passwords take the same time, whether there is such an account or not",
			Details: []string{fmt.Sprintf("Mann-Whitney, two rounds of %d each: p = %.3f and %.3f; medians %s and %s", s.o.Samples, p1, p2, rough(there), rough(none))},
			Means:   "whoever can reach the server finds out which accounts there are, with a watch", Do: "do for a name that does not exist what is done for one that does: compute a hash"}
		if p1 < significant && p2 < significant && slower1 == slower2 {
			f.Severity = Fail
			f.Seen = fmt.Sprintf("wrong passwords take %s where there is such an account, and %s where there is none", rough(there), rough(none))
		}
		s.add(f)
		return nil
	})
}

// rough writes a duration with three digits.
func rough(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// Guesses are bounded in number and in time.
const (
	guesses   = 60
	guessTime = 30 * time.Second
	edge      = 8 // how many at the beginning and at the end are compared
)

// guessing tries different passwords in a row, to see whether the server does anything about it.
func (s *scanner) guessing(ctx context.Context) {
	const id = "guessing"
	if !s.o.Active {
		s.add(Finding{ID: id, Severity: Info, Seen: fmt.Sprintf("not asked: --active tries %d wrong passwords", guesses)})
		return
	}
	dn := s.o.User
	if dn == "" {
		dn = s.nobody()
	}
	f := Finding{ID: id, Severity: OK, Means: "passwords can be tried as fast as the server computes, for as long as it takes", Do: "slow down who guesses, per account and per source"}
	ctx, cancel := context.WithTimeout(ctx, guessTime)
	defer cancel()
	var took []time.Duration
	held := ""
	c, err := s.best(ctx)
	if err != nil {
		s.add(Finding{ID: id, Severity: Info, Seen: "cannot be told: " + why(err)})
		return
	}
	defer func() { c.Close() }()
	begun := s.o.Now()
	for n := range guesses {
		a, err := s.ask(ctx, c, bind(dn, s.random(12)), nil)
		if err != nil {
			// It may be that the connection alone was ended: a guesser takes another.
			c.Close()
			if c, err = s.best(ctx); err == nil {
				a, err = s.ask(ctx, c, bind(dn, s.random(12)), nil)
			}
			if err != nil {
				held = fmt.Sprintf("after %d wrong passwords there is no answer any more: %s", n, why(err))
				break
			}
		}
		if a.Code != ldap.InvalidCredentials && n > 0 {
			held = fmt.Sprintf("after %d wrong passwords the answer is %s", n, a.text())
			break
		}
		took = append(took, a.took)
	}
	spent := s.o.Now().Sub(begun)
	switch {
	case held != "":
		f.Seen = held
	case len(took) > 2*edge && slowed(median(took[:edge]), median(took[len(took)-edge:])):
		f.Seen = fmt.Sprintf("wrong passwords are slowed down: %s at first, %s after %d", rough(median(took[:edge])), rough(median(took[len(took)-edge:])), len(took))
	default:
		f.Severity = Warn
		f.Seen = fmt.Sprintf("%d wrong passwords in %s, and nothing became slower", len(took), rough(spent))
	}
	s.add(f)
}

// slowed reports whether the last guesses took so much longer than the first that it cannot be chance.
func slowed(first, last time.Duration) bool {
	return last > 4*first && last-first > 100*time.Millisecond
}

// logIn uses the login before any wrong password is sent: a server that holds back who guesses may not take it afterwards,
// unless it knows it. What users see is asked later.
func (s *scanner) logIn(ctx context.Context) {
	if s.o.BindDN == "" || !s.trusted {
		return
	}
	c, err := s.verified(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	// Whatever the answer is: asUser reports it.
	_, _ = s.ask(ctx, c, &ldap.BindRequest{Version: 3, Name: []byte(s.o.BindDN), Password: s.o.BindPassword}, nil)
}

// asUser asks with a login what users see.
func (s *scanner) asUser(ctx context.Context) {
	if s.o.BindDN == "" {
		return
	}
	f := Finding{ID: "user-secrets", Severity: OK, Seen: "a user reads no secret, and finds nothing by one"}
	defer func() { s.add(f) }()
	tell := func(err error) { f = Finding{ID: f.ID, Severity: Info, Seen: "cannot be told: " + why(err)} }
	if !s.trusted {
		f.Severity, f.Seen = Info, "not asked: the password is sent only over TLS with a certificate that is trusted (--ca, --name)"
		return
	}
	c, err := s.verified(ctx)
	if err != nil {
		tell(err)
		return
	}
	defer c.Close()
	a, err := s.ask(ctx, c, &ldap.BindRequest{Version: 3, Name: []byte(s.o.BindDN), Password: s.o.BindPassword}, nil)
	switch {
	case err != nil:
		tell(err)
		return
	case a.Code != ldap.Success:
		f.Severity, f.Seen = Info, "cannot be told: the login is answered "+a.text()
		return
	}
	var attributes, others []string
	found := 0
	for _, base := range s.contexts {
		got, err := s.look(ctx, c, secretsRequest(base), someEntries)
		if err != nil {
			tell(err)
			return
		}
		found += got.entries
		if secrets := secretsAmong(got.attributes); len(secrets) > 0 {
			attributes = append(attributes, secrets...)
			for _, dn := range got.dns {
				if !strings.EqualFold(dn, s.o.BindDN) {
					others = append(others, dn)
				}
			}
		}
	}
	f.Do = "give these attributes to nobody (slapd: to attrs=... by self =xw by anonymous auth by * none)"
	switch {
	case len(others) > 0:
		f.Severity, f.Seen = Fail, fmt.Sprintf("a user reads %s of %s", few(attributes, 8), few(others, 3))
		f.Means = "one stolen password gives all of them, to be guessed at home"
	case len(attributes) > 0:
		f.Severity, f.Seen = Warn, "a user reads the own "+few(attributes, 8)
		f.Means = "who gets hold of a session for a moment takes the hash away and guesses the password at home"
	case found > 0:
		f.Severity, f.Seen = Warn, fmt.Sprintf("a user finds entries by their secrets (%d)", found)
		f.Means = "a filter on a value one can guess tells whether it is right"
	}
}

// verified connects over TLS that is good enough for a password.
func (s *scanner) verified(ctx context.Context) (*client.Conn, error) {
	o := client.Options{TLS: s.goodTLS()}
	if s.secure != "" {
		return s.open(ctx, "ldaps://"+s.secure, o)
	}
	o.StartTLS = true
	return s.open(ctx, "ldap://"+s.plain, o)
}
