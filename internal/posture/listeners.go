package posture

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"portolan/internal/config"
)

// eachListener calls f for the listeners whose URL can be used; that all can be was checked when the file was read.
func (r *review) eachListener(f func(key string, l *config.Listen, a config.Address)) {
	for i := range r.Config.Listen {
		l := &r.Config.Listen[i]
		if a, err := l.Address(); err == nil {
			f(fmt.Sprintf("listen[%d].url", i), l, a)
		}
	}
}

func clearTextListeners(r *review) {
	if r.Config.TLS.CertFile != "" {
		return
	}
	r.eachListener(func(key string, l *config.Listen, a config.Address) {
		if a.Scheme != "ldap" || a.Loopback() {
			return
		}
		f := Finding{
			Severity: Fail, Subject: l.URL, Key: key, Seen: l.URL + " can be reached from other hosts and offers no TLS",
			Means: "clients have no choice but to send passwords in clear text",
			Fix:   `write cert_file and key_file under [tls] ("portolan init" makes a pair)`,
		}
		if len(l.Allow) > 0 {
			f.Seen += ", if only from " + prefixes(l.Allow)
		}
		r.add(l.At("url"), f)
	})
}

func noCertificate(r *review) {
	if r.Config.TLS.CertFile != "" {
		return
	}
	tcp := false
	r.eachListener(func(_ string, _ *config.Listen, a config.Address) { tcp = tcp || a.Network == "tcp" })
	if tcp {
		r.add(r.Config.At("tls"), Finding{
			Severity: Warn, Key: "tls.cert_file", Seen: "there is no certificate", Means: "no client can check that it talks to this server, and none can use TLS",
			Fix: `write cert_file and key_file under [tls] ("portolan init" makes a pair)`,
		})
	}
}

// Proxies stand in a network of at most so many addresses; a wider one is hardly all proxies.
const (
	proxyBits4 = 24
	proxyBits6 = 64
)

func proxyNetworks(r *review) {
	for i := range r.Config.Listen {
		l := &r.Config.Listen[i]
		for n, p := range l.ProxyProtocolFrom {
			least := proxyBits4
			if p.Addr().Is6() {
				least = proxyBits6
			}
			if p.Bits() >= least {
				continue
			}
			severity := Warn
			if p.Bits() == 0 {
				severity = Fail
			}
			r.add(l.At(fmt.Sprintf("proxy_protocol_from[%d]", n)), Finding{
				Severity: severity, Subject: l.URL, Key: fmt.Sprintf("listen[%d].proxy_protocol_from", i),
				Seen:  p.String() + " is a network of more than proxies",
				Means: "every host in it says for itself which address it has: networks of access rules, accounts and listeners do not hold it back, and logs name whom it wants",
				Fix:   "write the addresses of the proxies alone in this [[listen]], as in proxy_protocol_from = " + example(p),
			})
		}
	}
}

// example is an address such as a proxy in the network has.
func example(p netip.Prefix) string {
	a := p.Addr().Next()
	if p.Bits() == 0 {
		a = netip.MustParseAddr("10.0.0.5")
	}
	return "[" + config.Quote(a.String()) + "]"
}

func prefixes(list []netip.Prefix) string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = p.String()
	}
	return strings.Join(out, ", ")
}

func udpListeners(r *review) {
	r.eachListener(func(key string, l *config.Listen, a config.Address) {
		if a.Network != "udp" || a.Loopback() {
			return
		}
		f := Finding{
			Severity: Warn, Subject: l.URL, Key: key, Seen: l.URL + " answers datagrams from other hosts",
			Means: "the sender of a datagram is not proven: answers go to whomever it names",
			Fix:   "remove this [[listen]], or name the networks that need it: allow = [\"10.0.0.0/8\"]",
		}
		if len(l.Allow) > 0 {
			f.Seen += ", if only from " + prefixes(l.Allow)
		}
		r.add(l.At("url"), f)
	})
}

// socketDirectories looks for Unix sockets that somebody else could put his own in the place of.
func socketDirectories(r *review) {
	r.eachListener(func(key string, l *config.Listen, a config.Address) {
		if a.Network != "unix" {
			return
		}
		dir := filepath.Dir(a.Addr)
		info, ok := r.stat(dir)
		if !ok || !openDirectory(info) {
			return
		}
		r.add(l.At("url"), Finding{
			Severity: Fail, Subject: l.URL, Key: key, Seen: dir + " can be written to by every user of this host (" + octal(info) + ")",
			Means: "any of them can put his own socket in the place of the server's, and is told the passwords",
			Run:   "chmod o-w " + quoteShell(dir),
		})
	})
}
