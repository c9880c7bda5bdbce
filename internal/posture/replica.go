package posture

import (
	"fmt"
	"net/url"
	"strings"

	"portolan/internal/config"
)

// eachReplica calls f for every [[replica]], with the path of a key of it made from the key's name.
func (r *review) eachReplica(f func(key func(string) string, c *config.Replica)) {
	for i := range r.Config.Replica {
		f(func(name string) string { return fmt.Sprintf("replica[%d].%s", i, name) }, &r.Config.Replica[i])
	}
}

// replicaTLS looks for copies that come in clear text.
func replicaTLS(r *review) {
	r.eachReplica(func(key func(string) string, c *config.Replica) {
		if !c.Clear() {
			return
		}
		f := Finding{
			Severity: Fail, Subject: c.URL, Key: key("tls"), Seen: "tls is \"off\" for the provider " + c.URL,
			Means: "whoever is on the way reads every entry with its password hash and the password of bind_dn, and can put entries of his own into the copy",
			Fix:   "in this [[replica]]", Write: `tls = "required"`,
		}
		if u, err := url.Parse(c.URL); err == nil && (strings.HasPrefix(u.Hostname(), "127.") || u.Hostname() == "::1" || u.Hostname() == "localhost") {
			f.Severity, f.Means = Warn, "whoever can listen on this host's loopback while the provider is down poses as it"
		}
		r.add(c.At("tls"), f)
	})
}

// replicaFiles lists the files of replicas, or only those that are secret.
func (r *review) replicaFiles(secret bool) []named {
	var list []named
	r.eachReplica(func(key func(string) string, c *config.Replica) {
		for _, n := range []struct {
			named
			secret bool
		}{
			{named{c.PasswordFile, "the password for the provider", key("password_file")}, true},
			{named{c.KeyFile, "the private key for the provider", key("key_file")}, true},
			{named{c.CertFile, "the certificate for the provider", key("cert_file")}, false},
			{named{c.CAFile, "the provider's authorities", key("ca_file")}, false},
		} {
			if n.path != "" && (n.secret || !secret) {
				list = append(list, n.named)
			}
		}
	})
	return list
}

// replicaSecretModes looks for secrets of replicas that others can read.
func replicaSecretModes(r *review) {
	for _, n := range r.replicaFiles(true) {
		if info, ok := r.stat(n.path); ok && info.Mode().IsRegular() && info.Mode().Perm()&others != 0 {
			r.add(r.Config.At(n.key), Finding{
				Severity: Fail, Subject: n.path, Key: n.key, Seen: fmt.Sprintf("%s, %s, is open to every user of this host (%s)", n.path, n.what, octal(info)),
				Means: "whoever reads it reads at the provider what the replica may: everything, hashes of passwords among it", Run: "chmod o= " + quoteShell(n.path),
			})
		}
	}
}
