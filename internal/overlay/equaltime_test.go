package overlay_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"testing"
	"time"

	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

// failing is a kind of bind that fails, none of which are to be told apart from a wrong password.
type failing struct {
	kind, name, password string
}

// failures makes a directory with accounts that fail in every way, and the binds that do. n keeps names and passwords
// different from those of other binds.
func failures(t *testing.T) (s *ldaptest.Server, kinds func(n int) []failing) {
	t.Helper()
	const suffix = ",dc=example,dc=org"
	entry := func(uid, more string) string {
		return "dn: uid=" + uid + suffix + "\nobjectClass: inetOrgPerson\nuid: " + uid + "\ncn: " + uid + "\nsn: X\n" + more + "\n"
	}
	beneath := func(uid, class string) string {
		return "dn: portolanCredentialName=x,uid=" + uid + suffix + "\nobjectClass: " + class + "\n\n"
	}
	const ssha = "userPassword: {SSHA}0SeGzRMCVgLcnv5aDxQ07WQNT0G3hZpVFwGBLQ==\n"
	const right = "userPassword: right-secret\n"
	s = ldaptest.Start(t, ldaptest.Options{
		Config: "[overlay.ppolicy.policy]\nlockout = false\nmust_change = true\n[[overlay.otp.required]]\nbase = \"uid=required" + suffix + "\"\n",
		LDIF: top + entry("argon", right) + entry("ssha", ssha) + entry("none", "") +
			entry("disabled", right+"portolanAccountDisabled: TRUE\n") +
			entry("far", right+"portolanAllowedFrom: 192.0.2.0/24\n") + entry("locked", right+"pwdAccountLockedTime: 000001010000Z\n") +
			entry("ended", right+"pwdEndTime: 20200101000000Z\n") + entry("required", right) +
			entry("app", right) + beneath("app", "portolanAppPassword") + entry("second", right) + beneath("second", "portolanOtpToken"),
	})
	app, _ := issue(t, s, ldaptest.AdminDN, "portolanCredentialName=x,uid=app"+suffix)
	uri, _ := issue(t, s, ldaptest.AdminDN, "portolanCredentialName=x,uid=second"+suffix)
	code, err := ldaptest.Code(uri, s.Clock().Now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := bind(s, "uid=second"+suffix, "right-secret"+code); !slices.Equal(got, []string{"> bound"}) {
		t.Fatal(got)
	}
	if err := s.As(ldaptest.AdminDN, &ldap.ModifyRequest{Object: []byte("portolanCredentialName=x,uid=app" + suffix), Changes: []ldap.Mod{{
		Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("pwdEndTime"), Values: [][]byte{[]byte("20200101000000Z")}},
	}}}); err != nil {
		t.Fatal(err)
	}
	return s, func(n int) []failing {
		wrong := fmt.Sprint("wrong-secret-", n)
		f := func(kind, uid, password string) failing { return failing{kind, "uid=" + uid + suffix, password} }
		return []failing{
			f("a wrong password", "argon", wrong), f("{SSHA}", "ssha", wrong), f("no password", "none", wrong),
			f("nobody", fmt.Sprint("nobody", n), wrong), {"no such suffix", "uid=x,o=elsewhere", wrong},
			f("disabled", "disabled", wrong), f("disabled, right", "disabled", "right-secret"),
			f("from elsewhere, right", "far", "right-secret"), f("locked", "locked", wrong), f("locked, right", "locked", "right-secret"),
			f("ended, right", "ended", "right-secret"), f("second factor required, right", "required", "right-secret"),
			f("an app password that has expired", "app", app), f("like an app password", "app", "abcd-efgh-ijkm-npqr-stuv-wxyz-2345"),
			f("no code", "second", "right-secret"), f("a wrong code", "second", "right-secret000000"), f("a used code", "second", "right-secret"+code),
			f("a wrong password with a used code", "second", wrong+code), f("like a recovery code", "second", "right-secretabcd-efgh-ijkm-npqr"),
			f("a password that is too long", "argon", fmt.Sprintf("%02000d", n)),
		}
	}
}

