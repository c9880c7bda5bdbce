package app

import "testing"

func TestEntryCacheSize(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, c := range []struct {
		configured int64
		available  uint64
		want       int64
	}{
		{0, 0, 128 * mib},
		{0, 512 * mib, 128 * mib},
		{0, 4 * gib, 256 * mib},
		{0, 16 * gib, 1 * gib},
		{0, 512 * gib, 1 * gib},
		{0, 1<<63 - 1, 1 * gib}, // a control group without a limit
		{8 * mib, 16 * gib, 8 * mib},
		{4 * gib, 16 * gib, 4 * gib},
	} {
		if got := entryCache(c.configured, c.available); got != c.want {
			t.Errorf("%d configured, %d available: %d octets, want %d", c.configured, c.available, got, c.want)
		}
	}
	if availableMemory() == 0 {
		t.Error("the memory of this machine is not known")
	}
}
