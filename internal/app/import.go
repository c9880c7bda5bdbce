package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"portolan/internal/config"
	"portolan/internal/credential"
	"portolan/internal/dit"
	"portolan/internal/guard/shapes"
	"portolan/internal/inorder"
	"portolan/internal/op"
	"portolan/internal/schema"
	"portolan/internal/store"
	"portolan/ldap"
	"portolan/ldif"
)

// ImportSource is one file of an import.
type ImportSource struct {
	Name string // for messages
	Open func() (io.ReadCloser, error)
	Size int64 // octets, 0 where it is not known
}

// ImportOptions say how an import goes about it.
type ImportOptions struct {
	Sources []ImportSource
	// Replace replaces everything that is there; without it the store must be empty, or Add set.
	Replace bool
	// Add adds to what is there, entry by entry as a client would: what was added before an error stays.
	Add bool
	// Continue goes on behind a record that is refused, and writes it to Rejects, where that is not nil.
	Continue bool
	Rejects  io.Writer
	Progress Progress
	Log      *slog.Logger
	Version  string
}

// ImportSummary is what an import did.
type ImportSummary struct {
	Entries  int
	Rejected int
	// Dropped counts values of attributes that the server computes, Hashed clear passwords that were hashed.
	// Unusable counts passwords whose form nobody can log in with here.
	Dropped, Hashed, Unusable int64
	// Findings are the first of the overlays' checks afterwards, Broken is how many there were.
	Findings []Finding
	Broken   int
	Took     time.Duration
}

// maxFindings bounds ImportSummary.Findings.
const maxFindings = 20

// Import loads LDIF into the store of a stopped server. Without Continue one bad record means that nothing is loaded; the
// error begins with its file and line.
func Import(ctx context.Context, c *config.Config, o ImportOptions) (*ImportSummary, error) {
	begun := time.Now()
	defer collectLess()()
	d, err := Open(c, OpenOptions{Log: o.Log, Version: o.Version})
	if err != nil {
		return nil, err
	}
	populated, err := d.populated()
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	var sum *ImportSummary
	switch {
	case o.Add:
		sum, err = d.importByAdding(ctx, o)
	case populated && o.Replace:
		sum, err = d.importReplacing(ctx, o)
	case populated:
		err = fmt.Errorf("data_dir %s holds entries already: use --replace to replace everything, or --add to add to them", c.DataDir)
	default:
		sum, err = d.load(ctx, o, d.Store.LastCSN())
	}
	if sum != nil {
		sum.Took = time.Since(begun)
	}
	return sum, errors.Join(err, d.Close())
}

func (d *Directory) populated() (bool, error) {
	view := d.Store.View()
	defer view.Close()
	return view.HasChildren(0)
}

// importReplacing loads into a store beside the one that is there and exchanges the two in one step, so that a crash
// leaves either the one or the other. The directory is closed afterwards: its store has lost its place.
func (d *Directory) importReplacing(ctx context.Context, o ImportOptions) (*ImportSummary, error) {
	beside := *d.Config
	beside.DataDir = filepath.Join(d.Config.DataDir, "import.new")
	if err := os.RemoveAll(beside.DataDir); err != nil {
		return nil, err
	}
	sum, err := loadBeside(ctx, &beside, d, o)
	if err == nil {
		// The engine knows its files by their path: it must be gone before another directory takes that path.
		err = d.Close()
	}
	if err == nil {
		err = exchangeStores(StoreDir(&beside), StoreDir(d.Config))
	}
	return sum, errors.Join(err, os.RemoveAll(beside.DataDir))
}

// carryState copies small durable keys from one directory to another.
func carryState(ctx context.Context, from, to *Directory, prefix string) error {
	var wrong error
	err := from.Store.State().Each([]byte(prefix), func(key, value []byte) bool {
		wrong = to.Store.State().Set(key, value)
		return wrong == nil
	})
	if err = errors.Join(err, wrong); err != nil {
		return err
	}
	return to.Store.State().Flush(ctx)
}

// loadBeside loads into a new store that takes over from another: its schema is that of the old one with its live
// definitions, its CSNs go on above.
func loadBeside(ctx context.Context, c *config.Config, from *Directory, o ImportOptions) (*ImportSummary, error) {
	d, err := Open(c, OpenOptions{Log: o.Log, Version: o.Version})
	if err != nil {
		return nil, err
	}
	if len(from.Schema().Live()) > 0 {
		err = d.replaceSchema(ctx, from.Schema())
	}
	var sum *ImportSummary
	if err == nil {
		sum, err = d.load(ctx, o, from.Store.LastCSN())
	}
	if err == nil {
		// Decisions about applications are not content: they stand, whatever is imported.
		err = carryState(ctx, from, d, shapes.StatePrefix)
	}
	return sum, errors.Join(err, d.Close())
}

