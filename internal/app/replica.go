package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"portolan/internal/client"
	"portolan/internal/config"
	"portolan/internal/credential"
	"portolan/internal/dit"
	"portolan/internal/engine"
	"portolan/internal/replica"
	"portolan/internal/schema"
	"portolan/ldap"
)

// replication are the consumers of a directory, one for each [[replica]].
type replication struct {
	consumers []*replica.Consumer
	cancel    context.CancelFunc
	running   sync.WaitGroup
}

// stop ends replication; what was applied is in the store, and the rest comes after the next start.
func (r *replication) stop() {
	if r != nil {
		r.cancel()
		r.running.Wait()
	}
}

// Replicate begins to keep the copies of the configuration; without [[replica]] it does nothing. It is called once, by
// whoever serves the directory: commands leave copies as they are. Close ends it.
func (d *Directory) Replicate() error {
	if len(d.Config.Replica) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &replication{cancel: cancel}
	for i := range d.Config.Replica {
		o, err := d.replicaOptions(&d.Config.Replica[i])
		if err == nil {
			var c *replica.Consumer
			if c, err = replica.New(o); err == nil {
				r.consumers = append(r.consumers, c)
			}
		}
		if err != nil {
			cancel()
			return err
		}
	}
	for _, c := range r.consumers {
		r.running.Go(func() { c.Run(ctx) })
	}
	d.replication = r
	return nil
}

// Replicas returns the consumers at work, in the order of the configuration.
func (d *Directory) Replicas() []*replica.Consumer {
	if d.replication == nil {
		return nil
	}
	return d.replication.consumers
}

// connectTimeout is how long the way to the provider may take, from the first packet to the answer to the bind.
const connectTimeout = 30 * time.Second

func (d *Directory) replicaOptions(c *config.Replica) (replica.Options, error) {
	first, most := c.Waits()
	o := replica.Options{
		URL: c.URL, Base: d.Config.ReplicaBase(c), Attributes: c.Attributes, Poll: c.Poll, PollOnly: c.Mode == "poll",
		Retry: first, RetryMost: most, Adopt: c.Adopt, Store: d.Store, Unfit: unfit(d), Self: d.own,
		Now: d.ports.Now, Rand: d.ports.Rand, Wait: d.pause, Log: d.Log,
	}
	if len(o.Attributes) == 0 {
		o.Attributes = []string{"*", "+"}
	}
	for name := range computed {
		if name != "structuralObjectClass" {
			o.Computed = append(o.Computed, name)
		}
	}
	text := c.Filter
	if text == "" {
		text = "(objectClass=*)"
	}
	var err error
	if o.Filter, err = ldap.ParseFilter(text); err != nil {
		return o, config.ErrorAt(c.At("filter"), err.Error(), `write for example filter = "(!(ou=secrets))"`)
	}
	if _, err := replicaTLS(c); err != nil {
		return o, err
	}
	if c.PasswordFile != "" {
		_, warning, err := config.ReadSecretFile(c.PasswordFile)
		if err != nil {
			return o, config.ErrorAt(c.At("password_file"), err.Error(), "")
		}
		if warning != "" {
			d.Log.Warn(warning)
		}
	}
	o.Connect = func(ctx context.Context) (*client.Conn, error) { return connectProvider(ctx, c) }
	return o, nil
}

// unfit keeps clear passwords out of the store.
func unfit(d *Directory) func(*schema.AttributeType, []byte) string {
	return func(t *schema.AttributeType, value []byte) string {
		if known := d.Schema().Known.UserPassword; known == nil || t.Name() != known.Name() && !t.IsA(known) {
			return ""
		}
		if _, clear := credential.ClearText(value); clear {
			return "a password in clear text, which is not stored: have the provider hash it"
		}
		return ""
	}
}

