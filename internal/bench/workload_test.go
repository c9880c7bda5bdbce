package bench

import (
	"strings"
	"testing"

	"portolan/ldap"
)

func testRequests() Requests {
	return Requests{Data: testData(), PageSize: 100, Run: "test", Entries: -1}
}

// TestPatterns: what is sent decodes to what was meant, whatever the numbers.
func TestPatterns(t *testing.T) {
	r := testRequests()
	var d ldap.Decoder
	for _, w := range Workloads() {
		parts, err := r.parts(w[0])
		if err != nil {
			t.Fatalf("%s: %v", w[0], err)
		}
		for _, p := range parts {
			for _, n := range []numbers{{}, {42, 17, 3}, {MaxPeople, maxSerial, maxSerial}} {
				for _, id := range []uint32{idLow, idTop, ldap.MaxMessageID} {
					m, err := d.Decode(p.patterns[0].append([]byte("x"), id, &n)[1:])
					if err != nil {
						t.Fatalf("%s: %v", p.name, err)
					}
					if uint32(m.ID) != id {
						t.Errorf("%s: message ID %d, want %d", p.name, m.ID, id)
					}
					if tag, _ := ldap.ResponseTag(m.Op.Tag()); tag != p.final {
						t.Errorf("%s: final tag %#x, want %#x", p.name, p.final, tag)
					}
					if text := string(m.Append(nil)); strings.ContainsAny(text[12:], "\x01\x02\x03") && strings.Contains(text, "\x01\x01\x01\x01") {
						t.Errorf("%s: holes are left", p.name)
					}
				}
			}
		}
	}
	parts, err := r.parts(Search)
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Decode(parts[0].patterns[0].append(nil, idTop, &numbers{holePerson: 12345}))
	if err != nil {
		t.Fatal(err)
	}
	if f := m.Op.(*ldap.SearchRequest).Filter.String(); f != "(uid=u0012345)" {
		t.Errorf("the filter is %s", f)
	}
	if parts, err = r.parts(Bind); err != nil {
		t.Fatal(err)
	}
	if m, err = d.Decode(parts[0].patterns[0].append(nil, idTop, &numbers{holePerson: 7})); err != nil {
		t.Fatal(err)
	}
	if b := m.Op.(*ldap.BindRequest); string(b.Name) != r.Data.Person(7) || string(b.Password) != Password(7) {
		t.Errorf("bind as %s with %s", b.Name, b.Password)
	}
}

// TestKeys: a key is a value and stays one, whatever is in it.
func TestKeys(t *testing.T) {
	r := testRequests()
	r.Filter, r.Keys = "(mail="+PlaceKey+")", []string{"a@example.org", "*)(uid=*"}
	parts, err := r.parts(Search)
	if err != nil {
		t.Fatal(err)
	}
	var d ldap.Decoder
	for i, want := range []string{"(mail=a@example.org)", `(mail=\2a\29\28uid=\2a)`} {
		m, err := d.Decode(parts[0].patterns[i].append(nil, idTop, &numbers{}))
		if err != nil {
			t.Fatal(err)
		}
		if f := m.Op.(*ldap.SearchRequest).Filter.String(); f != want {
			t.Errorf("the filter is %s, want %s", f, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		workload string
		change   func(*Options)
		want     string
	}{
		{"dance", func(*Options) {}, `no workload "dance"`},
		{Search, func(o *Options) { o.Requests.Filter = "(uid=" }, "the filter (uid="},
		{Search, func(o *Options) { o.Requests.Filter = "(uid={k})" }, "file of keys"},
		{Mixed, func(o *Options) { o.Requests.Mix = "search" }, "no part of a mix"},
		{Mixed, func(o *Options) { o.Requests.Mix = "search=0" }, "no part of a mix"},
		{Mixed, func(o *Options) { o.Requests.Mix = "search=1,bind=1" }, "cannot be mixed"},
		{Mixed, func(o *Options) { o.Requests.Mix = "search=1,search=1" }, "twice"},
		{Bind, func(o *Options) { o.Outstanding = 2 }, "only one bind"},
		{Paged, func(o *Options) { o.Outstanding = 2 }, "one request"},
		{Paged, func(o *Options) { o.Requests.PageSize = 0 }, "at least one entry"},
		{Paged, func(o *Options) { o.Requests.Filter = "(uid=u{n})" }, "leave placeholders out"},
		{Search, func(o *Options) { o.Outstanding = MaxOutstanding + 1 }, "outstanding"},
		{Search, func(o *Options) { o.Connections = 0 }, "connection"},
		{Search, func(o *Options) { o.Duration = 0 }, "positive"},
		{Search, func(o *Options) { o.Requests.Data.People = 0 }, "people"},
		{Member, func(o *Options) { o.Requests.Group = strings.Repeat("x", maxRequest) }, "too long"},
	} {
		o := Options{Workload: tt.workload, Requests: testRequests(), Connections: 1, Outstanding: 1, Duration: 1}
		tt.change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want something about %q", tt.workload, err, tt.want)
		}
	}
}
