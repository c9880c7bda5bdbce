package config

// Key is one key of the file, as the reference and the template show it.
type Key struct {
	Name string
	// Doc is one or more whole sentences; the first says what the key does.
	Doc string
	// Default is in TOML notation. It is empty for a key that must be written and for keys of [[tables]], which are
	// absent unless written.
	Default string
	// Example is in TOML notation and valid; Default stands for it where it is empty.
	Example string
	// Required keys have no default.
	Required bool
	// Reload says that a new value is taken over on SIGHUP; otherwise it needs a restart.
	Reload bool
	// Template says that `portolan init` shows the key.
	Template bool
}

// Section is one table of the file. Table "" is the top of the file.
type Section struct {
	Table string
	// Array sections are written [[table]], any number of times.
	Array bool
	Doc   string
	Keys  []Key
}

// sections is the one home of the defaults and of the words about every key. Its keys are those of Config, which a test
// compares.
func sections() []Section {
	return []Section{
		{Table: "", Doc: "The top of the file, before any table.", Keys: []Key{
			{Name: "data_dir", Default: `"/var/lib/portolan"`, Template: true,
				Doc: "The directory in which the server keeps its store, journal and control socket. It belongs to the server's own user and nobody else needs to read it."},
			{Name: "run_as", Default: `""`, Example: `"portolan"`,
				Doc: "The user that the server, and every command that opens data_dir, becomes where root starts it; of root's rights it keeps that to open ports below 1024 until its listeners are open. The certificate's key and the files that are read again on SIGHUP must be readable by this user. Empty means that it stays who it is: right under the systemd unit, which starts it as its own user."},
		}},
		{Table: "directory", Doc: "What the directory holds, and who may do everything in it.", Keys: []Key{
			{Name: "suffix", Required: true, Example: `"dc=example,dc=org"`, Template: true,
				Doc: "The naming context: the DN of the topmost entry. Either this or suffixes must be written."},
			{Name: "suffixes", Default: `[]`, Example: `["dc=example,dc=org", "o=archive"]`,
				Doc: "Several naming contexts, none of them beneath another. Written instead of suffix."},
			{Name: "admin_dn", Default: `""`, Example: `"cn=admin,dc=example,dc=org"`, Reload: true, Template: true,
				Doc: "The administrator, to whom access rules and limits do not apply. The DN need not be an entry. Empty means that there is no administrator."},
			{Name: "admin_password_file", Default: `""`, Example: `"/etc/portolan/admin.password"`, Reload: true, Template: true,
				Doc: "A file whose first line is the administrator's password, as a hash (`portolan passwd` writes one) or in clear text. It wins over a password in the administrator's entry. Only the server's user should be able to read it."},
			{Name: "read_only", Default: `false`, Reload: true,
				Doc: "Refuse every change that a client asks for, with unwillingToPerform."},
		}},
		{Table: "listen", Array: true, Doc: "One listener; write one table for each. Without any, the server is reached through its control socket only.", Keys: []Key{
			{Name: "url", Required: true, Example: `"ldaps://0.0.0.0:636"`,
				Doc: "Where to listen: ldap (clear text with StartTLS), ldaps, cldap (UDP: the root DSE only, in answers no longer than their requests) with an address and a port, or ldapi with the path of a Unix socket (ldapi:///run/portolan/ldapi). Without a port it is 389, for ldaps 636. An IPv6 address stands in brackets; no address means every address."},
			{Name: "allow", Example: `["10.0.0.0/8", "127.0.0.0/8"]`, Reload: true,
				Doc: "Networks from which clients are accepted. Empty means all."},
			{Name: "deny", Example: `["10.66.0.0/16"]`, Reload: true,
				Doc: "Networks from which clients are not accepted, even where allow has them."},
			{Name: "proxy_protocol_from", Example: `["10.0.0.5"]`, Reload: true,
				Doc: "Networks of the load balancers that announce the client's address with the PROXY protocol (version 1 or 2). From there the header is demanded, from elsewhere it is refused."},
		}},
		{Table: "tls", Doc: "The server's certificate. Certificates that change on disk are taken over without a restart.", Keys: []Key{
			{Name: "cert_file", Default: `""`, Example: `"/etc/portolan/server.crt"`, Template: true,
				Doc: "The server's certificate in PEM form, followed by the intermediate certificates. Empty means that the server offers no TLS."},
			{Name: "key_file", Default: `""`, Example: `"/etc/portolan/server.key"`, Template: true,
				Doc: "The certificate's private key in PEM form."},
			{Name: "client_ca_file", Default: `""`, Example: `"/etc/portolan/clients.crt"`,
				Doc: "The authorities (PEM) that sign client certificates for SASL EXTERNAL. Empty means that clients are not asked for a certificate."},
			{Name: "client_certificate", Default: `"optional"`, Example: `"required"`,
				Doc: "Whether a client must have a certificate of client_ca_file to be served under TLS: without one, or with another one, there is no handshake. \"required\" is for every client, replicas and monitoring among them."},
			{Name: "min_version", Default: `"1.2"`, Example: `"1.3"`,
				Doc: "The oldest TLS version that is spoken."},
		}},
		{Table: "security", Doc: "The defaults are the secure ones; `portolan posture` lists what differs from them.", Keys: []Key{
			{Name: "require_tls", Default: `"non-loopback"`, Example: `"always"`, Reload: true, Template: true,
				Doc: "When a request needs TLS; without it only the root DSE, StartTLS, WhoAmI, abandon, cancel and unbind are answered. \"non-loopback\" exempts connections that begin and end on this host, and ldapi; \"always\" exempts ldapi only; with \"never\" nothing needs TLS and passwords may travel in clear text."},
			{Name: "anonymous", Default: `"rootdse"`, Example: `"read"`, Reload: true, Template: true,
				Doc: "What a client may do that has not authenticated. \"rootdse\": read the root DSE, StartTLS and WhoAmI. \"read\": search and compare as well, as far as access rules let it."},
			{Name: "builtin_access", Default: `true`, Example: `false`, Reload: true,
				Doc: "Whether the built-in access rules (the set named default) are active besides those of the file."},
		}},
		{Table: "index", Doc: "Attributes indexed besides the built-in ones (equality on objectClass, uid, cn, sn, givenName, mail, member, uniqueMember, memberUid, uidNumber, gidNumber, owner, manager, seeAlso, entryUUID, memberURL; substring on cn, sn, givenName, mail, uid; the order, and so equality, of entryCSN). New ones are built with `portolan index build`.", Keys: []Key{
			{Name: "equality", Default: `[]`, Example: `["employeeNumber", "departmentNumber"]`,
				Doc: "Attributes found by (attr=value) and, with that, by (attr=*)."},
			{Name: "substring", Default: `[]`, Example: `["displayName"]`,
				Doc: "Attributes found by (attr=*part*)."},
			{Name: "ordering", Default: `[]`, Example: `["uidNumber"]`,
				Doc: "Attributes found by (attr>=value) and (attr<=value), and sorted without reading every entry."},
		}},
		{Table: "access", Array: true, Doc: "One access rule. What no rule allows is denied, and a rule that denies wins over all that allow. See docs/access.md.", Keys: []Key{
			{Name: "name", Example: `"helpdesk resets passwords"`, Reload: true,
				Doc: "What `portolan acl explain`, logs and errors call the rule."},
			{Name: "allow", Example: `["read", "search", "compare"]`, Reload: true,
				Doc: "The rights that the rule gives: disclose, search, read, compare, add, delete, modify, rename, proxy, control. Exactly one of allow and deny is written."},
			{Name: "deny", Example: `["read"]`, Reload: true,
				Doc: "The rights that the rule takes away, whatever other rules allow."},
			{Name: "who", Example: `"group:cn=helpdesk,ou=groups,dc=example,dc=org"`, Reload: true,
				Doc: "Whom the rule is about; several may be listed and one match suffices: anonymous, users, self, admin, dn:DN, group:DN, subtree:DN, dnattr:ATTRIBUTE."},
			{Name: "on", Example: `"subtree:ou=people,dc=example,dc=org"`, Reload: true,
				Doc: "The entries that the rule is about: * (all), subtree:DN, base:DN, one:DN; several may be listed."},
			{Name: "filter", Example: `"(objectClass=inetOrgPerson)"`, Reload: true,
				Doc: "Only entries that match this filter."},
			{Name: "attrs", Example: `["userPassword"]`, Reload: true,
				Doc: "The attributes that the rule is about: names, * (all that are not secret), @class (those of an object class), entry (the entry itself). Secret attributes must be named."},
			{Name: "from", Example: `["10.0.0.0/8"]`, Reload: true,
				Doc: "Only clients from these networks."},
			{Name: "tls", Example: `true`, Reload: true,
				Doc: "Only connections that are protected: true, or a number for the least strength in bits."},
			{Name: "method", Example: `["EXTERNAL", "SCRAM-SHA-256"]`, Reload: true,
				Doc: "Only clients that authenticated in one of these ways: simple, or a SASL mechanism."},
		}},
		{Table: "limits", Doc: "What one client may cost. The administrator is bound by none of size_limit, time_limit, max_examined and the rates.", Keys: []Key{
			{Name: "size_limit", Default: `5000`, Example: `500`, Reload: true, Template: true,
				Doc: "Entries returned by one search request; a client that pages gets as many with each page. 0 is no limit."},
			{Name: "time_limit", Default: `"60s"`, Example: `"10s"`, Reload: true,
				Doc: "Time that one search request may take. 0 is no limit."},
			{Name: "max_examined", Default: `100000`, Example: `20000`, Reload: true,
				Doc: "Entries that the server may look at for one search request; a search that would need more is refused with adminLimitExceeded. 0 is no limit."},
			{Name: "rate", Default: `0`, Example: `5000`, Reload: true,
				Doc: "Cost units that one identity may use in a second, over all its connections; beyond it, and beyond what it has not used of the last ten seconds, its requests are answered busy. A unit is about one search for one entry: docs/security.md has the prices. 0 is no limit."},
			{Name: "rate_source", Default: `0`, Example: `20000`, Reload: true,
				Doc: "The same for all requests from one address (IPv6: one /64), whoever makes them. Those in guard.relays are exempt. 0 is no limit."},
			{Name: "rate_unauthenticated", Default: `20000`, Example: `1000`, Reload: true,
				Doc: "The same for requests from one address (IPv6: one /64) of clients that have not authenticated. Logins that succeed do not count, those in guard.relays are exempt. 0 is no limit."},
			{Name: "max_pdu", Default: `"16MiB"`, Example: `"4MiB"`, Reload: true,
				Doc: "The longest request of a client that has authenticated."},
			{Name: "max_pdu_unauthenticated", Default: `"64KiB"`, Example: `"16KiB"`, Reload: true,
				Doc: "The longest request of a client that has not."},
			{Name: "max_connections", Default: `20000`, Example: `5000`, Reload: true,
				Doc: "Open connections in all; more are closed at once. 0 is no limit but the system's."},
			{Name: "max_connections_per_address", Default: `2000`, Example: `100`, Reload: true,
				Doc: "Open connections from one client address. 0 is no limit."},
			{Name: "idle_timeout", Default: `"30m"`, Example: `"5m"`, Reload: true,
				Doc: "A connection with no operation outstanding is closed after this time without a request. 0 is no limit."},
			{Name: "bind_timeout", Default: `"60s"`, Example: `"15s"`, Reload: true,
				Doc: "Time that a new connection has, TLS handshake included, until it has authenticated; with security.anonymous = \"read\", until its first request is complete. 0 is no limit."},
			{Name: "write_timeout", Default: `"30s"`, Example: `"10s"`, Reload: true,
				Doc: "A client that does not take its answers for this time is disconnected. 0 is no limit."},
			{Name: "max_outstanding", Default: `128`, Example: `32`, Reload: true,
				Doc: "Operations that one connection may have under way; beyond it the connection is not read for two seconds, and then a request for which there is still no room is answered busy."},
			{Name: "max_cursors", Default: `16`, Example: `4`,
				Doc: "Paged and list-view searches that one connection may have open; the one used longest ago goes first."},
			{Name: "max_persistent", Default: `500`, Example: `50`,
				Doc: "Searches of all clients together that stay for changes: persistent searches, and synchronizations that persist. 0 is no limit."},
			{Name: "max_filter_nodes", Default: `2000`, Example: `200`, Reload: true,
				Doc: "Nodes of one search filter."},
			{Name: "max_controls", Default: `32`, Example: `16`, Reload: true,
				Doc: "Controls of one request."},
			{Name: "max_attributes", Default: `1000`, Example: `200`, Reload: true,
				Doc: "Attributes of one request: those that a search asks for, or that an add or a modify lists."},
			{Name: "max_sorted", Default: `100000`, Example: `20000`,
				Doc: "Entries of one search result that are sorted on the server (RFC 2891, virtual list views). A larger result is not sorted: clients are told adminLimitExceeded."},
			{Name: "kept_memory", Default: `"128MiB"`, Example: `"1GiB"`,
				Doc: "Memory for what the server keeps for clients between their requests: lists behind sorted pages and virtual list views, queued transactions; and the sort keys of searches in progress. It is a bound for all connections together. When it is reached the lists used longest ago are given up; a sort or a transaction that still does not fit is answered with busy."},
			{Name: "transaction_operations", Default: `1000`, Example: `100`,
				Doc: "Updates that one connection may queue for LDAP transactions (RFC 5805)."},
			{Name: "transaction_bytes", Default: `"8MiB"`, Example: `"1MiB"`,
				Doc: "Octets of the updates that one connection may queue for LDAP transactions."},
			{Name: "transaction_changes", Default: `10000`, Example: `50000`, Reload: true,
				Doc: "Entries that one transaction may change, those included that follow from it (references to a renamed entry, a deleted subtree). Beyond it the operation fails with adminLimitExceeded and nothing changes."},
			{Name: "min_free_bytes", Default: `"256MiB"`, Example: `"2GiB"`,
				Doc: "Free space of data_dir's file system below which changes are refused, until there is space again. 0 is no floor."},
		}},
		{Table: "limits.for", Array: true, Doc: "Other limits for some identities. The first table whose who matches is the one that counts; a key that it leaves out keeps the general limit.", Keys: []Key{
			{Name: "who", Required: true, Example: `"group:cn=applications,ou=groups,dc=example,dc=org"`, Reload: true,
				Doc: "Whom the limits are for: anonymous, users, dn:DN, group:DN; several may be listed and one match suffices."},
			{Name: "size_limit", Example: `0`, Reload: true, Doc: "As limits.size_limit."},
			{Name: "time_limit", Example: `"10m"`, Reload: true, Doc: "As limits.time_limit."},
			{Name: "max_examined", Example: `0`, Reload: true, Doc: "As limits.max_examined."},
			{Name: "rate", Example: `500`, Reload: true, Doc: "As limits.rate; for anonymous as limits.rate_unauthenticated."},
			{Name: "max_outstanding", Example: `512`, Reload: true, Doc: "As limits.max_outstanding."},
			{Name: "idle_timeout", Example: `"0"`, Reload: true, Doc: "As limits.idle_timeout."},
		}},
		{Table: "password", Doc: "How passwords are hashed. What a password must be like is set in [overlay.ppolicy].", Keys: []Key{
			{Name: "workers", Default: `0`, Example: `2`,
				Doc: "Hashes computed at one time, and as many again for those who have lately logged in from where they are. 0 is the number of CPUs."},
		}},
		{Table: "password.argon2", Doc: "Argon2id (RFC 9106) for new hashes. A weaker hash is replaced when its owner next binds.", Keys: []Key{
			{Name: "memory", Default: `"19MiB"`, Example: `"64MiB"`,
				Doc: "Memory of one hash."},
			{Name: "time", Default: `2`, Example: `3`,
				Doc: "Passes over that memory."},
			{Name: "parallelism", Default: `1`, Example: `4`,
				Doc: "Lanes computed side by side."},
		}},
		{Table: "guard", Doc: "Guessing of passwords is held back: whose wrong passwords go beyond these numbers waits, longer each time. See docs/security.md.", Keys: []Key{
			{Name: "enabled", Default: `true`, Example: `false`, Reload: true,
				Doc: "Whether guessing is held back. What has been counted stays."},
			{Name: "relays", Default: `["127.0.0.1", "::1"]`, Example: `["127.0.0.1", "::1", "10.0.0.5", "10.0.8.0/24"]`, Reload: true,
				Doc: "Networks of applications that log in for many people, such as a web server: wrong passwords from there are counted for accounts and passwords, not for the address. The default are the applications of this host."},
			{Name: "account_failures", Default: `10`, Example: `20`, Reload: true,
				Doc: "Wrong passwords for one account that are answered without a delay. Who has logged in to it from the same address lately has a count of their own."},
			{Name: "source_failures", Default: `20`, Example: `10`, Reload: true,
				Doc: "Wrong passwords from one address (IPv6: one /64) that are answered without a delay. Every account that logs in from there adds a quarter."},
			{Name: "network_failures", Default: `100`, Example: `50`, Reload: true,
				Doc: "The same for one network: an IPv4 /24, an IPv6 /48."},
			{Name: "password_accounts", Default: `20`, Example: `10`, Reload: true,
				Doc: "Accounts for which one and the same wrong password is answered without a delay."},
			{Name: "strain_failures", Default: `60`, Example: `200`, Reload: true,
				Doc: "Wrong passwords within some ten minutes, over the whole server and from addresses that have not lately logged in to the account, from which on guessing is taken to go on: a sixth of source_failures, network_failures and password_accounts is free then, until it is quiet again."},
			{Name: "max_delay", Default: `"5s"`, Example: `"10s"`, Reload: true,
				Doc: "How long an attempt may wait for its turn. One that would have to wait longer is answered busy, unchecked."},
			{Name: "max_delayed", Default: `1000`, Example: `200`, Reload: true,
				Doc: "Attempts that may wait at one time; beyond it the answer is busy."},
			{Name: "exposed", Default: `"mark"`, Example: `"expire"`, Reload: true,
				Doc: "What becomes of an account whose password was sent in clear text where TLS is needed, and was right: \"mark\" notes the time at the account (portolanExposedTime) and in the audit log, \"expire\" has it changed at the next login as well."},
			{Name: "observe_filters", Default: `true`, Example: `false`, Reload: true,
				Doc: "Whether the shapes of filters are recorded for every identity, so that what an application sends is known before the firewall against LDAP injection is to enforce it. Identities for which `portolan guard learn` or `enforce` set a mode are looked at either way."},
		}},
		{Table: "sasl", Doc: "Binds by a SASL mechanism instead of a name and a password.", Keys: []Key{
			{Name: "mechanisms", Default: `["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "EXTERNAL", "PLAIN"]`, Example: `["EXTERNAL"]`,
				Doc: "The mechanisms that are offered where a connection allows them: EXTERNAL with a client certificate or on a Unix socket, PLAIN where nobody can read on the way, SCRAM-SHA-256-PLUS under TLS. With a SCRAM mechanism a key is kept beside each password that is set or, once, used in a simple bind."},
			{Name: "scram_iterations", Default: `65536`, Example: `131072`, Reload: true,
				Doc: "How often a password is hashed for its SCRAM key. Every client that binds by SCRAM computes as much; a key that is stolen is as hard to guess a password from as it takes."},
		}},
		{Table: "sasl.user", Array: true, Doc: "Which entry a user name stands for, in PLAIN, SCRAM and authorization identities (u:NAME). Tables are asked in their order; without any it is the one entry whose uid it is. Where one finds more than one entry, nobody is logged in.", Keys: []Key{
			{Name: "dn", Example: `"uid={user},ou=people,dc=example,dc=org"`, Reload: true,
				Doc: "The name of the entry; {user} is the user name, as one value. Either this or filter is written."},
			{Name: "base", Example: `"ou=people,dc=example,dc=org"`, Reload: true,
				Doc: "Where the filter is searched for. Empty is everywhere."},
			{Name: "filter", Example: `"(|(uid={user})(mail={user}))"`, Reload: true,
				Doc: "What the one entry matches. Its attributes should be indexed."},
		}},
		{Table: "sasl.certificate", Array: true, Doc: "Which entry a client certificate stands for (SASL EXTERNAL). Tables are asked in their order; without any the subject is the name of the entry.", Keys: []Key{
			{Name: "issuer", Example: `"cn=People CA,o=Example"`, Reload: true,
				Doc: "Only certificates of this issuer. Empty is every issuer in tls.client_ca_file."},
			{Name: "dn", Example: `"uid={cn},ou=people,dc=example,dc=org"`, Reload: true,
				Doc: "The name of the entry. Fields are {cn}, {uid}, {serial} (of the subject, or the certificate's number), {email}, {dns}, {uri}, {upn} (of the subject's alternative names); \"{subject}\" alone is the whole subject. Either this or filter is written."},
			{Name: "base", Example: `"ou=people,dc=example,dc=org"`, Reload: true,
				Doc: "Where the filter is searched for. Empty is everywhere."},
			{Name: "filter", Example: `"(mail={email})"`, Reload: true,
				Doc: "What the one entry matches, with the same fields, each as one value. Its attributes should be indexed."},
		}},
		{Table: "schema", Doc: "Schema besides what is shipped.", Keys: []Key{
			{Name: "files", Default: `[]`, Example: `["/etc/portolan/local.schema"]`,
				Doc: "Schema files, read in this order: the notation of RFC 4512, slapd .schema files, or cn=config LDIF."},
			{Name: "rfc2307", Default: `"bis"`, Example: `"nis"`,
				Doc: "Which posixGroup: \"bis\", where a group can be posixGroup and groupOfNames at once, or \"nis\", as RFC 2307 has it."},
		}},
		{Table: "store", Doc: "Memory for caches. Both fill only as far as there is data.", Keys: []Key{
			{Name: "entry_cache", Default: `0`, Example: `"2GiB"`,
				Doc: "Memory for entries, ready to be sent. Best large enough for all entries that are in use; that of a person takes about 1.2 KiB. 0 is a sixteenth of the machine's memory, or of what the control group may take, but no less than 128 MiB and no more than 1 GiB."},
			{Name: "cache_bytes", Default: `"16MiB"`, Example: `"128MiB"`,
				Doc: "Memory for blocks of the store beneath, for what the entry cache does not hold."},
		}},
		{Table: "journal", Doc: "How far back replicas and log views can read. What goes beyond either bound may be dropped.", Keys: []Key{
			{Name: "max_age", Default: `"30d"`, Example: `"7d"`,
				Doc: "Age of the oldest record that is kept. 0 is no bound."},
			{Name: "max_bytes", Default: `"1GiB"`, Example: `"10GiB"`,
				Doc: "Size of all records that are kept."},
		}},
		{Table: "log", Doc: "The server's own log. Files are opened anew on SIGHUP, so that they can be rotated.", Keys: []Key{
			{Name: "level", Default: `"info"`, Example: `"debug"`, Reload: true, Template: true,
				Doc: "The least that is logged: debug, info, warn or error."},
			{Name: "format", Default: `"text"`, Example: `"json"`,
				Doc: "text for people, json for machines."},
			{Name: "file", Default: `""`, Example: `"/var/log/portolan/portolan.log"`,
				Doc: "Where the log goes. Empty is standard error."},
		}},
		{Table: "log.access", Doc: "One line for each operation.", Keys: []Key{
			{Name: "enabled", Default: `true`, Example: `false`, Template: true,
				Doc: "Whether operations are logged."},
			{Name: "file", Default: `""`, Example: `"/var/log/portolan/access.log"`,
				Doc: "Where these lines go. Empty is where the log goes."},
		}},
		{Table: "audit", Doc: "The audit log: a line for each security event and each write, chained so that `portolan audit verify` finds what was changed. See docs/security.md.", Keys: []Key{
			{Name: "enabled", Default: `true`, Example: `false`,
				Doc: "Whether there is an audit log."},
			{Name: "file", Default: `""`, Example: `"/var/log/portolan/audit.log"`,
				Doc: "The file that is written to; closed ones stay beside it. Empty is audit/audit.log in data_dir. Its directory is best one of its own."},
			{Name: "key_file", Default: `""`, Example: `"/etc/portolan/audit.key"`,
				Doc: "The key of the chain, made at the first start. Empty is audit.key in data_dir. Who has it can forge the log; keep a copy, for without it nothing can be verified."},
			{Name: "max_bytes", Default: `"64MiB"`, Example: `"256MiB"`, Reload: true,
				Doc: "A file is closed and the next one begun before it becomes larger."},
			{Name: "max_age", Default: `"1d"`, Example: `"7d"`, Reload: true,
				Doc: "A file is closed and the next one begun at this age. 0 is no bound."},
			{Name: "keep", Default: `90`, Example: `400`, Reload: true,
				Doc: "How many closed files stay; older ones are removed. 0 is all of them."},
			{Name: "compress", Default: `true`, Example: `false`, Reload: true,
				Doc: "Whether closed files are compressed with gzip."},
			{Name: "on_failure", Default: `"stop-writes"`, Example: `"continue"`, Reload: true,
				Doc: "What happens while the audit log cannot be written. \"stop-writes\": changes are refused with unwillingToPerform until it can, reads and binds go on. \"continue\": changes go on, and lines may be lost."},
			{Name: "gather_binds", Default: `true`, Example: `false`, Reload: true,
				Doc: "Whether repeated successful binds of one identity from one address in one second become one line with their number."},
		}},
		{Table: "metrics", Doc: "Numbers for Prometheus, over HTTP at /metrics. docs/metrics.md lists them; names of people, entries and addresses are not among them.", Keys: []Key{
			{Name: "listen", Default: `""`, Example: `"127.0.0.1:9389"`,
				Doc: "A loopback address and a port. Empty means that nothing is served."},
		}},
		{Table: "replica", Array: true, Doc: "A suffix of this server that is a copy of another server's, the provider: Portolan, or slapd with syncprov. With it the whole server takes no writes, and sends clients that want to write to the provider. See docs/replication.md.", Keys: []Key{
			{Name: "url", Required: true, Example: `"ldaps://ldap1.example.org"`,
				Doc: "The provider: ldaps, ldap (StartTLS is used, unless tls is \"off\"), or ldapi with the path of a socket."},
			{Name: "base", Example: `"dc=example,dc=org"`,
				Doc: "The suffix that is copied. It may be left out where the server has one suffix only."},
			{Name: "bind_dn", Example: `"cn=replicator,ou=services,dc=example,dc=org"`,
				Doc: "Whom to bind as at the provider. What that identity may read is what is copied: it needs the right to read everything, userPassword by name, and no limits."},
			{Name: "password_file", Example: `"/etc/portolan/replica.password"`,
				Doc: "A file whose first line is the password of bind_dn. Only the server's user should be able to read it."},
			{Name: "cert_file", Example: `"/etc/portolan/replica.crt"`,
				Doc: "The certificate that this server shows to the provider, in PEM form. Without bind_dn it authenticates by it (SASL EXTERNAL)."},
			{Name: "key_file", Example: `"/etc/portolan/replica.key"`,
				Doc: "The private key of cert_file."},
			{Name: "ca_file", Example: `"/etc/portolan/provider-ca.crt"`,
				Doc: "The authorities (PEM) that the provider's certificate must be signed by. Left out, they are those of the system."},
			{Name: "tls", Example: `"off"`,
				Doc: "\"required\", also where it is left out: the connection to the provider is TLS and its certificate is verified. With \"off\" everything, passwords included, travels in clear text."},
			{Name: "filter", Example: `"(!(ou=secrets))"`,
				Doc: "Only entries that match are copied. Those above a matching entry must match too."},
			{Name: "attrs", Example: `["*", "+"]`,
				Doc: "Only these attributes are copied: names, * (all user attributes), + (all operational ones). Left out, it is [\"*\", \"+\"]."},
			{Name: "mode", Example: `"poll"`,
				Doc: "\"persist\", also where it is left out: the provider tells of changes as they happen. \"poll\": it is asked now and then."},
			{Name: "poll", Example: `"5m"`,
				Doc: "The time between two polls. With mode \"persist\" it is for a provider that refuses to tell of changes as they happen; left out, that is an error that is tried again."},
			{Name: "retry", Example: `"5s"`,
				Doc: "How long to wait after a failure. It doubles with every further one and is shortened by chance. Left out, it is 1s."},
			{Name: "retry_max", Example: `"10m"`,
				Doc: "The longest wait between two attempts. Left out, it is 1m."},
			{Name: "referral", Example: `"ldaps://ldap.example.org"`,
				Doc: "Where clients are sent that want to write. Left out, it is url."},
			{Name: "adopt", Example: `true`,
				Doc: "Whether entries may be there before the first refresh, from an import or of a former primary. Those that the provider does not have are deleted then. Without it such a data_dir is refused."},
		}},
	}
}

// sample is a valid value of the key in TOML notation.
func (k *Key) sample() string {
	if k.Example != "" {
		return k.Example
	}
	return k.Default
}

// findKey returns the key of a path without list indexes, nil where there is none.
func findKey(ss []Section, path string) *Key {
	for i := range ss {
		for j := range ss[i].Keys {
			if join(ss[i].Table, ss[i].Keys[j].Name) == path {
				return &ss[i].Keys[j]
			}
		}
	}
	return nil
}

// defaults is a file that writes every default out.
func defaults() string {
	text := ""
	for _, s := range sections() {
		if s.Array {
			continue
		}
		if s.Table != "" {
			text += "[" + s.Table + "]\n"
		}
		for _, k := range s.Keys {
			if k.Default != "" {
				text += k.Name + " = " + k.Default + "\n"
			}
		}
	}
	return text
}
