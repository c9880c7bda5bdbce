package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"portolan/internal/config"
	"portolan/internal/schema"
	"portolan/ldap"
)

// CheckConfig checks a configuration beyond what config.Load does: the schema and names that need it, access rules,
// overlays, certificates, the admin's password. It does not touch the data. Warnings are what a server would log at its
// start. The error holds every mistake that was found, as *config.Error.
func CheckConfig(c *config.Config) (warnings []string, err error) {
	collected := &warningHandler{}
	d := &Directory{Config: c, Log: slog.New(collected)}
	err = d.checkConfig(c)
	return collected.list, err
}

func (d *Directory) checkConfig(c *config.Config) error {
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	d.overlays, err = makeOverlays(c)
	note(err)
	if d.schema, err = LoadSchema(c); err != nil {
		note(err) // without a schema the rest says nothing
		return errors.Join(errs...)
	}
	note(checkNames(c, d.Schema()))
	_, err = d.settings(c)
	note(err)
	note(d.checkTLS(c))
	// The directory is made by the server where it is missing; what is there must be one.
	if info, err := os.Stat(c.DataDir); err == nil && !info.IsDir() {
		note(config.ErrorAt(c.At("data_dir"), fmt.Sprintf("data_dir %s is a file", c.DataDir), "name a directory, or remove the file"))
	}
	return errors.Join(errs...)
}

// checkNames resolves DNs and attributes by the schema.
func checkNames(c *config.Config, s *schema.Schema) error {
	var errs []error
	note := func(at config.Position, hint, format string, args ...any) {
		errs = append(errs, config.ErrorAt(at, fmt.Sprintf(format, args...), hint))
	}
	for i, suffix := range c.Directory.AllSuffixes() {
		at := c.At(fmt.Sprintf("directory.suffixes[%d]", i))
		if c.Directory.Suffix != "" {
			at = c.At("directory.suffix")
		}
		name, err := ldap.ParseDN(suffix)
		if err != nil {
			note(at, `write it like "dc=example,dc=org"`, "suffix %q: %v", suffix, err)
		}
		for _, rdn := range name {
			for _, ava := range rdn {
				if s.AttributeTypeString(ava.Type) == nil {
					note(at, `write it like "dc=example,dc=org"`, "suffix %q: the schema has no attribute %q", suffix, ava.Type)
				}
			}
		}
	}
	for _, index := range []struct {
		key   string
		names []string
		rule  func(*schema.AttributeType) *schema.MatchingRule
	}{
		{"equality", c.Index.Equality, func(t *schema.AttributeType) *schema.MatchingRule { return t.Equality }},
		{"substring", c.Index.Substring, func(t *schema.AttributeType) *schema.MatchingRule { return t.Substr }},
		{"ordering", c.Index.Ordering, func(t *schema.AttributeType) *schema.MatchingRule { return t.Ordering }},
	} {
		for i, name := range index.names {
			at := c.At(fmt.Sprintf("index.%s[%d]", index.key, i))
			if at.Line == 0 {
				at = c.At("index." + index.key)
			}
			if t := s.AttributeTypeString(name); t == nil {
				note(at, "correct the name, or add its schema under [schema] files", "the schema has no attribute %q", name)
			} else if index.rule(t) == nil {
				note(at, "leave it out", "%s has no %s rule, so that there is nothing to index", t.Name(), index.key)
			}
		}
	}
	return errors.Join(errs...)
}

// checkTLS loads the certificate as the server would.
func (d *Directory) checkTLS(c *config.Config) error {
	if c.TLS.CertFile == "" {
		if c.Security.RequireTLS == "always" {
			return config.ErrorAt(c.At("security.require_tls"), `require_tls = "always" without a certificate lets nobody in but by ldapi`,
				"set cert_file and key_file under [tls]; \"portolan init\" makes a pair")
		}
		return nil
	}
	certs, err := loadCerts(c)
	if err != nil {
		return err
	}
	if err := certs.Expired(); err != nil {
		d.Log.Warn(err.Error())
	}
	return nil
}

// warningHandler keeps the messages of warnings and errors.
type warningHandler struct{ list []string }

func (h *warningHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}
func (h *warningHandler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	h.list = append(h.list, text)
	return nil
}
func (h *warningHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *warningHandler) WithGroup(string) slog.Handler      { return h }