// fail binds from a network, so that portolanAllowedFrom counts.
func fail(t *testing.T, s *ldaptest.Server, f failing) {
	t.Helper()
	req := &op.Request{
		Conn: &op.Conn{Transport: op.TCP, Loopback: true}, ID: 1, Op: &ldap.BindRequest{Version: 3, Name: []byte(f.name), Password: []byte(f.password)},
	}
	err := s.Engine.Serve(context.Background(), req, nil)
	e := ldap.AsError(err)
	if e == nil || e.Code != ldap.InvalidCredentials || e.Diagnostic != "" || e.MatchedDN != "" || len(req.Reply.Controls) > 0 {
		t.Fatalf("%s: %v, %v", f.kind, err, req.Reply)
	}
}

// TestFailuresCostTheSame counts the work of hashing that each kind of failure is: all are one default hash.
func TestFailuresCostTheSame(t *testing.T) {
	s, kinds := failures(t)
	full := s.Engine.Settings().Passwords.Cost().Work
	for n := range 3 {
		for _, f := range kinds(n) {
			before := s.Engine.HashWork()
			fail(t, s, f)
			work := s.Engine.HashWork() - before
			if off := math.Abs(float64(work-full)) / float64(full); off > 0.01 {
				t.Errorf("%s: the work of %v, and that of a default hash is %v", f.kind, work, full)
			}
		}
	}
}

// TestFailuresTakeTheSame measures: a thousand failures of each kind, among each other, against those of a wrong password. It
// is for a machine that does nothing else.
func TestFailuresTakeTheSame(t *testing.T) {
	if os.Getenv("PORTOLAN_CHAOS") != "full" {
		t.Skip("set PORTOLAN_CHAOS=full: it takes minutes of a machine that is otherwise idle")
	}
	const rounds = 1000
	s, kinds := failures(t)
	times := make(map[string][]float64)
	for n := range rounds {
		all := kinds(n)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, f := range all {
			begun := time.Now()
			fail(t, s, f)
			times[f.kind] = append(times[f.kind], float64(time.Since(begun)))
		}
	}
	reference := times["a wrong password"]
	// Of so many comparisons one is to come out wrong once in a hundred runs, and not one in each fifth.
	limit := 0.01 / float64(len(times)-1)
	for kind, list := range times {
		p, median := mannWhitney(reference, list), middle(list)
		t.Logf("%-40s median %8.3f ms, p = %.4f", kind, median/1e6, p)
		if kind != "a wrong password" && p < limit {
			t.Errorf("%s is told apart from a wrong password: median %.3f ms to %.3f ms, p = %.2g", kind, median/1e6, middle(reference)/1e6, p)
		}
	}
}

func middle(list []float64) float64 {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

// mannWhitney is the two-sided probability of ranks as different as those of the two samples, if they are of one kind: by the
// normal approximation, which is good from about twenty.
func mannWhitney(a, b []float64) float64 {
	type ranked struct {
		v     float64
		first bool
	}
	var all []ranked
	for _, v := range a {
		all = append(all, ranked{v, true})
	}
	for _, v := range b {
		all = append(all, ranked{v, false})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].v < all[j].v })
	var sum float64
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].v == all[i].v {
			j++
		}
		for k := i; k < j; k++ {
			if all[k].first {
				sum += float64(i+j+1) / 2
			}
		}
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	u := sum - n*(n+1)/2
	z := (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
	return math.Erfc(math.Abs(z) / math.Sqrt2)
}

// TestMannWhitney: samples of one kind are not told apart, those of two are.
func TestMannWhitney(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(shift float64) []float64 {
		out := make([]float64, 1000)
		for i := range out {
			out[i] = 10 + shift + r.NormFloat64()
		}
		return out
	}
	if p := mannWhitney(draw(0), draw(0)); p < 0.01 {
		t.Errorf("the same: p = %v", p)
	}
	if p := mannWhitney(draw(0), draw(0.3)); p > 1e-6 {
		t.Errorf("another: p = %v", p)
	}
}
