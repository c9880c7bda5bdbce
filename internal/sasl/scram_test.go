package sasl_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"portolan/ber"
	"portolan/internal/ldaptest"
	"portolan/internal/op"
	"portolan/ldap"
)

const people = `dn: dc=example,dc=org
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit

`

func person(uid, password string) string {
	text := "dn: uid=" + uid + ",ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\ncn: x\nsn: x\n"
	return text + "userPassword: " + password + "\n\n"
}

func dn(uid string) string { return "uid=" + uid + ",ou=people,dc=example,dc=org" }

// exchange is a SCRAM client of package scram over a connection without a network.
type exchange struct {
	s         *ldaptest.Server
	conn      *op.Conn
	mechanism string
}

func (x *exchange) bind(creds []byte, has bool) (*op.Request, error) {
	req := &op.Request{Conn: x.conn, ID: 1, Op: &ldap.BindRequest{
		Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte(x.mechanism), Credentials: creds, HasCreds: has,
	}}
	return req, x.s.Engine.Serve(context.Background(), req, nil)
}

// run takes a conversation to its end. The error is the server's, or the client's where it does not trust the server.
func (x *exchange) run(user, password, authz string, binding *scram.ChannelBinding) (*op.Request, error) {
	client, err := scram.SHA256.NewClient(user, password, authz)
	if err != nil {
		return nil, err
	}
	conv := client.NewConversation()
	if binding != nil {
		conv = client.NewConversationWithChannelBinding(*binding)
	}
	text, err := conv.Step("")
	for err == nil {
		var req *op.Request
		if req, err = x.bind([]byte(text), true); err != nil {
			return req, err
		}
		challenge := string(req.Reply.SASLCreds)
		if text, err = conv.Step(challenge); conv.Done() {
			if err == nil && !conv.Valid() {
				err = fmt.Errorf("the server's signature is wrong")
			}
			return req, err
		}
		if err == nil && req.Reply.Code != ldap.SASLBindInProgress {
			return req, fmt.Errorf("the bind has ended with %v", req.Reply.Code)
		}
	}
	return nil, err
}

func newExchange(s *ldaptest.Server) *exchange {
	return &exchange{s: s, conn: &op.Conn{Transport: op.Unix, Loopback: true, Peer: &op.PeerCred{UID: 1}}, mechanism: "SCRAM-SHA-256"}
}

func TestScram(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people + person("alice", "alice-secret") + person("bob", "bob-secret") + person("c\\,d=e", "comma-secret"), Config: `
[[access]]
allow = "proxy"
who = "dn:uid=alice,ou=people,dc=example,dc=org"
on = "base:uid=bob,ou=people,dc=example,dc=org"
`})
	for _, x := range []struct {
		user, password, authz string
		who                   string // empty: refused
	}{
		{user: "alice", password: "alice-secret", who: dn("alice")},
		{user: "ALICE", password: "alice-secret", who: dn("alice")},
		{user: "dn:" + dn("alice"), password: "alice-secret", who: dn("alice")},
		{user: "u:alice", password: "alice-secret", who: dn("alice")},
		{user: "c,d=e", password: "comma-secret", who: dn(`c\,d=e`)},
		{user: "alice", password: "wrong"},
		{user: "alice", password: "bob-secret"},
		{user: "nobody", password: "alice-secret"},
		{user: "*", password: "alice-secret"},
		{user: "dn:" + ldaptest.AdminDN, password: ldaptest.AdminPassword, who: ldaptest.AdminDN},
		{user: "dn:" + ldaptest.AdminDN, password: "wrong"},
		{user: "alice", password: "alice-secret", authz: "u:bob", who: dn("bob")},
		{user: "alice", password: "alice-secret", authz: "dn:" + dn("alice"), who: dn("alice")},
		{user: "bob", password: "bob-secret", authz: "u:alice"},
		{user: "alice", password: "wrong", authz: "u:bob"},
		{user: "alice", password: "alice-secret", authz: "u:nobody"},
	} {
		e := newExchange(s)
		req, err := e.run(x.user, x.password, x.authz, nil)
		switch {
		case x.who == "":
			if ldap.CodeOf(err) != ldap.InvalidCredentials || !e.conn.Identity().IsAnonymous() || req.Reply.HasSASLCreds {
				t.Errorf("%+v: %v, bound as %q", x, err, e.conn.Identity().Name.DN)
			}
		case err != nil || e.conn.Identity().Name.DN != x.who || e.conn.Identity().Method != "SCRAM-SHA-256":
			t.Errorf("%+v: %v, bound as %+v", x, err, e.conn.Identity())
		}
	}
}

