package schema

import "testing"

func TestShippedLoads(t *testing.T) {
	for _, v := range []Variant{RFC2307bis, RFC2307} {
		s, err := Load(ShippedVariant(v)...)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.AttributeTypes()) < 100 {
			t.Errorf("variant %d: %d attribute types", v, len(s.AttributeTypes()))
		}
	}
}
