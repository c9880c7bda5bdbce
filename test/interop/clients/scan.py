#!/usr/bin/python3
# needs: slapd libsasl2-modules iproute2
"""portolan scan against the demo, and, side by side, against slapd with the configuration that Debian's package makes and
a directory that portolan init makes. What it finds must be what the table in docs/security.md says.

The two stand in a network of their own (unshare), on an address that is not loopback: on loopback a server may take
passwords in clear text. Where that is not allowed they stand on loopback, and the row about clear text is another."""
import json
import os
import re
import signal
import subprocess
import sys
import time

PORTOLAN = os.path.abspath("bin/portolan")
WORK = os.path.join(os.environ["WORK"], "scan")
SUFFIX = "dc=example,dc=org"
AFAR = "192.0.2.10"  # RFC 5737: for documentation
running = []


def fail(text):
    print(text)
    sys.exit(1)


# How long answers take is measured, and by chance two kinds that take the same differ once in 20,000 scans. Whoever fails is scanned
# again, with fresh measurements; a server with the defect fails each time, and one without it less than once in 10^12 runs.
TRIES = 3


def scan(url, *options, code):
    """Scan and return the findings by ID; the text goes to the log."""
    command = [PORTOLAN, "scan", url, *options]
    for last in [False] * (TRIES - 1) + [True]:
        text = subprocess.run(command, capture_output=True, text=True)
        print("$ portolan scan", url, *options, "->", text.returncode)
        print(text.stdout + text.stderr)
        out = subprocess.run([*command, "--json"], capture_output=True, text=True)
        wrong = [p for p in (text, out) if p.returncode != code or p.stderr]
        if not wrong:
            return {f["id"]: f for f in json.loads(out.stdout)["findings"]}
        if last:
            fail(f"{url}: exit code {wrong[0].returncode}, want {code}: {wrong[0].stderr}")


def start(command, ready, log):
    """Start a server and wait until ready() says so."""
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running.append(p)
    end = time.monotonic() + 180
    while time.monotonic() < end:
        if p.poll() is not None:
            fail(f"{command[0]} ended: see {log.name}\n" + open(log.name).read())
        if ready():
            return
        time.sleep(0.1)
    fail(f"{command[0]} is not ready after three minutes")


def answers(address, port):
    return subprocess.run(["bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"], stderr=subprocess.DEVNULL).returncode == 0


def slapd(address, port):
    """slapd as Debian's postinst sets it up: its template with suffix, password and places filled in."""
    where = os.path.join(WORK, "slapd")
    os.makedirs(where + "/conf")
    os.makedirs(where + "/data")
    with open("/usr/share/slapd/slapd.init.ldif") as f:
        text = f.read()
    hashed = subprocess.run(["slappasswd", "-s", "admin-secret"], capture_output=True, text=True, check=True).stdout.strip()
    for old, new in (("@SUFFIX@", SUFFIX), ("@PASSWORD@", hashed), ("/var/lib/ldap", where + "/data"), ("/var/run/slapd", where)):
        if old not in text:
            fail(f"Debian's slapd.init.ldif does not hold {old} any more")
        text = text.replace(old, new)
    # A password as it comes over from /etc/shadow.
    crypted = subprocess.run(["openssl", "passwd", "-6", "alice-secret"], capture_output=True, text=True, check=True).stdout.strip()
    data = f"""dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,{SUFFIX}
objectClass: organizationalUnit
ou: people

dn: uid=alice,ou=people,{SUFFIX}
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: Alice
mail: alice@example.org
userPassword: {{CRYPT}}{crypted}
"""
    for name, content, base in (("init", text, "cn=config"), ("data", data, SUFFIX)):
        with open(f"{where}/{name}.ldif", "w") as f:
            f.write(content)
        subprocess.run(["slapadd", "-F", where + "/conf", "-b", base, "-l", f"{where}/{name}.ldif"], check=True)
    start(["slapd", "-F", where + "/conf", "-h", f"ldap://{address}:{port}/", "-d", "0"], lambda: answers(address, port), open(where + "/log", "w"))


