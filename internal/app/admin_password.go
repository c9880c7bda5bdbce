package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"portolan/internal/config"
	"portolan/internal/credential"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/ldap"
)

// PasswordChange asks for a new password.
type PasswordChange struct {
	// DN names the entry; empty is the administrator, and so is the administrator's DN.
	DN       string `json:"dn,omitempty"`
	Password []byte `json:"password,omitempty"`
	// Generate makes a password, which PasswordSet then has.
	Generate bool `json:"generate,omitempty"`
}

// PasswordSet says what was done.
type PasswordSet struct {
	// DN is whose password it is.
	DN string `json:"dn"`
	// Generated is the new password where one was to be generated.
	Generated string `json:"generated,omitempty"`
	// File is the file of the administrator's password, where that was written.
	File string `json:"file,omitempty"`
	// Seq is the journal sequence of the change of an entry.
	Seq uint64 `json:"seq,omitempty"`
}

func (p PasswordChange) about() string { return p.DN }

func (p *PasswordSet) sequence() uint64 { return p.Seq }

// isAdmin reports whether the change is about the administrator.
func (p *PasswordChange) isAdmin(c *config.Config) (bool, error) {
	if p.DN == "" {
		return true, nil
	}
	if c.Directory.AdminDN == "" {
		return false, nil
	}
	s, err := LoadSchema(c)
	if err != nil {
		return false, err
	}
	return sameName(s, p.DN, c.Directory.AdminDN)
}

func sameName(s *schema.Schema, a, b string) (bool, error) {
	x, err := s.NormalizeDNString(nil, a)
	if err != nil {
		return false, err
	}
	y, err := s.NormalizeDNString(nil, b)
	return err == nil && string(x) == string(y), err
}

// choose returns the new password; generated is empty unless it was to be made.
func (p *PasswordChange) choose() (password []byte, generated string, err error) {
	switch {
	case p.Generate && len(p.Password) > 0:
		return nil, "", errors.New("a password was given and one is to be generated: choose one of the two")
	case p.Generate:
		if generated, err = credential.Generate(rand.Reader, credential.GeneratedLength); err != nil {
			return nil, "", err
		}
		return []byte(generated), generated, nil
	case len(p.Password) == 0:
		return nil, "", errors.New("the new password is empty")
	case len(p.Password) > credential.MaxPassword:
		return nil, "", fmt.Errorf("the new password is longer than %d octets", credential.MaxPassword)
	}
	return p.Password, "", nil
}

// SetPassword implements Verbs. The password of an entry goes the way of any other modify: hashing, password policy and
// schema have their say.
func (a *Admin) SetPassword(ctx context.Context, change PasswordChange) (*PasswordSet, error) {
	admin := change.DN == ""
	if set := a.d.Engine.Settings(); !admin && set.Admin.Norm != "" {
		name, err := a.d.Engine.NormalizeName(change.DN)
		if err != nil {
			return nil, err
		}
		admin = name.Norm == set.Admin.Norm
	}
	if admin {
		return setAdminPassword(a.d.Config, change, a.d.adminPasswordChanged)
	}
	password, generated, err := change.choose()
	if err != nil {
		return nil, err
	}
	if credential.IsHashed(password) {
		return nil, errors.New("a password that looks like a hash is refused: clients could not tell them apart")
	}
	req := &op.Request{
		Conn:     &op.Conn{Transport: op.Unix, Loopback: true, Listener: "passwd"},
		Identity: a.d.Engine.AdminIdentity("internal"),
		Start:    time.Now(),
		Op: &ldap.ModifyRequest{Object: []byte(change.DN), Changes: []ldap.Mod{{
			Op:        ldap.ModReplace,
			Attribute: ldap.Attribute{Type: []byte("userPassword"), Values: [][]byte{password}},
		}}},
	}
	if err := a.d.Engine.Serve(ctx, req, nil); err != nil {
		if ldap.CodeOf(err) == ldap.NoSuchObject {
			return nil, fmt.Errorf("there is no entry %s", change.DN)
		}
		return nil, err
	}
	if code := req.Reply.Code; code != ldap.Success {
		return nil, &ldap.Error{Result: req.Reply.Result}
	}
	return &PasswordSet{DN: change.DN, Generated: generated, Seq: req.Trace.Seq}, nil
}

// adminPasswordChanged takes over a new password of the administrator and its hash.
func (d *Directory) adminPasswordChanged(stored, password []byte) {
	d.setting.Lock()
	defer d.setting.Unlock()
	s := *d.Engine.Settings()
	scram := adminScram(&s, password)
	d.version++
	s.AdminStored, s.AdminScram, s.PolicyVersion = stored, scram, d.version
	d.Engine.Set(&s)
}

// setAdminPassword writes a hash into the administrator's password file and tells changed, which may be nil.
func setAdminPassword(c *config.Config, change PasswordChange, changed func(stored, password []byte)) (*PasswordSet, error) {
	file := c.Directory.AdminPasswordFile
	switch {
	case c.Directory.AdminDN == "":
		return nil, config.ErrorAt(c.At("directory.admin_dn"), "there is no administrator", "set directory.admin_dn and directory.admin_password_file, or name an entry")
	case file == "":
		return nil, config.ErrorAt(c.At("directory.admin_password_file"), "no file is named for the administrator's password", `add admin_password_file = "admin.password" to [directory]`)
	}
	password, generated, err := change.choose()
	if err != nil {
		return nil, err
	}
	stored, err := credential.Hash(passwordParams(c), password, rand.Reader)
	if err != nil {
		return nil, err
	}
	if err := replaceSecretFile(file, append(stored[:len(stored):len(stored)], '\n'), c.DataDir); err != nil {
		return nil, fmt.Errorf("the administrator's password was not changed: %w", err)
	}
	if changed != nil {
		changed(stored, password)
	}
	return &PasswordSet{DN: c.Directory.AdminDN, Generated: generated, File: file}, nil
}

// replaceSecretFile replaces a file, all of it or nothing, so that its owner alone can read it; a group that could read the
// file before still can. The owner stays; a new file of root's goes to the owner of likeDir, who is the server's user.
func replaceSecretFile(path string, content []byte, likeDir string) (err error) {
	// A link stays a link.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	mode := fs.FileMode(0o600)
	like, err := os.Stat(path)
	if err == nil {
		mode |= like.Mode().Perm() & 0o040
	} else if like, err = os.Stat(likeDir); err != nil {
		like = nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".password-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if like != nil {
		if owner, ok := like.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
			if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
				return err
			}
		}
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
