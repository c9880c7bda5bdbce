package config

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "5ms": 5 * time.Millisecond, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour,
		"1w1d": 8 * 24 * time.Hour, "9223372036854ms": 9223372036854 * time.Millisecond,
	} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "1", "s", "-1s", "+1s", "1.5h", "1 h", "1H", "1s ", " 1s", "1y", "1s1", "9223372036855ms", "200000w", "99999999999999999999s", "150y", "9223372036854ms9223372036854ms"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "1024": 1024, "5B": 5, "16MiB": 16 << 20, "1 GiB": 1 << 30, "2KB": 2000, "2kB": 2000, "3MB": 3e6, "1TB": 1e12,
		"9223372036854775807": math.MaxInt64, "8388607TiB": 8388607 << 40,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "MiB", "-1", "1.5MiB", "16M", "16mib", "1GiB1MiB", "8388608TiB", "9223372036854775808"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

func TestSizesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, math.MaxInt64>>20).Draw(t, "n") << rapid.SampledFrom([]int{0, 3, 10, 20}).Draw(t, "shift")
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Fatalf("%d is written %q and read %d, %v", n, FormatSize(n), got, err)
		}
	})
	if got := FormatSize(19 << 20); got != "19MiB" {
		t.Errorf("19 MiB is written %q", got)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"suffix", "suffixes", "admin_dn", "admin_password_file", "read_only", "url"}
	for got, want := range map[string]string{
		"sufix": "suffix", "sufffixes": "suffixes", "admindn": "admin_dn", "Admin-DN": "admin_dn", "admin_password": "admin_password_file",
		"raed_only": "read_only", "uri": "url", "xyz": "", "": "", "something": "", "ür": "",
	} {
		if near := nearest(got, words); near != want {
			t.Errorf("%q: %q, want %q", got, near, want)
		}
	}
}

func TestDistance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-dä]{0,8}`)
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		ab := distance(a, b)
		switch {
		case ab != distance(b, a):
			t.Fatalf("not symmetric")
		case (ab == 0) != (a == b):
			t.Fatalf("%d between %q and %q", ab, a, b)
		case ab > max(len([]rune(a)), len([]rune(b))):
			t.Fatalf("%d between %q and %q", ab, a, b)
		case distance(a+c, b+c) > ab:
			t.Fatalf("a common end makes %q and %q differ more", a, b)
		}
	})
}

func TestAddress(t *testing.T) {
	for u, want := range map[string]string{
		"ldap://127.0.0.1":          "tcp 127.0.0.1:389 false true",
		"ldap://127.0.0.1/":         "tcp 127.0.0.1:389 false true",
		"LDAPS://localhost:0636":    "tcp localhost:636 true true",
		"ldaps://":                  "tcp :636 true false",
		"ldap://:3389":              "tcp :3389 false false",
		"ldap://[::1]":              "tcp [::1]:389 false true",
		"ldap://[::]:3389":          "tcp [::]:3389 false false",
		"cldap://10.0.0.1":          "udp 10.0.0.1:389 false false",
		"ldapi:///run/ldapi":        "unix /run/ldapi false true",
		"ldapi://%2Frun%2Fa%20b":    "unix /run/a b false true",
		"ldap://ldap.example.org:1": "tcp ldap.example.org:1 false false",
	} {
		a, err := (&Listen{URL: u}).Address()
		if err != nil {
			t.Errorf("%s: %v", u, err)
			continue
		}
		got := a.Network + " " + a.Addr
		for _, b := range []bool{a.TLS, a.Loopback()} {
			if b {
				got += " true"
			} else {
				got += " false"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", u, got, want)
		}
	}
	for _, u := range []string{"", "ldap:", "ldap:/x", "ldap://user@host", "ldap://h?x", "ldap://h:", "ldap://h:-1", "ldap://h:65536", "ldapi://", "ldapi:///", "ldapi:///run/", "ldapi://%2", "ldapi://run", "ldapi:///%00", "ldap://[fe80::1%25eth0]x", "ldap://h\n"} {
		if a, err := (&Listen{URL: u}).Address(); err == nil {
			t.Errorf("%q is taken for %+v", u, a)
		}
	}
}
