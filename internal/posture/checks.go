package posture

import (
	"fmt"
	"strings"

	"portolan/internal/config"
)

// check is one line of the table.
type check struct {
	id string
	// keys are the settings that the check answers for, by their paths in the file.
	keys []string
	// onHost says that it looks at more than the configuration.
	onHost bool
	find   func(r *review)
}

// checks is THE table of what can be weaker than it is by default. Every key of the configuration stands in one of its
// lines or in harmless; a test of package app holds that.
func checks() []check {
	return []check{
		setting("require-tls", "security.require_tls", Fail,
			func(c *config.Config) string { return when(c.Security.RequireTLS == "never", `require_tls is "never"`) },
			"nothing needs TLS: whoever is on the way reads passwords and entries, and can change them"),
		{id: "anonymous", keys: keys("security.anonymous"), find: anonymousUse},
		setting("builtin-access", "security.builtin_access", Warn,
			func(c *config.Config) string { return when(!c.Security.BuiltinAccess, "builtin_access is off") },
			"the built-in access rules are off: the rules of the file alone say what users read, and whether they may change their own passwords"),
		{id: "access-anonymous", keys: keys("access.allow", "access.who"), find: anonymousRules},
		{id: "access-secrets", keys: keys("access.allow", "access.attrs"), find: secretRules},
		{id: "access-write", keys: keys("access.allow", "access.who", "access.attrs"), find: writeRules},
		{id: "access-impersonation", keys: keys("access.allow"), find: proxyRules},
		{id: "access-no-effect", keys: keys("access.who", "access.on"), find: ruleRemarks},

		{id: "clear-text-listener", keys: keys("listen.url", "tls.cert_file"), find: clearTextListeners},
		{id: "no-certificate", keys: keys("tls.cert_file"), find: noCertificate},
		{id: "proxy-networks", keys: keys("listen.proxy_protocol_from"), find: proxyNetworks},
		{id: "udp-listener", keys: keys("listen.url"), find: udpListeners},
		{id: "socket-directory", keys: keys("listen.url"), onHost: true, find: socketDirectories},

		{id: "certificate-validity", keys: keys("tls.cert_file"), onHost: true, find: certificateValidity},
		{id: "certificate-name", keys: keys("tls.cert_file"), onHost: true, find: certificateNames},
		{id: "certificate-strength", keys: keys("tls.cert_file"), onHost: true, find: certificateStrength},
		{id: "certificate-purpose", keys: keys("tls.cert_file"), onHost: true, find: certificatePurpose},
		{id: "private-key-mode", keys: keys("tls.key_file"), onHost: true, find: privateKeyModes},
		{id: "file-mode", keys: keys("tls.cert_file", "tls.key_file", "tls.client_ca_file", "directory.admin_password_file", "schema.files",
			"replica.password_file", "replica.cert_file", "replica.key_file", "replica.ca_file"), onHost: true, find: fileModes},
		{id: "data-mode", keys: keys("data_dir"), onHost: true, find: dataModes},
		{id: "log-mode", keys: keys("log.file", "log.access.file", "audit.file"), onHost: true, find: logModes},
		{id: "audit-key-mode", keys: keys("audit.key_file"), onHost: true, find: auditKeyMode},
		{id: "runs-as-root", onHost: true, find: runsAsRoot},

		{id: "admin-password", keys: keys("directory.admin_password_file"), onHost: true, find: adminPassword},
		{id: "admin-password-mode", keys: keys("directory.admin_password_file"), onHost: true, find: adminPasswordMode},
		{id: "replica-tls", keys: keys("replica.url", "replica.tls"), find: replicaTLS},
		{id: "replica-secret-mode", keys: keys("replica.password_file", "replica.key_file"), onHost: true, find: replicaSecretModes},
		{id: "argon2", keys: keys("password.argon2.memory", "password.argon2.time"), find: argon2Parameters},
		setting("scram-iterations", "sasl.scram_iterations", Warn,
			func(c *config.Config) string {
				return when(c.SASL.ScramIterations < config.Default().SASL.ScramIterations, fmt.Sprintf("new SCRAM keys take fewer iterations than by default (%d)", c.SASL.ScramIterations))
			},
			"whoever gets hold of the keys guesses passwords faster than with the default"),
		{id: "password-policy", keys: policyKeys(), find: passwordPolicy},
		{id: "dynlist-identity", keys: keys("overlay.dynlist.identity"), find: dynlistIdentity},
		{id: "otp-window", keys: keys("overlay.otp.window"), find: otpWindow},
		{id: "otp-mechanisms", keys: keys("overlay.otp.mechanisms"), find: otpMechanisms},
		{id: "lockout-disclosed", keys: keys("overlay.ppolicy.disclose_lockout"), find: lockoutDisclosed},

		setting("guard-off", "guard.enabled", Fail,
			func(c *config.Config) string { return when(!c.Guard.Enabled, "the guard is off") },
			"passwords can be guessed as fast as the server computes; a password that is tried on every account locks none of them"),
		setting("filter-shapes-off", "guard.observe_filters", Warn,
			func(c *config.Config) string {
				return when(!c.Guard.ObserveFilters, "the shapes of filters are not recorded")
			},
			"an application through which filters are injected goes unnoticed, and there is nothing to enforce when it is found out"),
		{id: "guard-relays", keys: keys("guard.relays"), find: guardRelays},
		{id: "guard-far", keys: guardKeys(), find: guardFar},

		{id: "limit-off", keys: offKeys(), find: limitsOff},
		{id: "limit-off-for", keys: keys("limits.for.who", "limits.for.size_limit", "limits.for.time_limit", "limits.for.max_examined", "limits.for.rate", "limits.for.idle_timeout"), find: limitsOffFor},
		{id: "limit-far", keys: farKeys(), find: limitsFar},
		setting("no-free-space-floor", "limits.min_free_bytes", Warn,
			func(c *config.Config) string { return when(c.Limits.MinFreeBytes == 0, "min_free_bytes is 0") },
			"changes are taken until the disk is full: whoever may write can stop the server, and everything else on that disk"),

		{id: "journal-short", keys: keys("journal.max_age", "journal.max_bytes"), find: shortJournal},
		setting("access-log-off", "log.access.enabled", Warn,
			func(c *config.Config) string { return when(!c.Log.Access.Enabled, "the access log is off") },
			"nobody can tell afterwards who asked what, from where, and who failed to log in"),
		setting("audit-off", "audit.enabled", Warn,
			func(c *config.Config) string { return when(!c.Audit.Enabled, "the audit log is off") },
			"nobody can prove afterwards who changed what, and that no line was taken out"),
		setting("audit-continues", "audit.on_failure", Warn,
			func(c *config.Config) string {
				return when(c.Audit.OnFailure == "continue", `on_failure is "continue"`)
			},
			"whoever fills the disk, or breaks the log otherwise, changes entries without a line"),
		setting("audit-short", "audit.keep", Warn,
			func(c *config.Config) string {
				return when(c.Audit.Keep > 0 && c.Audit.Keep < auditFloor, fmt.Sprintf("keep is %d", c.Audit.Keep))
			},
			"lines of the audit log are gone before anybody may have missed them"),
		setting("log-level", "log.level", Warn,
			func(c *config.Config) string { return when(c.Log.Level == "error", `level is "error"`) },
			"warnings are not logged, those about files that everybody can read and expired certificates among them"),
	}
}

