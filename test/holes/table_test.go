// Package holes is about the holes that other directory servers had. Each class of them has a row in the table below, tests that
// fail where Portolan had it, and the defences that those tests are about. "make holes" turns each defence off in turn, by an
// overlay of the build that leaves the tree alone, and demands that its test fails: a test that passes either way shows nothing.
package holes

// hole is a class of holes.
type hole struct {
	class string // a line of the table in docs/security.md
	seen  string // where it was seen
	shown string // what is tested
	cases []defence
}

// defence is a piece of the source without which a test fails. In file, which begins at the root of the module, old stands once
// and is replaced by new.
type defence struct {
	name           string
	file, old, new string
	pkg, test      string // pkg begins at the root of the module
}

var holes = []hole{
	{"recursion in nested filters", "CVE-2020-12243", "filters nested up to 1,000,000 deep, as text and as BER: one prompt error, flat memory", []defence{
		{"depth of filters in messages", "ldap/filter_ber.go", "if depth > MaxFilterDepth {", "if depth > 3*MaxFilterDepth {", "ldap", "TestFilterDepth"},
		{"depth of filters as text", "ldap/filter_text.go", "if depth > MaxFilterDepth {", "if depth > 3*MaxFilterDepth {", "ldap", "TestFilterDepth"},
		{"number of parts", "ldap/filter_ber.go", "if len(f.Nodes)+len(f.Subs) >= MaxFilterNodes {", "if len(f.Nodes) >= 100*MaxFilterNodes {", "ldap", "TestFilterNodes"},
	}},
	{"allocation by declared length, indefinite length", "CVE-2020-10704", "a header that claims more than is allowed is refused before anything is allocated; so is the indefinite form", []defence{
		{"size of a message", "ber/reader.go", "case body > limit-head:", "case body < 0:", "ber", "TestFrame"},
		{"size of a message, over a socket", "ber/reader.go", "case body > limit-head:", "case body < 0:", "internal/session", "TestPDULimits"},
		{"indefinite form", "ber/reader.go", "if count == 0 || count > 4 ||", "if count > 4 ||", "ber", "TestFrame"},
	}},
	{"reachable panic or assert", "CVE-2020-36221 to 36230, CVE-2021-27212", "fuzz targets for every decoder (make fuzz); a panic in one operation ends its connection alone, and is counted", []defence{
		{"a panic stays in its operation", "internal/session/task.go", "if v := recover(); v != nil {\n\t\t\terr = t.panicked(v)", "if v := any(nil); v != nil {\n\t\t\terr = t.panicked(v)", "internal/session", "TestDialogues"},
	}},
	{"cancel races, self-cancel", "CVE-2020-25710", "cancel and abandon of itself, of what is unknown or has ended, and of somebody else's operation", []defence{
		{"who may cancel", "internal/session/port.go", "case !t.owner.Same(by):", "case by == nil:", "internal/session", "TestCancelOfAnothersOperation"},
	}},
	{"injection", "CVE-2022-29155", "no value changes how a filter is built, written and read back; an application's filters keep their shapes", []defence{
		{"escaping of values", "ldap/filter_text.go", "|| c == '*' || c == '('", "|| c == '('", "ldap", "TestNoValueChangesTheShape"},
		{"the firewall refuses", "internal/guard/shapes/shapes.go", "if mode == Enforce {", "if mode > Enforce {", "internal/guard/shapes", "TestTheWayToEnforcement"},
		{"asterisks are part of a shape", "internal/guard/shapes/text.go", `return append(b, "=*"...)`, `return append(b, "=?"...)`, "internal/guard/shapes", "TestText"},
		{"the engine shows it every search", "internal/engine/engine.go", "return e.o.Filters.Filter(req, op.SearchFilter, &m.Filter)", "_ = m\n\treturn nil", "internal/app", "TestFilterShapes"},
		{"and the filters of controls", "internal/engine/controls.go", "if known.Filter != nil && e.o.Filters != nil {", "if known.Filter == nil && e.o.Filters != nil {", "internal/app", "TestFilterShapes"},
	}},
	{"state that outlives a rebind or StartTLS", "CVE-2019-13057, CVE-2019-13565", "every state of a connection against every bind, good or bad; octets behind a StartTLS request", []defence{
		{"a bind begins as anonymous", "internal/session/bind.go", "if !continues {", "if !continues && s.dead {", "internal/session", "TestRebindMatrix"},
		{"nothing is smuggled into TLS", "internal/session/starttls.go", "if t.r < t.w || (s.raw != nil && hasInput(s.raw)) {", "if t.r > t.w && s.raw != nil && hasInput(s.raw) {", "internal/session", "TestStartTLSInjection"},
	}},
	{"secrets through side doors", "CVE-2019-14824, CVE-2023-0614", "for who may not read a secret every question is answered as where there is none: filters, compare, assertion, matched values, attribute lists, sort keys, list views, dereference, read entry, synchronization, changes; so it is with the state of accounts, and in the log views", []defence{
		{"sort keys and what reads values ask for every attribute", "internal/engine/sight.go", "if !d.Contains(have) || !s.may(slot, want) {", "if !d.Contains(have) {", "test/holes", "TestHole_SecretsThroughControls"},
		{"the log views ask for every attribute", "internal/overlay/accesslog/reader.go", "ok && (r.admin || r.may(d)) {", "ok {", "test/holes", "TestHole_SecretsInTheLogs"},
		{"wildcards leave secrets out", "internal/access/compile.go", "if !t.Secret && want(t) {", "if want(t) {", "test/holes", "TestHole_SecretsThroughSideDoors"},
		{"wildcards leave secrets out, in the rules themselves", "internal/access/compile.go", "if !t.Secret && want(t) {", "if want(t) {", "internal/access", "TestDecisions"},
	}},
	{"writes to special entries", "389 Directory Server, writes to the root DSE", "the administrator, a user and a stranger write to the root DSE and the subschema", []defence{
		{"what the server maintains stays", "internal/engine/write.go", "if e.special[norm] != nil || e.treeOf(norm) != nil {", "if e.treeOf(norm) != nil {", "test/holes", "TestHole_WritesToSpecialEntries"},
	}},
	{"many controls, empty lists, alias loops, unindexed scans", "CVE-2021-3670, CVE-2025-27497", "a thousand controls, parts without end, controls that ask for everything, aliases in circles, searches without an index: refused, or done, promptly; who asks without a pause is refused, and nobody else", []defence{
		{"number of controls", "internal/engine/engine.go", `over(len(req.Controls), set.MaxControls, "controls")`, `over(0, set.MaxControls, "controls")`, "test/holes", "TestHole_ManyParts"},
		{"attributes that a control names", "internal/control/readentry.go", "if len(attrs) == maxListed {", "if len(attrs) < 0 {", "internal/control", "TestListsOfAttributesAreBounded"},
		{"what a dereference control tells", "internal/control/deref.go", "if len(value) > maxDerefOctets {", "if len(value) < 0 {", "internal/control", "TestDerefIsBoundedInOctets"},
		{"what an account may ask for in a second", "internal/guard/rate.go", "if wait := c.who.take(now, before); wait > 0 {", "if wait := c.who.take(now, before); wait < 0 {", "internal/guard", "TestRateOfIdentity"},
		{"what a scan has cost", "internal/guard/rate.go", "if rest := spent(&req.Trace); rest > 0 {", "if rest := spent(&req.Trace); rest < 0 {", "internal/guard", "TestRateOfScans"},
		{"entries examined", "internal/store/candidates.go", "if budget > 0 && c.Estimate > budget {", "if budget < 0 && c.Estimate > budget {", "internal/store", "TestPlanChoices"},
	}},
	{"slowloris, stalled handshakes, early close", "CVE-2019-3883", "connections that say nothing, or an octet a second, disturb nobody and are ended (test/chaos has 10,000 of them)", []defence{
		{"time to authenticate", "internal/session/session.go", "if b := s.lim.BindTimeout; b > 0 && !s.greeted {", "if b := s.lim.BindTimeout; b > 0 && s.greeted {", "internal/session", "TestTimeouts"},
	}},
	{"DN parsing", "CVE-2020-27840", "parse(print(x)) is x for every name; long and deep ones in linear time", []defence{
		{"escaping in names", "ldap/dn_text.go", `case c == '"' || c == '+' || c == ',' ||`, `case c == '"' || c == '+' ||`, "ldap", "TestPrintedDNParsesBack"},
	}},
	{"authentication that fails open", "CVE-2021-3652, CVE-2022-0996, glauth #470", "empty, missing and wrong passwords, accounts that are disabled, locked, not yet or no longer valid or bound to another network, by simple bind and SASL PLAIN", []defence{
		{"disabled accounts", "internal/op/credentials.go", `return "the account is disabled"`, `return ""`, "test/holes", "TestHole_AuthenticationFailsOpen"},
		{"accounts bound to networks", "internal/op/credentials.go", `return "the account may not be used from this address"`, `return ""`, "test/holes", "TestHole_AuthenticationFailsOpen"},
	}},
	{"hash cost as a weapon", "imported hashes of any cost", "stored hashes whose parameters would take more than the cap are refused when they are read", []defence{
		{"memory of a stored hash", "internal/credential/argon2.go", "case memory > MaxMemory/1024:", "case memory > MaxMemory:", "internal/credential", "TestParseRefuses"},
	}},
	{"user enumeration", "CVE-2020-35518", "the same answer for names that exist and that do not, and one hash for every failure", []defence{
		{"a failure costs a hash", "internal/credential/check.go", "dummy{share}.verify(password[:min(len(password), MaxPassword)])", "_ = share", "internal/credential", "TestEveryFailureCostsOneDefaultHash"},
		{"one answer", "internal/engine/bind.go", `ldap.Errorf(ldap.InvalidCredentials, "")`, `ldap.Errorf(ldap.InvalidCredentials, string(why))`, "test/holes", "TestHole_UserEnumeration"},
	}},
	{"reflection over UDP", "CLDAP floods", "nothing listens on UDP unless a cldap listener is configured; an answer has no more octets than its request, whoever asks, and each source has a rate", []defence{
		{"no amplification", "internal/session/datagram.go", "if len(whole) <= most {", "if len(whole) <= most+len(whole) {", "internal/session", "TestDatagramAnswers"},
		{"rate of a source", "internal/listen/datagram.go", "if b.spent+1 > burst {", "if b.spent+1 > 1e9 {", "internal/listen", "TestDatagramRates"},
	}},
	{"relay", "CVE-2017-8563", "over a line that others can read or answer on, no credential is looked at and PLAIN is not offered; a wrong channel binding is refused", []defence{
		{"channel binding", "internal/sasl/scram.go", "if !right {", "if !right && !x.known {", "internal/sasl", "TestScramBinding"},
		{"clear text is refused unseen", "internal/engine/engine.go", "return c.Protected()", "return c != nil", "test/holes", "TestHole_Relay"},
	}},
	{"control combinations and cookies", "CVE-2020-10700, CVE-2017-9287", "every pair of controls, sizes of zero, below it and beyond all measure, cookies of another search, connection or identity", []defence{
		{"a cookie belongs to its search", "internal/control/paged.go", "if mine == nil || mine.digest != at.digest {", "if mine == nil {", "internal/control", "TestCookiesOfOthersAreRefused"},
	}},
	{"hostile servers", "CVE-2024-49113", "the client for import, scan and remote commands takes nothing that a server should not say", []defence{
		{"answers to what was never asked", "internal/client/conn.go", "case !known:", "case !known && call != nil:", "internal/client", "TestHostileServers"},
	}},
}
