#!/usr/bin/php
<?php
// What Nextcloud's user_ldap asks of a directory, with php-ldap as it does, and the settings of docs/recipes/nextcloud.md.
// needs: php-cli php-ldap
declare(strict_types=1);
error_reporting(E_ALL & ~E_WARNING); // the functions warn about each result code that is not success

function check(bool $true, string $what): void {
    if (!$true) {
        fwrite(STDERR, "$what\n");
        exit(1);
    }
}

$config = [];
preg_match('/`nextcloud\.sh`:\n\n```\n(.*?)^```/ms', file_get_contents('docs/recipes/nextcloud.md'), $block);
foreach (explode("\n", trim($block[1])) as $line) {
    check(preg_match('/^occ ldap:set-config s01 (\S+) (.+)$/', $line, $m) === 1, "not a setting: $line");
    $config[$m[1]] = $m[2];
}
check($config['ldapHost'] === 'ldaps://ldap.example.org' && $config['ldapAgentPassword'] === 'THE-PASSWORD', 'the recipe has other blanks to fill in');
$config['ldapHost'] = getenv('LDAPS');
$config['ldapAgentPassword'] = 'a secret of the cloud 7';

function connect(string $dn, string $password): ?LDAP\Connection {
    $c = ldap_connect($GLOBALS['config']['ldapHost']);
    foreach ([LDAP_OPT_PROTOCOL_VERSION => 3, LDAP_OPT_REFERRALS => 0, LDAP_OPT_NETWORK_TIMEOUT => 15] as $option => $value) {
        check(ldap_set_option($c, $option, $value), 'set_option');
    }
    return @ldap_bind($c, $dn, $password) ? $c : null;
}

// An account of its own for the service, made by the administrator.
$admin = connect(getenv('ADMIN'), getenv('ADMINPW'));
@ldap_delete($admin, $config['ldapAgentName']);
check(ldap_add($admin, $config['ldapAgentName'], ['objectClass' => ['applicationProcess', 'simpleSecurityObject'], 'cn' => 'cloud',
    'userPassword' => $config['ldapAgentPassword']]), 'the service account: ' . ldap_error($admin));
register_shutdown_function(fn () => ldap_delete($admin, $config['ldapAgentName']));

$agent = connect($config['ldapAgentName'], $config['ldapAgentPassword']);
check($agent !== null, 'bind as the service');

// Where it looks for the base when none is set.
$root = ldap_get_entries($agent, ldap_read($agent, '', '(objectClass=*)', ['namingContexts', 'supportedControl']));
check($root[0]['namingcontexts'][0] === $config['ldapBase'], 'the base');
check(in_array(LDAP_CONTROL_PAGEDRESULTS, $root[0]['supportedcontrol']), 'paging');

// All lists are read in pages, the control not critical; one of which enough is known is left as it is.
function pages(string $base, string $filter, array $attributes, int $size, int $most = PHP_INT_MAX): array {
    global $agent;
    [$found, $cookie] = [[], ''];
    do {
        $control = [['oid' => LDAP_CONTROL_PAGEDRESULTS, 'iscritical' => false, 'value' => ['size' => $size, 'cookie' => $cookie]]];
        $result = ldap_search($agent, $base, $filter, $attributes, 0, 0, -1, LDAP_DEREF_NEVER, $control);
        check($result !== false && ldap_errno($agent) === 0, "$filter: " . ldap_error($agent));
        for ($e = ldap_first_entry($agent, $result); $e; $e = ldap_next_entry($agent, $e)) {
            $found[ldap_get_dn($agent, $e)] = array_change_key_case(ldap_get_attributes($agent, $e), CASE_LOWER);
        }
        ldap_parse_result($agent, $result, $code, $matched, $text, $referrals, $controls);
        $cookie = $controls[LDAP_CONTROL_PAGEDRESULTS]['value']['cookie'] ?? '';
    } while ($cookie !== '' && count($found) < $most);
    return $found;
}
$people = pages($config['ldapBaseUsers'], $config['ldapUserFilter'], ['dn'], (int)$config['ldapPagingSize']);
check(count($people) === 13, count($people) . ' people');
check(array_keys(pages($config['ldapBaseUsers'], $config['ldapUserFilter'], ['dn'], 4)) == array_keys($people), 'the same in small pages');
check(count(pages($config['ldapBaseUsers'], $config['ldapUserFilter'], ['dn'], 4, 4)) === 4, 'the beginning of the list');

