package config

import (
	"encoding"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// decoder fills Go values from a tree. A field's tag is `toml:"name,option"`; the name is the field's own in lower case
// with underscores where no tag gives one, and "-" leaves the field alone. Options:
//
//	path   a file name: relative ones are resolved against the configuration file
//	size   octets: "16MiB" or a whole number
//	one    a list that may be written as its only element
//	truth  a whole number for which true means 1 and false 0
//
// Tags min and max bound a number (min is 0 where it is not given), enum lists the texts that are allowed.
type decoder struct {
	dir    string // for option path
	errs   *errorSet
	places map[string]Position // of keys, by path
	bad    map[string]bool     // paths with an error
	// example gives `key = value` for a path, or "".
	example func(path string) string
	// elsewhere says where a key of this name belongs ("in [tls]"), or "".
	elsewhere func(key string) string
}

var (
	typeDuration = reflect.TypeFor[time.Duration]()
	typePrefix   = reflect.TypeFor[netip.Prefix]()
	typePlace    = reflect.TypeFor[Place]()
	typeText     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// field is what the tags of a struct field say.
type field struct {
	name     string
	index    int
	path     bool
	size     bool
	one      bool
	truth    bool
	min, max string
	enum     []string
}

// fields lists the keys that a struct takes.
func fields(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		sf := t.Field(i)
		if !sf.IsExported() || sf.Type == typePlace {
			continue
		}
		name, options, _ := strings.Cut(sf.Tag.Get("toml"), ",")
		if name == "-" {
			continue
		}
		f := field{name: name, index: i, min: sf.Tag.Get("min"), max: sf.Tag.Get("max")}
		if f.name == "" {
			f.name = snake(sf.Name)
		}
		for o := range strings.SplitSeq(options, ",") {
			switch o {
			case "path":
				f.path = true
			case "size":
				f.size = true
			case "one":
				f.one = true
			case "truth":
				f.truth = true
			}
		}
		if e := sf.Tag.Get("enum"); e != "" {
			f.enum = strings.Split(e, "|")
		}
		fs = append(fs, f)
	}
	return fs
}

// snake turns MaxAge into max_age.
func snake(s string) string {
	var b strings.Builder
	for i, c := range s {
		if c >= 'A' && c <= 'Z' {
			if i > 0 && s[i-1] >= 'a' && s[i-1] <= 'z' {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

func (d *decoder) fail(path string, at Position, hint, format string, args ...any) {
	d.bad[path] = true
	d.errs.add(at, hint, format, args...)
}

// write is the hint that shows a key as it should look.
func (d *decoder) write(path string) string {
	if e := d.example(path); e != "" {
		return "write for example " + e
	}
	return ""
}

// table fills a struct from a table. path is "" for the file itself.
func (d *decoder) table(n *node, v reflect.Value, path string) {
	known := fields(v.Type())
	names := make([]string, 0, len(known)+1)
	byName := make(map[string]field, len(known))
	for _, f := range known {
		names = append(names, f.name)
		byName[f.name] = f
	}
	if path == "" {
		names = append(names, "overlay")
	}
	place := Place{Position: n.at, Keys: map[string]Position{}}
	for _, key := range n.keys {
		value := n.table[key]
		place.Keys[key] = value.keyAt
		for i, item := range value.items {
			place.Keys[key+"["+strconv.Itoa(i)+"]"] = item.at
		}
		f, ok := byName[key]
		if !ok {
			d.unknown(key, value, names, path)
			continue
		}
		sub := join(path, key)
		d.places[sub] = value.keyAt
		d.value(value, v.Field(f.index), sub, f)
	}
	for i := range v.NumField() {
		if v.Type().Field(i).Type == typePlace {
			v.Field(i).Set(reflect.ValueOf(place))
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// leaf is the last key of a path, without the index of a list.
func leaf(path string) string {
	path = path[strings.LastIndexByte(path, '.')+1:]
	if i := strings.IndexByte(path, '['); i >= 0 {
		path = path[:i]
	}
	return path
}

func (d *decoder) unknown(key string, n *node, names []string, path string) {
	where := "at the top of the file"
	if path != "" {
		where = "in [" + noIndexes(path) + "]"
	}
	what := "key"
	if n.kind == kindTable || n.from == byHeaders {
		what = "table"
	}
	hint := ""
	if near := nearest(key, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", show(near))
		d.bad[join(path, near)] = true // that it is missing needs no error of its own
	} else if other := d.elsewhere(key); other != "" {
		hint = fmt.Sprintf("%s belongs %s", key, other)
	} else if len(names) <= 32 {
		hint = "what may stand here: " + strings.Join(names, ", ")
	}
	d.fail(join(path, key), n.keyAt, hint, "unknown %s %s %s", what, show(key), where)
}

// noIndexes turns limits.for[2].who into limits.for.who.
func noIndexes(path string) string {
	var b strings.Builder
	in := false
	for _, c := range path {
		switch {
		case c == '[':
			in = true
		case c == ']':
			in = false
		case !in:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// value fills one Go value.
func (d *decoder) value(n *node, v reflect.Value, path string, f field) {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		p := reflect.New(t.Elem())
		d.value(n, p.Elem(), path, f)
		v.Set(p)
	case t == typeDuration:
		d.duration(n, v, path, f)
	case t == typePrefix:
		if s, ok := d.text(n, path, `a network in quotes, such as "10.0.0.0/8"`); ok {
			p, err := parsePrefix(s)
			if err != nil {
				d.fail(path, n.at, `write networks as "10.0.0.0/8" or "2001:db8::/32"`, "%s: %v", leaf(path), err)
			}
			v.Set(reflect.ValueOf(p))
		}
	case reflect.PointerTo(t).Implements(typeText):
		if s, ok := d.text(n, path, "a text in quotes"); ok {
			if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
				d.fail(path, n.at, d.write(path), "%s: %s cannot be used: %v", leaf(path), show(s), err)
			}
		}
	case t.Kind() == reflect.String:
		d.string(n, v, path, f)
	case t.Kind() == reflect.Bool:
		if d.is(n, kindBool, path, "true or false, without quotes") {
			v.SetBool(n.text == "true")
		}
	case v.CanInt() || v.CanUint():
		d.integer(n, v, path, f)
	case t.Kind() == reflect.Float64:
		if n.kind == kindInteger || d.is(n, kindFloat, path, "a number, without quotes") {
			x, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
			if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
				d.fail(path, n.at, d.write(path), "%s: %s is not a number that can be used", leaf(path), show(n.text))
				return
			}
			v.SetFloat(x)
		}
	case t.Kind() == reflect.Slice:
		d.list(n, v, path, f)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		if !d.is(n, kindTable, path, "a table") {
			return
		}
		m := reflect.MakeMapWithSize(t, len(n.keys))
		for _, key := range n.keys {
			e := reflect.New(t.Elem()).Elem()
			sub := join(path, key)
			d.places[sub] = n.table[key].keyAt
			d.value(n.table[key], e, sub, f)
			m.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), e)
		}
		v.Set(m)
	case t.Kind() == reflect.Struct:
		if d.is(n, kindTable, path, "a table, written ["+noIndexes(path)+"]") {
			d.table(n, v, path)
		}
	default:
		d.fail(path, n.keyAt, "", "%s cannot be set from a file (Go type %s)", leaf(path), t)
	}
}

// is reports whether the value has the kind that the key wants.
func (d *decoder) is(n *node, k kind, path, want string) bool {
	if n.kind == k {
		return true
	}
	got := n.kind.String()
	if k == kindTable && n.from == byHeaders {
		got = "a list of tables"
	}
	d.fail(path, n.at, d.write(path), "%s wants %s, not %s", leaf(path), want, got)
	return false
}

func (d *decoder) text(n *node, path, want string) (string, bool) {
	return n.text, d.is(n, kindString, path, want)
}

func (d *decoder) string(n *node, v reflect.Value, path string, f field) {
	want := "a text in quotes"
	if f.enum != nil {
		want = "one of " + quoted(f.enum)
	}
	s, ok := d.text(n, path, want)
	if !ok {
		return
	}
	if f.enum != nil {
		known := false
		for _, e := range f.enum {
			known = known || e == s
		}
		if !known {
			hint := ""
			if near := nearest(s, f.enum); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			d.fail(path, n.at, hint, "%s wants %s, not %s", leaf(path), want, show(s))
			return
		}
	}
	if strings.ContainsRune(s, 0) {
		d.fail(path, n.at, d.write(path), "%s may not hold a NUL character", leaf(path))
		return
	}
	if f.path && s != "" && !filepath.IsAbs(s) {
		s = filepath.Join(d.dir, s)
	}
	v.SetString(s)
}

// quoted writes "a", "b" or "c".
func quoted(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(w))
	}
	return b.String()
}

func (d *decoder) duration(n *node, v reflect.Value, path string, f field) {
	s := n.text
	if n.kind != kindInteger || s != "0" { // 0 needs no unit and so no quotes
		if _, ok := d.text(n, path, `a duration in quotes, such as "30s", "5m" or "30d"`); !ok {
			return
		}
	}
	x, err := ParseDuration(s)
	if err != nil {
		d.fail(path, n.at, d.write(path), "%s: %v", leaf(path), err)
		return
	}
	for _, b := range []struct {
		text  string
		wrong func(limit time.Duration) bool
		word  string
	}{
		{f.min, func(l time.Duration) bool { return x < l }, "least"},
		{f.max, func(l time.Duration) bool { return x > l }, "most"},
	} {
		if b.text == "" {
			continue
		}
		if l, err := ParseDuration(b.text); err == nil && b.wrong(l) {
			d.fail(path, n.at, d.write(path), "%s is at %s %s, not %s", leaf(path), b.word, b.text, show(s))
			return
		}
	}
	v.SetInt(int64(x))
}

func (d *decoder) integer(n *node, v reflect.Value, path string, f field) {
	var x int64
	switch {
	case f.size && n.kind == kindString:
		var err error
		if x, err = ParseSize(n.text); err != nil {
			d.fail(path, n.at, d.write(path), "%s: %v", leaf(path), err)
			return
		}
	case f.truth && n.kind == kindBool:
		if n.text == "true" {
			x = 1
		}
	default:
		want := "a whole number, without quotes"
		if f.size {
			want = `a size in quotes, such as "16MiB"`
		} else if f.truth {
			want = "true, false or a whole number, without quotes"
		}
		if !d.is(n, kindInteger, path, want) {
			return
		}
		var err error
		if x, err = strconv.ParseInt(n.text, 0, 64); err != nil {
			d.fail(path, n.at, d.write(path), "%s: %s is too large a number", leaf(path), show(n.text))
			return
		}
	}
	lo, hi := int64(0), int64(1<<63-1)
	if f.min != "" {
		lo, _ = strconv.ParseInt(f.min, 10, 64)
	}
	if f.max != "" {
		hi, _ = strconv.ParseInt(f.max, 10, 64)
	}
	if bits := v.Type().Bits(); v.CanInt() && bits < 64 {
		hi = min(hi, int64(1)<<(bits-1)-1)
	} else if v.CanUint() && bits < 64 {
		hi = min(hi, int64(1)<<bits-1)
	}
	number := func(n int64) string {
		if f.size {
			return FormatSize(n)
		}
		return strconv.FormatInt(n, 10)
	}
	switch {
	case x < lo:
		d.fail(path, n.at, d.write(path), "%s is at least %s, not %s", leaf(path), number(lo), show(n.text))
	case x > hi:
		d.fail(path, n.at, d.write(path), "%s is at most %s, not %s", leaf(path), number(hi), show(n.text))
	case v.CanInt():
		v.SetInt(x)
	default:
		v.SetUint(uint64(x))
	}
}

// isTableList reports whether values of the type are written [[table]].
func isTableList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && !reflect.PointerTo(t.Elem()).Implements(typeText)
}

func (d *decoder) list(n *node, v reflect.Value, path string, f field) {
	items := n.items
	switch {
	case n.kind == kindList:
	case f.one && n.kind != kindTable:
		items = []*node{n}
	case isTableList(v.Type()):
		d.fail(path, n.at, "write [["+noIndexes(path)+"]]", "%s is a list of tables, not %s", leaf(path), n.kind)
		return
	default:
		want := "a list"
		if f.one {
			want = "a value or a list of values"
		}
		d.is(n, kindList, path, want)
		return
	}
	s := reflect.MakeSlice(v.Type(), len(items), len(items))
	element := f
	element.one = false
	for i, item := range items {
		sub := path + "[" + strconv.Itoa(i) + "]"
		d.places[sub] = item.at
		d.value(item, s.Index(i), sub, element)
	}
	v.Set(s)
}
