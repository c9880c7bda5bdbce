// Package remoteauth lets accounts without a password here log in with the one that they have on an old server: the bind
// is passed on over TLS, and where the old server takes it the password is hashed and kept. From then on the old server is
// not asked about the account again.
package remoteauth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"portolan/internal/dit"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// Options is the table [overlay.remoteauth].
type Options struct {
	// Servers are asked about the accounts beneath their base; the first that fits counts.
	Servers []Server `toml:"server"`
}

// Server is an old server, or several that have the same accounts.
type Server struct {
	// Base is the subtree of this directory that it knows the passwords of; empty is all.
	Base string `toml:"base"`
	// URLs are asked in turn until one answers: ldaps, ldap with StartTLS, or ldapi.
	URLs     []string `toml:"url,one"`
	StartTLS bool     `toml:"starttls"`
	// CAFile has the authorities that its certificate may come from; empty are those of the system. Pins are SHA-256 digests of
	// public keys, one of which must be in the chain. ServerName is what the certificate names where that is not the host.
	CAFile     string   `toml:"ca_file,path"`
	Pins       []string `toml:"pin,one"`
	ServerName string   `toml:"server_name"`
	// DN makes the name there of an entry here: {ATTRIBUTE} stands for a value. Empty is the same name.
	DN string `toml:"dn"`
	// Classes are the object classes of accounts; empty are person, account, posixAccount and simpleSecurityObject.
	Classes []string `toml:"classes,one"`
	// Timeout bounds the whole of an answer, 0 is 5 seconds; Concurrent how many binds are passed on at a time, 0 is 16.
	Timeout    time.Duration `toml:"timeout" max:"1m"`
	Concurrent int           `toml:"concurrent" min:"0" max:"1000"`
	// ForwardOnly keeps no passwords.
	ForwardOnly bool `toml:"forward_only"`
}

// Defaults are the options of a configuration that says nothing.
func Defaults() Options { return Options{} }

const (
	defaultTimeout    = 5 * time.Second
	defaultConcurrent = 16
)

var defaultClasses = []string{"person", "account", "posixAccount", "simpleSecurityObject"}

// New returns the overlay. It must stand behind those that take something off the password, and before those that count
// wrong ones.
func New(o Options) op.Overlay {
	x := &remoteauth{o: o}
	return op.Overlay{
		Name:    "remoteauth",
		Open:    x.open,
		Attempt: x.attempt,
		Status:  x.status,
	}
}

type remoteauth struct {
	o       Options
	ports   atomic.Pointer[op.Ports] // nil until opened
	servers []*server
}

func (x *remoteauth) open(p *op.Ports) (func(), error) {
	view := p.Directory.View()
	defer view.Close()
	for i := range x.o.Servers {
		s, err := newServer(&x.o.Servers[i], view.Schema(), p)
		if err != nil {
			return nil, fmt.Errorf("overlay.remoteauth.server[%d].%w", i+1, err)
		}
		x.servers = append(x.servers, s)
	}
	x.ports.Store(p)
	return nil, nil
}

// attempt offers to ask the old server about an account that has no password here.
func (x *remoteauth) attempt(_ context.Context, req *op.Request, b *op.BindOutcome) error {
	if len(x.servers) == 0 || b.Purpose != op.ForBind || b.Entry == nil || b.Identity == nil || b.Identity.Admin || b.Apart != nil ||
		b.Proved != "" || len(b.Stored) > 0 || len(b.Password) == 0 {
		return nil
	}
	s := x.serverOf(b.Name)
	if s == nil || !s.hasClass(b.Reader.Schema(), b.Entry) {
		return nil
	}
	dn, ok := s.template.expand(b.Reader.Schema(), b.Entry, b.Name)
	if !ok {
		return nil // the entry has not what its name there is made of
	}
	entry, account := b.Entry.UUID, b.Name.DN
	b.Elsewhere = func(ctx context.Context) (string, error) {
		// What stands behind the password has been taken off meanwhile.
		password := string(b.Password)
		right, err := s.ask(ctx, dn, password)
		if err != nil || !right {
			return "", err
		}
		if !s.o.ForwardOnly {
			b.Spend = append(b.Spend, func(ctx context.Context) error {
				x.capture(req.Detach(ctx), req, entry, account, []byte(password))
				return nil
			})
		}
		return "remote", nil
	}
	return nil
}

