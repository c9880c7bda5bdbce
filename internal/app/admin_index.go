package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"portolan/internal/config"
	"portolan/internal/schema"
	"portolan/internal/store"
)

// IndexName names an index.
type IndexName struct {
	Attribute string `json:"attribute"`
	Kind      string `json:"kind"` // equality, presence, substring or ordering
}

// Index is the state of one index.
type Index struct {
	IndexName
	// State is "ready", "building", or "missing" in a stopped store that must be opened for writing to get it.
	State string `json:"state"`
	// Done and Total count entries while the index is being built; Total is an estimate.
	Done  int `json:"done,omitempty"`
	Total int `json:"total,omitempty"`
	// Origin says who asks for the index: "built in", "overlay NAME" or "configuration".
	Origin string `json:"origin"`
	// Size is what the index holds; nil where nobody counted.
	Size *IndexSize `json:"size,omitempty"`
}

// IndexSize is what an index holds.
type IndexSize struct {
	// Keys are its distinct keys: values of an equality or ordering index, pieces of three octets of a substring index.
	Keys int64 `json:"keys"`
	// Postings are the entries under all keys, Octets what it takes before compression.
	Postings int64 `json:"postings"`
	Octets   int64 `json:"octets"`
}

// Indexes implements Verbs. An index belongs to the configuration: what the list has is what the store was opened with.
// Counting reads them whole.
func (a *Admin) Indexes(ctx context.Context, count bool) ([]Index, error) {
	infos := a.d.Store.Indexes()
	var sizes map[store.IndexSpec]store.IndexSize
	if count {
		var err error
		if sizes, err = a.d.Store.MeasureIndexes(ctx); err != nil {
			return nil, err
		}
	}
	out := make([]Index, len(infos))
	for i, info := range infos {
		out[i] = a.index(info)
		if size, there := sizes[info.Spec]; there {
			out[i].Size = &IndexSize{Keys: size.Keys, Postings: size.Postings, Octets: size.Octets}
		}
	}
	return out, nil
}

func (a *Admin) index(info store.IndexInfo) Index {
	x := Index{
		IndexName: IndexName{Attribute: info.Spec.Attribute, Kind: info.Spec.Kind.String()},
		State:     info.State.String(), Done: info.Done, Total: info.Total, Origin: a.indexOrigin(info.Spec),
	}
	if info.State != store.IndexReady && info.State != store.IndexBuilding {
		x.State = "missing"
	}
	return x
}

// indexOrigin says who asks for an index first, in the order in which they are gathered.
func (a *Admin) indexOrigin(spec store.IndexSpec) string {
	named := func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, spec.Attribute) })
	}
	if named(builtinIndexes[spec.Kind]) {
		return "built in"
	}
	if spec.Kind == store.IndexEquality {
		for i := range a.d.overlays {
			if named(a.d.overlays[i].Equality) {
				return "overlay " + a.d.overlays[i].Name
			}
		}
	}
	return "configuration"
}

// indexSpec reads the name of an index.
func (a *Admin) indexSpec(name IndexName) (store.IndexSpec, *schema.AttributeType, error) {
	kind, err := store.ParseIndexKind(name.Kind)
	if err != nil {
		return store.IndexSpec{}, nil, err
	}
	t := a.d.Schema().AttributeTypeString(name.Attribute)
	if t == nil {
		return store.IndexSpec{}, nil, fmt.Errorf("the schema has no attribute type %q: write its name or OID, without options", name.Attribute)
	}
	return store.IndexSpec{Attribute: t.Name(), Kind: kind}, t, nil
}

// among finds the index on a type in a list, whatever name the type goes by there.
func (a *Admin) among(list []store.IndexSpec, t *schema.AttributeType, kind store.IndexKind) int {
	return slices.IndexFunc(list, func(s store.IndexSpec) bool {
		return s.Kind == kind && a.d.Schema().AttributeTypeString(s.Attribute) == t
	})
}

func (a *Admin) kept() []store.IndexSpec {
	infos := a.d.Store.Indexes()
	out := make([]store.IndexSpec, len(infos))
	for i := range infos {
		out[i] = infos[i].Spec
	}
	return out
}

// indexPause is how often a build is looked at.
const indexPause = 50 * time.Millisecond