// exchangeStores puts a store, which nobody has open, into the place of another, which takes the place of the first.
func exchangeStores(next, current string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, current, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("the new store could not take the place of the old one, which stays: %w", err)
	}
	return errors.Join(syncDir(filepath.Dir(current)), syncDir(filepath.Dir(next)))
}

// syncDir makes what was made, renamed or removed in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// importByAdding adds entry by entry, with all that an add of the administrator goes through.
func (d *Directory) importByAdding(ctx context.Context, o ImportOptions) (*ImportSummary, error) {
	sum := &ImportSummary{}
	im := &importer{d: d, o: o, sum: sum}
	err := im.each(ctx, func(b *importBatch) error {
		p := ldif.NewParser(ldif.Options{})
		for i := range b.items {
			it := &b.items[i]
			err := it.err
			if err == nil {
				err = im.addOne(ctx, p, it)
			}
			if err != nil {
				if err := im.reject(b.source, it, err); err != nil {
					return err
				}
				continue
			}
			sum.Entries++
		}
		return nil
	}, func(*importBatch) {})
	sum.Dropped = im.dropped.Load()
	if err != nil && sum.Entries > 0 {
		stay := "1 entry before it was added and stays"
		if sum.Entries > 1 {
			stay = fmt.Sprintf("%d entries before it were added and stay", sum.Entries)
		}
		err = fmt.Errorf("%w; %s", err, stay)
	}
	return sum, err
}

func (im *importer) addOne(ctx context.Context, p *ldif.Parser, it *importItem) error {
	rec, err := p.Parse(it.block, it.line)
	if err != nil {
		return err
	}
	if rec.Kind != ldif.Content && rec.Kind != ldif.Add {
		return errOnlyEntries
	}
	m := &ldap.AddRequest{Entry: []byte(rec.DN)}
	for _, a := range rec.Attributes {
		desc, err := im.d.Schema().DescribeString(a.Name)
		if err == nil && desc.Type != nil && (computed[desc.Type.Name()] || desc.Type == im.d.Schema().Known.EntryCSN) {
			// A CSN is the place in this journal, which is a new one.
			if desc.Type != im.d.Schema().Known.EntryCSN {
				im.dropped.Add(int64(len(a.Values)))
			}
			continue
		}
		m.Attributes = append(m.Attributes, ldap.Attribute{Type: []byte(a.Name), Values: a.Values})
	}
	m.Attributes = mergeAttributes(m.Attributes)
	req := &op.Request{
		Conn: &op.Conn{Transport: op.Unix, Loopback: true}, ID: 1, Op: m, Identity: im.d.Engine.AdminIdentity("internal"), Start: time.Now(),
	}
	req.Write.Relax = true // entryUUID, timestamps and authors are kept
	return clientWords(im.d.Engine.Serve(ctx, req, nil))
}

var errOnlyEntries = errors.New("a change record: an import takes entries; send changes with ldapmodify")

// load is the bulk load into an empty store. above is the highest CSN that was issued before: consumers that have seen it must
// not take a new one for an old one, whatever the clock says.
func (d *Directory) load(ctx context.Context, o ImportOptions, above dit.CSN) (sum *ImportSummary, err error) {
	sum = &ImportSummary{}
	now := time.Now()
	im := &importer{d: d, o: o, sum: sum, csn: above.Next(now, 0),
		stamp:  [][]byte{schema.AppendGeneralizedTime(nil, now.UTC().Truncate(time.Second))},
		author: [][]byte{[]byte(d.Config.Directory.AdminDN)}}
	for _, suffix := range d.Config.Directory.AllSuffixes() {
		norm, err := d.Schema().NormalizeDN(nil, []byte(suffix))
		if err != nil {
			return nil, err
		}
		im.suffixes = append(im.suffixes, norm)
	}
	if o.Continue {
		im.names = make(map[string]bool)
	}
	// Sorted runs go to the disk that the store is on, and away with everything else after a crash.
	runs := filepath.Join(d.Config.DataDir, "import.runs")
	if err := errors.Join(os.RemoveAll(runs), os.MkdirAll(runs, 0o700)); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(runs)) }()
	loader, err := d.Store.NewLoader(ctx, store.LoaderOptions{Dir: runs, Above: above})
	if err != nil {
		return nil, err
	}
	err = im.each(ctx, func(b *importBatch) error { return im.collect(b, loader) }, im.seal)
	if err == nil {
		err = loader.Finish()
	}
	if err != nil {
		return sum, errors.Join(err, loader.Abort())
	}
	sum.Dropped, sum.Hashed, sum.Unusable = im.dropped.Load(), im.hashed.Load(), im.unusable.Load()
	sum.Findings, sum.Broken, err = d.checkLoaded(loader)
	return sum, err
}

