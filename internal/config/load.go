package config

import (
	"fmt"
	"path/filepath"
	"reflect"
)

// rawOverlay is one [overlay.NAME] table, not yet decoded.
type rawOverlay struct {
	name string
	node *node
}

// Load reads and checks a configuration file. readFile is os.ReadFile, or stands for it. The error is readFile's own, or
// an *ErrorList with every mistake of the file.
func Load(path string, readFile func(string) ([]byte, error)) (*Config, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	return Parse(path, text)
}

// Parse decodes and checks a configuration. name stands in errors, and relative paths of the text are resolved against
// its directory. text is not kept. The error is an *ErrorList with every mistake.
func Parse(name string, text []byte) (*Config, error) {
	c := Default()
	c.file, c.dir = name, filepath.Dir(name)
	root, errs, broken := readTree(name, text)
	c.takeOverlays(root, &errs)
	d := newDecoder(c.dir, &errs)
	d.table(root, reflect.ValueOf(c).Elem(), "")
	c.places = d.places
	for _, o := range c.overlays {
		c.place("overlay."+o.name, o.node)
	}
	if !broken {
		v := validator{c: c, errs: &errs, bad: d.bad}
		v.all()
	}
	if err := errs.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Default returns the configuration of an empty file. It is not valid: a suffix has no default.
func Default() *Config {
	c := &Config{file: "", dir: "."}
	root, errs, _ := readTree("defaults", []byte(defaults()))
	newDecoder(c.dir, &errs).table(root, reflect.ValueOf(c).Elem(), "")
	if err := errs.err(); err != nil {
		// The text is this package's own and a test decodes it.
		panic("config: the defaults are wrong: " + err.Error())
	}
	return c
}

// newDecoder returns a decoder that knows the reference.
func newDecoder(dir string, errs *errorSet) *decoder {
	ss := sections()
	return &decoder{
		dir: dir, errs: errs, places: map[string]Position{}, bad: map[string]bool{},
		example: func(path string) string {
			if k := findKey(ss, noIndexes(path)); k != nil {
				return k.Name + " = " + k.sample()
			}
			return ""
		},
		elsewhere: func(key string) string {
			for _, s := range ss {
				for _, k := range s.Keys {
					switch {
					case k.Name != key:
					case s.Table == "":
						return "at the top of the file, before any table"
					case s.Array:
						return "in [[" + s.Table + "]]"
					default:
						return "in [" + s.Table + "]"
					}
				}
			}
			return ""
		},
	}
}

// takeOverlays moves the [overlay.NAME] tables out of the tree.
func (c *Config) takeOverlays(root *node, errs *errorSet) {
	all := root.table["overlay"]
	if all == nil {
		return
	}
	delete(root.table, "overlay")
	for i, k := range root.keys {
		if k == "overlay" {
			root.keys = append(root.keys[:i:i], root.keys[i+1:]...)
			break
		}
	}
	const hint = "write one table for each overlay: [overlay.memberof]"
	if all.kind != kindTable {
		errs.add(all.keyAt, hint, "overlay wants tables, not %s", all.kind)
		return
	}
	for _, name := range all.keys {
		n := all.table[name]
		if n.kind != kindTable {
			got := n.kind.String()
			if n.from == byHeaders {
				got = "a list of tables"
			}
			errs.add(n.keyAt, hint, "overlay.%s wants a table, not %s", name, got)
			continue
		}
		c.overlays = append(c.overlays, rawOverlay{name, n})
	}
}

// place notes where the keys of an overlay's table are; what is in lists of tables has no path.
func (c *Config) place(path string, n *node) {
	c.places[path] = n.keyAt
	for _, k := range n.keys {
		if sub := n.table[k]; sub.kind == kindTable {
			c.place(path+"."+k, sub)
		} else {
			c.places[path+"."+k] = sub.keyAt
		}
	}
}

// File is the name that the configuration was read under.
func (c *Config) File() string { return c.file }

// At returns the position of a key by its path ("directory.admin_dn", "listen[1].url"), or that of the file where the
// key was not written.
func (c *Config) At(path string) Position {
	if at, ok := c.places[path]; ok {
		return at
	}
	return Position{File: c.file}
}

// Overlays lists the names of the [overlay.NAME] tables in the file's order.
func (c *Config) Overlays() []string {
	names := make([]string, len(c.overlays))
	for i, o := range c.overlays {
		names[i] = o.name
	}
	return names
}

// CheckOverlays returns an *ErrorList that names every [overlay.NAME] table whose name is not known, or nil.
func (c *Config) CheckOverlays(known []string) error {
	var errs errorSet
	for _, o := range c.overlays {
		found := false
		for _, k := range known {
			found = found || k == o.name
		}
		if found {
			continue
		}
		hint := ""
		if near := nearest(o.name, known); near != "" {
			hint = fmt.Sprintf("did you mean [overlay.%s]?", near)
		}
		errs.add(o.node.keyAt, hint, "there is no overlay %s", show(o.name))
	}
	return errs.err()
}

// DecodeOverlay fills the struct that into points to from the table [overlay.NAME], by the same rules and tags as the
// rest of the file: fields are named by `toml:"name"` tags, options size, path and one and the tags min, max and enum
// are known, an unknown key is an error. Fields whose keys are not in the file, and all of them where the table is not,
// keep their values, which are thereby the defaults. The error is an *ErrorList. A Config may be decoded from several
// goroutines at once.
func (c *Config) DecodeOverlay(name string, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("config: overlay %s decodes into %T, which is no pointer to a struct", name, into)
	}
	for _, o := range c.overlays {
		if o.name == name {
			var errs errorSet
			d := newDecoder(c.dir, &errs)
			d.table(o.node, v.Elem(), "overlay."+name)
			return errs.err()
		}
	}
	return nil
}
