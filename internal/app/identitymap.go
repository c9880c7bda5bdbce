package app

import (
	"portolan/internal/config"
	"portolan/internal/engine"
	"portolan/internal/sasl"
	"portolan/internal/schema"
)

// identityMaps compiles [[sasl.user]] and [[sasl.certificate]].
func identityMaps(c *config.Config, s *schema.Schema) (users, certificates []*engine.IdentityMap, err error) {
	read := func(at config.Place, dn, base, filter string, fields, whole []string) (*engine.IdentityMap, error) {
		m, err := engine.NewIdentityMap(dn, base, filter, fields, whole)
		if err == nil && base != "" {
			_, err = s.NormalizeDNString(nil, base)
		}
		if err != nil {
			key := "dn"
			if dn == "" && filter != "" {
				key = "filter"
			}
			return nil, config.ErrorAt(at.At(key), err.Error(), "")
		}
		return m, nil
	}
	for i := range c.SASL.User {
		u := &c.SASL.User[i]
		m, err := read(u.Place, u.DN, u.Base, u.Filter, []string{"user"}, nil)
		if err != nil {
			return nil, nil, err
		}
		users = append(users, m)
	}
	for i := range c.SASL.Certificate {
		u := &c.SASL.Certificate[i]
		m, err := read(u.Place, u.DN, u.Base, u.Filter, sasl.CertificateFields(), []string{"subject"})
		if err != nil {
			return nil, nil, err
		}
		if u.Issuer != "" {
			norm, err := s.NormalizeDNString(nil, u.Issuer)
			if err != nil {
				return nil, nil, config.ErrorAt(u.At("issuer"), err.Error(), "")
			}
			m.Issuer = string(norm)
		}
		certificates = append(certificates, m)
	}
	return users, certificates, nil
}