// challenge returns what the server answers to the first message of a user.
func challenge(t *testing.T, s *ldaptest.Server, user string) (salt, iterations string) {
	t.Helper()
	req, err := newExchange(s).bind([]byte("n,,n="+user+",r=nonce"), true)
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	fields := strings.Split(string(req.Reply.SASLCreds), ",")
	if len(fields) != 3 || !strings.HasPrefix(fields[0], "r=nonce") || req.Reply.Code != ldap.SASLBindInProgress {
		t.Fatalf("%s: %q", user, req.Reply.SASLCreds)
	}
	return strings.TrimPrefix(fields[1], "s="), strings.TrimPrefix(fields[2], "i=")
}

// TestScramNobody: what there is not looks like what there is, at every question and after a restart.
func TestScramNobody(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people + person("alice", "alice-secret") + person("old", "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr")})
	first := map[string]string{}
	for _, user := range []string{"alice", "nobody", "old", "dn:uid=3Dno=2Cou=3Dx", "*"} {
		salt, iterations := challenge(t, s, user)
		if raw, err := base64.StdEncoding.DecodeString(salt); err != nil || len(raw) != 16 || iterations != "4096" {
			t.Errorf("%s: salt %q, %s iterations", user, salt, iterations)
		}
		for other, has := range first {
			if has == salt {
				t.Errorf("%s and %s have one salt", user, other)
			}
		}
		first[user] = salt
		if again, _ := challenge(t, s, user); again != salt {
			t.Errorf("%s: the salt changes", user)
		}
	}
	if same, _ := challenge(t, s, "NOBODY"); same != first["nobody"] {
		t.Error("case tells names of nobody apart")
	}
	if err := s.Directory.Store.State().Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	next := ldaptest.Start(t, ldaptest.Options{KV: s.Crash(t)})
	for user, salt := range first {
		if again, _ := challenge(t, next, user); again != salt {
			t.Errorf("%s: the salt changes with a restart", user)
		}
	}
}

