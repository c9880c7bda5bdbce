// Command portolan is an LDAP directory server with everything that runs it.
package main

import (
	"os"

	"portolan/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
