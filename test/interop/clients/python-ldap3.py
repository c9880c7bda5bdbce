#!/usr/bin/python3
# needs: python3-ldap3
"""ldap3 reads the schema on every connection, types values by it and rejects attributes that it does not list."""
import os
import ssl
from pyasn1.codec.ber import decoder, encoder
from pyasn1.type import namedtype, tag, univ
from ldap3 import ALL, MODIFY_REPLACE, SUBTREE, Connection, Server, Tls

suffix = os.environ["SUFFIX"]
tls = Tls(ca_certs_file=os.environ["LDAPTLS_CACERT"], validate=ssl.CERT_REQUIRED)
server = Server(os.environ["LDAPS"], get_info=ALL, tls=tls)
c = Connection(server, os.environ["ADMIN"], os.environ["ADMINPW"], auto_bind=True)
assert suffix in server.info.naming_contexts
assert "inetOrgPerson" in server.schema.object_classes
assert c.extend.standard.who_am_i() == "dn:" + os.environ["ADMIN"]
found = list(c.extend.standard.paged_search(suffix, "(objectClass=posixAccount)", SUBTREE, attributes=["uid", "uidNumber"], paged_size=5, generator=True))
assert len(found) == 13 and all(isinstance(e["attributes"]["uidNumber"], int) for e in found)

# Server-side sort (RFC 2891); ldap3 brings no class for it.
key = univ.Sequence(componentType=namedtype.NamedTypes(
    namedtype.NamedType("attributeType", univ.OctetString()),
    namedtype.DefaultedNamedType("reverseOrder", univ.Boolean(False).subtype(implicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 1)))))
keys = univ.SequenceOf(componentType=key)
keys[0]["attributeType"], keys[0]["reverseOrder"] = "uid", True
sort = ("1.2.840.113556.1.4.473", True, encoder.encode(keys))
assert c.search(suffix, "(uid=*)", attributes=["uid"], controls=[sort]), c.result
uids = [e.uid.value for e in c.entries]
assert len(uids) == 13 and uids == sorted(uids, reverse=True), uids
reply = c.result["controls"]["1.2.840.113556.1.4.474"]["value"]
assert decoder.decode(reply)[0][0] == 0, reply

dn = "uid=three,ou=people," + suffix
assert c.add(dn, ["inetOrgPerson"], {"cn": "Three", "sn": "Three"}), c.result
assert c.modify(dn, {"title": [(MODIFY_REPLACE, ["Third"])]}), c.result
assert c.compare(dn, "title", "third"), c.result
assert c.extend.standard.modify_password(dn, new_password="pw-of-three"), c.result
assert Connection(server, dn, "pw-of-three").bind()
assert not Connection(server, dn, "wrong").bind()
assert c.modify_dn(dn, "uid=drei"), c.result
assert c.delete("uid=drei,ou=people," + suffix), c.result
assert not c.delete("uid=drei,ou=people," + suffix) and c.result["result"] == 32
plain = Connection(Server(os.environ["LDAP"], get_info=ALL, tls=tls), os.environ["ALICE"], os.environ["ALICEPW"])
plain.open()
assert plain.start_tls() and plain.bind()
assert plain.search(suffix, "(uid=bob)", attributes=["*"]) and "userPassword" not in plain.entries[0]
print("ok")
