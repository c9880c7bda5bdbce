package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// What a backup directory holds.
const (
	manifestName   = "manifest.json"
	backupStore    = "store" // a store that can be opened as it is
	backupFiles    = "files" // configuration, certificates, keys
	manifestFormat = 1
	maxManifest    = 64 << 20
)

// Manifest describes a backup. It is written last: without it a backup is not whole.
type Manifest struct {
	Format   int       `json:"format"`
	Portolan string    `json:"portolan"` // version of the program that made it
	Time     time.Time `json:"time"`
	// Epoch, Seq and CSN say where the journal was; Entries counts what is in it.
	Epoch    string   `json:"epoch"`
	Seq      uint64   `json:"seq"`
	CSN      string   `json:"csn,omitempty"`
	Entries  int64    `json:"entries"`
	Suffixes []string `json:"suffixes"`
	// Config is the path, in the backup, of the configuration file; empty where there was none.
	Config string       `json:"config,omitempty"`
	Files  []BackupFile `json:"files"`
}

// BackupFile is one file of a backup.
type BackupFile struct {
	Path   string `json:"path"` // in the backup, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Origin is where a file beside the store came from, and Role what it is: the key of the configuration that names it,
	// "configuration", or "data_dir".
	Origin string `json:"origin,omitempty"`
	Role   string `json:"role,omitempty"`
}

// Size returns the octets of all files.
func (m *Manifest) Size() int64 {
	var n int64
	for i := range m.Files {
		n += m.Files[i].Size
	}
	return n
}

// ReadManifest reads the manifest of a backup directory. It does not look at the other files; see Verify.
func ReadManifest(dir string) (*Manifest, error) {
	f, err := os.Open(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no whole backup: it has no %s", dir, manifestName)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	return parseManifest(filepath.Join(dir, manifestName), text)
}

func parseManifest(name string, text []byte) (*Manifest, error) {
	if len(text) > maxManifest {
		return nil, fmt.Errorf("%s is larger than %d octets", name, maxManifest)
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	if head.Format != manifestFormat {
		return nil, fmt.Errorf("%s is of format %d, this program knows %d: use the version that made the backup, or a later one", name, head.Format, manifestFormat)
	}
	m := &Manifest{}
	if err := strictly(text, m); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", name, err)
	}
	seen := make(map[string]bool, len(m.Files))
	for i := range m.Files {
		b := &m.Files[i]
		p := filepath.FromSlash(b.Path)
		if !filepath.IsLocal(p) || filepath.Clean(p) != p || p == manifestName || seen[p] || b.Size < 0 {
			return nil, fmt.Errorf("%s is damaged: %q is no file of a backup", name, b.Path)
		}
		seen[p] = true
	}
	if m.Config != "" && !seen[filepath.FromSlash(m.Config)] {
		return nil, fmt.Errorf("%s is damaged: the configuration %q is not among its files", name, m.Config)
	}
	return m, nil
}

// Verify compares the files of a backup with its manifest, octet by octet. The error names the first that is not what it
// was. Files of the store that the manifest does not know are an error too: the store would take them for its own.
func (m *Manifest) Verify(ctx context.Context, dir string, progress Progress) error {
	total, sofar := m.Size(), int64(0)
	for i := range m.Files {
		b := &m.Files[i]
		size, sum, err := digest(ctx, filepath.Join(dir, filepath.FromSlash(b.Path)), false, func(n int64) { progress.tell(sofar+n, total) })
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("the backup is damaged: %s is missing", b.Path)
		case err != nil:
			return err
		case size != b.Size:
			return fmt.Errorf("the backup is damaged: %s has %d octets instead of %d", b.Path, size, b.Size)
		case sum != b.SHA256:
			return fmt.Errorf("the backup is damaged: %s is not what it was when the backup was made", b.Path)
		}
		sofar += size
	}
	known := make(map[string]bool, len(m.Files))
	for i := range m.Files {
		known[m.Files[i].Path] = true
	}
	return filepath.WalkDir(filepath.Join(dir, backupStore), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if !known[filepath.ToSlash(rel)] && d.Name() != lockName {
			return fmt.Errorf("%s does not belong to the backup: remove it, or take the backup anew", path)
		}
		return nil
	})
}

// lockName is the lock file of the storage engine, which is no content.
const lockName = "LOCK"

// digest returns size and SHA-256 of a regular file, and makes it durable where durable is set.
func digest(ctx context.Context, path string, durable bool, progress func(n int64)) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, "", err
	}
	if !info.Mode().IsRegular() {
		return 0, "", fmt.Errorf("%s is no regular file", path)
	}
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return 0, "", err
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		size += int64(n)
		if progress != nil && n > 0 {
			progress(size)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, "", err
		}
	}
	if durable {
		if err := f.Sync(); err != nil {
			return 0, "", err
		}
	}
	return size, hex.EncodeToString(h.Sum(nil)), nil
}

// write writes the manifest into dir, whole or not at all.
func (m *Manifest) write(dir string) error {
	slices.SortFunc(m.Files, func(a, b BackupFile) int {
		switch {
		case a.Path < b.Path:
			return -1
		case a.Path > b.Path:
			return 1
		}
		return 0
	})
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, manifestName+".new")
	if err := writeDurably(temp, append(text, '\n')); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, manifestName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// writeDurably makes a new file that its owner alone can read.
func writeDurably(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}