// TestScramKeys: keys are those of the password there is, and nothing else is left.
func TestScramKeys(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people + person("alice", "alice-secret"), Config: "[overlay.ppolicy.policy]\nmin_length = 0\nmin_strength = 0\n"})
	try := func(password string) error {
		_, err := newExchange(s).run("alice", password, "", nil)
		return err
	}
	modify := func(mods ...ldap.Mod) {
		t.Helper()
		if err := s.As(ldaptest.AdminDN, &ldap.ModifyRequest{Object: []byte(dn("alice")), Changes: mods}); err != nil {
			t.Fatal(err)
		}
	}
	mod := func(kind ldap.ModOp, values ...string) ldap.Mod {
		m := ldap.Mod{Op: kind, Attribute: ldap.Attribute{Type: []byte("userPassword")}}
		for _, v := range values {
			m.Attribute.Values = append(m.Attribute.Values, []byte(v))
		}
		return m
	}
	keys := func() int {
		t.Helper()
		found, err := s.Search(context.Background(), ldaptest.AdminDN, &ldap.SearchRequest{Base: []byte(dn("alice")), Filter: ldap.Present("objectClass"), Attributes: [][]byte{[]byte("portolanScramKeys")}})
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		n := 0
		for _, a := range found[0].Attributes {
			n += len(a.Values)
		}
		return n
	}
	for _, step := range []struct {
		name         string
		mods         []ldap.Mod
		works, fails string
		keys         int
	}{
		{"as added", nil, "alice-secret", "second", 1},
		{"replaced", []ldap.Mod{mod(ldap.ModReplace, "second")}, "second", "alice-secret", 1},
		{"deleted and added", []ldap.Mod{mod(ldap.ModDelete, "second"), mod(ldap.ModAdd, "third")}, "third", "second", 1},
		{"hashed already", []ldap.Mod{mod(ldap.ModReplace, "{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr")}, "", "third", 0},
		{"a hash taken away for it", []ldap.Mod{mod(ldap.ModReplace, "sixth")}, "sixth", "third", 1},
		{"added and taken away", []ldap.Mod{mod(ldap.ModReplace, "seventh"), mod(ldap.ModReplace)}, "", "seventh", 0},
		{"again", []ldap.Mod{mod(ldap.ModReplace, "seventh")}, "seventh", "sixth", 1},
		{"one that SASLprep refuses", []ldap.Mod{mod(ldap.ModReplace, "bell\aring")}, "", "seventh", 0},
		{"again", []ldap.Mod{mod(ldap.ModReplace, "eighth")}, "eighth", "seventh", 1},
		{"deleted", []ldap.Mod{mod(ldap.ModDelete)}, "", "eighth", 0},
	} {
		if step.mods != nil {
			modify(step.mods...)
		}
		if step.works != "" {
			if err := try(step.works); err != nil {
				t.Errorf("%s: %s: %v", step.name, step.works, err)
			}
		}
		if err := try(step.fails); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Errorf("%s: %s: %v", step.name, step.fails, err)
		}
		if n := keys(); n != step.keys {
			t.Errorf("%s: %d keys, want %d", step.name, n, step.keys)
		}
	}
	if err := s.As(ldaptest.AdminDN, &ldap.ModifyRequest{Object: []byte(dn("alice")), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("portolanScramKeys"), Values: [][]byte{[]byte("x")}}}}}); ldap.CodeOf(err) != ldap.ConstraintViolation {
		t.Errorf("a client writes keys: %v", err)
	}
}

// TestScramAfterSimpleBind: a password that came as a hash has SCRAM once it was used in a simple bind.
func TestScramAfterSimpleBind(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people})
	for _, scheme := range []string{"weak", "argon2"} { // the second is of the configured strength: only the key is missing
		var hash string
		if scheme == "argon2" {
			hashed, _, err := s.Engine.Directory().Hash(context.Background(), &op.Request{Conn: newExchange(s).conn}, []byte("secret"))
			if err != nil {
				t.Fatal(err)
			}
			hash = string(hashed)
		} else {
			sum := sha1.Sum([]byte("secretsalt"))
			hash = "{SSHA}" + base64.StdEncoding.EncodeToString(append(sum[:], "salt"...))
		}
		s.Load(t, person(scheme, hash))
		if _, err := newExchange(s).run(scheme, "secret", "", nil); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Errorf("%s: SCRAM without a key: %v", scheme, err)
		}
		_, last := s.Engine.Journal().Bounds()
		req := &op.Request{Conn: newExchange(s).conn, ID: 1, Op: &ldap.BindRequest{Version: 3, Name: []byte(dn(scheme)), Password: []byte("secret")}}
		if err := s.Engine.Serve(context.Background(), req, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Engine.Journal().Wait(context.Background(), last); err != nil {
			t.Fatal(err)
		}
		if _, err := newExchange(s).run(scheme, "secret", "", nil); err != nil {
			t.Errorf("%s: SCRAM after a simple bind: %v", scheme, err)
		}
	}
}

