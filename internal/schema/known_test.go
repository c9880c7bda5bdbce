package schema

import (
	"reflect"
	"testing"
)

// checkKnown reports the fields of Known that the schema leaves nil.
func checkKnown(t *testing.T, s *Schema) {
	t.Helper()
	v := reflect.ValueOf(s.Known)
	for i := range v.NumField() {
		if v.Field(i).IsNil() {
			t.Errorf("nothing defines %s", v.Type().Field(i).Name)
		}
	}
}
