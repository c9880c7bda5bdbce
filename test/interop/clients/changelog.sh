#!/usr/bin/env bash
# Readers of change logs: ldapsearch, and Net::LDAP by number. They ask a server of their own: the example has no change log.
# needs: ldap-utils libnet-ldap-perl
set -euo pipefail
pids=()
trap '[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true' EXIT
w=$WORK/changelog
mkdir -p "$w/data"
port=$(test/interop/port)
echo secret-of-admin >"$w/password"
chmod 600 "$w/password"
cat >"$w/portolan.toml" <<EOF
data_dir = "$w/data"
[directory]
suffix = "dc=example,dc=org"
admin_dn = "cn=admin,dc=example,dc=org"
admin_password_file = "$w/password"
[[listen]]
url = "ldap://127.0.0.1:$port"
[overlay.accesslog]
changelog = "cn=changelog"
accesslog = "cn=accesslog"
EOF
./bin/portolan serve --config "$w/portolan.toml" >"$w/out" 2>"$w/err" </dev/null &
pids+=($!)
wait_for() { # wait_for command...
	local end=$((SECONDS + 180))
	while [ $SECONDS -lt $end ]; do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	echo "in vain: $*"
	cat "$w/err"
	return 1
}
wait_for grep '^portolan: ready' "$w/err"
auth=(-x -D cn=admin,dc=example,dc=org -w secret-of-admin)
here=(-H "ldap://127.0.0.1:$port" "${auth[@]}")
ldapadd "${here[@]}" >/dev/null <<EOF
dn: dc=example,dc=org
objectClass: organization
objectClass: dcObject
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: cn=one,ou=people,dc=example,dc=org
objectClass: person
cn: one
sn: One
EOF
is() { [ "$1" = "$2" ] || { echo "got <$1>, want <$2>"; exit 1; }; }
root() { ldapsearch -LLL "${here[@]}" -b '' -s base "$1" | sed -n "s/^$1: //p"; }
is "$(root changelog)" cn=changelog
is "$(root firstChangeNumber)-$(root lastChangeNumber)" 1-3
is "$(ldapsearch -LLL "${here[@]}" -b cn=changelog '(changeNumber>=3)' targetDN | sed -n 's/^targetDN: //p')" cn=one,ou=people,dc=example,dc=org
is "$(ldapsearch -LLL "${here[@]}" -b cn=accesslog '(&(objectClass=auditWriteObject)(reqResult=0))' reqDN | grep -c '^reqDN: ')" 3
is "$(ldapsearch -LLL "${here[@]}" -b cn=changelog -s one -E '!sss=-changeNumber' -E pr=2/noprompt '(objectClass=*)' changeNumber | sed -n 's/^changeNumber: //p' | tr '\n' ' ')" "3 2 1 "

# Net::LDAP, as a script that is run every now and then.
cat >"$w/reader.pl" <<'EOF'
use strict;
use warnings;
use Net::LDAP;
use Net::LDAP::LDIF;
my ($port, $next) = @ARGV;
my $c = Net::LDAP->new("ldap://127.0.0.1:$port") or die $@;
my $b = $c->bind('cn=admin,dc=example,dc=org', password => 'secret-of-admin');
die $b->error if $b->code;
my $m = $c->search(base => 'cn=changelog', scope => 'one', filter => "(changeNumber>=$next)");
die $m->error if $m->code;
for my $e ($m->entries) {
	my $type = $e->get_value('changeType');
	print $e->get_value('changeNumber'), " $type ", $e->get_value('targetDN');
	if ($type eq 'modify') {
		my $text = 'dn: ' . $e->get_value('targetDN') . "\nchangetype: modify\n" . $e->get_value('changes') . "\n";
		open my $fh, '<', \$text;
		my $entry = Net::LDAP::LDIF->new($fh, 'r', onerror => 'die')->read_entry;
		my @changes = $entry->changes;
		print ' ', join ' ', map { $_ eq 'ARRAY' ? '' : ref $_ ? $_->[0] . '=' . join '|', @{$_->[1]} : $_ } @changes;
	}
	print "\n";
}
EOF
ldapmodify "${here[@]}" >/dev/null <<EOF
dn: cn=one,ou=people,dc=example,dc=org
changetype: modify
add: description
description: first
EOF
# modifyTimestamp may be among the changes, or be that of the same second.
[[ "$(perl "$w/reader.pl" "$port" 4)" == "4 modify cn=one,ou=people,dc=example,dc=org"*" add description=first" ]]
