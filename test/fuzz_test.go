// Package test holds the tests of the scripts in this folder.
package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFuzzScript runs fuzz.sh with a go that says what the real one says when targets end.
func TestFuzzScript(t *testing.T) {
	const end = "FAIL\nexit status 1\nFAIL\tportolan/ber\t3.034s\n"
	for _, tc := range []struct {
		name, says string
		status     string
		fails      bool
	}{
		{name: "a target that passes", says: "PASS\nok  \tportolan/ber\t3.1s\n", status: "0"},
		{name: "Go's own race at the end of the time", status: "1",
			says: "fuzz: elapsed: 3s, execs: 997 (0/sec)\n--- FAIL: FuzzX (3.02s)\n    context deadline exceeded\n" + end},
		{name: "an input that fails with such words", status: "1", fails: true,
			says: "--- FAIL: FuzzX (3.02s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:12: context deadline exceeded\n    \n" +
				"    Failing input written to testdata/fuzz/FuzzX/582528dd\n" + end},
		{name: "an input that hangs", status: "1", fails: true,
			says: "--- FAIL: FuzzX (3.02s)\n    context deadline exceeded\n    fuzzing process hung or terminated unexpectedly: exit status 2\n" + end},
		{name: "what cannot be built", status: "1", fails: true, says: "x.go:1:1: syntax error\nFAIL\tportolan/ber [build failed]\n"},
		{name: "a failure without words", status: "1", fails: true, says: "--- FAIL: FuzzX (0.02s)\n" + end},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bin := t.TempDir()
			stub := "#!/bin/sh\ncat <<'END'\n" + tc.says + "END\nexit " + tc.status + "\n"
			if err := os.WriteFile(filepath.Join(bin, "go"), []byte(stub), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("./fuzz.sh", "2s")
			cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if (err != nil) != tc.fails {
				t.Errorf("fuzz.sh ended with %v, want an error: %v\n%s", err, tc.fails, out)
			}
			if all := strings.Contains(string(out), "every fuzz target ran"); all == tc.fails {
				t.Errorf("fuzz.sh says that all targets ran: %v\n%s", all, out)
			}
		})
	}
}