// replicaTLS reads the files that are needed to be a client of the provider. They are read for every connection, so that
// renewed ones are taken.
func replicaTLS(c *config.Replica) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, config.ErrorAt(c.At("ca_file"), fmt.Sprintf("the authorities cannot be read: %v", err), "")
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, config.ErrorAt(c.At("ca_file"), c.CAFile+" has no certificate in PEM form", "")
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, config.ErrorAt(c.At("cert_file"), err.Error(), "")
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// connectProvider connects and authenticates.
func connectProvider(ctx context.Context, c *config.Replica) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	t, err := replicaTLS(c)
	if err != nil {
		return nil, err
	}
	conn, err := client.Dial(ctx, c.URL, client.Options{TLS: t, StartTLS: c.StartTLS()})
	if err != nil {
		return nil, certificateHint(err)
	}
	if err := authenticate(ctx, conn, c); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func authenticate(ctx context.Context, conn *client.Conn, c *config.Replica) error {
	switch {
	case c.BindDN != "":
		password, _, err := config.ReadSecretFile(c.PasswordFile)
		if err != nil {
			return err
		}
		if _, err := conn.Bind(ctx, c.BindDN, string(password)); err != nil {
			return fmt.Errorf("the provider does not let %s in: %w", c.BindDN, err)
		}
	case c.CertFile != "" || strings.HasPrefix(c.URL, "ldapi:"):
		if _, err := conn.BindExternal(ctx, ""); err != nil {
			return fmt.Errorf("the provider does not let this server in by SASL EXTERNAL: %w", err)
		}
	}
	return nil
}

// certificateHint says what can be done about a certificate that is not trusted.
func certificateHint(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: name the provider's authority with ca_file", err)
	case errors.As(err, &name):
		return fmt.Errorf("%w: write the url with a name that stands in the provider's certificate", err)
	}
	return err
}

// own reports whether an address that a connection leads to is a listener of this server.
func (d *Directory) own(a net.Addr) bool {
	if u, ok := a.(*net.UnixAddr); ok {
		if u.Name == ControlSocket(d.Config) {
			return true
		}
		for i := range d.Config.Listen {
			if l, err := d.Config.Listen[i].Address(); err == nil && l.Network == "unix" && l.Addr == u.Name {
				return true
			}
		}
		return false
	}
	to, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	for i := range d.Config.Listen {
		l, err := d.Config.Listen[i].Address()
		if err != nil || l.Network != "tcp" {
			continue
		}
		host, port, err := net.SplitHostPort(l.Addr)
		if err != nil || port != strconv.Itoa(to.Port) {
			continue
		}
		ip := net.ParseIP(host)
		if ip == nil && strings.EqualFold(host, "localhost") {
			ip = net.IPv4(127, 0, 0, 1)
		}
		if ip.Equal(to.IP) || (host == "" || ip != nil && ip.IsUnspecified()) && local(to.IP) {
			return true
		}
	}
	return false
}

// local reports whether an address is one of this host's.
func local(ip net.IP) bool {
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && (n.IP.Equal(ip) || ip.IsLoopback() && n.Contains(ip))
	})
}

// copies says where the originals of copied suffixes are.
func (d *Directory) copies(c *config.Config) ([]engine.Copy, error) {
	var out []engine.Copy
	for i := range c.Replica {
		r := &c.Replica[i]
		norm, err := d.Schema().NormalizeDNString(nil, c.ReplicaBase(r))
		if err != nil {
			return nil, config.ErrorAt(r.At("base"), err.Error(), "")
		}
		out = append(out, engine.Copy{Norm: string(norm), Referral: []string{r.ReferralURL()}})
	}
	return out, nil
}

// promote makes an original of what was a copy: a store that has been a replica and is none any more begins an epoch, since
// its journal has not been one of rising CSNs.
func (d *Directory) promote() error {
	if len(d.Config.Replica) > 0 {
		return nil
	}
	view := d.Store.View()
	n, err := replica.Known(view)
	view.Close()
	if err != nil || n == 0 {
		return err
	}
	ctx := context.Background()
	if err := d.Store.NewEpoch(ctx, dit.CSN{}); err != nil {
		return err
	}
	if err := replica.Forget(d.Store.State()); err != nil {
		return err
	}
	d.Log.Info("this directory was a replica and is an original from now on: its own replicas will refresh")
	return d.Store.State().Flush(ctx)
}
