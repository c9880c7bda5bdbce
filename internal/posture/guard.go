package posture

import (
	"fmt"

	"portolan/internal/config"
)

// guardBounds are the numbers of [guard] that say how much guessing is free.
func guardBounds() []struct {
	name  string
	value func(g *config.Guard) int
} {
	return []struct {
		name  string
		value func(g *config.Guard) int
	}{
		{"account_failures", func(g *config.Guard) int { return g.AccountFailures }},
		{"source_failures", func(g *config.Guard) int { return g.SourceFailures }},
		{"network_failures", func(g *config.Guard) int { return g.NetworkFailures }},
		{"password_accounts", func(g *config.Guard) int { return g.PasswordAccounts }},
		{"strain_failures", func(g *config.Guard) int { return g.StrainFailures }},
	}
}

func guardKeys() []string {
	var out []string
	for _, b := range guardBounds() {
		out = append(out, "guard."+b.name)
	}
	return out
}

func guardFar(r *review) {
	usual := config.Default()
	for _, b := range guardBounds() {
		if have, def := b.value(&r.Config.Guard), b.value(&usual.Guard); have > farther*def {
			r.oneOf("guard."+b.name, Finding{
				Severity: Warn, Seen: fmt.Sprintf("%s is %d times its default", b.name, have/def),
				Means: "that many passwords can be tried before anybody has to wait",
			})
		}
	}
}

func guardRelays(r *review) {
	for i, p := range r.Config.Guard.Relays {
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
		r.add(r.Config.At(fmt.Sprintf("guard.relays[%d]", i)), Finding{
			Severity: severity, Subject: p.String(), Key: "guard.relays",
			Seen:  p.String() + " is a network of more than applications",
			Means: "every host in it can try passwords on one account after the other without being slowed down for its address",
			Fix:   "write the addresses of the applications alone under [guard], as in relays = " + example(p),
		})
	}
}
