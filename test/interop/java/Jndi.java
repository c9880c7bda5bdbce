import java.util.*;
import javax.naming.*;
import javax.naming.directory.*;
import javax.naming.ldap.*;

/** JNDI: StartTLS, paging, ManageDsaIT on every request, the exceptions that programs tell apart. */
public class Jndi {
    static final String SUFFIX = env("SUFFIX"), PEOPLE = "ou=people," + SUFFIX;

    interface Work { void run() throws Exception; }

    static String env(String name) { return Objects.requireNonNull(System.getenv(name), name); }

    static void check(boolean yes, String what) {
        if (!yes) throw new AssertionError(what);
    }

    static void refused(Class<? extends NamingException> want, String what, Work work) throws Exception {
        try {
            work.run();
        } catch (NamingException e) {
            check(e.getClass() == want, what + ": " + e + ", want " + want.getSimpleName());
            return;
        }
        throw new AssertionError(what + ": nothing was thrown, want " + want.getSimpleName());
    }

    static LdapContext open(String url) throws Exception {
        Hashtable<String, String> settings = new Hashtable<>();
        settings.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.ldap.LdapCtxFactory");
        settings.put(Context.PROVIDER_URL, url);
        settings.put("com.sun.jndi.ldap.read.timeout", "180000");
        return new InitialLdapContext(settings, null);
    }

    static void bind(LdapContext c, String dn, String password) throws Exception {
        c.addToEnvironment(Context.SECURITY_AUTHENTICATION, "simple");
        c.addToEnvironment(Context.SECURITY_PRINCIPAL, dn);
        c.addToEnvironment(Context.SECURITY_CREDENTIALS, password);
        c.reconnect(null);
    }

    static Attributes attributes(String... pairs) {
        Attributes out = new BasicAttributes(true);
        for (int i = 0; i < pairs.length; i += 2) {
            Attribute a = out.get(pairs[i]);
            if (a == null) out.put(a = new BasicAttribute(pairs[i]));
            a.add(pairs[i + 1]);
        }
        return out;
    }

    static SearchControls scope(int scope, String... wanted) {
        return new SearchControls(scope, 0, 0, wanted, false, false);
    }

    static int count(NamingEnumeration<?> all) throws Exception {
        int n = 0;
        for (; all.hasMore(); all.next()) n++;
        return n;
    }

