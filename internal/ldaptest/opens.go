package ldaptest

import (
	"testing"

	"portolan/internal/app"
	"portolan/internal/kv/memkv"
	"portolan/internal/store"
)

// Opens returns the error with which a server does not start, where its configuration has more in it; nil where it does.
func Opens(t testing.TB, more string) error {
	t.Helper()
	c, err := configuration(more)
	if err != nil {
		return err
	}
	d, err := app.Open(c, app.OpenOptions{KV: memkv.New(store.Merger()), Version: "test"})
	if err != nil {
		return err
	}
	return d.Close()
}
