package ldap

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAsError(t *testing.T) {
	own := Errorf(NoSuchObject, "no %s", "x").Because(errors.New("disk gone"))
	if AsError(nil) != nil || CodeOf(nil) != Success {
		t.Error("nil is an error")
	}
	if got := AsError(fmt.Errorf("around: %w", own)); got != own || CodeOf(got) != NoSuchObject {
		t.Errorf("a wrapped *Error becomes %v", got)
	}
	if got, want := own.Error(), "noSuchObject: no x (disk gone)"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	secret := errors.New("c4nary")
	got := AsError(secret)
	if got.Code != Other || strings.Contains(got.Diagnostic, "c4nary") || !errors.Is(got, secret) {
		t.Errorf("a foreign error becomes %+v: the client must not see it, the log must", got)
	}
	if code := CodeOf(secret); code != Other {
		t.Errorf("CodeOf = %v", code)
	}
}
