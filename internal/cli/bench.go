package cli

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portolan/internal/bench"
)

// benchPasswordEnv is where bench takes the password of --bind-dn from when there is no --password-file.
const benchPasswordEnv = "PORTOLAN_BENCH_PASSWORD" // #nosec G101 -- the name of a variable

// defaultPeople is the size of the data set where nothing else is said.
const defaultPeople = 100_000

// benchFlags is the command line of bench as it came.
type benchFlags struct {
	o      bench.Options
	rounds int
	json   bool

	bindDN, passwordFile, ca, keys, users string
	anonymous                             bool
	makeLDIF                              int
}

func newBench(p *program) *cobra.Command {
	var f benchFlags
	var workloads strings.Builder
	for _, w := range bench.Workloads() {
		fmt.Fprintf(&workloads, "  %-10s %s\n", w[0], w[1])
	}
	c := &cobra.Command{
		Use:   "bench URL... | bench --make-ldif N",
		Short: "Measure how fast LDAP servers answer",
		Long: "Bench sends load to an LDAP server, checks every answer, and prints throughput and latency. Several servers are measured in " +
			"turn, in as many rounds as --rounds says, and compared by the medians. It ends with exit code 1 when any answer was not " +
			"what it should be.\n\n" +
			"The load is a closed loop: each connection sends its next request when an answer has come. Workloads:\n\n" + workloads.String() + "\n" +
			"By default they fit the data set that --make-ldif writes to standard output, and bind as its accounts. For a directory of " +
			"your own name --base, --bind-dn and --filter or --dn; " + bench.PlacePerson + " in them is a number below --people with seven digits, " +
			bench.PlaceKey + " a line of the file of --keys. The password comes from --password-file or $" + benchPasswordEnv + ".\n\n" +
			"modify, add, member and mixed change the directory: leave them to directories made for it.",
		Example: "  portolan bench --make-ldif 100000 > people.ldif\n" +
			"  portolan bench --workload search --connections 16 ldap://127.0.0.1:3389 ldap://127.0.0.1:1389\n" +
			"  portolan bench --filter '(mail=" + bench.PlaceKey + ")' --keys mails.txt --base dc=example,dc=com --bind-dn cn=app,dc=example,dc=com ldaps://ldap.example.com",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, urls []string) error {
			switch making := cmd.Flags().Changed("make-ldif"); {
			case making && len(urls) > 0:
				return failure(exitMisused, errors.New("--make-ldif writes a file and asks no server: leave the URL out"))
			case making:
				return p.makeLDIF(&f)
			case len(urls) == 0:
				return failure(exitMisused, errors.New("name the server: portolan bench ldap://HOST:PORT"))
			}
			if !cmd.Flags().Changed("rounds") && len(urls) > 1 {
				f.rounds = 3
			}
			if f.o.Count > 0 && !cmd.Flags().Changed("duration") {
				f.o.Duration = time.Hour
			}
			if !cmd.Flags().Changed("entries") {
				f.o.Requests.Entries = -1
			}
			return p.bench(cmd.Context(), &f, urls)
		},
	}
	fl := c.Flags()
	r, d := &f.o.Requests, &f.o.Requests.Data
	fl.SortFlags = false
	fl.StringVar(&f.o.Workload, "workload", bench.Search, "what is asked")
	fl.IntVar(&f.o.Connections, "connections", 16, "connections open at the same time")
	fl.IntVar(&f.o.Outstanding, "outstanding", 1, "requests outstanding on each connection")
	fl.DurationVar(&f.o.Duration, "duration", 5*time.Second, "how long is measured")
	fl.Int64Var(&f.o.Count, "count", 0, "measure this `many` requests instead")
	fl.DurationVar(&f.o.Warmup, "warmup", time.Second, "load before anything is counted")
	fl.IntVar(&f.rounds, "rounds", 1, "`times` that each server is measured (default 3 with several servers)")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	fl.StringVar(&d.Base, "base", bench.DefaultBase, "the `DN` that everything is beneath")
	fl.StringVar(&f.bindDN, "bind-dn", "", "bind as this `DN` (default an account of the data set)")
	fl.StringVar(&f.passwordFile, "password-file", "", "a `file` whose first line is the password")
	fl.BoolVar(&f.anonymous, "anonymous", false, "do not bind")
	fl.BoolVar(&f.o.Client.StartTLS, "starttls", false, "upgrade ldap connections with StartTLS")
	fl.StringVar(&f.ca, "ca", "", "a `file` with the authorities of the server's certificate (default the system's)")
	fl.StringVar(&r.Filter, "filter", "", "search with this `filter` beneath --base")
	fl.StringVar(&r.Base, "dn", "", "begin searches at this `DN`, and read it with the workload base")
	fl.StringSliceVar(&r.Attributes, "attributes", nil, "ask for these `attributes` (default all that users see)")
	fl.IntVar(&r.Entries, "entries", 0, "entries that an answer must have, with --filter or --dn (default any number)")
	fl.StringVar(&f.keys, "keys", "", "a `file` with a value for "+bench.PlaceKey+" on each line")
	fl.StringVar(&f.users, "users", "", "a `file` with a DN, a tab and a password on each line: who binds with the workloads bind and connect")
	fl.IntVar(&r.PageSize, "page-size", 1000, "entries of a page, with the workload paged")
	fl.StringVar(&r.Group, "group", "", "the `DN` of the group of the workload member")
	fl.StringVar(&r.Mix, "mix", bench.DefaultMix, "shares of the workload mixed")
	fl.BoolVar(&f.o.Keep, "keep", false, "leave what was added")
	fl.DurationVar(&f.o.Hold, "hold", 0, "keep the connections open for this long at the end")
	fl.IntVar(&f.o.Threads, "threads", 0, "threads of the load generator (default one for each CPU)")
	fl.IntVar(&d.People, "people", defaultPeople, "people in the data set")
	fl.IntVar(&f.makeLDIF, "make-ldif", 0, "write a data set of this `many` people as LDIF to standard output")
	fl.IntVar(&d.Groups, "groups", 0, "groups of ten members in the data set (default one for a hundred people, at most a thousand)")
	fl.IntVar(&d.PosixGroups, "posix-groups", 0, "POSIX groups of ten members in the data set")
	fl.IntVar(&d.Members, "members", 0, "members of one big group in the data set, cn=everyone")
	fl.Uint64Var(&f.o.Seed, "seed", 1, "choose other data and other requests")
	return c
}

