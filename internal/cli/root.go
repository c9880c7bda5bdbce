// Package cli is the command line: one file for each command, and what they share in root.go. What a command does lives
// in package app; here are flags, the words that a person reads, and exit codes.
//
// Exit codes are 0 for done, 1 for failed or for findings, 2 for a wrong command line or a wrong configuration. An error
// is one line on standard error that says what is wrong and what to do.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"portolan/internal/config"
)

// Exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitMisused = 2
)

// Environment and place of the configuration where --config is not given.
const (
	configEnv     = "PORTOLAN_CONFIG"
	configDefault = "/etc/portolan/portolan.toml"
)

// program is what all commands are given.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	version        string
	configPath     string
	// release gives signals back to the system: the next one ends the process at once.
	release func()
	// running is set when the command line was understood.
	running bool
}

// Main runs one command line, args without the name of the program, and returns the exit code. An interrupt or SIGTERM
// ends the context of the command.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// Sampled allocations would be kept for nobody: profiles sets another rate where somebody asks for them.
	runtime.MemProfileRate = 0
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, version: Version(), release: release}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !p.running {
		err = failure(exitMisused, misuse(root, args, err))
	}
	return p.report(err)
}

// root returns the whole tree of commands.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "portolan",
		Short: "An LDAP directory server",
		Long: "Portolan is an LDAP directory server (LDAPv3, RFC 4511).\n\n" +
			"Begin with \"portolan demo\" for an example that runs at once, or with \"portolan init\" for a directory of your own.",
		Version:            p.version,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true,
		DisableAutoGenTag:  true,
	}
	root.SetVersionTemplate("portolan {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(
		&cobra.Group{ID: "begin", Title: "To begin:"},
		&cobra.Group{ID: "serve", Title: "To run a server:"},
		&cobra.Group{ID: "data", Title: "To work on its data:"},
		&cobra.Group{ID: "outside", Title: "To look at any LDAP server from outside:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("begin", newDemo(p), newInit(p))
	add("data", p.configured(newImport(p)), p.configured(newExport(p)), p.configured(newBackup(p)), p.configured(newRestore(p)), p.configured(newCheck(p)),
		p.configured(newIndex(p)), p.configured(newPasswd(p)), p.configured(newACL(p)))
	add("data", p.configured(newAppPassword(p)), p.configured(newOTP(p)))
	add("serve", p.configured(newServe(p)), p.configured(newStatus(p)), p.configured(newCheckConfig(p)), p.configured(newPosture(p)), p.configured(newAudit(p)), p.configured(newGuard(p)))
	add("outside", newScan(p), newBench(p))
	add("", newVersion(p), newMan(p), newHashPasswords(p))
	p.watch(root)
	return root
}

// watch notes when a command begins: what was wrong before is wrong with the command line. A command that only holds
// others shows its help, and knows no other words.
func (p *program) watch(c *cobra.Command) {
	switch run := c.RunE; {
	case run != nil:
		c.RunE = func(c *cobra.Command, args []string) error {
			p.running = true
			return run(c, args)
		}
	case c.HasParent():
		c.Args = cobra.NoArgs
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, below := range c.Commands() {
		p.watch(below)
	}
}

// configured gives a command, and those beneath it, the flag --config.
func (p *program) configured(c *cobra.Command) *cobra.Command {
	c.PersistentFlags().StringVar(&p.configPath, "config", "",
		"the configuration `file` (default $"+configEnv+", else "+configDefault+")")
	return c
}

// configFile returns the name of the configuration file.
func (p *program) configFile() string {
	switch {
	case p.configPath != "":
		return p.configPath
	case os.Getenv(configEnv) != "":
		return os.Getenv(configEnv)
	}
	return configDefault
}

// loadConfig reads the configuration. The error makes the exit code 2.
func (p *program) loadConfig() (*config.Config, error) {
	c, err := config.Load(p.configFile(), os.ReadFile)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) && p.configPath == "" && os.Getenv(configEnv) == "" {
			err = fmt.Errorf("there is no configuration at %s: name one with --config, or make one with \"portolan init\"", configDefault)
		}
		return nil, failure(exitMisused, err)
	}
	return c, nil
}

// exitError is an error with the exit code that it makes.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// failure makes the program end with this exit code. Without an error nothing more is printed.
func failure(code int, err error) error { return &exitError{code, err} }

// report prints an error and returns the exit code.
func (p *program) report(err error) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	mistakes := mistakesIn(nil, err)
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		code = exit.code
	case len(mistakes) > 0:
		code = exitMisused
	}
	switch {
	case exit != nil && exit.err == nil:
	case len(mistakes) > 0:
		// Lines of the form file:line:column: stand at the margin, where editors look for them.
		for _, e := range mistakes {
			fmt.Fprintln(p.stderr, line(e))
		}
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(p.stderr, "portolan: interrupted")
	default:
		fmt.Fprintln(p.stderr, "portolan: "+line(err))
	}
	return code
}

// mistakesIn collects the mistakes of a configuration from an error and all that it wraps.
func mistakesIn(list []*config.Error, err error) []*config.Error {
	switch e := err.(type) {
	case *config.Error:
		return append(list, e)
	case interface{ Unwrap() error }:
		return mistakesIn(list, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			list = mistakesIn(list, one)
		}
	}
	return list
}

// line makes one line of an error, also of one that several were joined to.
func line(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// misuse makes one line of a command line that was not understood, with advice.
func misuse(root *cobra.Command, args []string, err error) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	command, rest, findErr := root.Find(args)
	if findErr != nil || command == nil {
		command = root
		if len(args) > 0 {
			rest = args
		}
	}
	if command.HasSubCommands() && len(rest) > 0 {
		command.SuggestionsMinimumDistance = 2
		if near := command.SuggestionsFor(rest[0]); len(near) > 0 {
			return fmt.Errorf("%s: did you mean %q?", text, command.CommandPath()+" "+near[0])
		}
	}
	return fmt.Errorf("%s: see \"%s --help\"", text, command.CommandPath())
}
