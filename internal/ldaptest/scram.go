package ldaptest

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"

	"github.com/xdg-go/scram"

	"portolan/ldap"
)

// scram holds a whole SCRAM exchange: "scram MECHANISM user password [authz=ID] [binding=TYPE] [forged=TYPE]". A forged channel
// binding is that of another connection or certificate; "binding=offered" is a client that has channel binding and believes
// that the server has none. What is compared is the server's last answer; its signature, which ldaptest checks, is left out.
func (d *dialogue) scram(c *talker, s *step) error {
	r, err := d.take(s)
	if err != nil {
		return err
	}
	if err := r.want("mechanism", "user", "password"); err != nil {
		return err
	}
	conv, err := d.conversation(c, r)
	if err != nil {
		return err
	}
	text, err := conv.Step("")
	for err == nil {
		c.last++
		m := ldap.Message{ID: c.last, Op: &ldap.BindRequest{
			Version: 3, Auth: ldap.AuthSASL, Mechanism: []byte(r.args[0]), Credentials: []byte(text), HasCreds: true,
		}}
		c.used[m.ID] = m.Op.Tag()
		if err := c.send(m.Append(nil)); err != nil {
			return err
		}
		messages, err := c.collect(m.ID)
		if err != nil {
			return err
		}
		answer, ok := messages[len(messages)-1].Op.(*ldap.BindResponse)
		if !ok {
			return fmt.Errorf("a bind was answered with %T", messages[len(messages)-1].Op)
		}
		if answer.Code == ldap.SASLBindInProgress {
			text, err = conv.Step(string(answer.ServerCreds))
			if err != nil {
				return err
			}
			continue
		}
		if answer.Code == ldap.Success {
			if _, err := conv.Step(string(answer.ServerCreds)); err != nil || !conv.Valid() {
				return fmt.Errorf("the server does not prove that it knows the password: %v", err)
			}
			answer.ServerCreds, answer.HasServerCreds = nil, false
		}
		c.queue = append(messages, c.queue...)
		return d.answered(c, s, m.ID)
	}
	return err
}

// conversation is the client's part.
func (d *dialogue) conversation(c *talker, r *request) (*scram.ClientConversation, error) {
	client, err := scram.SHA256.NewClient(r.args[1], r.args[2], r.options["authz"])
	if err != nil {
		return nil, err
	}
	name, forged := r.options["binding"], false
	if name == "" {
		name, forged = r.options["forged"], true
	}
	switch name {
	case "":
		return client.NewConversation(), nil
	case "offered":
		return client.NewConversationAdvertisingChannelBinding(), nil
	}
	tc, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil, fmt.Errorf("channel binding %s without TLS", name)
	}
	state := tc.ConnectionState()
	b := scram.ChannelBinding{Type: scram.ChannelBindingType(name)}
	switch name {
	case "tls-exporter":
		if b.Data, err = state.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32); err != nil {
			return nil, err
		}
	case "tls-server-end-point":
		sum := sha256.Sum256(state.PeerCertificates[0].Raw)
		b.Data = sum[:]
	default:
		b.Data = []byte(name)
	}
	if forged {
		b.Data[0] ^= 1
	}
	return client.NewConversationWithChannelBinding(b), nil
}