// TestScramMessages: what is not of the form, or not of this exchange, proves nothing.
func TestScramMessages(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people + person("alice", "alice-secret")})
	for _, first := range []string{
		"", "n", "n,", "n,,", "x,,n=alice,r=n", "n,,n=,r=n", "n,,n=alice", "n,,n=alice,r=", "n,,n=alice,r=a b", "n,,n=al=ice,r=n",
		"n,,n=alice,r=n,x", "n,,n=alice,r=n,1=x", "n,,m=x,n=alice,r=n", "n,x,n=alice,r=n", "n,a=,n=alice,r=n", "n,a=u:b=2,n=alice,r=n",
		"p=tls-exporter,,n=alice,r=n", "p=,,n=alice,r=n", "n,,r=n,n=alice", "N,,n=alice,r=n", "n,,n=alice\x00,r=n", "n,,n=al\xffce,r=n",
		"n,,n=" + strings.Repeat("a", 20000) + ",r=n",
	} {
		if _, err := newExchange(s).bind([]byte(first), true); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Errorf("%.40q: %v", first, err)
		}
	}
	final := func(change func(nonce string) string) error {
		e := newExchange(s)
		req, err := e.bind([]byte("n,,n=alice,r=nonce"), true)
		if err != nil {
			t.Fatal(err)
		}
		nonce, _, _ := strings.Cut(strings.TrimPrefix(string(req.Reply.SASLCreds), "r="), ",")
		_, err = e.bind([]byte(change(nonce)), true)
		if again, err := e.bind([]byte("c=biws,r="+nonce+",p="+proof), true); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Errorf("after an exchange that failed: %v, %v", again.Reply, err)
		}
		return err
	}
	for name, change := range map[string]func(string) string{
		"no proof":          func(n string) string { return "c=biws,r=" + n },
		"empty proof":       func(n string) string { return "c=biws,r=" + n + ",p=" },
		"short proof":       func(n string) string { return "c=biws,r=" + n + ",p=AAAA" },
		"no base64":         func(n string) string { return "c=biws,r=" + n + ",p=!" },
		"wrong proof":       func(n string) string { return "c=biws,r=" + n + ",p=" + proof },
		"another header":    func(n string) string { return "c=eSws,r=" + n + ",p=" + proof },
		"no binding":        func(n string) string { return "r=" + n + ",p=" + proof },
		"own nonce":         func(string) string { return "c=biws,r=nonce,p=" + proof },
		"nonce made longer": func(n string) string { return "c=biws,r=" + n + "x,p=" + proof },
		"a bad extension":   func(n string) string { return "c=biws,r=" + n + ",xx,p=" + proof },
		"nothing":           func(string) string { return "" },
	} {
		if err := final(change); ldap.CodeOf(err) != ldap.InvalidCredentials {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var proof = base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))