// importer turns files into sealed entries, in parallel and in order.
type importer struct {
	d   *Directory
	o   ImportOptions
	sum *ImportSummary
	csn dit.CSN
	// stamp and author are what entries get that do not say when and by whom they were made.
	stamp, author [][]byte
	// suffixes are the canonical names of the naming contexts.
	suffixes [][]byte

	names                     map[string]bool // with Continue: what has been loaded, so that a refusal comes before the loader's
	dropped, hashed, unusable atomic.Int64
}

// importBatch is a run of records of one file.
type importBatch struct {
	source *ImportSource
	first  int // number of the first record over all files
	items  []importItem
	read   int64 // octets up to its end, over all files
}

// importItem is one record and what became of it.
type importItem struct {
	block  []byte
	line   int
	err    error
	entry  *dit.Entry
	norm   string
	parent string
	large  []dit.LargeDelta
}

// batchRecords is how many records go to a worker at once.
const batchRecords = 64

// each reads all files, gives batches to work in parallel, and to collect in order. The first error of collect ends it.
func (im *importer) each(ctx context.Context, collect func(*importBatch) error, work func(*importBatch)) error {
	var total int64
	for i := range im.o.Sources {
		total += im.o.Sources[i].Size
	}
	return inorder.Each(ctx, im.read, work, func(b *importBatch) error {
		if err := collect(b); err != nil {
			return err
		}
		im.o.Progress.tell(b.read, total)
		return nil
	})
}

// read splits the files into batches.
func (im *importer) read(give func(*importBatch) bool) error {
	records, octets := 0, int64(0)
	for i := range im.o.Sources {
		source := &im.o.Sources[i]
		in, err := source.Open()
		if err != nil {
			return fmt.Errorf("%s cannot be read: %w", source.Name, reason(err))
		}
		split := ldif.NewSplitter(in, ldif.Options{})
		for more := true; more; {
			b := &importBatch{source: source, first: records}
			for len(b.items) < batchRecords {
				block, line, err := split.Next(nil)
				if errors.Is(err, io.EOF) {
					more = false
					break
				}
				var bad *ldif.Error
				if err != nil && !errors.As(err, &bad) {
					return errors.Join(fmt.Errorf("%s cannot be read: %w", source.Name, err), in.Close())
				}
				if bad != nil {
					line = bad.Line
				}
				b.items = append(b.items, importItem{block: block, line: line, err: err})
				octets += int64(len(block))
			}
			records += len(b.items)
			b.read = octets
			if len(b.items) > 0 && !give(b) {
				return in.Close()
			}
		}
		if err := in.Close(); err != nil {
			return err
		}
	}
	return nil
}

// collect hands a batch to the loader.
func (im *importer) collect(b *importBatch, loader *store.Loader) error {
	for i := range b.items {
		it := &b.items[i]
		err := it.err
		if err == nil && im.names != nil {
			err = im.place(it)
		}
		if err == nil {
			if err = loader.Add(it.entry, it.parent, it.large); err != nil {
				// The loader is of no use after an error, so that even with Continue this one is final.
				return fmt.Errorf("%s:%d: %w", b.source.Name, it.line, clientWords(err))
			}
			im.sum.Entries++
			continue
		}
		if err := im.reject(b.source, it, err); err != nil {
			return err
		}
	}
	return nil
}

// place refuses, before the loader does, what has no place.
func (im *importer) place(it *importItem) error {
	if im.names[it.norm] {
		return errors.New("there is an entry of this name already")
	}
	if it.parent != "" && !im.names[it.parent] {
		return fmt.Errorf("there is no entry %q above it: put parents first", it.parent)
	}
	im.names[it.norm] = true
	return nil
}