// auditFloor is how many closed files of the audit log stay at least; with the default max_age each is a day.
const auditFloor = 30

// harmless are the keys that no value makes weaker than the default, with the reason.
func harmless() map[string]string {
	return map[string]string{
		"overlay.appauth.accept":     "off takes a way in away",
		"overlay.appauth.max":        "each is made by the server, and as hard to guess whatever their number",
		"overlay.otp.issuer":         "a label",
		"overlay.otp.algorithm":      "any of the three is as strong for codes of 8 digits",
		"overlay.otp.digits":         "6 is the default",
		"overlay.otp.period":         "five minutes at most, and a code serves once",
		"overlay.otp.key_file":       "none is the default: seeds are secret attributes like password hashes",
		"overlay.otp.max":            "tokens of one person",
		"overlay.otp.recovery_codes": "80 random bits each",
		"overlay.otp.app_passwords":  "off is stricter",
		"overlay.otp.required.base":  "nobody is the default",
		"overlay.otp.required.group": "as overlay.otp.required.base",

		"overlay.remoteauth.server.base":         "no server is the default; passwords never go to one in clear text",
		"overlay.remoteauth.server.url":          "as overlay.remoteauth.server.base",
		"overlay.remoteauth.server.starttls":     "as overlay.remoteauth.server.base",
		"overlay.remoteauth.server.ca_file":      "narrows whom passwords are sent to",
		"overlay.remoteauth.server.pin":          "as overlay.remoteauth.server.ca_file",
		"overlay.remoteauth.server.server_name":  "which name is asked for; certificates are verified either way",
		"overlay.remoteauth.server.dn":           "which name is asked for",
		"overlay.remoteauth.server.classes":      "which accounts are asked for",
		"overlay.remoteauth.server.timeout":      "a minute at most",
		"overlay.remoteauth.server.concurrent":   "each has a time limit",
		"overlay.remoteauth.server.forward_only": "keeps nothing here",

		"run_as":                      "empty is the default, a user takes rights away",
		"directory.suffix":            "says where the tree begins",
		"directory.suffixes":          "says where the trees begin",
		"directory.admin_dn":          "a name; its password is looked at",
		"directory.read_only":         "takes rights away",
		"listen.allow":                "empty is the default, a list narrows",
		"listen.deny":                 "narrows",
		"tls.min_version":             "1.2 is the default, 1.3 is stricter",
		"tls.client_certificate":      "optional is the default, required is stricter",
		"index.equality":              "speed",
		"index.substring":             "speed",
		"index.ordering":              "speed",
		"access.name":                 "a label",
		"access.deny":                 "takes rights away",
		"access.filter":               "narrows a rule; what a narrowed rule gives is looked at all the same",
		"access.from":                 "narrows",
		"access.tls":                  "narrows",
		"access.method":               "narrows",
		"limits.rate":                 "no limit is the default",
		"limits.rate_source":          "no limit is the default",
		"limits.for.max_outstanding":  "has a floor of 1 and no off; clients wait for each other on one connection only",
		"password.workers":            "speed",
		"password.argon2.parallelism": "at least 1, which is the default",
		"guard.max_delay":             "an attempt that waits is not checked before its turn",
		"guard.max_delayed":           "as guard.max_delay; what waits is a connection, and these are bounded",
		"sasl.user.dn":                "says whose password is asked for",
		"sasl.user.base":              "as sasl.user.dn",
		"sasl.user.filter":            "as sasl.user.dn; more than one entry is nobody",
		"sasl.certificate.issuer":     "narrows",
		"sasl.certificate.dn":         "says whose certificate it is, of an authority that is trusted for that; more than one entry is nobody",
		"sasl.certificate.base":       "as sasl.certificate.dn",
		"sasl.certificate.filter":     "as sasl.certificate.dn",
		"metrics.listen":              "a loopback address in any case, and no names are in it",
		"sasl.mechanisms":             "all of them is the default; each is there only where a connection allows it",
		"guard.exposed":               "an alarm is raised either way",
		"schema.rfc2307":              "one class or another",
		"store.entry_cache":           "speed",
		"store.cache_bytes":           "speed",
		"log.format":                  "the same lines in another form",
		"audit.max_bytes":             "where one file ends and the next begins",
		"audit.max_age":               "as audit.max_bytes",
		"audit.compress":              "the same lines in another form",
		"audit.gather_binds":          "what repeats is counted either way",

		"replica.base":      "says which suffix is a copy",
		"replica.bind_dn":   "says who asks; its password is looked at",
		"replica.filter":    "narrows what is copied",
		"replica.attrs":     "narrows what is copied",
		"replica.mode":      "how soon changes come",
		"replica.poll":      "as replica.mode",
		"replica.retry":     "as replica.mode",
		"replica.retry_max": "as replica.mode",
		"replica.referral":  "where writers are sent",
		"replica.adopt":     "entries that the provider does not have are deleted, as they are in any copy",

		"overlay.memberof.nested":       "shows the groups of groups, as group: in access rules does anyhow",
		"overlay.refint.attributes":     "references that dangle give nobody a right: names of deleted entries are not reused by the store",
		"overlay.refint.nothing":        "a name that stands for nobody",
		"overlay.unique.attributes":     "no attribute is unique by default",
		"overlay.unique.set.attributes": "as overlay.unique.attributes",
		"overlay.unique.set.base":       "as overlay.unique.attributes",
		"overlay.unique.set.filter":     "as overlay.unique.attributes",
		"overlay.unique.set.rule":       "as overlay.unique.attributes",

		"overlay.constraint.rule.name":       "no rule is the default, and rules only refuse writes",
		"overlay.constraint.rule.attributes": "as overlay.constraint.rule.name",
		"overlay.constraint.rule.regex":      "as overlay.constraint.rule.name",
		"overlay.constraint.rule.not_regex":  "as overlay.constraint.rule.name",
		"overlay.constraint.rule.min_size":   "as overlay.constraint.rule.name",
		"overlay.constraint.rule.max_size":   "as overlay.constraint.rule.name",
		"overlay.constraint.rule.max_count":  "as overlay.constraint.rule.name",
		"overlay.constraint.rule.exists":     "as overlay.constraint.rule.name",
		"overlay.constraint.rule.set":        "as overlay.constraint.rule.name",
		"overlay.constraint.rule.base":       "as overlay.constraint.rule.name",
		"overlay.constraint.rule.scope":      "as overlay.constraint.rule.name",
		"overlay.constraint.rule.filter":     "as overlay.constraint.rule.name",

		"overlay.valsort.rule.attributes": "an order of values that may be read",
		"overlay.valsort.rule.base":       "as overlay.valsort.rule.attributes",
		"overlay.valsort.rule.order":      "as overlay.valsort.rule.attributes",
		"overlay.valsort.rule.weighted":   "as overlay.valsort.rule.attributes",

		"overlay.autonumber.range.attribute":   "no range is the default; numbers that are given are nobody's",
		"overlay.autonumber.range.base":        "as overlay.autonumber.range.attribute",
		"overlay.autonumber.range.filter":      "as overlay.autonumber.range.attribute",
		"overlay.autonumber.range.first":       "as overlay.autonumber.range.attribute",
		"overlay.autonumber.range.last":        "as overlay.autonumber.range.attribute",
		"overlay.autonumber.range.within":      "as overlay.autonumber.range.attribute",
		"overlay.autonumber.range.placeholder": "as overlay.autonumber.range.attribute",
		"overlay.autonumber.range.reuse":       "off is the default; on, files of an account that is gone are the next one's, as with useradd",
		"overlay.accesslog.changelog":          "access rules decide who reads it, and what of each change he may read in the directory itself",
		"overlay.accesslog.accesslog":          "as overlay.accesslog.changelog",

		"overlay.ttl.subtrees":    "where entries may end by themselves, for who may add them there",
		"overlay.ttl.default":     "how long those entries stay",
		"overlay.ttl.min":         "as overlay.ttl.default",
		"overlay.ttl.max":         "as overlay.ttl.default",
		"overlay.ttl.max_entries": "who may add entries may add others, too",

		"overlay.dynlist.groups":      "off is the default; members are those that the reader could find by the same search",
		"overlay.dynlist.lists":       "none is the default; values are those that the reader may read where they are stored",
		"overlay.dynlist.class":       "as overlay.dynlist.groups",
		"overlay.dynlist.url":         "as overlay.dynlist.groups",
		"overlay.dynlist.max_entries": "bounds what one entry may cost; limits.max_examined bounds searches",

		"overlay.collective.enabled": "shows in an entry what access rules let through there, as of any attribute",

		"overlay.lastbind.precision":                    "how well last logins are remembered",
		"overlay.ppolicy.forgive_repeated":              "the same password again tells a guesser nothing new",
		"overlay.ppolicy.default":                       "names an entry; what it asks is content",
		"overlay.ppolicy.rule.policy":                   "as overlay.ppolicy.default",
		"overlay.ppolicy.rule.base":                     "as overlay.ppolicy.default",
		"overlay.ppolicy.rule.group":                    "as overlay.ppolicy.default",
		"overlay.ppolicy.breached_passwords":            "none is the default",
		"overlay.ppolicy.expiry_controls":               "tells who has proved the password what it tells by another control",
		"overlay.ppolicy.policy.min_age":                "none is the default",
		"overlay.ppolicy.policy.max_age":                "none is the default, as NIST SP 800-63B has it",
		"overlay.ppolicy.policy.in_history":             "none is the default",
		"overlay.ppolicy.policy.max_length":             "above min_length in any case",
		"overlay.ppolicy.policy.expire_warning":         "a warning to the owner",
		"overlay.ppolicy.policy.grace_authn_limit":      "none is the default; it counts with max_age only",
		"overlay.ppolicy.policy.grace_expiry":           "as grace_authn_limit",
		"overlay.ppolicy.policy.failure_count_interval": "however short, max_failure in it is looked at with the time of the lock",
		"overlay.ppolicy.policy.max_recorded_failure":   "a record for the administrator",
		"overlay.ppolicy.policy.must_change":            "off is the default",
		"overlay.ppolicy.policy.allow_user_change":      "off takes a right away",
		"overlay.ppolicy.policy.safe_modify":            "off is the default",
		"overlay.ppolicy.policy.min_delay":              "none is the default",
		"overlay.ppolicy.policy.max_delay":              "none is the default",
		"overlay.ppolicy.policy.max_idle":               "none is the default",
		"overlay.ppolicy.policy.min_classes":            "none is the default",
		"overlay.ppolicy.policy.check_breached":         "none is the default",
	}
}

