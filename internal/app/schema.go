package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"portolan/internal/config"
	"portolan/internal/schema"
	"portolan/ldap"
)

// The schema of a directory is that of the shipped files, of the files that the configuration names, and of the
// definitions that were made by modifying cn=Subschema. The latter are kept in the store. A readable copy of them,
// data_dir/schema.ldif, is for commands that run while a server has the store, and for operators: it is written anew at
// every start and after every change, and never read by a server.

// Schema returns the schema in force.
func (d *Directory) Schema() *schema.Schema {
	if d.Store != nil {
		return d.Store.Schema()
	}
	return d.schema
}

// schemaMirror is the name of the copy beneath data_dir.
const schemaMirror = "schema.ldif"

// loadSchemaFiles builds the schema of the shipped files and those that the configuration names.
func loadSchemaFiles(c *config.Config) (*schema.Schema, error) {
	variant := schema.RFC2307bis
	if c.Schema.RFC2307 == "nis" {
		variant = schema.RFC2307
	}
	files := schema.ShippedVariant(variant)
	for _, name := range c.Schema.Files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, config.ErrorAt(c.At("schema.files"), fmt.Sprintf("the schema file cannot be read: %v", err), "correct the path or remove it")
		}
		files = append(files, schema.File{Name: name, Text: text})
	}
	return schema.Load(files...)
}

// LoadSchema builds the schema of a configuration without its store: files, and what the copy has of live definitions.
func LoadSchema(c *config.Config) (*schema.Schema, error) {
	s, err := loadSchemaFiles(c)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.DataDir, schemaMirror)
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // what is wrong with data_dir others say
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("the definitions made through LDAP cannot be read: %w", err)
	}
	defs, err := schema.ParseLive(text)
	if err == nil {
		s, err = s.WithLive(defs)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

// openSchema brings the copy up to date.
func (d *Directory) openSchema(o OpenOptions) error {
	if o.KV != nil || o.ReadOnly {
		return nil
	}
	d.mirror = filepath.Join(d.Config.DataDir, schemaMirror)
	return d.writeMirror(d.Schema())
}

// writeMirror writes the copy, or removes it where there is nothing to be in it.
func (d *Directory) writeMirror(s *schema.Schema) error {
	if d.mirror == "" {
		return nil
	}
	if len(s.Live()) == 0 {
		if err := os.Remove(d.mirror); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text := []byte("# What was defined by modifying cn=Subschema. The server keeps it in its store and writes this copy; changes to\n" +
		"# it have no effect. Elsewhere it can be named under [schema] files as it is.\ndn: cn=Subschema\n")
	next := d.mirror + ".new"
	if err := os.WriteFile(next, schema.AppendLive(text, s.Live()), 0o600); err != nil {
		return err
	}
	return os.Rename(next, d.mirror)
}

// replaceSchema puts a schema in force that has other live definitions. All that names attributes and classes by the
// configuration must go on to mean something; it is compiled for the new schema first and used with it at once.
func (d *Directory) replaceSchema(ctx context.Context, next *schema.Schema) error {
	d.setting.Lock()
	defer d.setting.Unlock()
	before := d.Engine.Settings()
	s := *before
	var err error
	if err = checkNames(d.reloaded, next); err == nil {
		s.Policy, err = compileAccess(d.reloaded, next)
	}
	if err == nil {
		s.Limits, err = limitsFor(d.reloaded, next)
	}
	if err != nil {
		return inUseByConfig(err)
	}
	d.version++
	s.PolicyVersion, s.Older = d.version, before.Policy
	d.Engine.Set(&s)
	if err := d.Store.ReplaceSchema(ctx, next); err != nil {
		d.Engine.Set(before)
		return err
	}
	if d.onSchema != nil {
		d.onSchema(next)
	}
	d.Log.Info("the schema was changed through LDAP", "definitions", len(next.Live()))
	if err := d.writeMirror(next); err != nil {
		d.Log.Warn("the copy of the definitions made through LDAP cannot be written; the schema is in force all the same", "file", d.mirror, "error", err)
	}
	return nil
}

// inUseByConfig is the answer where the configuration names what would be gone.
func inUseByConfig(err error) error {
	return ldap.Errorf(ldap.UnwillingToPerform, "the configuration of the server names what would be gone or different: %v", err)
}

// secretList returns the names of all attributes whose values must not be shown.
func secretList(s *schema.Schema) []string {
	var names []string
	for _, t := range s.AttributeTypes() {
		if t.Secret {
			names = slices.Concat(names, []string{t.OID}, t.Names)
		}
	}
	return names
}