// TestScramPasswordChanges: an exchange that began before a password was changed does not end with the old one.
func TestScramPasswordChanges(t *testing.T) {
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people + person("alice", "alice-secret")})
	client, err := scram.SHA256.NewClient("alice", "alice-secret", "")
	if err != nil {
		t.Fatal(err)
	}
	conv, e := client.NewConversation(), newExchange(s)
	text, _ := conv.Step("")
	req, err := e.bind([]byte(text), true)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = conv.Step(string(req.Reply.SASLCreds)); err != nil {
		t.Fatal(err)
	}
	if err := s.As(ldaptest.AdminDN, &ldap.ModifyRequest{Object: []byte(dn("alice")), Changes: []ldap.Mod{{Op: ldap.ModReplace, Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{[]byte("a-new-secret-of-alice")}}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.bind([]byte(text), true); ldap.CodeOf(err) != ldap.InvalidCredentials {
		t.Error(err)
	}
}

// wire is a client's end of a TLS connection.
type wire struct {
	t    *testing.T
	nc   *tls.Conn
	last int32
}

func dial(t *testing.T, s *ldaptest.Server, config *tls.Config) *wire {
	t.Helper()
	nc, err := tls.Dial("tcp", s.Secure, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &wire{t: t, nc: nc}
}

func (w *wire) ask(q ldap.Op) ldap.Op {
	w.t.Helper()
	w.last++
	m := ldap.Message{ID: w.last, Op: q}
	if _, err := w.nc.Write(m.Append(nil)); err != nil {
		w.t.Fatal(err)
	}
	var in []byte
	buf := make([]byte, 4096)
	for {
		n, err := w.nc.Read(buf)
		if err != nil {
			w.t.Fatal(err)
		}
		in = append(in, buf[:n]...)
		if size, state := ber.Frame(in, 1<<20); state == ber.FrameWhole {
			answer, err := ldap.Decode(in[:size])
			if err != nil {
				w.t.Fatal(err)
			}
			return answer.Op
		}
	}
}

// converse takes a conversation to its end and returns the server's last answer, whose signature must be right.
func (w *wire) converse(mechanism string, conv *scram.ClientConversation) ldap.BindResponse {
	w.t.Helper()
	text, err := conv.Step("")
	for err == nil {
		a := *w.ask(&ldap.BindRequest{Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte(mechanism), Credentials: []byte(text), HasCreds: true}).(*ldap.BindResponse)
		if a.Code != ldap.Success && a.Code != ldap.SASLBindInProgress {
			return a
		}
		if text, err = conv.Step(string(a.ServerCreds)); a.Code == ldap.Success {
			if !conv.Valid() {
				w.t.Errorf("the server's signature is wrong: %v", err)
			}
			return a
		}
	}
	w.t.Fatal(err)
	return ldap.BindResponse{}
}

// bind is converse with the answer as an error.
func (w *wire) bind(mechanism string, conv *scram.ClientConversation) error {
	w.t.Helper()
	if a := w.converse(mechanism, conv); a.Code != ldap.Success {
		return &ldap.Error{Result: a.Result}
	}
	return nil
}

// searchAs reads the suffix entry and returns the result.
func (w *wire) searchAs() ldap.ResultCode {
	w.t.Helper()
	return w.ask(&ldap.SearchRequest{Base: []byte("ou=nobody," + ldaptest.Suffix), Filter: ldap.Present("objectClass")}).(*ldap.SearchResultDone).Code
}

func (w *wire) whoAmI() string {
	w.t.Helper()
	return string(w.ask(&ldap.ExtendedRequest{Name: []byte("1.3.6.1.4.1.4203.1.11.3")}).(*ldap.ExtendedResponse).Value)
}

// TestScramBinding: -PLUS over TLS, with a client of other people's making; every wrong binding is refused.
func TestScramBinding(t *testing.T) {
	authority := ldaptest.NewAuthority(t)
	s := ldaptest.Start(t, ldaptest.Options{LDIF: people + person("alice", "alice-secret"), Authority: authority})
	config, err := authority.Client("")
	if err != nil {
		t.Fatal(err)
	}
	older := config.Clone()
	older.MaxVersion = tls.VersionTLS12
	exporter := func(state tls.ConnectionState) scram.ChannelBinding {
		data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
		if err != nil {
			t.Fatal(err)
		}
		return scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: data}
	}
	endPoint := func(state tls.ConnectionState) scram.ChannelBinding {
		sum := sha256.Sum256(state.PeerCertificates[0].Raw)
		return scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: sum[:]}
	}
	other := dial(t, s, config).nc.ConnectionState()
	for _, x := range []struct {
		name, mechanism string
		config          *tls.Config
		binding         func(tls.ConnectionState) scram.ChannelBinding
		password        string
		fails           bool
	}{
		{name: "exporter", binding: exporter},
		{name: "exporter under TLS 1.2", config: older, binding: exporter},
		{name: "end point", binding: endPoint},
		{name: "end point under TLS 1.2", config: older, binding: endPoint},
		{name: "unique under TLS 1.2", config: older, binding: func(state tls.ConnectionState) scram.ChannelBinding {
			return scram.ChannelBinding{Type: scram.ChannelBindingTLSUnique, Data: state.TLSUnique}
		}},
		{name: "unique under TLS 1.3", fails: true, binding: func(tls.ConnectionState) scram.ChannelBinding {
			return scram.ChannelBinding{Type: scram.ChannelBindingTLSUnique, Data: []byte("x")}
		}},
		{name: "end point as libldap has it", binding: func(state tls.ConnectionState) scram.ChannelBinding {
			return scram.ChannelBinding{Type: "ldap", Data: append([]byte("tls-server-end-point:"), endPoint(state).Data...)}
		}},
		{name: "unique as libldap has it, under TLS 1.2", config: older, binding: func(state tls.ConnectionState) scram.ChannelBinding {
			return scram.ChannelBinding{Type: "ldap", Data: append([]byte("tls-unique:"), state.TLSUnique...)}
		}},
		{name: "libldap's of another certificate", fails: true, binding: func(state tls.ConnectionState) scram.ChannelBinding {
			b := append([]byte("tls-server-end-point:"), endPoint(state).Data...)
			b[len(b)-1] ^= 1
			return scram.ChannelBinding{Type: "ldap", Data: b}
		}},
		{name: "libldap's without a name", fails: true, binding: func(state tls.ConnectionState) scram.ChannelBinding {
			return scram.ChannelBinding{Type: "ldap", Data: endPoint(state).Data}
		}},
		{name: "of another connection", fails: true, binding: func(tls.ConnectionState) scram.ChannelBinding { return exporter(other) }},
		{name: "of another certificate", fails: true, binding: func(state tls.ConnectionState) scram.ChannelBinding {
			b := endPoint(state)
			b.Data = bytes.Clone(b.Data)
			b.Data[0] ^= 1
			return b
		}},
		{name: "of another type", fails: true, binding: func(state tls.ConnectionState) scram.ChannelBinding {
			return scram.ChannelBinding{Type: scram.ChannelBindingTLSExporter, Data: endPoint(state).Data}
		}},
		{name: "of a type that nobody knows", fails: true, binding: func(state tls.ConnectionState) scram.ChannelBinding {
			return scram.ChannelBinding{Type: "tls-unknown", Data: []byte("x")}
		}},
		{name: "a wrong password", binding: exporter, password: "wrong", fails: true},
		{name: "none with -PLUS", fails: true},
		{name: "one without -PLUS, as cyrus-sasl has it", mechanism: "SCRAM-SHA-256", binding: exporter},
		{name: "a wrong one without -PLUS", mechanism: "SCRAM-SHA-256", fails: true, binding: func(tls.ConnectionState) scram.ChannelBinding { return exporter(other) }},
		{name: "none without -PLUS", mechanism: "SCRAM-SHA-256"},
	} {
		t.Run(x.name, func(t *testing.T) {
			mechanism, password, cfg := "SCRAM-SHA-256-PLUS", "alice-secret", config
			if x.mechanism != "" {
				mechanism = x.mechanism
			}
			if x.password != "" {
				password = x.password
			}
			if x.config != nil {
				cfg = x.config
			}
			c := dial(t, s, cfg)
			state := c.nc.ConnectionState()
			client, err := scram.SHA256.NewClient("alice", password, "")
			if err != nil {
				t.Fatal(err)
			}
			conv := client.NewConversation()
			if x.binding != nil {
				conv = client.NewConversationWithChannelBinding(x.binding(state))
			}
			err = c.bind(mechanism, conv)
			switch who := c.whoAmI(); {
			case x.fails && (err == nil || who != ""):
				t.Errorf("%v, bound as %q", err, who)
			case !x.fails && (err != nil || who != "dn:"+dn("alice")):
				t.Errorf("%v, bound as %q", err, who)
			}
		})
	}
	// Who was made to believe that there is no -PLUS finds out, but where there is none.
	downgraded := func(w *wire) error {
		client, err := scram.SHA256.NewClient("alice", "alice-secret", "")
		if err != nil {
			t.Fatal(err)
		}
		return w.bind("SCRAM-SHA-256", client.NewConversationAdvertisingChannelBinding())
	}
	if err := downgraded(dial(t, s, config)); err == nil {
		t.Error("a downgrade went unnoticed")
	}
	without := ldaptest.Start(t, ldaptest.Options{
		LDIF: people + person("alice", "alice-secret"), Authority: authority, Config: "[sasl]\nmechanisms = [\"SCRAM-SHA-256\"]\n",
	})
	if err := downgraded(dial(t, without, config)); err != nil {
		t.Errorf("without -PLUS: %v", err)
	}
}