// The login: by name or mail address, then a bind on a connection of its own.
function login(string $name, string $password): ?string {
    global $config;
    $filter = str_replace('%uid', ldap_escape($name, '', LDAP_ESCAPE_FILTER), $config['ldapLoginFilter']);
    $dns = array_keys(pages($config['ldapBaseUsers'], $filter, ['dn', $config['ldapExpertUsernameAttr'], $config['ldapEmailAttribute']], 2));
    if (count($dns) !== 1 || $password === '' || ($own = connect($dns[0], $password)) === null) {
        return null;
    }
    ldap_unbind($own);
    return $dns[0];
}
check(login('alice', getenv('ALICEPW')) === getenv('ALICE'), 'a login by name');
check(login('alice@example.org', getenv('ALICEPW')) === getenv('ALICE'), 'a login by mail address');
foreach ([['alice', 'wrong'], ['alice', ''], ['*', getenv('ALICEPW')], ['alice)(uid=*', getenv('ALICEPW')], ['nobody', 'x']] as [$name, $password]) {
    check(login($name, $password) === null, "$name with \"$password\" logs in");
}

// Attributes are read one by one, unknown ones among them: the id is looked for under the names that servers have for it.
function value(string $dn, string $attribute): ?array {
    global $agent;
    $result = ldap_read($agent, $dn, '(objectClass=*)', [$attribute]);
    check($result !== false, "$attribute: " . ldap_error($agent));
    $entries = ldap_get_entries($agent, $result);
    $values = $entries[0][strtolower($attribute)] ?? null;
    unset($values['count']);
    return $values;
}
$uuids = array_filter(['entryuuid', 'nsuniqueid', 'objectguid', 'guid', 'ipauniqueid'], fn ($a) => value(getenv('ALICE'), $a) !== null);
check($uuids === ['entryuuid'], 'the attribute with the id: ' . implode(' ', $uuids));
$uuid = value(getenv('ALICE'), $config['ldapExpertUUIDUserAttr'])[0];
check(array_keys(pages($config['ldapBaseUsers'], "({$config['ldapExpertUUIDUserAttr']}=$uuid)", ['dn'], 2)) === [getenv('ALICE')], 'who has this id');
check(value(getenv('ALICE'), $config['ldapUserDisplayName'])[0] === 'Alice Archer' && value(getenv('ALICE'), 'jpegPhoto') === null, 'what is shown');

// Groups: by memberOf and on to the groups of groups, or by a search for the member.
function groups(string $dn): array {
    [$all, $todo] = [[], [$dn]];
    while ($todo !== []) {
        foreach (value(array_shift($todo), 'memberOf') ?? [] as $group) {
            if (!isset($all[$group])) {
                $all[$group] = true;
                $todo[] = $group;
            }
        }
    }
    return array_keys($all);
}
$frank = 'uid=frank,' . $config['ldapBaseUsers'];
$want = array_map(fn ($cn) => "cn=$cn,{$config['ldapBaseGroups']}", ['editors', 'nested', 'staff']);
$got = groups($frank);
sort($got);
check($got === $want, 'groups of frank: ' . implode(' ', $got));
$member = ldap_escape($frank, '', LDAP_ESCAPE_FILTER);
$direct = pages($config['ldapBaseGroups'], "(&{$config['ldapGroupFilter']}({$config['ldapGroupMemberAssocAttr']}=$member))", ['cn', 'dn'], 500);
check(array_keys($direct) === ["cn=editors,{$config['ldapBaseGroups']}"], 'groups that have frank as a member');
check(count(value("cn=engineers,{$config['ldapBaseGroups']}", $config['ldapGroupMemberAssocAttr'])) === 5, 'members of a group');

// turnOnPasswordChange: as the user himself, by the extended operation, or by a modify where that is not there.
$mallory = 'uid=mallory,' . $config['ldapBaseUsers'];
check(preg_match('/^' . preg_quote($mallory, '/') . '\t(.*)$/m', file_get_contents(getenv('PASSWORDS')), $m) === 1, 'a password');
$own = connect($mallory, $m[1]);
check(ldap_exop_passwd($own, $mallory, $m[1], 'another one of mallory 8') === true, 'a new password: ' . ldap_error($own));
check(connect($mallory, $m[1]) === null && connect($mallory, 'another one of mallory 8') !== null, 'the new password and no longer the old one');
check(ldap_exop_passwd($admin, $mallory, '', $m[1]) === true, 'the old password put back: ' . ldap_error($admin));
echo "ok\n";
