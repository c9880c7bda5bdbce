package control

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// row is an entry of a sort: the key of each column, nil where it has no value.
type row [][]byte

// TestSortKeysCompareAsRows holds the octets of sort keys to a comparison column by column.
func TestSortKeysCompareAsRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		reverse := rapid.SliceOfN(rapid.Bool(), 1, 4).Draw(t, "reverse")
		column := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 0, 4))
		draw := func(name string) row {
			return rapid.SliceOfN(column, len(reverse), len(reverse)).Draw(t, name)
		}
		a, b := draw("a"), draw("b")
		encode := func(r row) (out []byte) {
			for i, v := range r {
				if v == nil {
					out = appendNull(out, reverse[i])
				} else {
					out = appendComponent(out, v, reverse[i])
				}
			}
			return out
		}
		want := 0
		for i := range reverse {
			c := 0
			switch {
			case a[i] == nil && b[i] == nil:
			case a[i] == nil:
				c = 1
			case b[i] == nil:
				c = -1
			default:
				c = bytes.Compare(a[i], b[i])
			}
			if reverse[i] {
				c = -c
			}
			if c != 0 {
				want = c
				break
			}
		}
		if got := bytes.Compare(encode(a), encode(b)); got != want {
			t.Fatalf("%x and %x, reverse %v: %d, want %d", a, b, reverse, got, want)
		}
	})
}

// someSchema is a Reader that knows the shipped schema and nothing else.
type someSchema struct {
	op.Snapshot
	schema *schema.Schema
}

func (s someSchema) Schema() *schema.Schema { return s.schema }
func (s someSchema) Close()                 {}
func (s someSchema) Seq() uint64            { return 1 }

// someDirectory is a Directory that can be asked for its schema.
type someDirectory struct {
	op.Directory
	view someSchema
}

func (d someDirectory) View() op.Snapshot         { return d.view }
func (d someDirectory) Reloaded() <-chan struct{} { return nil }

func ports(t testing.TB, memory int64) *op.Ports {
	t.Helper()
	s, err := schema.Load(schema.ShippedVariant(schema.RFC2307bis)...)
	if err != nil {
		t.Fatal(err)
	}
	return &op.Ports{Memory: op.NewMemory(memory), Directory: someDirectory{view: someSchema{schema: s}}}
}

// engine stands for the search of an engine over values of the first sort key: it gathers, picks and sends.
func engine(req *op.Request, p *op.Ports, values []string, sent *[]string) func(context.Context) error {
	return func(context.Context) error {
		plan := &req.Search
		*sent = nil
		req.Trace.Entries = 0
		if plan.Order == nil {
			*sent, req.Trace.Entries = values, len(values)
			return nil
		}
		type pair struct {
			key   []byte
			value string
		}
		var all []pair
		for _, v := range values {
			key, err := plan.Order(nil, op.Candidate{Reader: p.Directory.View(), Values: func(_ schema.Description, f func([]byte) bool) error {
				for _, one := range bytes.Split([]byte(v), []byte("|")) {
					f(one)
				}
				return nil
			}})
			if err != nil {
				return err
			}
			all = append(all, pair{key, v})
		}
		slices.SortStableFunc(all, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
		for _, x := range all {
			*sent = append(*sent, x.value)
		}
		req.Trace.Entries = len(all)
		return nil
	}
}

func sortBy(p *op.Ports, most int, critical bool, values []string) (sent []string, result string, err error) {
	c := ldap.Control{OID: []byte(SortOID), Critical: critical, Value: seq(seq(str("cn"))), HasValue: true}
	req := &op.Request{Conn: &op.Conn{}, Op: &ldap.SearchRequest{}, Controls: []ldap.Control{c}}
	s := Sort(most, p)
	value, err := s.Parse(c)
	if err != nil {
		return nil, "", err
	}
	err = s.Around(context.Background(), req, value, engine(req, p, values, &sent))
	for _, r := range req.Reply.Controls {
		result += string(r.Value)
	}
	return sent, result, err
}

func TestSortIsBoundedInEntries(t *testing.T) {
	p := ports(t, 1<<20)
	values := []string{"c", "a|z", "b"}
	sorted, result, err := sortBy(p, 3, true, values)
	if err != nil || !slices.Equal(sorted, []string{"a|z", "b", "c"}) || result != string(seq([]byte{10, 1, 0})) {
		t.Fatalf("%q, %x, %v", sorted, result, err)
	}
	// One more than are sorted: not critical, they come as they are; critical, they do not come.
	sent, result, err := sortBy(p, 2, false, values)
	if err != nil || !slices.Equal(sent, values) || result != string(seq([]byte{10, 1, 11})) {
		t.Fatalf("%q, %x, %v", sent, result, err)
	}
	_, result, err = sortBy(p, 2, true, values)
	if ldap.CodeOf(err) != ldap.UnavailableCriticalExtension || result != string(seq([]byte{10, 1, 11})) {
		t.Fatalf("%x, %v", result, err)
	}
}

func TestSortIsBoundedInMemory(t *testing.T) {
	p := ports(t, 100<<10)
	long := string(bytes.Repeat([]byte("x"), 60<<10))
	values := []string{long + "3", long + "2", long + "1"}
	sent, result, err := sortBy(p, 10, false, values)
	if err != nil || !slices.Equal(sent, values) || result != string(seq([]byte{10, 1, 51})) {
		t.Fatalf("%d sent, %x, %v", len(sent), result, err)
	}
	// What the sort had taken is given back.
	if h := p.Memory.Hold(100 << 10); h == nil {
		t.Fatal("memory was not given back")
	} else {
		h.Release()
	}
	if sent, _, err := sortBy(p, 10, true, values[:1]); err != nil || len(sent) != 1 {
		t.Fatal(err)
	}
}