// IDs lists the checks.
func IDs() []string {
	var out []string
	for _, c := range checks() {
		out = append(out, c.id)
	}
	return out
}

// Keys returns the settings that some check answers for, and those that are harmless with the reason.
func Keys() (covered map[string]bool, harmlessKeys map[string]string) {
	covered = map[string]bool{}
	for _, c := range checks() {
		for _, k := range c.keys {
			covered[k] = true
		}
	}
	return covered, harmless()
}

func keys(k ...string) []string { return k }

// setting is a check of one setting: weak says what of it is weak, or nothing; the fix is its default.
func setting(id, key string, s Severity, weak func(*config.Config) string, means string) check {
	return check{id: id, keys: keys(key), find: func(r *review) {
		if seen := weak(r.Config); seen != "" {
			r.setting(key, Finding{Severity: s, Seen: seen, Means: means})
		}
	}}
}

func when(weak bool, seen string) string {
	if weak {
		return seen
	}
	return ""
}

// setting adds a finding about a setting that is not in a list of tables; the fix is its default.
func (r *review) setting(key string, f Finding) {
	section, k := findKey(key)
	f.Key, f.Fix, f.Write = key, under(section), k.Name+" = "+k.Default
	r.add(r.Config.At(key), f)
}

// oneOf adds a finding about a setting that a check looks at among others.
func (r *review) oneOf(key string, f Finding) {
	_, k := findKey(key)
	f.Subject = k.Name
	r.setting(key, f)
}

// under says where in the file a key of the section stands.
func under(s config.Section) string {
	switch {
	case s.Table == "":
		return "at the top of the file"
	case s.Array:
		return "in this [[" + s.Table + "]]"
	}
	return "under [" + s.Table + "]"
}

// findKey returns the section and the key of a path without list indexes. That there is one is known: a test looks up
// every key of the table.
func findKey(path string) (config.Section, config.Key) {
	for _, s := range config.Sections() {
		for _, k := range s.Keys {
			if name, ok := strings.CutSuffix(path, k.Name); ok && strings.TrimSuffix(name, ".") == s.Table {
				return s, k
			}
		}
	}
	panic(fmt.Sprintf("posture: the configuration has no key %s", path))
}