// BuildIndex implements Verbs. The index must be configured, also in the file of a server that was not restarted since.
// Other indexes stay as they are. When it is ready it is verified against the entries.
//
// While an index is made anew it answers nothing. Those that the server itself relies on, for group membership and logins,
// are therefore not made anew while it runs.
func (a *Admin) BuildIndex(ctx context.Context, name IndexName, progress Progress) (*Index, error) {
	spec, t, err := a.indexSpec(name)
	if err != nil {
		return nil, err
	}
	c, err := a.currentConfig()
	if err != nil {
		return nil, err
	}
	wanted := indexes(c, a.d.Schema(), a.d.overlays)
	at := a.among(wanted, t, spec.Kind)
	if at < 0 {
		return nil, fmt.Errorf("no %s index on %s is configured: add %q to index.%s in %s, then run this again",
			spec.Kind, spec.Attribute, spec.Attribute, spec.Kind, fileOf(c))
	}
	spec = wanted[at]
	list := a.kept()
	if a.among(list, t, spec.Kind) < 0 {
		err = a.d.Store.SetIndexes(ctx, append(list, spec), nil)
	} else if origin := a.indexOrigin(spec); a.Running() && origin != "configuration" {
		return nil, fmt.Errorf("the %s index on %s (%s) is one that the running server relies on: stop the server, then run this again",
			spec.Kind, spec.Attribute, origin)
	} else {
		err = a.d.Store.SetIndexes(ctx, list, &spec)
	}
	if err != nil {
		return nil, err
	}
	x, err := a.waitIndex(ctx, t, spec.Kind, progress)
	if err != nil {
		return nil, err
	}
	return x, a.verifyIndex(ctx, spec, x)
}

// verifyIndex compares an index that was just built with the entries and sets its size.
func (a *Admin) verifyIndex(ctx context.Context, spec store.IndexSpec, x *Index) error {
	var example string
	stats, err := a.d.Store.CheckIndex(ctx, spec, func(f store.Finding) {
		if example == "" {
			example = f.What
		}
	})
	switch {
	case err != nil:
		return fmt.Errorf("the index was built and could not be verified: %w", err)
	case stats.Findings > 0:
		return fmt.Errorf("the index was built and is not what the entries give, in %d places, such as: %s; run \"portolan check\"", stats.Findings, example)
	}
	sizes, err := a.d.Store.MeasureIndexes(ctx)
	if err != nil {
		return fmt.Errorf("the index was built and verified, but not counted: %w", err)
	}
	size := sizes[spec]
	x.Size = &IndexSize{Keys: size.Keys, Postings: size.Postings, Octets: size.Octets}
	return nil
}

// waitIndex returns when an index is ready.
func (a *Admin) waitIndex(ctx context.Context, t *schema.AttributeType, kind store.IndexKind, progress Progress) (*Index, error) {
	tick := time.NewTicker(indexPause)
	defer tick.Stop()
	for {
		infos := a.d.Store.Indexes()
		at := slices.IndexFunc(infos, func(i store.IndexInfo) bool {
			return i.Spec.Kind == kind && a.d.Schema().AttributeTypeString(i.Spec.Attribute) == t
		})
		if at < 0 {
			return nil, fmt.Errorf("the %s index on %s was dropped while it was being built", kind, t.Name())
		}
		x := a.index(infos[at])
		if infos[at].State == store.IndexReady {
			return &x, nil
		}
		progress.tell(int64(x.Done), int64(x.Total))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the index goes on being built in the background: %w", ctx.Err())
		}
	}
}

// DropIndex implements Verbs. An index that the configuration still asks for is not dropped: it would be built again at
// the next start. What is not configured any more is also dropped at the start of the server, and whenever a stopped store
// is opened for writing.
func (a *Admin) DropIndex(ctx context.Context, name IndexName) error {
	spec, t, err := a.indexSpec(name)
	if err != nil {
		return err
	}
	c, err := a.currentConfig()
	if err != nil {
		return err
	}
	if wanted := indexes(c, a.d.Schema(), a.d.overlays); a.among(wanted, t, spec.Kind) >= 0 {
		if origin := a.indexOrigin(spec); origin != "configuration" {
			return fmt.Errorf("the %s index on %s (%s) cannot be dropped: the server relies on it", spec.Kind, spec.Attribute, origin)
		}
		return fmt.Errorf("the %s index on %s is configured: remove it from index.%s in %s first, or use \"index build\" to make it anew",
			spec.Kind, spec.Attribute, spec.Kind, fileOf(c))
	}
	list := a.kept()
	at := a.among(list, t, spec.Kind)
	switch {
	case at >= 0:
		return a.d.Store.SetIndexes(ctx, slices.Delete(list, at, at+1), nil)
	case a.Running():
		return fmt.Errorf("there is no %s index on %s", spec.Kind, spec.Attribute)
	}
	return nil // opening the store has dropped it
}

// fileOf names the configuration in advice.
func fileOf(c *config.Config) string {
	if c.File() == "" {
		return "the configuration"
	}
	return c.File()
}
