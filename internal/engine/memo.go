package engine

import (
	"crypto/tls"
	"sync/atomic"

	"portolan/internal/access"
	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/store"
)

// connMemo is what the engine worked out about a connection: who is bound does not change from search to search, and what
// follows from it need not be found anew for each.
type connMemo struct {
	identity   *op.Identity
	tls        *tls.ConnectionState
	set        *Settings
	membership uint64
	limits     op.Limits
	class      *access.Class
}

// memo returns what is known of the connection for the identity of a request.
func (e *Engine) memo(req *op.Request, set *Settings) *connMemo {
	state, generation := req.Conn.TLS(), e.members.generation.Load()
	m, _ := req.Conn.Memo().(*connMemo)
	if m != nil && m.identity == req.Identity && m.set == set && m.tls == state && m.membership == generation {
		return m
	}
	m = &connMemo{identity: req.Identity, tls: state, set: set, membership: generation}
	m.limits = set.Limits(req.Identity, e.members.inGroup(e, req.Identity))
	m.class = set.Policy.Class(e.subject(req))
	if req.Identity == req.Conn.Identity() {
		// A proxied identity is one operation's.
		req.Conn.SetMemo(m)
	}
	return m
}

// links tells whether the directory has any alias or referral object. Hardly one has, and then no search needs to look for
// them.
type links struct {
	generation atomic.Uint64 // of commits that touched one
	known      atomic.Pointer[linksKnown]
}

type linksKnown struct {
	generation uint64
	none       bool
}

func (l *links) init(s *store.Store) {
	s.Observe(func(c store.Commit) {
		for i := range c.Changes {
			for _, entry := range [2]*dit.Entry{c.Changes[i].Before, c.Changes[i].After} {
				if entry != nil && (entry.Alias || entry.Referral) {
					l.generation.Add(1)
					return
				}
			}
		}
	})
}

// none reports whether there is neither an alias nor a referral object. It finds out with a view that is
// taken after the generation was read.
func (l *links) none(s *store.Store) (bool, error) {
	generation := l.generation.Load()
	if k := l.known.Load(); k != nil && k.generation == generation {
		return k.none, nil
	}
	none, err := noLinks(s)
	if err == nil {
		l.known.Store(&linksKnown{generation: generation, none: none})
	}
	return none, err
}

// noLinks finds out for links.none.
func noLinks(s *store.Store) (bool, error) {
	view := s.View()
	defer view.Close()
	known := &view.Schema().Known
	for _, class := range [...]string{"alias", "referral"} {
		key, err := view.Schema().EqualityKey(known.ObjectClass, nil, []byte(class))
		if err != nil {
			return false, err
		}
		set, err := view.Equal(known.ObjectClass, key)
		if err != nil || !set.IsEmpty() {
			return false, err
		}
	}
	return true, nil
}
