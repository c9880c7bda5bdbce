package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"portolan/internal/client"
	"portolan/internal/ldaptest"
	"portolan/ldap"
)

// firstLine returns the first line of a file, or the word itself where there is no such file.
func firstLine(ts *testscript.TestScript, word string) string {
	if _, err := os.Stat(ts.MkAbs(word)); err != nil {
		return word
	}
	line, _, _ := strings.Cut(ts.ReadFile(word), "\n")
	return line
}

// bindAt logs in and compares the result code.
func bindAt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: bind N DN WORD...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var password strings.Builder
	for _, word := range args[2:] {
		password.WriteString(firstLine(ts, word))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, "ldap://127.0.0.1:"+ts.Getenv("PORT"), client.Options{})
	ts.Check(err)
	defer c.Unbind()
	_, err = c.Bind(ctx, args[1], password.String())
	if got := ldap.CodeOf(err); int(got) != want {
		ts.Fatalf("the bind gives %d (%v), want %d", got, err, want)
	}
}

// says sends octets as they stand.
func says(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: says OCTETS TEXT")
	}
	octets, err := strconv.Unquote(`"` + args[0] + `"`)
	ts.Check(err)
	c, err := net.Dial("tcp", "127.0.0.1:"+ts.Getenv("PORT"))
	ts.Check(err)
	defer c.Close()
	ts.Check(c.SetDeadline(time.Now().Add(3 * time.Minute)))
	_, err = c.Write([]byte(octets))
	ts.Check(err)
	answer, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		ts.Fatalf("the connection goes on: %v", err)
	}
	if !strings.Contains(string(answer), args[1]) {
		ts.Fatalf("the answer is %q", answer)
	}
}

func totp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: totp FILE TO [STEPS]")
	}
	steps := int64(0)
	if len(args) > 2 {
		var err error
		steps, err = strconv.ParseInt(args[2], 10, 64)
		ts.Check(err)
	}
	code, err := ldaptest.Code(firstLine(ts, args[0]), time.Now(), steps)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(code+"\n"), 0o600))
}

func part(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: part FILE PATTERN TO")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile(args[0]))
	if len(m) != 2 {
		ts.Fatalf("%s has no %s with one parenthesis", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(m[1]+"\n"), 0o600))
}

func absent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: absent FILE NAME...")
	}
	text := ts.ReadFile(args[0])
	for _, name := range args[1:] {
		if strings.Contains(text, strings.TrimSpace(ts.ReadFile(name))) {
			ts.Fatalf("what stands in %s stands in %s", name, args[0])
		}
	}
}