def portolan(address, port, secure):
    """A directory that init makes, with one person."""
    where = os.path.join(WORK, "portolan")
    subprocess.run([PORTOLAN, "init", "--suffix", SUFFIX, "--dir", where, "--address", address, "--ldap-port", str(port),
                    "--ldaps-port", str(secure), "--name", address], check=True, stdout=subprocess.DEVNULL)
    with open(where + "/alice.ldif", "w") as f:
        f.write(f"dn: uid=alice,ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: alice\ncn: Alice\nsn: Alice\nuserPassword: alice-secret\n")
    subprocess.run([PORTOLAN, "import", "--config", where + "/portolan.toml", "--add", where + "/alice.ldif"], check=True, stdout=subprocess.DEVNULL)
    log = open(where + "/log", "w")
    start([PORTOLAN, "serve", "--config", where + "/portolan.toml"], lambda: "portolan: ready" in open(log.name).read(), log)
    return where + "/ca.pem"


def table():
    """The rows of docs/security.md: ID, what slapd's severity is, what Portolan's is. "-" is no such finding."""
    rows = {}
    with open("docs/security.md") as f:
        text = f.read().split("### slapd and Portolan, side by side\n")[1]
    for line in text.splitlines():
        row = re.match(r"\| `([a-z-]+)` \| (\w+|-) [^|]*\| (\w+|-) [^|]*\|$", line)
        if row:
            rows[row[1]] = (row[2].lower(), row[3].lower())
    if len(rows) < 20:
        fail(f"docs/security.md has {len(rows)} rows about scans")
    return rows


def compare(name, column, look, afar):
    for _ in range(TRIES):
        found = look()
        wrong = []
        for key, row in table().items():
            want = row[column]
            if key == "clear-text-bind" and not afar:
                want = "info"
            got = found[key]["severity"] if key in found else "-"
            if got != want:
                print(f"{name}: {key} is {got}, docs/security.md says {want}: {found.get(key)}")
                wrong.append(key)
        for key in found:
            if key not in table():
                print(f"{name}: {key} is not in docs/security.md")
                wrong.append(key)
        if not wrong:
            return
        if wrong != ["enumeration-time"]:
            break
    sys.exit(1)


def side_by_side(afar):
    address = "127.0.0.1"
    if afar:
        # On the interface of loopback, so that nothing else is needed; the address is none of loopback's.
        for command in ("link set lo up", f"addr add {AFAR}/32 dev lo"):
            subprocess.run(["ip", *command.split()], check=True)
        address = AFAR
    os.makedirs(WORK)
    ports = []
    for _ in range(3):
        ports.append(subprocess.check_output(["test/interop/port"], text=True).strip())
    user = f"uid=alice,ou=people,{SUFFIX}"
    slapd(address, ports[0])
    compare("slapd", 0, lambda: scan(f"ldap://{address}:{ports[0]}", "--user", user, code=1), afar)
    for _ in range(TRIES):
        active = scan(f"ldap://{address}:{ports[0]}", "--active", code=1)
        if active["guessing"]["severity"] == "warn":
            break
    else:
        fail(f"slapd slows down guesses: {active['guessing']}")
    ca = portolan(address, ports[1], ports[2])
    compare("portolan", 1, lambda: scan(f"ldap://{address}:{ports[1]}", "--ldaps-port", ports[2], "--ca", ca, "--user", user, code=0), afar)
    active = scan(f"ldap://{address}:{ports[1]}", "--ldaps-port", ports[2], "--ca", ca, "--active", code=0)
    if afar and active["guessing"]["severity"] != "ok":
        fail(f"Portolan does not slow down guesses: {active['guessing']}")


def demo():
    """The demo, on loopback."""
    found = scan(os.environ["LDAP"], "--ldaps-port", os.environ["LDAPS"].rsplit(":", 1)[1], "--ca", os.environ["LDAPTLS_CACERT"], code=0)
    for key in ("starttls", "ldaps", "starttls-injection", "tls-versions", "certificate-chain", "unauthenticated-bind", "anonymous-tree", "anonymous-secrets",
                "enumeration-search", "enumeration-answer", "udp-amplification"):
        if found[key]["severity"] != "ok":
            fail(f"demo: {found[key]}")


try:
    if sys.argv[1:]:
        side_by_side(sys.argv[1] == "afar")
    else:
        demo()
        afar = subprocess.run(["unshare", "-n", "true"], stderr=subprocess.DEVNULL).returncode == 0
        inside = ["unshare", "-n"] if afar else []
        sys.stdout.flush()
        sys.exit(subprocess.run([*inside, sys.executable, __file__, "afar" if afar else "near"]).returncode)
finally:
    for p in running:
        p.send_signal(signal.SIGTERM)
    for p in running:
        p.wait()
