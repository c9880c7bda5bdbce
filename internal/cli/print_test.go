package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"portolan/internal/app"
)

func TestOctets(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 1 << 62: "4.0 EiB"} {
		if got := octets(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "no time", 59 * time.Second: "59 s", 61 * time.Second: "1 min 1 s", 25*time.Hour + time.Minute: "1 d 1 h",
		2*time.Hour + 3*time.Minute: "2 h 3 min",
	} {
		if got := lasting(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestReadPassword(t *testing.T) {
	tests := []struct{ in, want string }{
		{"secret\n", "secret"}, {"secret\r\nmore\n", "secret"}, {"secret", "secret"}, {" spaces stay \n", " spaces stay "},
		{"", ""}, {"\nsecret\n", ""},
	}
	for _, tt := range tests {
		got, err := readPassword(strings.NewReader(tt.in))
		if string(got) != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q, %v", tt.in, got, err)
		}
	}
}

func TestPrintAnswer(t *testing.T) {
	var out bytes.Buffer
	err := printAnswer(&out, &app.AccessAnswer{
		As: "uid=a", On: "cn=b", Attribute: "mail", AsExists: true, Rights: "read",
		Rules: []app.AccessRule{
			{Rule: "one", Origin: "p.toml:3:1", Rights: "none", Decides: "none", Reason: "does not apply: the rule does not name the subject"},
			{Origin: "p.toml:9:1", Allows: true, Rights: "read", Decides: "read", Reason: "allows read"},
			{Rights: "search", Decides: "search", Reason: "no rule allows search"},
		},
	})
	want := `uid=a on mail of cn=b: read
There is no entry cn=b: rules that look at the entry do not apply.

Decided by:
  p.toml:9:1: allows read [allowed: read]
  no rule: no rule allows search [not allowed: search]

Also considered:
  one (p.toml:3:1): does not apply: the rule does not name the subject
`
	if err != nil || out.String() != want {
		t.Errorf("%v, got:\n%s", err, out.String())
	}
}

func TestPrintStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := printStatus(&out, &app.Status{
		Running: true, Version: "1", PID: 7, Uptime: 61, Listeners: []string{"a", "b"}, Operations: map[string]uint64{"search": 3, "add": 1, "modify": 1, "compare": 2},
		Caches: app.CacheStatus{BlockHitRate: 0.5}, LastBackup: &app.LastBackup{Time: now.Add(-2 * time.Hour), Dir: "/b"}, Warnings: []string{"look", "out"},
		Guard: app.GuardStatus{Enabled: true, Accounts: 1, Sources: 2, Waiting: 1, Refused: 7, Exposed: 2, ExposedRight: 1, OverRate: 1, RateRefused: 3},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Portolan 1, process 7, up 1 min 1 s", "Listeners      a\n               b\n", "3 searches, 0 binds, 2 writes, 2 others",
		"Guard          held back are 1 account, 2 addresses, 0 networks, 0 passwords; 1 login waits now, 7 refused since the start\n",
		"               2 passwords were sent in clear text, 1 of them right\n               1 client is over a rate now, 3 requests refused for it\n",
		"(50.0 % found)", "2 h 0 min ago, in /b", "Warnings       look\n               out\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