// reject files a refused record, or ends the import with it.
func (im *importer) reject(source *ImportSource, it *importItem, err error) error {
	text := err.Error()
	var syntax *ldif.Error
	line := it.line
	if errors.As(err, &syntax) {
		line, text = syntax.Line, syntax.Msg
	}
	if !im.o.Continue {
		return fmt.Errorf("%s:%d: %s", source.Name, line, text)
	}
	im.sum.Rejected++
	if im.o.Rejects == nil {
		return nil
	}
	_, werr := fmt.Fprintf(im.o.Rejects, "# %s:%d: %s\n%s\n\n", source.Name, line, strings.ReplaceAll(text, "\n", " "), strings.TrimRight(string(it.block), "\r\n"))
	return werr
}

// seal parses and seals the records of a batch.
func (im *importer) seal(b *importBatch) {
	p, d, known := ldif.NewParser(ldif.Options{}), dit.NewDraft(), &descriptions{schema: im.d.Schema()}
	var above parentName
	for i := range b.items {
		it := &b.items[i]
		if it.err != nil {
			continue
		}
		rec, err := p.Parse(it.block, it.line)
		if err == nil {
			d.Reset()
			err = im.sealOne(rec, &above, known, d, it, b.first+i)
		}
		it.err = err
		if err == nil && !im.o.Continue {
			it.block = nil
		}
	}
}

// descriptions are attributes as the schema knows them. Those of one record come mostly in the same order in the next.
type descriptions struct {
	schema *schema.Schema
	last   []described
}

type described struct {
	name     string
	desc     schema.Description
	computed bool
}

// at returns the description of an attribute that a record has in this place.
func (k *descriptions) at(i int, name string) (described, error) {
	if i < len(k.last) && k.last[i].name == name {
		return k.last[i], nil
	}
	desc, err := k.schema.DescribeString(name)
	d := described{name: name, desc: desc}
	if err == nil {
		d.computed = desc.Type != nil && computed[desc.Type.Name()]
		k.last = append(k.last[:min(i, len(k.last))], d)
	}
	return d, err
}

// computed are attributes that the server works out itself: what an import says of them is dropped.
var computed = map[string]bool{
	"memberOf": true, "entryDN": true, "subschemaSubentry": true, "hasSubordinates": true, "numSubordinates": true,
	"pwdFailureTime": true, "pwdLastSuccess": true, "authTimestamp": true,
	"structuralObjectClass": true, "contextCSN": true, "collectiveAttributeSubentries": true,
}

func (im *importer) sealOne(rec *ldif.Record, above *parentName, known *descriptions, d *dit.Draft, it *importItem, number int) error {
	if rec.Kind != ldif.Content && rec.Kind != ldif.Add {
		return errOnlyEntries
	}
	s := im.d.Schema()
	if err := im.name(rec.DN, above, d, it); err != nil {
		return err
	}
	for i, a := range rec.Attributes {
		known, err := known.at(i, a.Name)
		if err != nil {
			return fmt.Errorf("%q is not an attribute description: %w", a.Name, err)
		}
		desc := known.desc
		if desc.Type == nil {
			return fmt.Errorf("the schema has no attribute %q: add its schema under [schema] files, or take it out", a.Name)
		}
		if known.computed {
			im.dropped.Add(int64(len(a.Values)))
			continue
		}
		values := a.Values
		if s.Known.UserPassword != nil && desc.Type.IsA(s.Known.UserPassword) {
			if values, err = im.passwords(values); err != nil {
				return err
			}
		}
		if err := d.Add(s, desc, values, false); err != nil {
			return clientWords(err)
		}
	}
	if err := im.complete(d, number); err != nil {
		return err
	}
	entry, large, err := d.Seal(im.d.Store.Shapes(), dit.SealOptions{LargeThreshold: im.d.Store.LargeThreshold()})
	if err != nil {
		return clientWords(err)
	}
	it.entry, it.large = entry, large
	return nil
}

// clientWords takes the name of the result code out of an error, where it says something beyond it.
func clientWords(err error) error {
	var e *ldap.Error
	switch {
	case !errors.As(err, &e):
	case e.Diagnostic != "":
		return errors.New(e.Diagnostic)
	case e.Code == ldap.EntryAlreadyExists:
		return errors.New("there is an entry of this name already")
	case e.Code == ldap.NoSuchObject:
		return errors.New("there is no entry above it: put parents first")
	}
	return err
}

// hardInNames are octets with which the end of an RDN is not plain to see.
const hardInNames = ",;\\\"#"

// parentName is the name that most records of a batch are beneath.
type parentName struct {
	text string // as the file writes it
	norm string
}

// splitName takes the first RDN of a name off, where that is plain to see and the rest is that of the record before.
func (p *parentName) splitName(dn string) (rdn string, ok bool) {
	i := len(dn) - len(p.text) - 1
	if p.text == "" || i <= 0 || dn[i] != ',' || dn[i+1:] != p.text || strings.ContainsAny(dn[:i], hardInNames) {
		return "", false
	}
	return dn[:i], true
}