    public static void main(String[] args) throws Exception {
        LdapContext c = open(env("LDAP"));
        StartTlsResponse tls = (StartTlsResponse) c.extendedOperation(new StartTlsRequest());
        tls.negotiate();
        refused(AuthenticationException.class, "a wrong password", () -> bind(c, env("ALICE"), "wrong"));
        bind(c, env("ADMIN"), env("ADMINPW"));

        Attributes root = c.getAttributes("", new String[] {"namingContexts", "supportedExtension", "supportedControl"});
        check(root.get("namingContexts").contains(SUFFIX), "naming contexts");
        check(root.get("supportedControl").contains(PagedResultsControl.OID), "paged results in supportedControl");
        DirContext person = (DirContext) c.getSchema("").lookup("ClassDefinition/inetOrgPerson");
        check(person.getAttributes("").get("SUP").contains("organizationalPerson"), "inetOrgPerson in the schema");

        int pages = 0;
        Set<String> names = new HashSet<>();
        byte[] cookie = null;
        do {
            c.setRequestControls(new Control[] {new PagedResultsControl(4, cookie, Control.CRITICAL)});
            for (NamingEnumeration<SearchResult> all = c.search(SUFFIX, "(uid=*)", scope(SearchControls.SUBTREE_SCOPE, "uid")); all.hasMore(); )
                names.add(all.next().getNameInNamespace());
            cookie = null;
            for (Control reply : c.getResponseControls())
                if (reply instanceof PagedResultsResponseControl) cookie = ((PagedResultsResponseControl) reply).getCookie();
            pages++;
        } while (cookie != null);
        check(names.size() == 13 && pages == 4, names.size() + " names on " + pages + " pages");
        List<String> sorted = new ArrayList<>();
        c.setRequestControls(new Control[] {new SortControl(new SortKey[] {new SortKey("uid", false, null)}, Control.CRITICAL)});
        for (NamingEnumeration<SearchResult> all = c.search(SUFFIX, "(uid=*)", scope(SearchControls.SUBTREE_SCOPE, "uid")); all.hasMore(); )
            sorted.add((String) all.next().getAttributes().get("uid").get());
        List<String> want = new ArrayList<>(sorted);
        want.sort(Comparator.reverseOrder());
        check(sorted.size() == 13 && sorted.equals(want), "sorted downwards: " + sorted);
        boolean said = false;
        for (Control reply : c.getResponseControls())
            if (reply instanceof SortResponseControl) said = ((SortResponseControl) reply).isSorted();
        check(said, "the response says that it is sorted");
        c.setRequestControls(new Control[] {new SortControl("noSuchAttribute", Control.CRITICAL)});
        refused(OperationNotSupportedException.class, "sorted by what nobody knows", () -> count(c.search(SUFFIX, "(uid=*)", scope(SearchControls.SUBTREE_SCOPE))));
        c.setRequestControls(null);

        check(count(c.search(SUFFIX, "(uid={0})", new Object[] {"*)(uid=*"}, scope(SearchControls.SUBTREE_SCOPE))) == 0, "an injected filter finds nothing");
        check(count(c.search(PEOPLE, "(sn={0})", new Object[] {"Müller"}, scope(SearchControls.ONELEVEL_SCOPE))) == 1, "a filter in UTF-8");
        check(count(c.list(PEOPLE)) == 13, "list");

        String dn = "uid=java," + PEOPLE, moved = "uid=duke,ou=services," + SUFFIX;
        Attributes entry = attributes("objectClass", "inetOrgPerson", "cn", "Java", "sn", "Duke");
        c.createSubcontext(dn, entry).close();
        refused(NameAlreadyBoundException.class, "68", () -> c.createSubcontext(dn, entry));
        refused(SchemaViolationException.class, "65", () -> c.createSubcontext("cn=x," + PEOPLE, attributes("objectClass", "person")));
        refused(NameNotFoundException.class, "32", () -> c.getAttributes("uid=nobody," + PEOPLE));
        refused(ContextNotEmptyException.class, "66", () -> c.destroySubcontext(PEOPLE));
        refused(NoSuchAttributeException.class, "16", () -> c.modifyAttributes(dn, DirContext.REMOVE_ATTRIBUTE, attributes("mail", "x@example.org")));
        refused(InvalidAttributeIdentifierException.class, "17", () -> c.modifyAttributes(dn, DirContext.ADD_ATTRIBUTE, attributes("noSuchAttribute", "x")));
        refused(AttributeInUseException.class, "20", () -> c.modifyAttributes(dn, DirContext.ADD_ATTRIBUTE, attributes("cn", "JAVA")));
        c.modifyAttributes(dn, new ModificationItem[] {
            new ModificationItem(DirContext.REPLACE_ATTRIBUTE, new BasicAttribute("title", "Mascot")),
            new ModificationItem(DirContext.ADD_ATTRIBUTE, new BasicAttribute("mail", "java@example.org")),
        });
        // A search at base scope for one equality, without attributes, is what JNDI sends as a compare.
        check(count(c.search(dn, "(title=MASCOT)", scope(SearchControls.OBJECT_SCOPE, new String[0]))) == 1, "compare true");
        check(count(c.search(dn, "(title=Clerk)", scope(SearchControls.OBJECT_SCOPE, new String[0]))) == 0, "compare false");
        c.addToEnvironment("java.naming.ldap.deleteRDN", "true");
        c.rename(dn, moved);
        check(c.getAttributes(moved).get("uid").size() == 1, "the old RDN is deleted");
        c.destroySubcontext(moved);
        refused(NameNotFoundException.class, "read after delete", () -> c.getAttributes(moved));
        tls.close();
        c.close();

        LdapContext s = open(env("LDAPS"));
        refused(NoPermissionException.class, "anonymous", () -> s.getAttributes(PEOPLE));
        bind(s, env("ALICE"), env("ALICEPW"));
        refused(NoPermissionException.class, "50", () -> s.createSubcontext(dn, entry));
        check(s.getAttributes(env("ALICE")).get("userPassword") == null, "userPassword is nobody's to read");
        s.close();
        System.out.println("ok");
    }
}
