#!/usr/bin/php
<?php
// php-ldap: what web applications do, the way they write it.
// needs: php-cli php-ldap
declare(strict_types=1);
error_reporting(E_ALL & ~E_WARNING); // the functions warn about each result code that is not success

$suffix = getenv('SUFFIX');
$people = "ou=people,$suffix";

function check(bool $true, string $what): void {
    if (!$true) {
        fwrite(STDERR, "$what\n");
        exit(1);
    }
}
function ok($result, string $what) {
    global $c;
    if ($result === false) {
        ldap_get_option($c, LDAP_OPT_DIAGNOSTIC_MESSAGE, $text);
        check(false, "$what: " . ldap_errno($c) . ' ' . ldap_error($c) . ": $text");
    }
    return $result;
}
function code($result, int $want, string $what): void {
    global $c;
    check($result === false && ldap_errno($c) === $want, "$what: code " . ldap_errno($c) . ", want $want");
}
function connect(string $url, bool $tls): LDAP\Connection {
    $c = ldap_connect($url);
    ldap_set_option($c, LDAP_OPT_PROTOCOL_VERSION, 3);
    ldap_set_option($c, LDAP_OPT_REFERRALS, 0);
    check(!$tls || ldap_start_tls($c), 'start_tls: ' . ldap_error($c));
    return $c;
}

$c = connect(getenv('LDAP'), true);
code(ldap_bind($c, getenv('ALICE'), 'wrong'), 49, 'a wrong password');
code(ldap_bind($c, getenv('ALICE'), ''), 53, 'an empty password');
code(ldap_bind($c, "uid=nobody,$people", 'wrong'), 49, 'an unknown user');
ok(ldap_bind($c, getenv('ALICE'), getenv('ALICEPW')), 'bind');
check(ldap_exop_whoami($c) === 'dn:' . getenv('ALICE'), 'who am I');
ok(ldap_bind($c, getenv('ADMIN'), getenv('ADMINPW')), 'bind as somebody else');
check(ldap_exop_whoami($c) === 'dn:' . getenv('ADMIN'), 'who am I as somebody else');

$root = ldap_get_entries($c, ok(ldap_read($c, '', '(objectClass=*)', ['namingContexts', 'subschemaSubentry']), 'root DSE'));
check($root[0]['namingcontexts'][0] === $suffix, 'naming contexts');
$schema = ldap_get_entries($c, ok(ldap_read($c, $root[0]['subschemasubentry'][0], '(objectClass=subschema)', ['objectclasses']), 'schema'));
check(count(preg_grep("/'inetOrgPerson'/", $schema[0]['objectclasses'])) === 1, 'inetOrgPerson in the schema');

[$names, $pages, $cookie] = [[], 0, ''];
do {
    $result = ok(ldap_search($c, $suffix, '(uid=*)', ['uid'], 0, 0, 0, LDAP_DEREF_NEVER, [[
        'oid' => LDAP_CONTROL_PAGEDRESULTS, 'iscritical' => true, 'value' => ['size' => 5, 'cookie' => $cookie],
    ]]), 'search with paging');
    ok(ldap_parse_result($c, $result, $code, $matched, $text, $referrals, $controls), 'parse_result');
    foreach (ldap_get_entries($c, $result) as $entry) {
        if (is_array($entry)) {
            $names[] = $entry['uid'][0];
        }
    }
    $cookie = $controls[LDAP_CONTROL_PAGEDRESULTS]['value']['cookie'];
    $pages++;
} while ($cookie !== '');
check(count(array_unique($names)) === 13 && $pages === 3, count($names) . " names on $pages pages");

$escaped = ldap_escape('*)(uid=*', '', LDAP_ESCAPE_FILTER);
check(ldap_count_entries($c, ok(ldap_search($c, $suffix, "(uid=$escaped)"), 'escaped filter')) === 0, 'an injected filter finds nothing');
$bob = ldap_get_entries($c, ok(ldap_search($c, $suffix, '(sn=Müller)', ['cn', 'mail', 'memberOf']), 'search'));
check($bob['count'] === 1 && $bob[0]['cn'][0] === 'Bob Müller' && $bob[0]['memberof'][0] === "cn=engineers,ou=groups,$suffix", 'Bob');

$dn = "uid=php,$people";
$entry = ['objectClass' => ['inetOrgPerson', 'posixAccount'], 'cn' => 'Php', 'sn' => 'Élephant', 'uidNumber' => '21000', 'gidNumber' => '100', 'homeDirectory' => '/home/php'];
ok(ldap_add($c, $dn, $entry), 'add');
code(ldap_add($c, $dn, $entry), 68, 'add again');
code(ldap_add($c, "uid=x,ou=nowhere,$suffix", $entry), 32, 'add beneath nothing');
ok(ldap_mod_replace($c, $dn, ['sn' => 'Elephant']), 'mod_replace');
ok(ldap_mod_add($c, $dn, ['mail' => ['php@example.org', 'elephant@example.org']]), 'mod_add');
code(ldap_mod_add($c, $dn, ['mail' => 'PHP@example.org']), 20, 'mod_add of a value that is there');
ok(ldap_mod_del($c, $dn, ['mail' => 'elephant@example.org']), 'mod_del');
ok(ldap_modify_batch($c, $dn, [
    ['attrib' => 'title', 'modtype' => LDAP_MODIFY_BATCH_ADD, 'values' => ['Mascot']],
    ['attrib' => 'mail', 'modtype' => LDAP_MODIFY_BATCH_REMOVE_ALL],
]), 'modify_batch');
check(ldap_compare($c, $dn, 'title', 'MASCOT') === true, 'compare true');
check(ldap_compare($c, $dn, 'title', 'Clerk') === false, 'compare false');
check(ldap_compare($c, $dn, 'mail', 'x') === -1 && ldap_errno($c) === 16, 'compare of what is absent');
check(ldap_exop_passwd($c, $dn, '', 'the elephant 7') === true, 'passwd: ' . ldap_error($c));
$generated = ldap_exop_passwd($c, $dn, 'the elephant 7');
check(is_string($generated) && strlen($generated) >= 8, 'a generated password');
$other = connect(getenv('LDAPS'), false);
check(ldap_bind($other, $dn, $generated), 'bind with the generated password: ' . ldap_error($other));
check(!ldap_bind($other, $dn, 'the elephant 7') && ldap_errno($other) === 49, 'the old password is gone');
ok(ldap_rename($c, $dn, 'uid=elephant', "ou=services,$suffix", true), 'rename');
$read = ldap_get_entries($c, ok(ldap_read($c, "uid=elephant,ou=services,$suffix", '(objectClass=*)', ['uid']), 'read'));
check($read[0]['uid']['count'] === 1 && $read[0]['uid'][0] === 'elephant', 'the old RDN is deleted');
ok(ldap_delete($c, "uid=elephant,ou=services,$suffix"), 'delete');
code(ldap_delete($c, "uid=elephant,ou=services,$suffix"), 32, 'delete again');
ldap_unbind($c);
echo "ok\n";
