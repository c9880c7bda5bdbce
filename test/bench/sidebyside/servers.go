package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"portolan/internal/app"
)

// Names of the servers, as they stand in the tables.
const (
	portolan = "Portolan"
	slapd    = "slapd"
	// logging is slapd that writes what it does into a file, as Portolan does: the log level stats.
	logging  = "slapd with its log"
	bareloop = "bare loop"
)

// indexed are attributes that both servers index: Portolan's built-in indexes.
var (
	indexedAll      = []string{"uid", "cn", "sn", "givenName", "mail"} // equality, presence, substring
	indexedEquality = []string{"member", "uniqueMember", "memberUid", "uidNumber", "gidNumber", "owner", "manager", "seeAlso", "memberURL"}
	indexedOnlyEq   = []string{"objectClass", "entryUUID", "entryCSN"}
)

// program returns the path of one of the programs that run.sh has built.
func program(name string) (string, error) { return filepath.Abs(filepath.Join("bin", name)) }

// preparePortolan writes a configuration in dir: the defaults, but for what the measuring itself needs.
func (w *work) preparePortolan(dir, plain, secure string) error {
	made, err := app.MakeCertificates(dir, time.Now())
	if err != nil {
		return err
	}
	w.ca = made.CA
	text := fmt.Sprintf(`data_dir = "data"
[directory]
suffix = %q
[[listen]]
url = "ldap://%s"
[[listen]]
url = "ldaps://%s"
[tls]
cert_file = %q
key_file = %q
[log]
file = "portolan.log"
[log.access]
file = "access.log"
[limits]
max_connections_per_address = 0   # all clients of a benchmark come from one address
[[limits.for]]
who = "dn:%s"                     # reads everything in one search
size_limit = 0
time_limit = "0"
max_examined = 0
`, w.data.Base, plain, secure, made.Cert, made.Key, w.data.Reader())
	return os.WriteFile(filepath.Join(dir, "portolan.toml"), []byte(text), 0o600)
}

// startPortolan starts the server on what was loaded in dir.
func (w *work) startPortolan(ctx context.Context, dir, plain string) (*process, error) {
	binary, err := program("portolan")
	if err != nil {
		return nil, err
	}
	return launch(ctx, "portolan", dir, plain, binary, "serve", "--config", filepath.Join(dir, "portolan.toml"))
}

// Where Debian has what slapd needs; other systems differ, and slapd's lines are then missing.
const (
	slapdSchema  = "/etc/ldap/schema"
	slapdModules = "/usr/lib/ldap"
)

func slapdVersion() (string, error) {
	path, err := slapdProgram("slapd")
	if err != nil {
		return "", err
	}
	out, _ := exec.Command(path, "-VV").CombinedOutput() // it ends with 1 when it has told its version
	for _, word := range strings.Fields(string(out)) {
		if len(word) > 2 && word[0] >= '0' && word[0] <= '9' && strings.Contains(word, ".") {
			return word, nil
		}
	}
	return "", errors.New("slapd does not tell its version")
}

// slapdProgram finds programs that are in sbin, which is not in everybody's path.
func slapdProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not installed", name)
	}
	return path, nil
}

// prepareSlapd writes a configuration with the same indexes and rights as Portolan has, and nothing that would make slapd
// slower: no log, as many threads for loading as there are CPUs, a large map. Writes are synced, which is its default.
func (w *work) prepareSlapd(dir string) error {
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf(`include %[1]s/core.schema
include %[1]s/cosine.schema
include %[1]s/nis.schema
include %[1]s/inetorgperson.schema
include %[1]s/dyngroup.schema
modulepath %[2]s
moduleload back_mdb
loglevel 0
tool-threads %[3]d
pidfile %[4]s/slapd.pid
database mdb
suffix %[5]q
directory %[4]s/db
maxsize 68719476736
index %[6]s eq,pres,sub
index %[7]s eq,pres
index %[8]s eq
limits dn.exact=%[9]q size=unlimited time=unlimited
access to attrs=userPassword by self =w by anonymous auth by group.exact=%[10]q =w by * none
access to * by group.exact=%[10]q write by users read by * none
`, slapdSchema, slapdModules, max(1, runtime.NumCPU()), dir, w.data.Base,
		strings.Join(indexedAll, ","), strings.Join(indexedEquality, ","), strings.Join(indexedOnlyEq, ","), w.data.Reader(), w.data.Admins())
	return os.WriteFile(filepath.Join(dir, "slapd.conf"), []byte(text), 0o600)
}

func (w *work) startSlapd(ctx context.Context, dir, address, log string) (*process, error) {
	path, err := slapdProgram("slapd")
	if err != nil {
		return nil, err
	}
	return launch(ctx, "slapd-"+log, dir, address, path, "-f", filepath.Join(dir, "slapd.conf"), "-h", "ldap://"+address, "-d", log)
}

func (w *work) startBareLoop(ctx context.Context, address string) (*process, error) {
	binary, err := program("bareloop")
	if err != nil {
		return nil, err
	}
	return launch(ctx, "bareloop", w.dir, address, binary, "-listen", address, w.ldif)
}

// startDemo starts the example directory and returns it when both of its ports are open.
func (w *work) startDemo(ctx context.Context) (*process, error) {
	binary, err := program("portolan")
	if err != nil {
		return nil, err
	}
	plain, err := freeAddress()
	if err != nil {
		return nil, err
	}
	secure, err := freeAddress()
	if err != nil {
		return nil, err
	}
	port := func(address string) string {
		_, p, _ := net.SplitHostPort(address)
		return p
	}
	return launch(ctx, "demo", w.dir, plain, binary, "demo", "--dir", filepath.Join(w.dir, "demo"), "--ldap-port", port(plain), "--ldaps-port", port(secure))
}
