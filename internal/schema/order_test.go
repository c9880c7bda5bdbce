package schema

import (
	"bytes"
	"cmp"
	"math/big"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func orderKey(t *rapid.T, rule, value string) []byte {
	s := Default()
	key, err := s.MatchingRule([]byte(rule)).ValueKey(s, nil, []byte(value))
	if err != nil {
		t.Fatalf("%s: %q: %v", rule, value, err)
	}
	return key
}

func TestIntegerOrder(t *testing.T) {
	number := rapid.Custom(func(t *rapid.T) *big.Int {
		digits := rapid.StringMatching(`-?[0-9]{1,5}|-?[1-9][0-9]{10,30}|-?[1-9][0-9]{120,140}`).Draw(t, "digits")
		n, _ := new(big.Int).SetString(digits, 10)
		return n
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		ka, kb := orderKey(t, "integerOrderingMatch", a.String()), orderKey(t, "integerOrderingMatch", b.String())
		if got, want := bytes.Compare(ka, kb), a.Cmp(b); got != want {
			t.Fatalf("%s and %s: keys %x and %x compare as %d, want %d", a, b, ka, kb, got, want)
		}
	})
}

func TestTimeOrder(t *testing.T) {
	stamp := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(minInstant+86400, maxInstant-86400).Draw(t, "s"), rapid.SampledFrom([]int64{0, 1, 500_000_000, 999_999_999, 100}).Draw(t, "ns")).UTC()
	})
	rapid.Check(t, func(t *rapid.T) {
		a := stamp.Draw(t, "a")
		b := stamp.Draw(t, "b")
		if rapid.Bool().Draw(t, "near") {
			b = a.Add(time.Duration(rapid.Int64Range(-2e9, 2e9).Draw(t, "by")))
		}
		east := time.FixedZone("", rapid.IntRange(-14*60, 14*60).Draw(t, "zone")*60)
		ta, tb := string(AppendGeneralizedTime(nil, a)), b.In(east).Format("20060102150405.000000000-0700")
		ka, kb := orderKey(t, "generalizedTimeOrderingMatch", ta), orderKey(t, "generalizedTimeOrderingMatch", tb)
		if got, want := bytes.Compare(ka, kb), a.Compare(b); got != want {
			t.Fatalf("%s and %s: keys %x and %x compare as %d, want %d", ta, tb, ka, kb, got, want)
		}
		if same := bytes.Equal(orderKey(t, "generalizedTimeMatch", ta), orderKey(t, "generalizedTimeMatch", tb)); same != a.Equal(b) {
			t.Fatalf("%s and %s are equal: %v", ta, tb, same)
		}
		back, err := ParseGeneralizedTime([]byte(tb))
		if err != nil || !back.Equal(b) {
			t.Fatalf("%s is %s, %v; want %s", tb, back, err, b)
		}
	})
}

// Where an equality rule says that an ordering rule makes its keys, it does.
func TestOrderedKeys(t *testing.T) {
	s, pairs := Default(), 0
	values := []string{"Ab  c", " Straße", "12 34", "\x00\x01\xff", "597ae2f6-16a6-1027-98f4-d28b5365dc14",
		"20260131120000.000001Z#00000A#0fF#000000", strings.Repeat("long ", 100)}
	for _, r := range s.MatchingRules() {
		if r.Ordered == nil {
			continue
		}
		pairs++
		if r.Kind != EqualityRule || r.Ordered.Kind != OrderingRule || r.Ordered.Syntax != r.Syntax {
			t.Errorf("%s and %s are no pair", r.Name(), r.Ordered.Name())
		}
		taken := 0
		for _, v := range values {
			want, err := r.ValueKey(s, nil, []byte(v))
			if err != nil {
				continue
			}
			taken++
			for _, key := range []keyFunc{r.AssertionKey, r.Ordered.ValueKey, r.Ordered.AssertionKey} {
				if got, err := key(s, nil, []byte(v)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %s: the key of %q is %q or %q (%v)", r.Name(), r.Ordered.Name(), v, want, got, err)
				}
			}
		}
		if taken == 0 {
			t.Errorf("%s takes none of the values of this test", r.Name())
		}
	}
	if pairs != len(sameKeys) {
		t.Errorf("%d pairs, want %d", pairs, len(sameKeys))
	}
}

func TestParseGeneralizedTime(t *testing.T) {
	for in, want := range map[string]string{
		"199412161032Z":                     "1994-12-16T10:32:00Z",
		"199412160532-0500":                 "1994-12-16T10:32:00Z",
		"2024022912.25Z":                    "2024-02-29T12:15:00Z",
		"202402291200.5+0130":               "2024-02-29T10:30:30Z",
		"20240229120000.123456789987Z":      "2024-02-29T12:00:00.123456789Z",
		"20161231235960Z":                   "2017-01-01T00:00:00Z",
		"00000101000000Z":                   "0000-01-01T00:00:00Z",
		"99991231235959Z":                   "9999-12-31T23:59:59Z",
		"2024022912,333333333333333333333Z": "2024-02-29T12:19:59.999999999Z",
		"19000228235959-2359":               "1900-03-01T23:58:59Z",
	} {
		got, err := ParseGeneralizedTime([]byte(in))
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %s, %v; want %s", in, got.Format(time.RFC3339Nano), err, want)
		}
	}
	for in, want := range map[time.Time]string{
		time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC):                 "20240229120000Z",
		time.Date(2024, 2, 29, 12, 0, 0, 120_000_000, time.UTC):       "20240229120000.12Z",
		time.Date(2024, 2, 29, 12, 0, 0, 0, time.FixedZone("", 3600)): "20240229110000Z",
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC):                  "99991231235959.999999999Z",
		time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC):                     "00000101000000Z",
		time.Date(2024, 2, 29, 12, 0, 0, 1, time.UTC):                 "20240229120000.000000001Z",
	} {
		if got := string(AppendGeneralizedTime([]byte("x"), in)); got != "x"+want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestTextOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.StringMatching(`[a-z]{0,3} [a-z]{1,3}`).Draw(t, "a"), rapid.StringMatching(`[a-z]{0,3} [a-z]{1,3}`).Draw(t, "b")
		want := cmp.Compare(strings.TrimSpace(a), strings.TrimSpace(b))
		if got := bytes.Compare(orderKey(t, "caseIgnoreOrderingMatch", strings.ToUpper(a)), orderKey(t, "caseIgnoreOrderingMatch", b)); got != want {
			t.Fatalf("%q and %q compare as %d, want %d", a, b, got, want)
		}
	})
}
