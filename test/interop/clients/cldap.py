#!/usr/bin/python3
# needs: python3-ldap3
"""LDAP over UDP, with messages that ldap3 encodes and decodes (Debian's OpenLDAP tools are built without it), on a server of its own:
the root DSE in answers that are no longer than their requests, and what `portolan scan` says of it."""
import json
import os
import signal
import socket
import subprocess
import sys
import time
from ldap3.operation.search import search_operation
from ldap3.protocol.rfc4511 import AbandonRequest, LDAPMessage, MessageID, ProtocolOp
from pyasn1.codec.ber import decoder, encoder

work, suffix = os.environ["WORK"] + "/cldap", os.environ["SUFFIX"]
ports = [int(subprocess.check_output(["test/interop/port"])) for _ in range(2)]


def start(*command):
    with open(work + ".err", "w") as err:
        p = subprocess.Popen(["./bin/portolan", *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
    end = time.monotonic() + 180
    while "portolan: ready" not in open(work + ".err").read():
        assert p.poll() is None and time.monotonic() < end, open(work + ".err").read()
        time.sleep(0.05)
    return p


def stop(p):
    p.send_signal(signal.SIGTERM)
    assert p.wait(180) == 0


def message(kind, op):
    m = LDAPMessage()
    m["messageID"] = MessageID(7)
    m["protocolOp"] = ProtocolOp().setComponentByName(kind, op)
    return encoder.encode(m)


def search(base, attributes, scope="BASE", filter="(objectClass=*)"):
    return message("searchRequest", search_operation(base, filter, scope, "NEVER", attributes, 0, 0, False, True, True))


def ask(request):
    """The messages of the answer."""
    udp.send(request)
    answer = udp.recv(65536)
    assert len(answer) <= len(request), (len(answer), len(request))
    out = []
    while answer:
        m, answer = decoder.decode(answer, asn1Spec=LDAPMessage())
        assert m["messageID"] == 7
        out.append(m["protocolOp"].getComponent())
    return out


def code(request):
    answer = ask(request)
    assert len(answer) == 1, answer
    return int(answer[0]["resultCode"])


def silence(request):
    udp.send(request)
    udp.send(search("", ["1.1"]))
    first, _ = decoder.decode(udp.recv(65536), asn1Spec=LDAPMessage())  # an answer to the other would have come before
    assert first["protocolOp"].getName() == "searchResEntry", first.prettyPrint()


stop(start("demo", "--dir", work, "--ldap-port", str(ports[0]), "--ldaps-port", str(ports[1])))
with open(work + "/portolan.toml", "a") as f:
    f.write(f'\n[[listen]]\nurl = "cldap://127.0.0.1:{ports[0]}"\n')
server = start("serve", "--config", work + "/portolan.toml")
try:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(180)
    udp.connect(("127.0.0.1", ports[0]))
    entry, done = ask(search("", ["namingContexts", "supportedLDAPVersion"] + ["1.1"] * 12))
    found = {str(a["type"]): [bytes(v).decode() for v in a["vals"]] for a in entry["attributes"]}
    assert found == {"namingContexts": [suffix], "supportedLDAPVersion": ["3"]} and done["resultCode"] == 0, found
    assert code(search("", ["*", "+"])) == 70
    entry, done = ask(search("", ["*", "+"] + ["1.1"] * 700))
    assert {"supportedControl", "supportedExtension", "vendorName"} <= {str(a["type"]) for a in entry["attributes"]}
    assert code(search("", ["1.1"], filter="(&(DnsDomain=example.org)(NtVer=\\06\\00\\00\\00))")) == 0  # whoever looks for Active Directory
    assert code(search(suffix, ["*"])) == 53
    assert code(search("", ["*"], scope="SUBTREE")) == 53
    silence(message("abandonRequest", AbandonRequest(7)))
    silence(b"\x30\x84\x7f\xff\xff\xff")
    silence(b"")
    for _ in range(10):  # what is not answered within two seconds it takes for nothing
        scan = subprocess.run(["./bin/portolan", "scan", "--json", f"ldap://127.0.0.1:{ports[0]}"], capture_output=True, text=True)
        found = [x for x in json.loads(scan.stdout)["findings"] if x["id"] == "udp-amplification"]
        if "nothing is answered" not in found[0]["seen"]:
            break
    assert found and found[0]["severity"] == "ok" and "no more than it is asked" in found[0]["seen"], scan.stdout + scan.stderr
finally:
    stop(server)
print("ok")