func (im *importer) isSuffix(norm string) bool {
	return slices.ContainsFunc(im.suffixes, func(suffix []byte) bool { return string(suffix) == norm })
}

// name puts a record into its place.
func (im *importer) name(dn string, above *parentName, d *dit.Draft, it *importItem) error {
	s := im.d.Schema()
	if first, ok := above.splitName(dn); ok {
		// What is wrong with a name is said below.
		if rdn, err := ldap.ParseRDN(first); err == nil {
			d.Name = rdn
			d.RDN, d.NormRDN, it.parent = rdn.String(), string(s.NormalizeRDN(nil, rdn)), above.norm
			it.norm = d.NormRDN + "," + above.norm
			if !im.isSuffix(it.norm) {
				return nil
			}
			it.parent = ""
		}
	}
	name, err := ldap.ParseDN(dn)
	if err != nil {
		return clientWords(err)
	}
	if len(name) == 0 {
		return errors.New("the root DSE cannot be imported")
	}
	it.norm = string(s.NormalizeParsed(nil, name))
	if im.isSuffix(it.norm) {
		d.RDN, d.NormRDN = name.String(), it.norm
		return nil
	}
	it.parent = string(s.NormalizeParsed(nil, name[1:]))
	d.Name, d.RDN, d.NormRDN = name[0], name[0].String(), string(s.NormalizeRDN(nil, name[0]))
	for _, suffix := range im.suffixes {
		if !schema.DNUnder([]byte(it.norm), suffix) {
			continue
		}
		if i := strings.IndexByte(dn, ','); i > 0 && !strings.ContainsAny(dn[:i], hardInNames) {
			*above = parentName{dn[i+1:], it.parent}
		}
		return nil
	}
	return fmt.Errorf("%q is not beneath a suffix of this directory: add the suffix to the configuration, or take the entry out", dn)
}

// passwords returns the stored forms of passwords: hashes stay, clear text is hashed.
func (im *importer) passwords(values [][]byte) ([][]byte, error) {
	out := values[:0:0]
	for _, v := range values {
		clear, isClear := credential.ClearText(v)
		if isClear {
			hash, err := credential.Hash(im.d.Engine.Settings().Passwords, clear, rand.Reader)
			if err != nil {
				return nil, fmt.Errorf("userPassword: %w", err)
			}
			im.hashed.Add(1)
			out = append(out, hash)
			continue
		}
		switch _, err := credential.Parse(v); {
		case err == nil:
		case len(v) == 0:
			return nil, errors.New("userPassword: a value is empty")
		case errors.Is(err, credential.ErrUnsupported), errors.Is(err, credential.ErrMalformed):
			// {CRYPT}! and its like lock an account, {SASL} sends elsewhere: nobody gets in by them, and the value stays.
			im.unusable.Add(1)
		default:
			return nil, fmt.Errorf("userPassword: %w", err)
		}
		out = append(out, v)
	}
	return out, nil
}

// complete gives an entry the operational attributes that the file does not say.
func (im *importer) complete(d *dit.Draft, number int) error {
	known := &im.d.Schema().Known
	if text := d.First(known.EntryUUID); text != nil {
		id, err := uuid.ParseBytes(text)
		if err != nil {
			return fmt.Errorf("entryUUID: %w", err)
		}
		d.UUID = id
	} else {
		id, err := uuid.NewRandom()
		if err != nil {
			return err
		}
		d.UUID = id
		d.Set(known.EntryUUID, []byte(id.String()))
	}
	if text := d.First(known.EntryCSN); text != nil {
		csn, err := dit.ParseCSN(text)
		if err != nil {
			return fmt.Errorf("entryCSN: %w", err)
		}
		d.CSN = csn
	} else {
		d.CSN = im.csn
		d.CSN.Count += uint32(number >> 24)
		d.CSN.Mod = uint32(number & 0xffffff)
		d.Set(known.EntryCSN, d.CSN.Append(nil))
	}
	for _, a := range []struct {
		t      *schema.AttributeType
		values [][]byte
	}{
		{known.CreateTimestamp, im.stamp}, {known.ModifyTimestamp, im.stamp}, {known.CreatorsName, im.author}, {known.ModifiersName, im.author},
	} {
		if d.First(a.t) == nil {
			d.Set(a.t, a.values...)
		}
	}
	return nil
}
