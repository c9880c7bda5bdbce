package control

import (
	"bytes"
	"strconv"
	"time"

	"portolan/ber"
	"portolan/internal/op"
	"portolan/ldap"
)

// PasswordPolicyOID is both the request and the response control.
const PasswordPolicyOID = "1.3.6.1.4.1.42.2.27.8.5.1"

// PasswordPolicy is the password policy control (draft-behera-ldap-password-policy-11 section 6). It says what the password
// policy has noted of an operation, and is left out where that is nothing: its presence must not tell accounts from names
// that do not exist.
func PasswordPolicy() op.Control {
	return op.Control{
		OID: PasswordPolicyOID, Name: "ppolicy", Source: "draft-behera-ldap-password-policy-11",
		Applies: func(byte) bool { return true },
		Parse:   parseWithoutValue("password policy"),
		Respond: func(req *op.Request, attached bool) {
			if !attached || req.Policy == nil {
				return
			}
			req.Reply.Controls = append(req.Reply.Controls, ldap.Control{
				OID: []byte(PasswordPolicyOID), Value: appendPolicyReply(nil, req.Policy), HasValue: true,
			})
		},
	}
}

// parseWithoutValue is Parse of a control that must not have a value.
func parseWithoutValue(name string) func(ldap.Control) (any, error) {
	return func(c ldap.Control) (any, error) {
		if c.HasValue {
			return nil, ldap.Errorf(ldap.ProtocolError, "the %s control has no value in a request", name)
		}
		return nil, nil
	}
}

// maxInt bounds INTEGER (0 .. maxInt) of RFC 4511.
const maxInt = 1<<31 - 1

// appendPolicyReply appends a PasswordPolicyResponseValue (section 6.2). A warning has room for one of its two choices: an
// expired password is past the time that is left to it.
func appendPolicyReply(dst []byte, p *op.PolicyReply) []byte {
	dst, value := ber.Begin(dst, ber.Sequence)
	if p.Grace >= 0 || p.Expires >= 0 {
		var warning int
		dst, warning = ber.Begin(dst, ber.ContextSpecific|ber.Constructed|0)
		if p.Grace >= 0 {
			dst = ber.AppendInt(dst, ber.ContextSpecific|1, int64(min(p.Grace, maxInt)))
		} else {
			dst = ber.AppendInt(dst, ber.ContextSpecific|0, seconds(p.Expires))
		}
		dst = ber.End(dst, warning)
	}
	if p.Error != op.NoPolicyError {
		dst = ber.AppendInt(dst, ber.ContextSpecific|1, int64(p.Error))
	}
	return ber.End(dst, value)
}

func seconds(d time.Duration) int64 { return int64(min(d/time.Second, maxInt)) }

// The controls of draft-vchu-ldap-pwd-policy are responses without a request.
const (
	PasswordExpiredOID  = "2.16.840.1.113730.3.4.4"
	PasswordExpiringOID = "2.16.840.1.113730.3.4.5"
)

// ExpiryNotices are the password expired and password expiring controls (draft-vchu-ldap-pwd-policy), for clients that know
// them and not the password policy control: where the policy wants them they come with the answer to a bind that did not ask
// by that control. They are responses only, and so not among the controls that a client may attach.
func ExpiryNotices() []op.Control {
	notice := func(oid, name string, value func(p *op.PolicyReply) []byte) op.Control {
		return op.Control{
			OID: oid, Name: name, Source: "draft-vchu-ldap-pwd-policy", Unadvertised: true,
			Applies: func(byte) bool { return false },
			Parse:   parseWithoutValue(name),
			Respond: func(req *op.Request, _ bool) {
				if req.Policy == nil || !req.Policy.Notices || req.Op.Tag() != ldap.TagBindRequest || asksForPolicy(req) {
					return
				}
				if v := value(req.Policy); v != nil {
					req.Reply.Controls = append(req.Reply.Controls, ldap.Control{OID: []byte(oid), Value: v, HasValue: true})
				}
			},
		}
	}
	expired := func(p *op.PolicyReply) bool {
		return p.Error == op.PasswordExpired || p.Error == op.ChangeAfterReset || p.Grace >= 0
	}
	return []op.Control{
		notice(PasswordExpiredOID, "password expired", func(p *op.PolicyReply) []byte {
			if expired(p) {
				return []byte("0")
			}
			return nil
		}),
		notice(PasswordExpiringOID, "password expiring", func(p *op.PolicyReply) []byte {
			if expired(p) || p.Expires < 0 {
				return nil
			}
			return strconv.AppendInt(nil, seconds(p.Expires), 10)
		}),
	}
}

func asksForPolicy(req *op.Request) bool {
	for _, c := range req.Controls {
		if bytes.Equal(c.OID, []byte(PasswordPolicyOID)) {
			return true
		}
	}
	return false
}
