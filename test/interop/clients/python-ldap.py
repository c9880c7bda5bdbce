#!/usr/bin/python3
# needs: python3-ldap
"""python-ldap: an ordinary day, with paging, schema and the exceptions that programs rely on."""
import os
import ldap
import ldap.modlist
import ldap.schema
from ldap.controls import SimplePagedResultsControl
from ldap.controls.sss import SSSRequestControl, SSSResponseControl

suffix, people = os.environ["SUFFIX"], "ou=people," + os.environ["SUFFIX"]
# libldap takes the authority from LDAPTLS_CACERT.


def connect(dn, password):
    c = ldap.initialize(os.environ["LDAP"])
    c.start_tls_s()
    c.simple_bind_s(dn, password)
    return c


def refused(error, f, *args):
    try:
        f(*args)
    except error as e:
        return e.args[0]
    raise AssertionError(f"{f} raised nothing, want {error}")


c = connect(os.environ["ADMIN"], os.environ["ADMINPW"])
assert c.whoami_s() == "dn:" + os.environ["ADMIN"]
names, cookie, pages = [], "", 0
while True:
    control = SimplePagedResultsControl(True, size=4, cookie=cookie)
    number = c.search_ext(suffix, ldap.SCOPE_SUBTREE, "(uid=*)", ["uid"], serverctrls=[control])
    _, data, _, controls = c.result3(number)
    # Other searches between the pages must not disturb them.
    assert len(c.search_s(suffix, ldap.SCOPE_SUBTREE, "(uid=alice)")) == 1
    names += [dn for dn, _ in data]
    pages += 1
    cookie = controls[0].cookie
    if not cookie:
        break
assert len(names) == len(set(names)) == 13 and pages == 4, (names, pages)

number = c.search_ext(suffix, ldap.SCOPE_SUBTREE, "(uid=*)", ["uid"], serverctrls=[SSSRequestControl(True, ["-uid"])])
_, data, _, controls = c.result3(number)
names = [e["uid"][0] for _, e in data]
assert len(names) == 13 and names == sorted(names, reverse=True), names
assert [x.sortResult for x in controls if isinstance(x, SSSResponseControl)] == [0], controls

subschema = ldap.schema.SubSchema(c.read_subschemasubentry_s(c.search_subschemasubentry_s("")), 0)
assert subschema.get_obj(ldap.schema.ObjectClass, "inetOrgPerson").sup == ("organizationalPerson",)
assert subschema.get_obj(ldap.schema.AttributeType, "mail").syntax

dn = "uid=py," + people
c.add_s(dn, [("objectClass", [b"inetOrgPerson"]), ("cn", [b"Py"]), ("sn", ["Thön".encode()])])
assert c.search_s(dn, ldap.SCOPE_BASE)[0][1]["uid"] == [b"py"]
refused(ldap.ALREADY_EXISTS, c.add_s, dn, [("objectClass", [b"inetOrgPerson"]), ("cn", [b"Py"]), ("sn", [b"x"])])
refused(ldap.OBJECT_CLASS_VIOLATION, c.add_s, "cn=x," + people, [("objectClass", [b"person"])])
assert refused(ldap.NO_SUCH_OBJECT, c.search_s, "uid=nobody," + people, ldap.SCOPE_BASE)["matched"] == people
refused(ldap.TYPE_OR_VALUE_EXISTS, c.modify_s, dn, [(ldap.MOD_ADD, "cn", [b"PY"])])
refused(ldap.NO_SUCH_ATTRIBUTE, c.modify_s, dn, [(ldap.MOD_DELETE, "title", None)])
refused(ldap.NOT_ALLOWED_ON_RDN, c.modify_s, dn, [(ldap.MOD_DELETE, "uid", [b"py"])])
refused(ldap.UNDEFINED_TYPE, c.modify_s, dn, [(ldap.MOD_ADD, "nosuch", [b"x"])])
refused(ldap.INVALID_DN_SYNTAX, c.search_s, "not a name", ldap.SCOPE_BASE)
refused(ldap.PROTOCOL_ERROR, c.extop_s, ldap.extop.ExtendedRequest("1.2.3.4.5.6", None))
c.modify_s(dn, [(ldap.MOD_REPLACE, "title", [b"Snake"]), (ldap.MOD_ADD, "mail", [b"py@example.org"])])
assert c.compare_s(dn, "title", b"SNAKE")
c.passwd_s(dn, None, "s3cret-of-py")
connect(dn, "s3cret-of-py").unbind_s()
refused(ldap.INVALID_CREDENTIALS, connect, dn, "wrong")
c.rename_s(dn, "uid=python", newsuperior="ou=services," + suffix)
c.abandon(c.search(suffix, ldap.SCOPE_SUBTREE, "(objectClass=*)"))
c.delete_s("uid=python,ou=services," + suffix)
print("ok")

# The password policy control, decoded by python-ldap.
from ldap.controls.ppolicy import PasswordPolicyControl  # noqa: E402
pp = ldap.initialize(os.environ["LDAP"])
pp.start_tls_s()
_, _, _, ctrls = pp.result3(pp.simple_bind(os.environ["ALICE"], os.environ["ALICEPW"], serverctrls=[PasswordPolicyControl()]))
assert not ctrls, ctrls
msgid = pp.passwd(os.environ["ALICE"], os.environ["ALICEPW"], "short", serverctrls=[PasswordPolicyControl()])
try:
    pp.result3(msgid)
    raise AssertionError("a short password was taken")
except ldap.CONSTRAINT_VIOLATION as e:
    (oid, _, value), = e.args[0]["ctrls"]
    assert oid == PasswordPolicyControl.controlType
    reply = PasswordPolicyControl()
    reply.decodeControlValue(value)
    assert reply.error == 6, reply.error  # passwordTooShort