func (x *remoteauth) serverOf(name dit.Name) *server {
	for _, s := range x.servers {
		if s.base == "" || schema.DNUnder([]byte(name.Norm), []byte(s.base)) {
			return s
		}
	}
	return nil
}

// errMeanwhile says in a transaction that there is nothing to keep.
var errMeanwhile = errors.New("the account has a password by now, or is gone")

// capture keeps a password that the old server has taken. Whoever is logged in with it is not asked whether it is good
// enough: it is what it was there, and the next change is held to the policy. What goes wrong costs nobody the login.
func (x *remoteauth) capture(ctx context.Context, req *op.Request, id [16]byte, account string, password []byte) {
	p := x.ports.Load()
	// Who hangs up right behind the answer has logged in all the same.
	ctx = context.WithoutCancel(ctx)
	hashed, scram, err := p.Directory.Hash(ctx, req, password)
	if err == nil {
		err = p.Directory.Update(ctx, "remoteauth", func(tx op.Tx) error {
			e, err := tx.ByUUID(id)
			if err != nil {
				return err
			}
			t := tx.Schema().Known.UserPassword
			if e == nil || e.Shape().FindType(t) >= 0 {
				return errMeanwhile
			}
			d := e.Edit(tx)
			d.Set(t, hashed)
			if scram != nil {
				d.Set(tx.Schema().Known.PortolanScramKeys, scram)
			}
			return tx.Modify(d)
		})
	}
	switch {
	case err == nil:
		p.Log.Info("a password was taken over from the old server", "account", account)
	case errors.Is(err, errMeanwhile):
	case ldap.CodeOf(err) == ldap.Busy:
		p.Log.Info("a password was not taken over: too many are being hashed; the next login will", "account", account)
	default:
		p.Log.Warn("a password could not be taken over from the old server; the next login asks it again", "account", account, "error", err)
	}
}

// status says how many accounts still hang on each old server.
func (x *remoteauth) status(r op.Reader) ([]string, error) {
	var out []string
	servers := x.servers
	if servers == nil { // a store that is only looked at
		for i := range x.o.Servers {
			s, err := newServer(&x.o.Servers[i], r.Schema(), nil)
			if err != nil {
				return nil, fmt.Errorf("overlay.remoteauth.server[%d].%w", i+1, err)
			}
			servers = append(servers, s)
		}
	}
	seen := make(map[dit.ID]bool)
	for _, s := range servers {
		line, err := s.progress(r, seen)
		if err != nil {
			return nil, err
		}
		out = append(out, line)
	}
	return out, nil
}

// progress counts the accounts beneath the base. seen are those of servers before.
func (s *server) progress(r op.Reader, seen map[dit.ID]bool) (string, error) {
	var base dit.ID
	where := "the directory"
	if s.base != "" {
		where = s.o.Base
		e, _, err := r.Lookup(s.base)
		if err != nil {
			return "", err
		}
		if e == nil {
			return fmt.Sprintf("remoteauth: there is no entry %s", s.o.Base), nil
		}
		base = e.ID
	}
	var all, left int
	password := r.Schema().Known.UserPassword
	err := op.Walk(r, base, func(e *dit.Entry) error {
		if seen[e.ID] || !s.hasClass(r.Schema(), e) {
			return nil
		}
		seen[e.ID] = true
		all++
		if e.Shape().FindType(password) < 0 {
			left++
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case all == 0:
		return fmt.Sprintf("remoteauth: there are no accounts beneath %s", where), nil
	case left == 0:
		return fmt.Sprintf("remoteauth: every account beneath %s has a password here: %s is not needed any more", where, s.o.URLs[0]), nil
	}
	return fmt.Sprintf("remoteauth: %d of %d accounts beneath %s have no password here yet, and are asked for at %s", left, all, where, s.o.URLs[0]), nil
}
