#!/usr/bin/perl
# Net::LDAP: root DSE, schema, paging, and writes.
# needs: libnet-ldap-perl libio-socket-ssl-perl
use strict;
use warnings;
use Net::LDAP;
use Net::LDAP::Constant qw(LDAP_CONTROL_PAGED LDAP_CONTROL_SORTRESULT);
use Net::LDAP::Control::Paged;
use Net::LDAP::Control::Sort;
use Net::LDAP::Control::SortResult;
use Net::LDAP::Extension::WhoAmI;
use Net::LDAP::Extension::SetPassword;

my $suffix = $ENV{SUFFIX};
sub ok { my ($m, $what) = @_; die "$what: " . $m->error . "\n" if $m->code; return $m }
sub code { my ($m, $want, $what) = @_; die "$what: code " . $m->code . ", want $want\n" if $m->code != $want }

my $c = Net::LDAP->new($ENV{LDAP}) or die $@;
ok($c->start_tls(verify => 'require', cafile => $ENV{LDAPTLS_CACERT}), 'start_tls');
code($c->bind($ENV{ALICE}, password => 'wrong'), 49, 'a wrong password');
ok($c->bind($ENV{ADMIN}, password => $ENV{ADMINPW}), 'bind');
die "who am I\n" unless $c->who_am_i->response eq "dn:$ENV{ADMIN}";
my $root = $c->root_dse;
die "naming contexts\n" unless grep { $_ eq $suffix } $root->get_value('namingContexts');
die "paged results\n" unless $root->supported_control(LDAP_CONTROL_PAGED);
die "schema\n" unless $c->schema->objectclass('inetOrgPerson');

my $page = Net::LDAP::Control::Paged->new(size => 4);
my ($entries, $pages) = (0, 0);
while (1) {
	my $m = ok($c->search(base => $suffix, filter => '(uid=*)', attrs => ['uid'], control => [$page]), 'search');
	$entries += $m->entries;
	$pages++;
	my ($reply) = $m->control(LDAP_CONTROL_PAGED) or die "no response control\n";
	my $cookie = $reply->cookie;
	last unless defined $cookie && length $cookie;
	$page->cookie($cookie);
}
die "$entries entries on $pages pages\n" unless $entries == 13 && $pages == 4;

my $sort = Net::LDAP::Control::Sort->new(order => '-uid', critical => 1);
my $sorted = ok($c->search(base => $suffix, filter => '(uid=*)', attrs => ['uid'], control => [$sort]), 'sort');
my @uids = map { $_->get_value('uid') } $sorted->entries;
die "sorted: @uids\n" unless @uids == 13 && "@uids" eq join(' ', sort { $b cmp $a } @uids);
my ($result) = $sorted->control(LDAP_CONTROL_SORTRESULT) or die "no response to the sort\n";
die 'sort result ' . $result->result . "\n" if $result->result;
my $mail = $c->schema->attribute('mail') or die "mail in the schema\n";
die "sup of inetOrgPerson\n" unless grep { $_ eq 'organizationalPerson' } @{ $c->schema->objectclass('inetOrgPerson')->{sup} };

my $dn = "uid=perl,ou=people,$suffix";
ok($c->add($dn, attrs => [objectClass => 'inetOrgPerson', cn => 'Perl', sn => 'Perl']), 'add');
ok($c->modify($dn, add => { title => 'Camel' }, replace => { sn => 'Larry' }), 'modify');
code($c->compare($dn, attr => 'title', value => 'camel'), 6, 'compare');
code($c->compare($dn, attr => 'mail', value => 'x'), 16, 'compare of what is absent');
ok($c->set_password(user => $dn, newpasswd => 'pw of perl'), 'set_password');
ok($c->moddn($dn, newrdn => 'uid=raku', deleteoldrdn => 1), 'moddn');
ok($c->delete("uid=raku,ou=people,$suffix"), 'delete');
code($c->delete("uid=raku,ou=people,$suffix"), 32, 'delete again');
$c->unbind;
print "ok\n";