// makeLDIF writes the data set.
func (p *program) makeLDIF(f *benchFlags) error {
	d := f.o.Requests.Data
	d.People, d.Seed = f.makeLDIF, f.o.Seed
	if d.Groups == 0 {
		d.Groups = min(1000, d.People/100+1)
	}
	if err := d.Validate(); err != nil {
		return failure(exitMisused, err)
	}
	bar := newProgress(p.stderr, "writing", int64(d.People))
	err := d.WriteLDIF(p.stdout, func(n int) { bar.Set(int64(n)) })
	bar.Done()
	return err
}

func (p *program) bench(ctx context.Context, f *benchFlags, urls []string) error {
	if err := f.complete(); err != nil {
		return failure(exitMisused, err)
	}
	f.o.Requests.Run = strconv.FormatInt(time.Now().UnixNano(), 36)
	f.o.Held = func() { fmt.Fprintln(p.stderr, "portolan: holding the connections") }
	if err := f.o.Validate(); err != nil {
		return failure(exitMisused, err)
	}
	if f.rounds < 1 {
		return failure(exitMisused, errors.New("--rounds is at least 1"))
	}
	runs := 0
	bar := newProgress(p.stderr, "measuring", int64(f.rounds*len(urls)))
	c, err := bench.Compare(ctx, f.o, urls, f.rounds, func(int, string) {
		bar.Set(int64(runs))
		runs++
	})
	bar.Done()
	if err != nil {
		return err
	}
	if f.json {
		err = p.printJSON(c)
	} else {
		_, err = io.WriteString(p.stdout, benchTable(c))
	}
	if err == nil && c.Failed() > 0 {
		err = failure(exitFailed, nil)
	}
	return err
}

// complete reads the files that the command line names and fills in what follows from the rest.
func (f *benchFlags) complete() (err error) {
	r := &f.o.Requests
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return fmt.Errorf("the authorities cannot be read: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s has no certificate in PEM form", f.ca)
		}
		f.o.Client.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if f.keys != "" {
		if r.Keys, err = readLines(f.keys); err != nil {
			return err
		}
	}
	if f.users != "" {
		lines, err := readLines(f.users)
		if err != nil {
			return err
		}
		for i, l := range lines {
			dn, password, ok := strings.Cut(l, "\t")
			if !ok || dn == "" || password == "" {
				return fmt.Errorf("%s:%d: there must be a DN, a tab and a password", f.users, i+1)
			}
			r.Users = append(r.Users, bench.User{DN: dn, Password: password})
		}
	}
	f.o.Bind, err = f.account()
	return err
}

// account returns who the connections bind as.
func (f *benchFlags) account() (*bench.User, error) {
	d := &f.o.Requests.Data
	switch {
	case f.anonymous && f.bindDN != "":
		return nil, errors.New("--anonymous and --bind-dn exclude each other: name one")
	case f.anonymous, f.o.Workload == bench.Connect:
		return nil, nil
	case f.bindDN == "" && f.o.Workload == bench.Bind:
		return nil, nil
	case f.bindDN == "" && bench.Changes(f.o.Workload):
		return &bench.User{DN: d.Writer(), Password: bench.ServicePassword}, nil
	case f.bindDN == "":
		return &bench.User{DN: d.Reader(), Password: bench.ServicePassword}, nil
	}
	password := os.Getenv(benchPasswordEnv)
	if f.passwordFile != "" {
		file, err := os.Open(f.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("the password cannot be read: %w", err)
		}
		defer file.Close()
		b, err := readPassword(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.passwordFile, err)
		}
		password = string(b)
	}
	if password == "" {
		return nil, fmt.Errorf("--bind-dn needs a password: name a file with --password-file, or set $%s", benchPasswordEnv)
	}
	return &bench.User{DN: f.bindDN, Password: password}, nil
}

// readLines returns the lines of a file that are not empty.
func readLines(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	defer f.Close()
	var out []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		if s.Text() != "" {
			out = append(out, s.Text())
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", name, err)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	return out, nil
}
