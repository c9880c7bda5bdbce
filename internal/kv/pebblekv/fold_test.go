package pebblekv

import (
	"testing"

	"pgregory.net/rapid"

	"portolan/internal/kv/kvtest"
)

// TestFold: however the engine cuts a history into folds, from old to new or from new to old, the outcome is the same.
func TestFold(t *testing.T) {
	key := []byte("k")
	merger := engineMerger(kvtest.Merger{})
	rapid.Check(t, func(r *rapid.T) {
		// A history: operands and, here and there, a value, which stands for all before it. The model folds it in one go.
		var parts [][]byte
		var base []byte
		var ops [][]byte
		for range rapid.IntRange(1, 8).Draw(r, "parts") {
			if rapid.IntRange(0, 3).Draw(r, "is a value") == 0 {
				base, ops = []byte(rapid.StringMatching(`[0-9]{0,2}`).Draw(r, "value")), nil
				parts = append(parts, append([]byte{tagValue}, base...))
				continue
			}
			op := []byte(rapid.StringMatching(`[a-z]{0,2}`).Draw(r, "operand"))
			ops = append(ops, op)
			parts = append(parts, append([]byte{tagOperand}, op...))
		}
		want := string(kvtest.Merger{}.Merge(key, base, ops))

		for len(parts) > 0 {
			lo := rapid.IntRange(0, len(parts)-1).Draw(r, "from")
			hi := rapid.IntRange(lo+1, len(parts)).Draw(r, "to")
			whole := lo == 0 && hi == len(parts)
			run := parts[lo:hi]
			var out []byte
			if rapid.Bool().Draw(r, "from new to old") {
				m, err := merger.Merge(key, run[len(run)-1])
				for i := len(run) - 2; i >= 0 && err == nil; i-- {
					err = m.MergeOlder(run[i])
				}
				if err == nil {
					out, _, err = m.Finish(whole)
				}
				if err != nil {
					r.Fatal(err)
				}
			} else {
				m, err := merger.Merge(key, run[0])
				for i := 1; i < len(run) && err == nil; i++ {
					err = m.MergeNewer(run[i])
				}
				if err == nil {
					out, _, err = m.Finish(whole)
				}
				if err != nil {
					r.Fatal(err)
				}
			}
			if whole {
				if v, err := untag(out); err != nil || string(v) != want {
					r.Fatalf("folded to %q, %v; want %q", v, err, want)
				}
				return
			}
			parts = append(append(append([][]byte{}, parts[:lo]...), out), parts[hi:]...)
		}
	})
}

// TestFoldRefusesDamage: what this package did not write is an error, not a wrong answer.
func TestFoldRefusesDamage(t *testing.T) {
	m, err := engineMerger(kvtest.Merger{}).Merge([]byte("k"), []byte{tagOperand, 'a'})
	if err != nil {
		t.Fatal(err)
	}
	for _, stored := range [][]byte{nil, {}, {2, 'x'}, {'a'}} {
		if m.MergeOlder(stored) == nil {
			t.Errorf("MergeOlder took %q", stored)
		}
		if _, err := untag(stored); err == nil {
			t.Errorf("untag took %q", stored)
		}
	}
	if _, err := untag([]byte{tagOperand, 'a'}); err == nil {
		t.Error("untag took an operand for a value")
	}
	if _, err := engineMerger(nil).Merge([]byte("k"), []byte{tagOperand}); err == nil {
		t.Error("a store without a Merger folded operands")
	}
}
